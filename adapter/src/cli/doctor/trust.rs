//! Whether the server's certificate is one to be trusted (RFC 5280 §6, RFC 9525).

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::super::Error;
use super::credentials::read;

/// The certificates that a server's may come from.
#[derive(Debug)]
pub(super) struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    origin: String,
}

impl Trust {
    /// Those of the file, or else those of this machine.
    pub(super) fn of(file: Option<&Path>) -> Result<Self, Error> {
        let Some(file) = file else {
            return Ok(Self {
                authorities: rustls_native_certs::load_native_certs().certs,
                origin: "the authorities of this machine".to_owned(),
            });
        };
        let text = read(file)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let authorities = found.unwrap_or_default();
        if authorities.is_empty() {
            return Err(Error::Wrong(format!(
                "--trust {} holds no certificates in PEM",
                file.display()
            )));
        }
        Ok(Self {
            authorities,
            origin: file.display().to_string(),
        })
    }

    /// Where they come from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether the chain leads to one of them, is good for a server now, and is for this host.
    pub(super) fn check(&self, chain: &[Vec<u8>], host: &str) -> Result<(), String> {
        let (own, others) = chain
            .split_first()
            .ok_or_else(|| "it showed no certificate".to_owned())?;
        let own = CertificateDer::from(own.as_slice());
        let certificate = EndEntityCert::try_from(&own).map_err(|error| error.to_string())?;
        let others: Vec<_> = others
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let anchors: Vec<TrustAnchor<'_>> = self
            .authorities
            .iter()
            .filter_map(|der| anchor_from_trusted_cert(der).ok())
            .collect();
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &others,
                UnixTime::now(),
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        certificate
            .verify_is_valid_for_subject_name(&name)
            .map_err(|_| format!("it is not for the host {host}"))
    }
}
