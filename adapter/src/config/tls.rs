//! TLS towards a server, for AMQP peers and Prometheus alike (spec: configuration §2, §3).

use std::path::{Path, PathBuf};

use amqp_client::{ClientIdentity, HostnameVerification, TlsConfig, TlsVersion};

use super::{chosen::Chosen, kind::Kind, setting::settings};

/// TLS, if it is wanted: a trust store, an own certificate or the word itself enables it.
pub(super) fn tls(chosen: &mut Chosen, prefix: &str) -> Option<TlsConfig> {
    let settings = TlsSettings::take(chosen, prefix);
    settings.check(chosen, prefix);
    let wanted =
        settings.tls_enabled || settings.trust_store_path.is_some() || settings.cert_path.is_some();
    let mut tls = TlsConfig::default();
    tls.hostname_verification = match settings.hostname_verification_required {
        true => HostnameVerification::Required,
        false => HostnameVerification::Skipped,
    };
    tls.versions = versions(&settings.secure_protocols);
    tls.cipher_suites = settings.supported_cipher_suites;
    tls.trust_store = settings.trust_store_path;
    tls.identity = settings
        .cert_path
        .zip(settings.key_path)
        .map(|(certificate, key)| ClientIdentity { certificate, key });
    wanted.then_some(tls)
}

impl TlsSettings {
    fn check(&self, chosen: &mut Chosen, prefix: &str) {
        if self.key_path.is_some() != self.cert_path.is_some() {
            let keys = ["keyPath", "certPath"];
            chosen.refuse(
                prefix,
                &keys,
                "one of `keyPath` and `certPath` is set; a key and its certificate are needed",
            );
        }
        if self.key_store_path.is_some() {
            let text = "key stores are not read; write key and certificates as PEM (`openssl pkcs12 -nodes`) and name them in `keyPath` and `certPath`";
            chosen.refuse(prefix, &["keyStorePath"], text);
        }
        if self
            .trust_store_path
            .as_deref()
            .is_some_and(|path| !self.is_pem(path))
        {
            let text = "only PEM is read; write the certificates as PEM (`openssl pkcs12 -nokeys`, `keytool -exportcert -rfc`)";
            chosen.refuse(prefix, &["trustStorePath"], text);
        }
        if versions(&self.secure_protocols).len() != self.secure_protocols.len()
            || self.secure_protocols.is_empty()
        {
            let text = "should name `TLSv1.2`, `TLSv1.3` or both";
            chosen.refuse(prefix, &["secureProtocols"], text);
        }
    }

    /// The format that is named, else what the name of the file tells; other names count as PEM.
    fn is_pem(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match self.trust_store_format.as_deref().or(extension) {
            Some(format) => !STORES
                .iter()
                .any(|store| store.eq_ignore_ascii_case(format)),
            None => true,
        }
    }
}

fn versions(names: &[String]) -> Vec<TlsVersion> {
    let version = |name: &String| match name.as_str() {
        "TLSv1.2" => Some(TlsVersion::Tls12),
        "TLSv1.3" => Some(TlsVersion::Tls13),
        _ => None,
    };
    names.iter().filter_map(version).collect()
}

/// Formats of Java's stores and their usual file names.
const STORES: &[&str] = &["jks", "pkcs12", "p12", "pfx"];

settings! {
    /// What is written for TLS.
    pub(super) struct TlsSettings {
        /// Whether to use TLS and trust the certificate authorities of the platform.
        tls_enabled: bool = Kind::Flag, "tlsEnabled", Some("false");
        /// PEM file with the trusted certificates; enables TLS.
        trust_store_path: Option<PathBuf> = Kind::Path, "trustStorePath", None;
        /// Format of the trust store, if not evident from its name; only PEM is supported.
        trust_store_format: Option<String> = Kind::Text, "trustStoreFormat", None;
        /// PEM file with the client's private key (PKCS #8).
        key_path: Option<PathBuf> = Kind::Path, "keyPath", None;
        /// PEM file with the client's certificate chain; enables TLS, and SASL EXTERNAL if no user name is set.
        cert_path: Option<PathBuf> = Kind::Path, "certPath", None;
        /// Not supported: use `keyPath` and `certPath` instead of a key store.
        key_store_path: Option<PathBuf> = Kind::Path, "keyStorePath", None;
        /// Whether the server's certificate must match its host name.
        hostname_verification_required: bool = Kind::Flag, "hostnameVerificationRequired", Some("true");
        /// Enabled TLS versions.
        secure_protocols: Vec<String> = Kind::List, "secureProtocols", Some("TLSv1.2,TLSv1.3");
        /// Enabled cipher suites; if empty, all secure ones.
        supported_cipher_suites: Vec<String> = Kind::List, "supportedCipherSuites", Some("");
    }
}
