//! Authorities that issue certificates to devices, and a server's identity in files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SigningKey,
};
use serde_json::{Value, json};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// An authority with a key on P-256.
#[derive(Debug)]
pub struct Authority {
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate of an authority and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key (PKCS#8).
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Issued")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority `CN=name,O=ACME` with a new key.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "nothing that varies can fail")]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&[(DnType::OrganizationName, "ACME")], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        Self {
            name: format!("CN={name},O=ACME"),
            issuer: CertifiedIssuer::self_signed(params, key).expect("a plain certificate"),
        }
    }

    /// The authority's own certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's own certificate in Base64.
    #[must_use]
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.issuer.der())
    }

    /// The authority's key in PEM.
    #[must_use]
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority as a tenant trusts it (spec: registry-apis A.3), with further members.
    ///
    /// # Panics
    /// If `further` is no object.
    #[must_use]
    pub fn trusted(&self, further: &Value) -> Value {
        trusted(&self.name, self.issuer.der(), "EC", further)
    }

    /// A certificate for `CN=name,OU=Works,O=ACME`, valid since yesterday for a year.
    #[must_use]
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| ())
    }

    /// The same, but for what `change` does.
    ///
    /// # Panics
    /// If the change makes no certificate.
    #[must_use]
    #[expect(clippy::expect_used, reason = "nothing that varies can fail")]
    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let day = Duration::from_secs(24 * 3600);
        let mut params = CertificateParams::default();
        let units = [
            (DnType::OrganizationName, "ACME"),
            (DnType::OrganizationalUnitName, "Works"),
        ];
        params.distinguished_name = subject(&units, name);
        params.not_before = (SystemTime::now() - day).into();
        params.not_after = (SystemTime::now() + 365 * day).into();
        change(&mut params);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a plain certificate");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Authority {
    /// A certificate of X.509 version 1 for `CN=name,OU=Works,O=ACME`, as `openssl x509 -req` makes it; rcgen makes version 3 only.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "nothing that varies can fail")]
    pub fn issue_v1(&self, name: &str) -> Issued {
        let issued = self.issue(name);
        let (_, pem) = x509_parser::pem::parse_x509_pem(issued.certificate.as_bytes())
            .expect("a certificate in PEM");
        let (_, own) = X509Certificate::from_der(&pem.contents).expect("a certificate");
        let fields = &own.tbs_certificate;
        // Serial number to public key: without the version before it and the extensions behind it.
        let all: &[u8] = fields.as_ref();
        let key = fields.subject_pki.raw;
        let offset = |needle: &[u8]| {
            let found = all.windows(needle.len()).position(|part| part == needle);
            found.expect("it is a part of it")
        };
        let (start, end) = (offset(VERSION_3) + VERSION_3.len(), offset(key) + key.len());
        let fields = element(0x30, &all[start..end]);
        let signature = self.issuer.key().sign(&fields).expect("a signature");
        let signature = element(0x03, &[&[0][..], &signature].concat());
        let certificate = element(0x30, &[&fields, ECDSA_WITH_SHA256, &signature].concat());
        let lines = BASE64_STANDARD.encode(certificate);
        Issued {
            certificate: format!(
                "-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
            ),
            key: issued.key,
        }
    }
}

/// An element of DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match (length, content.len()) {
        (&[short], 0..0x80) => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(u8::MAX));
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];

/// The `AlgorithmIdentifier` 1.2.840.10045.4.3.2.
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// The authority of a certificate (DER) as a tenant trusts it; `name` is its subject as RFC 2253 writes it, `algorithm` the kind of
/// its key.
///
/// # Panics
/// If it is no certificate, or `further` no object.
#[must_use]
#[expect(clippy::expect_used, reason = "who asks has made both")]
pub fn trusted(name: &str, certificate: &[u8], algorithm: &str, further: &Value) -> Value {
    let (_, own) = X509Certificate::from_der(certificate).expect("a certificate");
    let mut entry = json!({
        "id": name,
        "subject-dn": name,
        "subject-dn-bytes": BASE64_STANDARD.encode(own.subject().as_raw()),
        "public-key": BASE64_STANDARD.encode(own.public_key().raw),
        "algorithm": algorithm,
    });
    let members = entry.as_object_mut().expect("as above");
    members.extend(further.as_object().expect("an object").clone());
    entry
}

/// A name; the common name stands last, so that RFC 2253 writes it first.
fn subject(units: &[(DnType, &str)], name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    for (kind, value) in units {
        subject.push(kind.clone(), *value);
    }
    subject.push(DnType::CommonName, name);
    subject
}

/// A folder of this process's own, gone when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Issues it again.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("acceptance-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and tells its path.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(&self, name: &str, content: &str) -> io::Result<String> {
        let path = self.0.join(name);
        fs::write(&path, content)?;
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies where the system cleans up.
        drop(fs::remove_dir_all(&self.0));
    }
}
