//! The auth-id under which a certificate's device is registered (spec: coap-adapter §9, step 5).

use dtls_server::DistinguishedName;

/// The subject as RFC 2253 writes it, or what the template makes of it: `{{subject-dn}}` stands for all of it, `{{subject-cn}}`,
/// `{{subject-ou}}` and `{{subject-o}}` for one attribute.
///
/// # Errors
/// [`UnusableTemplate`] for another placeholder, or an attribute that the subject has not.
pub(super) fn of(
    template: Option<&str>,
    subject: &DistinguishedName,
) -> Result<String, UnusableTemplate> {
    let Some(template) = template else {
        return Ok(subject.to_string());
    };
    let mut auth_id = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (placeholder, after) = behind.split_once("}}").ok_or(UnusableTemplate)?;
        auth_id.push_str(before);
        auth_id.push_str(&value(placeholder, subject).ok_or(UnusableTemplate)?);
        rest = after;
    }
    auth_id.push_str(rest);
    Ok(auth_id)
}

fn value(placeholder: &str, subject: &DistinguishedName) -> Option<String> {
    let attribute = match placeholder {
        "subject-dn" => return Some(subject.to_string()),
        "subject-cn" => "CN",
        "subject-ou" => "OU",
        "subject-o" => "O",
        _ => return None,
    };
    subject.attribute(attribute).map(str::to_owned)
}

/// A template that makes no auth-id of this subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the template of the auth-id does not fit the subject")]
pub(super) struct UnusableTemplate;

#[cfg(test)]
mod tests {
    use dtls_server::Certificate;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn subject() -> DistinguishedName {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "ACME");
        params
            .distinguished_name
            .push(DnType::CommonName, "Device 4711");
        let der = params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec();
        Certificate::from_der(&der).unwrap().subject().clone()
    }

    #[test]
    fn a_template_says_what_of_the_subject_counts() {
        let rows = [
            (None, Ok("CN=Device 4711,O=ACME")),
            (Some("{{subject-dn}}"), Ok("CN=Device 4711,O=ACME")),
            (Some("{{subject-cn}}"), Ok("Device 4711")),
            (
                Some("a-{{subject-o}}:{{subject-cn}}-z"),
                Ok("a-ACME:Device 4711-z"),
            ),
            (Some("fixed"), Ok("fixed")),
            (Some("{{subject-ou}}"), Err(UnusableTemplate)),
            (Some("{{subject-l}}"), Err(UnusableTemplate)),
            (Some("{{subject-cn"), Err(UnusableTemplate)),
        ];
        for (template, expected) in rows {
            assert_eq!(
                of(template, &subject()),
                expected.map(str::to_owned),
                "{template:?}"
            );
        }
    }
}
