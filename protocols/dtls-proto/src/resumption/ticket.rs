//! Tickets: what a client keeps for us, sealed so that nobody can read or make one (RFC 5077 §4).
//!
//! ```text
//!   name of the key (16) | nonce (12) | sealed content | tag (16)
//! ```
//!
//! The content is the time of issue in Unix seconds (8 bytes, 0 if it is not known) and the session. A
//! ticket is good as long as its key is, and for [`crate::Resumption::ticket_lifetime`]. The
//! caller changes the keys, and may give the same ones to several servers.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::resumption::Resumable;

/// The keys tickets are sealed with; wiped when dropped, never printed.
#[derive(Clone)]
pub struct TicketKeys {
    current: Zeroizing<[u8; 32]>,
    previous: Option<Zeroizing<[u8; 32]>>,
}

impl TicketKeys {
    /// New tickets are sealed with `current`; those sealed with `previous` are still good. Both are 32 random bytes.
    #[must_use]
    pub fn new(current: [u8; 32], previous: Option<[u8; 32]>) -> Self {
        Self {
            current: Zeroizing::new(current),
            previous: previous.map(Zeroizing::new),
        }
    }

    /// The ticket for a session, issued at this time; `None` if it would be too long for a ClientHello in one datagram, or there is no randomness.
    pub(crate) fn seal(&self, resumable: &Resumable, issued: u64) -> Option<Vec<u8>> {
        let mut content = Zeroizing::new(Vec::with_capacity(MAX_TICKET));
        content.extend_from_slice(&issued.to_be_bytes());
        resumable.encode(&mut content);
        let mut nonce = [0; NONCE_LENGTH];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let name = name(&self.current);
        let tag = cipher(&self.current)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name),
                &mut content,
            )
            .ok()?;
        let ticket = [name.as_slice(), &nonce, &content, tag.as_ref()].concat();
        (ticket.len() <= MAX_TICKET).then_some(ticket)
    }

    /// When a ticket was issued, and for which session; `None` if it isn't sealed with a key of ours.
    pub(crate) fn open(&self, ticket: &[u8]) -> Option<(u64, Resumable)> {
        let (found, rest) = ticket.split_first_chunk::<NAME_LENGTH>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LENGTH>()?;
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| name(key).ct_eq(found).into())?;
        let mut content = Zeroizing::new(sealed.to_vec());
        let opened = cipher(key)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(*found),
                &mut content,
            )
            .ok()?;
        let read = opened
            .split_first_chunk()
            .and_then(|(issued, session)| Some((*issued, Resumable::decode(session).ok()?)));
        opened.zeroize();
        read.map(|(issued, resumable)| (u64::from_be_bytes(issued), resumable))
    }
}

impl PartialEq for TicketKeys {
    fn eq(&self, other: &Self) -> bool {
        self.current.ct_eq(&*other.current).into()
            && self.previous.as_deref() == other.previous.as_deref()
    }
}

impl Eq for TicketKeys {}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(..)")
    }
}

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}

/// What a key is known by; it tells nothing about the key.
fn name(key: &[u8; 32]) -> [u8; NAME_LENGTH] {
    let hash = digest(
        &SHA256,
        &[b"ticket key name, tickets with time".as_slice(), key].concat(),
    );
    let mut name = [0; NAME_LENGTH];
    for (byte, source) in name.iter_mut().zip(hash.as_ref()) {
        *byte = *source;
    }
    name
}

const NAME_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 12;

/// A ClientHello with it must fit into one datagram, because a server that keeps nothing can't put it together.
const MAX_TICKET: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CipherSuite, MasterSecret, Psk};
    use crate::resumption::Credential;

    fn resumable(credential: Credential) -> Resumable {
        let suite = CipherSuite::PskAes128Ccm8;
        Resumable {
            suite,
            master_secret: MasterSecret::from_bytes(suite.hash(), [7; 48]),
            server_name: Some("tenant.example".to_owned()),
            credential,
        }
    }

    fn psk() -> Resumable {
        resumable(Credential::psk(
            b"sensor1".to_vec(),
            &Psk::from(b"secret".as_slice()),
        ))
    }

    #[test]
    fn a_ticket_says_what_was_put_into_it_and_shows_nothing_of_it() {
        let keys = TicketKeys::new([1; 32], None);
        for state in [psk(), resumable(Credential::Certificate(vec![9; 700]))] {
            let ticket = keys.seal(&state, 7).unwrap();
            assert!(!ticket.windows(6).any(|bytes| bytes == b"sensor"));
            let (issued, opened) = keys.open(&ticket).unwrap();
            assert_eq!(issued, 7);
            assert_eq!(opened.suite, state.suite);
            assert_eq!(opened.master_secret.bytes(), state.master_secret.bytes());
            assert_eq!(opened.server_name, state.server_name);
            assert_eq!(opened.credential, state.credential);
        }
    }

    #[test]
    fn a_ticket_outlives_one_change_of_keys_but_not_two() {
        let ticket = TicketKeys::new([1; 32], None).seal(&psk(), 7).unwrap();
        assert!(
            TicketKeys::new([2; 32], Some([1; 32]))
                .open(&ticket)
                .is_some()
        );
        assert!(
            TicketKeys::new([3; 32], Some([2; 32]))
                .open(&ticket)
                .is_none()
        );
    }

    #[test]
    fn a_changed_ticket_says_nothing() {
        let keys = TicketKeys::new([1; 32], None);
        let ticket = keys.seal(&psk(), 7).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(keys.open(&changed).is_none(), "{at}");
            assert!(keys.open(&ticket[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn what_is_too_long_gets_no_ticket() {
        let keys = TicketKeys::new([1; 32], None);
        let long = resumable(Credential::Certificate(vec![9; 1000]));
        assert!(keys.seal(&long, 7).is_none());
    }

    #[test]
    fn two_tickets_of_one_session_have_nothing_in_common_but_the_key() {
        let keys = TicketKeys::new([1; 32], None);
        let (one, two) = (keys.seal(&psk(), 7).unwrap(), keys.seal(&psk(), 7).unwrap());
        assert_eq!(one[..NAME_LENGTH], two[..NAME_LENGTH]);
        assert_ne!(one[NAME_LENGTH..], two[NAME_LENGTH..]);
    }
}
