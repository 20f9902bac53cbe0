//! Certificates for both sides, made once.

use std::sync::{Arc, LazyLock};

use dtls_proto::{Config, Identity};
use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    SignatureAlgorithm,
};

/// A certificate signed by itself, as nobody here asks who vouches for it.
pub(crate) fn identity(name: &str, algorithm: &'static SignatureAlgorithm) -> Arc<Identity> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap();
    let identity = Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    Arc::new(identity.unwrap())
}

/// On P-256.
pub(crate) fn server() -> Arc<Identity> {
    static SERVER: LazyLock<Arc<Identity>> =
        LazyLock::new(|| identity("server", &PKCS_ECDSA_P256_SHA256));
    Arc::clone(&SERVER)
}

/// On P-384.
pub(crate) fn large_server() -> Arc<Identity> {
    static SERVER: LazyLock<Arc<Identity>> =
        LazyLock::new(|| identity("large server", &PKCS_ECDSA_P384_SHA384));
    Arc::clone(&SERVER)
}

/// On P-256.
pub(crate) fn device() -> Arc<Identity> {
    static DEVICE: LazyLock<Arc<Identity>> =
        LazyLock::new(|| identity("device", &PKCS_ECDSA_P256_SHA256));
    Arc::clone(&DEVICE)
}

/// What a file of `tests/identities` has: certificate and key.
pub(crate) fn stored(name: &str) -> Arc<Identity> {
    let pem = std::fs::read(format!("tests/identities/{name}.pem")).unwrap();
    Arc::new(Identity::from_pem(&pem, &pem).unwrap())
}

/// On P-384.
pub(crate) fn large_device() -> Arc<Identity> {
    static DEVICE: LazyLock<Arc<Identity>> =
        LazyLock::new(|| identity("large device", &PKCS_ECDSA_P384_SHA384));
    Arc::clone(&DEVICE)
}

pub(crate) fn server_config() -> Config {
    let mut config = Config::default();
    config.identity = Some(server());
    config
}
