//! Sessions that were ended by a fatal alert, and must not be resumed (RFC 5246 §7.2.2), whatever
//! ticket comes back. Tickets are with the clients, so all that can be kept is what they stand for.

use std::collections::{HashSet, VecDeque};

use ring::digest::{SHA256, digest};

use crate::crypto::MasterSecret;

/// What a master secret is recognised by; it shows nothing of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SecretFingerprint([u8; 16]);

impl SecretFingerprint {
    pub(crate) const LENGTH: usize = 16;

    pub(crate) fn new(secret: &MasterSecret) -> Self {
        let hash = digest(&SHA256, &[CONTEXT, secret.bytes().as_slice()].concat());
        let mut fingerprint = [0; Self::LENGTH];
        for (byte, source) in fingerprint.iter_mut().zip(hash.as_ref()) {
            *byte = *source;
        }
        Self(fingerprint)
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

/// The sessions that were ended last, a bounded number of them.
#[derive(Debug, Default)]
pub(crate) struct EndedSessions {
    secrets: HashSet<SecretFingerprint>,
    /// The earliest first.
    order: VecDeque<SecretFingerprint>,
}

impl EndedSessions {
    pub(crate) fn insert(&mut self, secret: SecretFingerprint) {
        if !self.secrets.insert(secret) {
            return;
        }
        self.order.push_back(secret);
        if self.order.len() > MAX_ENDED
            && let Some(earliest) = self.order.pop_front()
        {
            self.secrets.remove(&earliest);
        }
    }

    /// Whether the session was ended, as far as that is still known.
    pub(crate) fn contains(&self, secret: &MasterSecret) -> bool {
        // Mostly there are none.
        !self.secrets.is_empty() && self.secrets.contains(&SecretFingerprint::new(secret))
    }
}

const CONTEXT: &[u8] = b"ended session";

/// Number of sessions that are remembered. A device can only make room for its own by as many full
/// handshakes.
const MAX_ENDED: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ended_sessions_are_remembered() {
        let secret = |number: usize| {
            let mut bytes = [0; SecretFingerprint::LENGTH];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            SecretFingerprint::from_bytes(bytes)
        };
        let mut ended = EndedSessions::default();
        for number in 0..=MAX_ENDED {
            ended.insert(secret(number));
            ended.insert(secret(number));
        }
        assert_eq!(ended.secrets.len(), MAX_ENDED);
        assert!(!ended.secrets.contains(&secret(0)));
        assert!(ended.secrets.contains(&secret(1)));
    }
}
