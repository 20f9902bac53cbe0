//! What is kept of a DTLS session from one process to the next, beside what DTLS itself keeps: whose it is, and which requests were
//! answered in it, so that one that comes again is not done again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coap_proto::{Answered, Code, MessageId, Reliability};
use registry_client::CredentialsType;

use crate::authn::Principal;

/// The owner of a session, and what was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) principal: Principal,
    pub(crate) answered: Vec<Answered>,
}

impl Kept {
    /// Appends nothing that was refused because the server was not able to serve it: the next process is to try.
    pub(crate) fn encode(
        principal: &Principal,
        answered: impl Iterator<Item = Answered>,
        now: SystemTime,
    ) -> Vec<u8> {
        let mut out = vec![VERSION, kind(principal.credentials)];
        for text in [&principal.tenant, &principal.device, &principal.auth_id] {
            put(text.as_bytes(), &mut out);
        }
        for answered in answered.filter(|answered| !is_unavailable(answered)) {
            let received = since_epoch(now).saturating_sub(answered.age);
            let millis = u64::try_from(received.as_millis()).unwrap_or(u64::MAX);
            out.extend_from_slice(&answered.message_id.0.to_be_bytes());
            out.push(u8::from(answered.reliability == Reliability::Confirmable));
            out.extend_from_slice(&millis.to_be_bytes());
            // No message is empty.
            put(answered.repeat.as_deref().unwrap_or_default(), &mut out);
        }
        out
    }

    /// Reads what [`Kept::encode`] wrote; `None` if it did not.
    pub(crate) fn decode(bytes: &[u8], now: SystemTime) -> Option<Self> {
        let rest = &mut &*bytes;
        let [version, credentials] = take(rest)?;
        if version != VERSION {
            return None;
        }
        let mut text = || std::str::from_utf8(vector(rest)?).ok().map(Arc::from);
        let principal = Principal {
            tenant: text()?,
            device: text()?,
            auth_id: text()?,
            credentials: *KINDS.get(usize::from(credentials))?,
        };
        let mut answered = Vec::new();
        while !rest.is_empty() {
            let message_id = MessageId(u16::from_be_bytes(take(rest)?));
            let reliability = match take(rest)? {
                [0] => Reliability::NonConfirmable,
                _ => Reliability::Confirmable,
            };
            let received = Duration::from_millis(u64::from_be_bytes(take(rest)?));
            let repeat = Some(vector(rest)?).filter(|message| !message.is_empty());
            answered.push(Answered {
                message_id,
                reliability,
                age: since_epoch(now).saturating_sub(received),
                repeat: repeat.map(Arc::from),
            });
        }
        Some(Self {
            principal,
            answered,
        })
    }
}

fn is_unavailable(answered: &Answered) -> bool {
    let code = answered.repeat.as_ref().and_then(|message| message.get(1));
    code == Some(&Code::SERVICE_UNAVAILABLE.to_byte())
}

fn kind(credentials: CredentialsType) -> u8 {
    let known = KINDS.iter().zip(0..);
    let found = known.filter(|(kind, _)| **kind == credentials);
    found.map(|(_, number)| number).next().unwrap_or(u8::MAX)
}

fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Appends bytes behind their length. None that come here are longer than a datagram; what is, is left out.
fn put(bytes: &[u8], out: &mut Vec<u8>) {
    let (length, bytes) = match u16::try_from(bytes.len()) {
        Ok(length) => (length, bytes),
        Err(_) => (0, &[][..]),
    };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn vector<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(rest)?);
    let (bytes, behind) = rest.split_at_checked(length.into())?;
    *rest = behind;
    Some(bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}

/// How it is written so far.
const VERSION: u8 = 1;

/// By their numbers.
const KINDS: [CredentialsType; 4] = [
    CredentialsType::Psk,
    CredentialsType::X509Cert,
    CredentialsType::Rpk,
    CredentialsType::HashedPassword,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(credentials: CredentialsType) -> Principal {
        Principal {
            tenant: "T".into(),
            device: "Gerät".into(),
            auth_id: "a".repeat(300).into(),
            credentials,
        }
    }

    fn answered(code: Code, age: u64) -> Answered {
        Answered {
            message_id: MessageId(0x1234),
            reliability: Reliability::Confirmable,
            age: Duration::from_secs(age),
            repeat: Some(Arc::from([0x60, code.to_byte(), 0x12, 0x34])),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_kept_comes_back_older_by_the_pause() {
        let silent = Answered {
            reliability: Reliability::NonConfirmable,
            repeat: None,
            ..answered(Code::CHANGED, 3)
        };
        for credentials in KINDS {
            let all = [answered(Code::CHANGED, 2), silent.clone()];
            let bytes = Kept::encode(&principal(credentials), all.into_iter(), at(100));
            let kept = Kept::decode(&bytes, at(110)).unwrap();
            assert_eq!(kept.principal, principal(credentials));
            let older = Answered {
                age: Duration::from_secs(13),
                ..silent.clone()
            };
            assert_eq!(kept.answered, [answered(Code::CHANGED, 12), older]);
        }
    }

    #[test]
    fn what_was_not_served_is_not_kept() {
        let all = [answered(Code::SERVICE_UNAVAILABLE, 1)];
        let bytes = Kept::encode(&principal(CredentialsType::Psk), all.into_iter(), at(100));
        let kept = Kept::decode(&bytes, at(100)).unwrap();
        assert_eq!(kept.answered, []);
    }

    #[test]
    fn what_is_broken_is_nothing_and_no_panic() {
        let all = [answered(Code::CHANGED, 2)];
        let bytes = Kept::encode(&principal(CredentialsType::Psk), all.into_iter(), at(100));
        let whole_without_answers = 2 + 3 * 2 + 1 + 6 + 300;
        for length in 0..bytes.len() {
            let kept = Kept::decode(&bytes[..length], at(100));
            assert_eq!(kept.is_some(), length == whole_without_answers, "{length}");
        }
        for at_byte in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at_byte] ^= 0xff;
            drop(Kept::decode(&changed, at(100)));
        }
    }
}
