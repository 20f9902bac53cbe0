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

/// Devices' certificates made by hand often say that they could issue others. A path check would refuse that, the reference does not.
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
