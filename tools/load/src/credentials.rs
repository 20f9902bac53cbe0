//! How devices prove who they are: with keys, or with certificates of an authority made for the run.

use std::{fs, path::Path, sync::Arc};

use dtls_client::{CipherSuite, Config, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};

use crate::{scenario::Scenario, world};

/// What a run's devices show.
#[derive(Default)]
pub(crate) struct Credentials {
    /// Instead of those of `load world`: `{}` is the device's number.
    pub(crate) identity: Option<String>,
    /// Likewise.
    pub(crate) key: Option<String>,
    /// The share of devices that have certificates, and who issues them.
    pub(crate) certificates: Option<(f64, Authority)>,
}

impl Credentials {
    /// What a device's DTLS client is to be.
    pub(crate) fn config(&self, device: u32) -> Config {
        if let Some((share, authority)) = &self.certificates
            && Scenario::is_among(*share, device)
            && let Some(identity) = authority.issue(device)
        {
            let mut config = Config::with_certificate(Arc::new(identity));
            config.suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8];
            config.server_name = Some(world::TENANT.to_owned());
            return config;
        }
        let filled = |template: &String| template.replace("{}", &device.to_string());
        let identity = self.identity.as_ref().map(filled);
        let key = self.key.as_ref().map(filled);
        let key = key.unwrap_or_else(|| world::key(device));
        let identity = identity.unwrap_or_else(|| world::identity(device));
        let mut config = Config::new(identity, key.as_bytes());
        config.suites = vec![CipherSuite::PskAes128Ccm8];
        config
    }
}

/// Who issues the devices' certificates (P-256); its name and key stand in one PEM file, so that `world` and `run` know the same.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
    chain: String,
}

impl Authority {
    /// Makes a new one, and writes it to `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(world::AUTHORITY);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params
            .self_signed(&key)
            .map_err(|error| error.to_string())?;
        let text = format!("{}{}", certificate.pem(), key.serialize_pem());
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::read(path)
    }

    /// Takes the one of `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let start = text.find("-----BEGIN PRIVATE KEY-----");
        let key_text = text.get(start.unwrap_or(text.len())..).unwrap_or_default();
        let read = || KeyPair::from_pem(key_text);
        let key = read().map_err(|error| wrong(&error))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(world::AUTHORITY);
        let issuer = Issuer::new(params, read().map_err(|error| wrong(&error))?);
        Ok(Self {
            issuer,
            key,
            chain: text
                .get(..start.unwrap_or(0))
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// Its public key as a trust anchor has it.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    fn issue(&self, device: u32) -> Option<Identity> {
        let key = KeyPair::generate().ok()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&world::device_id(device));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.issuer).ok()?;
        let chain = format!("{}{}", certificate.pem(), self.chain);
        Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).ok()
    }
}

/// Makes a certificate and a key for the server; devices here look at its key only.
pub(crate) fn create_server(certificate: &Path, key: &Path) -> Result<(), String> {
    let made = KeyPair::generate().and_then(|pair| {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok((params.self_signed(&pair)?, pair))
    });
    let (made, pair) = made.map_err(|error| error.to_string())?;
    for (path, text) in [(certificate, made.pem()), (key, pair.serialize_pem())] {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

#[cfg(test)]
mod tests {
    use super::{Authority, Credentials};

    #[test]
    fn templates_are_filled_and_certificates_issued_to_the_share_that_has_them() {
        let path = std::env::temp_dir().join(format!("load-authority-{}", std::process::id()));
        let created = Authority::create(&path).unwrap();
        let read = Authority::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(created.public_key(), read.public_key());
        let credentials = Credentials {
            identity: Some("cali.{}".to_owned()),
            key: Some("secret".to_owned()),
            certificates: Some((0.5, read)),
        };
        assert!(credentials.config(1).certificate.is_some());
        let with_key = credentials.config(51);
        assert!(with_key.certificate.is_none() && with_key.identity == b"cali.51");
    }
}
