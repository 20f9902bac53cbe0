//! The subject of a certificate as text (RFC 2253), in the form of Hono's registry.

use std::fmt::Write;

use amqp_proto::sections::hex;
use x509_parser::{
    der_parser::asn1_rs::ToDer,
    x509::{AttributeTypeAndValue, X509Name},
};

/// The most specific part first; types that RFC 2253 §2.3 does not name are written by number,
/// their values as bytes.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter().collect();
    let mut text = String::new();
    for (index, part) in parts.into_iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            write_attribute(&mut text, attribute);
        }
    }
    text
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let number = attribute.attr_type().to_id_string();
    let known = NAMES.iter().find(|(known, _)| *known == number);
    match (known, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => {
            text.push_str(name);
            text.push('=');
            write_escaped(text, value);
        }
        _ => {
            let value = attribute.attr_value().to_der_vec().unwrap_or_default();
            #[expect(
                clippy::let_underscore_must_use,
                reason = "writing to a string cannot fail"
            )]
            let _ = write!(text, "{number}=#{}", hex(&value));
        }
    }
}

/// RFC 2253 §2.4.
fn write_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (place, letter) in value.chars().enumerate() {
        let is_special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (place == 0 && matches!(letter, '#' | ' '))
            || (place == last && letter == ' ');
        if is_special {
            text.push('\\');
        }
        text.push(letter);
    }
}

const NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::{certificate::X509Certificate, prelude::FromDer};

    use super::rfc2253;

    #[test]
    fn a_subject_is_told_from_the_most_specific_part_on() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "A, \"B\" + C");
        name.push(DnType::OrganizationalUnitName, " #x ");
        name.push(DnType::CommonName, "sensor\u{e4}");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (_, certificate) = X509Certificate::from_der(certificate.der()).unwrap();
        assert_eq!(
            rfc2253(certificate.subject()),
            "CN=sensor\u{e4},OU=\\ #x\\ ,O=A\\, \\\"B\\\" \\+ C,C=DE"
        );
    }
}
