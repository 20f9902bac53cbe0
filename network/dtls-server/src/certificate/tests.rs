use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};

use std::time::UNIX_EPOCH;

use super::*;

/// Late enough for rcgen's default validity, which begins in 1975, and early enough for its end in 4096.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    fn anchor(&self) -> TrustAnchor {
        let own = Certificate::from_der(self.issuer.der()).unwrap();
        TrustAnchor {
            subject: AnchorName::Der(own.subject().as_der().to_vec()),
            public_key: self.issuer.key().subject_public_key_info(),
        }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "device-1");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }
}

#[test]
fn a_certificate_of_a_trusted_issuer_is_accepted_and_tells_which() {
    let (trusted, other) = (Authority::new("Trusted CA"), Authority::new("Other CA"));
    let certificate = trusted.issue(|_| ());
    assert!(
        certificate
            .issuer()
            .to_string()
            .starts_with("CN=Trusted CA")
    );
    assert_eq!(certificate.subject().attribute("CN"), Some("device-1"));
    let anchors = [other.anchor(), trusted.anchor()];
    assert_eq!(certificate.issued_by(&anchors, now()), Ok(1));
    assert_eq!(
        certificate.issued_by(&anchors[..1], now()),
        Err(CertificateError::UnknownIssuer)
    );
    assert_eq!(
        certificate.issued_by(&[], now()),
        Err(CertificateError::UnknownIssuer)
    );
}

#[test]
fn an_anchor_may_be_named_in_text() {
    let authority = Authority::new("Trusted CA");
    let certificate = authority.issue(|_| ());
    let named = |name: &str| TrustAnchor {
        subject: AnchorName::Text(name.to_owned()),
        ..authority.anchor()
    };
    let own = certificate.issuer().to_string();
    assert_eq!(certificate.issued_by(&[named(&own)], now()), Ok(0));
    assert_eq!(
        certificate.issued_by(&[named("CN=Someone")], now()),
        Err(CertificateError::UnknownIssuer)
    );
}

#[test]
fn a_name_in_another_kind_of_string_is_the_same_name() {
    let authority = Authority::new("Trusted CA");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(
        DnType::CommonName,
        DnValue::PrintableString("Trusted CA".try_into().unwrap()),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let twin = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let twin = Certificate::from_der(twin.der()).unwrap();
    let anchor = TrustAnchor {
        subject: AnchorName::Der(twin.subject().as_der().to_vec()),
        ..authority.anchor()
    };
    assert_ne!(anchor, authority.anchor());
    assert_eq!(authority.issue(|_| ()).issued_by(&[anchor], now()), Ok(0));
}

/// The name of the issuer alone proves nothing.
#[test]
fn an_issuer_with_the_right_name_and_the_wrong_key_is_refused_but_does_not_hide_the_right_one() {
    let (trusted, impostor) = (Authority::new("Trusted CA"), Authority::new("Trusted CA"));
    let certificate = impostor.issue(|_| ());
    assert_eq!(
        certificate.issued_by(&[trusted.anchor()], now()),
        Err(CertificateError::BadSignature)
    );
    // A tenant may have several keys under one name, for instance while it changes them.
    let anchors = [trusted.anchor(), impostor.anchor()];
    assert_eq!(certificate.issued_by(&anchors, now()), Ok(1));
}

#[test]
fn a_certificate_is_good_in_its_time_only() {
    let authority = Authority::new("Trusted CA");
    let certificate = authority.issue(|params| {
        params.not_before = rcgen::date_time_ymd(2027, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 2, 1);
    });
    let anchors = [authority.anchor()];
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(
        certificate.issued_by(&anchors, at(1_798_000_000)),
        Err(CertificateError::NotYetValid)
    );
    assert_eq!(certificate.issued_by(&anchors, at(1_800_000_000)), Ok(0));
    assert_eq!(
        certificate.issued_by(&anchors, at(1_804_000_000)),
        Err(CertificateError::Expired)
    );
}

#[test]
fn usages_must_allow_it_where_they_are_told() {
    let authority = Authority::new("Trusted CA");
    let anchors = [authority.anchor()];
    let with = |usages: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose]| {
        authority
            .issue(|params| {
                params.key_usages = usages.to_vec();
                params.extended_key_usages = purposes.to_vec();
            })
            .issued_by(&anchors, now())
    };
    let (sign, agree) = (
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyAgreement,
    );
    let (client, server) = (
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let refused = Err(CertificateError::UnsuitedUsage);
    assert_eq!(with(&[], &[]), Ok(0));
    assert_eq!(with(&[sign, agree], &[]), Ok(0));
    assert_eq!(with(&[agree], &[]), refused);
    assert_eq!(with(&[sign], &[server.clone(), client.clone()]), Ok(0));
    assert_eq!(with(&[sign], &[server]), refused);
    assert_eq!(with(&[agree], &[client]), refused);
}

#[test]
fn intermediates_are_not_looked_at() {
    let root = Authority::new("Root CA");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Intermediate CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.issuer).unwrap();
    let intermediate = Authority { issuer };
    let certificate = intermediate.issue(|_| ());
    assert_eq!(
        certificate.issued_by(&[root.anchor()], now()),
        Err(CertificateError::UnknownIssuer)
    );
    assert_eq!(
        certificate.issued_by(&[intermediate.anchor()], now()),
        Ok(0)
    );
}

#[test]
fn broken_bytes_are_no_certificate_or_not_accepted() {
    let authority = Authority::new("Trusted CA");
    let good = authority.issue(|_| ()).as_der().to_vec();
    let anchors = [authority.anchor()];
    for length in 0..good.len() {
        assert_eq!(
            Certificate::from_der(&good[..length]),
            Err(CertificateError::Malformed)
        );
    }
    for at in 0..good.len() {
        let mut broken = good.clone();
        broken[at] ^= 0x41;
        if let Ok(certificate) = Certificate::from_der(&broken) {
            assert!(certificate.issued_by(&anchors, now()).is_err(), "{at}");
        }
    }
}

#[test]
fn an_anchor_that_is_rubbish_trusts_nobody() {
    let authority = Authority::new("Trusted CA");
    let certificate = authority.issue(|_| ());
    for public_key in [&[][..], &[0x30, 0], b"rubbish"] {
        let anchor = TrustAnchor {
            public_key: public_key.to_vec(),
            ..authority.anchor()
        };
        assert!(certificate.issued_by(&[anchor], now()).is_err());
    }
    let anchor = TrustAnchor {
        subject: AnchorName::Der(b"rubbish".to_vec()),
        ..authority.anchor()
    };
    assert_eq!(
        certificate.issued_by(&[anchor], now()),
        Err(CertificateError::UnknownIssuer)
    );
}

/// Devices' certificates made by hand often say that they could issue others. A path check would
/// refuse that, Hono does not.
#[test]
fn whether_it_may_issue_others_does_not_matter() {
    let authority = Authority::new("Trusted CA");
    let certificate =
        authority.issue(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(certificate.issued_by(&[authority.anchor()], now()), Ok(0));
}

#[test]
fn an_extension_that_nobody_knows_is_refused_only_if_it_is_critical() {
    let authority = Authority::new("Trusted CA");
    let with = |critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 9], vec![5, 0]);
        extension.set_criticality(critical);
        authority
            .issue(|params| params.custom_extensions = vec![extension])
            .issued_by(&[authority.anchor()], now())
    };
    assert_eq!(with(false), Ok(0));
    assert_eq!(with(true), Err(CertificateError::UnknownExtension));
}

/// From 2050 on, years have four digits (RFC 5280 §4.1.2.5).
#[test]
fn times_of_both_kinds_are_read() {
    let authority = Authority::new("Trusted CA");
    let certificate = authority.issue(|params| {
        params.not_before = rcgen::date_time_ymd(2049, 12, 31);
        params.not_after = rcgen::date_time_ymd(2050, 1, 2);
    });
    let day = |number: u64| UNIX_EPOCH + Duration::from_secs(number * 86_400);
    let rows = [
        (29_218, Err(CertificateError::NotYetValid)),
        (29_219, Ok(())),
        (29_221, Ok(())),
        (29_222, Err(CertificateError::Expired)),
    ];
    for (number, expected) in rows {
        assert_eq!(
            certificate.check_validity(day(number)),
            expected,
            "{number}"
        );
    }
}

fn vector(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/certificate/vectors");
    std::fs::read(format!("{folder}/{name}.der")).unwrap()
}

fn anchor_of(authority: &str) -> TrustAnchor {
    let own = Certificate::from_der(&vector(&format!("ca-{authority}"))).unwrap();
    TrustAnchor {
        subject: AnchorName::Der(own.subject().as_der().to_vec()),
        public_key: own.public_key().to_vec(),
    }
}

/// Certificates signed ecdsa-with-SHA512 on P-256 or P-384, and by authorities on P-521, were refused as not signed by their issuer:
/// `ring` has no such combination.
#[test]
fn authorities_on_each_curve_sign_with_each_hash() {
    let curves = ["p256", "p384", "p521"];
    for curve in curves {
        for hash in ["sha256", "sha384", "sha512"] {
            let der = vector(&format!("device-{curve}-{hash}"));
            let certificate = Certificate::from_der(&der).unwrap();
            assert_eq!(certificate.version(), 3);
            let accepted = certificate.issued_by(&[anchor_of(curve)], now());
            assert_eq!(accepted, Ok(0), "{curve} {hash}");
            // Another authority's key under the issuer's name did not sign it.
            for other in curves.into_iter().filter(|other| *other != curve) {
                let impostor = TrustAnchor {
                    public_key: anchor_of(other).public_key,
                    ..anchor_of(curve)
                };
                assert_eq!(
                    certificate.issued_by(&[impostor], now()),
                    Err(CertificateError::BadSignature),
                    "{curve} {hash} {other}"
                );
            }
            for at in (0..der.len()).step_by(11) {
                let mut broken = der.clone();
                broken[at] ^= 1;
                if let Ok(certificate) = Certificate::from_der(&broken) {
                    let accepted = certificate.issued_by(&[anchor_of(curve)], now());
                    assert!(accepted.is_err(), "{curve} {hash} {at}");
                }
            }
        }
    }
}

/// An unsupported algorithm was reported as a wrong signature, which sends operators looking for a wrong key.
#[test]
fn algorithms_that_are_not_supported_are_named_as_such() {
    let sha1 = Certificate::from_der(&vector("device-p256-sha1")).unwrap();
    assert_eq!(
        sha1.issued_by(&[anchor_of("p256")], now()),
        Err(CertificateError::UnsupportedSignature)
    );
    let curve = Certificate::from_der(&vector("device-secp256k1-sha256")).unwrap();
    assert_eq!(
        curve.issued_by(&[anchor_of("secp256k1")], now()),
        Err(CertificateError::UnsupportedAnchorKey)
    );
}

/// What `openssl x509 -req` makes without `-extfile` was refused before its issuer was looked at.
#[test]
fn certificates_of_version_1_are_judged_like_others() {
    for authority in ["p256", "p521", "rsa"] {
        let certificate =
            Certificate::from_der(&vector(&format!("device-v1-{authority}"))).unwrap();
        assert_eq!(certificate.version(), 1);
        assert_eq!(certificate.subject().to_string(), "CN=device,O=ACME");
        assert_eq!(certificate.ocsp_responder(), None);
        let anchors = [anchor_of(authority)];
        assert_eq!(certificate.issued_by(&anchors, now()), Ok(0), "{authority}");
        assert_eq!(
            certificate.issued_by(&anchors, UNIX_EPOCH),
            Err(CertificateError::NotYetValid)
        );
        let later = UNIX_EPOCH + Duration::from_secs(5_000_000_000);
        assert_eq!(
            certificate.issued_by(&anchors, later),
            Err(CertificateError::Expired)
        );
        let other = TrustAnchor {
            public_key: anchor_of("p384").public_key,
            ..anchor_of(authority)
        };
        assert_eq!(
            certificate.issued_by(&[other], now()),
            Err(CertificateError::BadSignature)
        );
    }
}

/// The bytes of a certificate with its version replaced: `[0] { INTEGER version - 1 }`.
fn with_version(der: &[u8], version: &[u8]) -> Vec<u8> {
    let at = der
        .windows(5)
        .position(|bytes| bytes == [0xa0, 3, 2, 1, 2])
        .unwrap();
    let mut out = der.to_vec();
    out.splice(at..at + 5, version.iter().copied());
    // Both lengths around the version take two bytes.
    let less = 5 - version.len();
    for length_at in [2, 6] {
        let length = u16::from_be_bytes([out[length_at], out[length_at + 1]]);
        let length = length - u16::try_from(less).unwrap();
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
    out
}

/// Extensions that forbid something must not be lost by calling the certificate an older version.
#[test]
fn only_version_3_has_extensions() {
    let der = vector("device-p521-sha512");
    assert_eq!(with_version(&der, &[0xa0, 3, 2, 1, 2]), der);
    for version in [
        &[][..],
        &[0xa0, 3, 2, 1, 0],
        &[0xa0, 3, 2, 1, 1],
        &[0xa0, 3, 2, 1, 3],
    ] {
        assert_eq!(
            Certificate::from_der(&with_version(&der, version)),
            Err(CertificateError::Malformed),
            "{version:?}"
        );
    }
}

/// A second extension of a kind replaced the first, so a key usage that forbids signing could be overridden.
#[test]
fn an_extension_may_not_be_repeated() {
    let authority = Authority::new("Trusted CA");
    let mut params = CertificateParams::default();
    let usage = |bits| CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 3, bits]);
    params.custom_extensions = vec![usage(0x08), usage(0x80)];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    assert_eq!(
        Certificate::from_der(certificate.der()),
        Err(CertificateError::Malformed)
    );
}
