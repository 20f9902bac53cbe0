//! Trusted authorities of a tenant (spec: registry-apis A.3 and part C).

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{failure::Failure, request::moment, subject::rfc2253};

/// Checks the authorities and adds the members derived from their certificates; each gets an id.
pub(super) fn complete(authorities: &mut [Value]) -> Result<(), Failure> {
    let mut ids = BTreeSet::new();
    for authority in authorities {
        let members = authority
            .as_object_mut()
            .ok_or_else(|| wrong("an entry is no object"))?;
        if let Some(certificate) = members.remove("cert") {
            read_certificate(members, &certificate)?;
        }
        check(members)?;
        let id = match members.get("id") {
            None => uuid::Uuid::new_v4().to_string(),
            Some(Value::String(id)) if !id.is_empty() => id.clone(),
            Some(_) => return Err(wrong("an id is no text")),
        };
        members.insert("id".to_owned(), json!(id));
        if !ids.insert(id) {
            return Err(wrong("an id is used twice"));
        }
    }
    Ok(())
}

/// The subjects of a tenant's authorities.
pub(super) fn subjects(members: &Map<String, Value>) -> BTreeSet<&str> {
    let authorities = members.get("trusted-ca").and_then(Value::as_array);
    authorities
        .into_iter()
        .flatten()
        .filter_map(|authority| authority["subject-dn"].as_str())
        .collect()
}

fn read_certificate(members: &mut Map<String, Value>, certificate: &Value) -> Result<(), Failure> {
    let der = certificate
        .as_str()
        .and_then(|text| BASE64_STANDARD.decode(text).ok())
        .ok_or_else(|| wrong("a certificate is not Base64"))?;
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return Err(wrong("a certificate cannot be read"));
    };
    let key = certificate.public_key();
    let algorithm = match key.algorithm.algorithm.to_id_string().as_str() {
        RSA => "RSA",
        EC => "EC",
        _ => return Err(wrong("a certificate's key is neither RSA nor EC")),
    };
    let validity = certificate.validity();
    for (name, value) in [
        ("subject-dn", json!(rfc2253(certificate.subject()))),
        (
            "subject-dn-bytes",
            json!(BASE64_STANDARD.encode(certificate.subject().as_raw())),
        ),
        ("public-key", json!(BASE64_STANDARD.encode(key.raw))),
        ("algorithm", json!(algorithm)),
        ("not-before", moment(validity.not_before.to_datetime())),
        ("not-after", moment(validity.not_after.to_datetime())),
    ] {
        members.insert(name.to_owned(), value);
    }
    Ok(())
}

fn check(members: &Map<String, Value>) -> Result<(), Failure> {
    for name in ["subject-dn", "public-key", "not-before", "not-after"] {
        if !members.get(name).is_some_and(Value::is_string) {
            return Err(wrong(&format!("`{name}` is missing")));
        }
    }
    for (name, value) in members {
        let text = value.as_str();
        let fits = match name.as_str() {
            "id"
            | "subject-dn"
            | "auth-id-template"
            | "auto-provisioning-device-id-template"
            | "ocsp-responder-uri" => text.is_some_and(|text| !text.is_empty()),
            "subject-dn-bytes" | "public-key" | "ocsp-responder-cert" => {
                text.is_some_and(|text| BASE64_STANDARD.decode(text).is_ok())
            }
            "algorithm" => text.is_some_and(|text| matches!(text, "RSA" | "EC")),
            "not-before" | "not-after" => {
                text.is_some_and(|text| OffsetDateTime::parse(text, &Rfc3339).is_ok())
            }
            "auto-provisioning-enabled"
            | "auto-provision-as-gateway"
            | "ocsp-revocation-enabled"
            | "ocsp-nonce-enabled" => value.is_boolean(),
            _ => false,
        };
        if !fits {
            return Err(wrong(&format!("`{name}` is unknown or of no use")));
        }
    }
    Ok(())
}

fn wrong(text: &str) -> Failure {
    Failure::bad_request(format!("invalid value of [trusted-ca]: {text}"))
}

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
