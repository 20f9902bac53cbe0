//! What a responder is asked (RFC 6960 §4.1).

use dtls_server::Certificate;
use registry_client::tenant::{Ocsp, TrustAnchor};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use x509_cert::der::asn1::{Null, ObjectIdentifier, OctetString};
use x509_cert::der::{Any, Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};
use x509_ocsp::{CertId, OcspRequest, Request, TbsRequest, Version};

use super::NotGood;

/// A question about one certificate.
#[derive(Debug)]
pub(super) struct Question {
    certificate: CertId,
    /// The same, as it stands on the wire: name, key and number.
    id: Vec<u8>,
    /// What the answer must repeat.
    nonce: Option<[u8; 32]>,
}

impl Question {
    pub(super) fn new(
        certificate: &Certificate,
        anchor: &TrustAnchor,
        ocsp: &Ocsp,
    ) -> Result<Self, NotGood> {
        let unaskable = |_: x509_cert::der::Error| NotGood::Unaskable;
        let key = SubjectPublicKeyInfoRef::from_der(&anchor.public_key).map_err(unaskable)?;
        let serial = certificate.serial();
        // Names and keys are told apart by SHA-1, the one digest that every responder knows; nothing rests on its strength.
        let hash = |bytes: &[u8]| {
            let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
            OctetString::new(hash.as_ref()).map_err(unaskable)
        };
        let certificate = CertId {
            hash_algorithm: AlgorithmIdentifierOwned {
                oid: SHA1,
                parameters: Some(Any::from(Null)),
            },
            issuer_name_hash: hash(certificate.issuer().as_der())?,
            issuer_key_hash: hash(key.subject_public_key.raw_bytes())?,
            serial_number: SerialNumber::new(serial).map_err(unaskable)?,
        };
        let nonce = if ocsp.nonce_enabled {
            let mut nonce = [0; 32];
            let filled = SystemRandom::new().fill(&mut nonce);
            Some(filled.map(|()| nonce).map_err(|_| NotGood::Unaskable)?)
        } else {
            None
        };
        Ok(Self {
            id: certificate.to_der().map_err(unaskable)?,
            certificate,
            nonce,
        })
    }

    /// What the certificate is known by, and whom the tenant would believe about it.
    pub(super) fn id(&self, ocsp: &Ocsp) -> Vec<u8> {
        let responder = ocsp.responder_uri.as_deref().unwrap_or_default();
        let signer = ocsp.responder_certificate.as_deref().unwrap_or_default();
        [&self.id, responder.as_bytes(), b" ", signer].concat()
    }

    /// Whether an answer is about this certificate; how the digest's parameters are written does not matter.
    pub(super) fn is_about(&self, other: &CertId) -> bool {
        let own = &self.certificate;
        own.hash_algorithm.oid == other.hash_algorithm.oid
            && own.issuer_name_hash == other.issuer_name_hash
            && own.issuer_key_hash == other.issuer_key_hash
            && own.serial_number == other.serial_number
    }

    /// Whether these extensions repeat the nonce, if there was one (RFC 9654 §2.1).
    pub(super) fn is_repeated_in(&self, extensions: &[Extension]) -> bool {
        let Some(nonce) = &self.nonce else {
            return true;
        };
        let found = extensions.iter().find(|it| it.extn_id == NONCE);
        let found = found.and_then(|it| OctetString::from_der(it.extn_value.as_bytes()).ok());
        found.is_some_and(|found| found.as_bytes() == nonce)
    }

    /// The request as it stands on the wire.
    pub(super) fn encode(&self) -> Result<Vec<u8>, NotGood> {
        let encode = || {
            let nonce = self.nonce.map(|nonce| {
                let value = OctetString::new(nonce)?.to_der()?;
                Ok::<_, x509_cert::der::Error>(Extension {
                    extn_id: NONCE,
                    critical: false,
                    extn_value: OctetString::new(value)?,
                })
            });
            let request = OcspRequest {
                tbs_request: TbsRequest {
                    version: Version::V1,
                    requestor_name: None,
                    request_list: vec![Request {
                        req_cert: self.certificate.clone(),
                        single_request_extensions: None,
                    }],
                    request_extensions: nonce.transpose()?.map(|nonce| vec![nonce]),
                },
                optional_signature: None,
            };
            request.to_der()
        };
        encode().map_err(|_| NotGood::Unaskable)
    }
}

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
