//! Whether the server's certificate is one to be trusted (RFC 5280 §6, RFC 9525).

use std::path::Path;
use std::time::{Duration, SystemTime};

use adapter::app::preflight::date;

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
    pub(super) fn check(&self, chain: &[Vec<u8>], host: &str) -> Result<(), Distrust> {
        self.check_at(chain, host, UnixTime::now())
    }

    fn check_at(&self, chain: &[Vec<u8>], host: &str, now: UnixTime) -> Result<(), Distrust> {
        let (own, others) = chain.split_first().ok_or(Distrust::NoCertificate)?;
        let own = CertificateDer::from(own.as_slice());
        let certificate = EndEntityCert::try_from(&own)?;
        let others: Vec<_> = others
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let anchors: Vec<TrustAnchor<'_>> = self
            .authorities
            .iter()
            .filter_map(|der| anchor_from_trusted_cert(der).ok())
            .collect();
        certificate.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &others,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )?;
        let name = ServerName::try_from(host).map_err(|_| Distrust::NoHostName(host.to_owned()))?;
        certificate
            .verify_is_valid_for_subject_name(&name)
            .map_err(|_| Distrust::OtherName {
                host: host.to_owned(),
                names: certificate.valid_dns_names().map(str::to_owned).collect(),
            })
    }
}

/// Why a server's certificate is not trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Distrust {
    #[error("the server showed none")]
    NoCertificate,
    #[error("`{0}` is neither a host name nor an address")]
    NoHostName(String),
    #[error("it expired on {0}")]
    Expired(String),
    #[error("it is valid from {0} on only")]
    NotYetValid(String),
    #[error("its issuer is not trusted")]
    UnknownIssuer,
    #[error("it is not for servers (extended key usage)")]
    NotForServers,
    #[error("it is of a version of X.509 other than 3")]
    Version,
    #[error("it is not for the host {host}{}", for_names(names))]
    OtherName { host: String, names: Vec<String> },
    #[error("it cannot be verified ({0})")]
    Other(String),
}

fn for_names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(", but for {}", names.join(", ")),
    }
}

impl From<webpki::Error> for Distrust {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error;

        let day =
            |time: UnixTime| date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()));
        match error {
            Error::CertExpired { not_after, .. } => Self::Expired(day(not_after)),
            Error::CertNotValidYet { not_before, .. } => Self::NotYetValid(day(not_before)),
            // An authority of the same name with another key is another authority.
            Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Self::UnknownIssuer,
            Error::RequiredEkuNotFoundContext(_) => Self::NotForServers,
            Error::UnsupportedCertVersion => Self::Version,
            other => Self::Other(words(&other.to_string())),
        }
    }
}

impl Distrust {
    /// What helps.
    pub(super) fn advice(&self, origin: &str) -> Vec<String> {
        let remedy = match self {
            Self::Expired(_) => "The operator must renew the certificate of the adapter. If the date has not come yet, set the clock of this machine.".to_owned(),
            Self::NotYetValid(_) => "Set the clock of this machine; if it is right, the certificate of the adapter was made too early or with a wrong clock.".to_owned(),
            Self::UnknownIssuer => format!(
                "It was compared with {origin}. Give the certificate of the authority that issued it by --trust FILE."
            ),
            Self::OtherName { names, .. } if !names.is_empty() => {
                "Use a host name that it is for, or have it made for this one too.".to_owned()
            }
            Self::OtherName { .. } | Self::NoHostName(_) => {
                "Use the host name that it is for, or have it made for this one (subject alternative name).".to_owned()
            }
            Self::NoCertificate | Self::NotForServers | Self::Version | Self::Other(_) => {
                "The operator must give the adapter a certificate of X.509 version 3 for servers.".to_owned()
            }
        };
        vec![remedy, "No request was sent.".to_owned()]
    }
}

/// The name of an error without its fields, in words: `BadDer` is "bad der".
fn words(name: &str) -> String {
    let name = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let mut words = String::new();
    for letter in name.into_iter().next().unwrap_or_default().chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };
    use time::{OffsetDateTime, macros::datetime};

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Symptom: `CertExpired { time: UnixTime(1796066772), .. }`, and the advice to trust another
    /// authority. Cause: the error of the library was printed, with one remedy for all.
    #[test]
    fn each_fault_of_a_certificate_is_told_in_words_with_its_own_remedy() {
        let (trusted, other) = (authority(), authority());
        let trust = Trust {
            authorities: vec![trusted.der().clone()],
            origin: "ca.pem".to_owned(),
        };
        let check = |issuer: &CertifiedIssuer<'static, KeyPair>,
                     host: &str,
                     day: OffsetDateTime,
                     purpose: Option<ExtendedKeyUsagePurpose>| {
            let mut params = CertificateParams::new(vec!["coap.example".to_owned()]).unwrap();
            params.not_before = datetime!(2026-01-01 0:00 UTC);
            params.not_after = datetime!(2026-06-30 0:00 UTC);
            params.extended_key_usages = purpose.into_iter().collect();
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, issuer).unwrap();
            let now = u64::try_from(day.unix_timestamp()).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
            let result = trust.check_at(&[certificate.der().to_vec()], host, now);
            result.map_err(|distrust| (distrust.to_string(), distrust.advice("ca.pem").join(" ")))
        };
        let (may, july) = (
            datetime!(2026-05-01 0:00 UTC),
            datetime!(2026-07-01 0:00 UTC),
        );
        let december = datetime!(2025-12-31 0:00 UTC);
        assert_eq!(check(&trusted, "coap.example", may, None), Ok(()));
        let rows = [
            (
                check(&trusted, "coap.example", july, None),
                "expired on 2026-06-30",
                "renew",
            ),
            (
                check(&trusted, "coap.example", december, None),
                "from 2026-01-01",
                "clock",
            ),
            (
                check(&other, "coap.example", may, None),
                "issuer is not trusted",
                "--trust FILE",
            ),
            (
                check(&trusted, "other.example", may, None),
                "not for the host other.example, but for coap.example",
                "host name",
            ),
            (
                check(
                    &trusted,
                    "coap.example",
                    may,
                    Some(ExtendedKeyUsagePurpose::ClientAuth),
                ),
                "not for servers",
                "for servers",
            ),
        ];
        for (found, text, remedy) in rows {
            let (error, advice) = found.unwrap_err();
            assert!(error.contains(text), "{text}: {error}");
            assert!(advice.contains(remedy), "{text}: {advice}");
            assert_eq!(
                advice.contains("--trust"),
                remedy.contains("--trust"),
                "{advice}"
            );
            assert!(
                !error.contains(['{', '(']) || text == "not for servers",
                "{error}"
            );
        }
        let broken = trust.check(&[vec![0x30, 0]], "coap.example").unwrap_err();
        assert_eq!(broken.to_string(), "it cannot be verified (bad der)");
    }
}
