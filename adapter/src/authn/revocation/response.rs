//! What a responder answers, and whether to believe it (RFC 6960 §3.2, §4.2).

use std::time::{Duration, SystemTime};

use dtls_server::{Certificate, Signed};
use registry_client::tenant::{Ocsp, TrustAnchor};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};

use super::NotGood;
use super::request::Question;

/// A clear answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    status: Status,
    /// How long it holds.
    pub(super) until: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

impl Answer {
    pub(super) fn verdict(self) -> Result<(), NotGood> {
        match self.status {
            Status::Good => Ok(()),
            Status::Revoked => Err(NotGood::Revoked),
            Status::Unknown => Err(NotGood::Unknown),
        }
    }
}

/// Reads a response to `question` about a certificate that `anchor` has issued.
pub(super) fn read(
    bytes: &[u8],
    question: &Question,
    anchor: &TrustAnchor,
    ocsp: &Ocsp,
    now: SystemTime,
) -> Result<Answer, NotGood> {
    let malformed = |_: x509_cert::der::Error| NotGood::Malformed;
    let response = OcspResponse::from_der(bytes).map_err(malformed)?;
    let body = match (response.response_status, response.response_bytes) {
        (OcspResponseStatus::Successful, Some(body)) if body.response_type == BASIC => body,
        (OcspResponseStatus::Successful, _) => return Err(NotGood::Malformed),
        _ => return Err(NotGood::Refused),
    };
    let body = body.response.as_bytes();
    let response = BasicOcspResponse::from_der(body).map_err(malformed)?;
    let signed = Signed::read(body).map_err(|_| NotGood::Malformed)?;
    if !is_by_a_responder(&signed, &response, anchor, ocsp, now) {
        return Err(NotGood::Unsigned);
    }
    let data = &response.tbs_response_data;
    let extensions = data.response_extensions.as_deref().unwrap_or_default();
    if !question.is_repeated_in(extensions) {
        return Err(NotGood::Unrelated);
    }
    let mut about = data.responses.iter();
    let single = about.find(|single| question.is_about(&single.cert_id));
    let single = single.ok_or(NotGood::Unrelated)?;
    Ok(Answer {
        status: match single.cert_status {
            CertStatus::Good(_) => Status::Good,
            CertStatus::Revoked(_) => Status::Revoked,
            CertStatus::Unknown(_) => Status::Unknown,
        },
        until: holds_until(single, now)?,
    })
}

/// Whether somebody signed the response who may: the responder that the tenant names, or else the authority itself or whom it has
/// made its responder (RFC 6960 §4.2.2.2).
fn is_by_a_responder(
    signed: &Signed<'_>,
    response: &BasicOcspResponse,
    anchor: &TrustAnchor,
    ocsp: &Ocsp,
    now: SystemTime,
) -> bool {
    if let Some(named) = &ocsp.responder_certificate {
        return Certificate::from_der(named).is_ok_and(|named| signed.is_by(named.public_key()));
    }
    if signed.is_by(&anchor.public_key) {
        return true;
    }
    let shown = response.certs.iter().flatten();
    shown
        .filter_map(|shown| Certificate::from_der(&shown.to_der().ok()?).ok())
        .filter(|shown| shown.is_for(OCSP_SIGNING) && shown.check_validity(now).is_ok())
        .filter(|shown| shown.is_signed_by(&anchor.public_key))
        .any(|shown| signed.is_by(shown.public_key()))
}

/// How long the answer holds; one that does not say holds for the moment.
fn holds_until(single: &SingleResponse, now: SystemTime) -> Result<SystemTime, NotGood> {
    let moment = |time: &OcspGeneralizedTime| SystemTime::UNIX_EPOCH + time.0.to_unix_duration();
    let from = moment(&single.this_update);
    let until = single.next_update.as_ref().map_or(from, moment);
    if from > now + CLOCK_SKEW || until + CLOCK_SKEW < now {
        return Err(NotGood::Stale);
    }
    Ok(until)
}

/// How much the clocks of responder and adapter may differ, as Java has it.
const CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");

/// 1.3.6.1.5.5.7.3.9
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
