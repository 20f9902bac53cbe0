//! From premaster secret to record keys and Finished (RFC 5246 §6.3, §7.4.9, §8.1; RFC 7627 §4).

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::codec::hello::Random;
use crate::crypto::aead::{KEY_LENGTH, SALT_LENGTH};
use crate::crypto::{Aead, Psk, RecordKey, prf_sha256};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who said ClientHello.
    Client,
    /// Who answered it.
    Server,
}

/// The 48 bytes both sides have in common; wiped when dropped, never printed.
pub struct MasterSecret(Zeroizing<[u8; 48]>);

/// The record keys of both directions.
#[derive(Debug)]
pub struct Keys {
    /// Seals what the client sends.
    pub client: RecordKey,
    /// Seals what the server sends.
    pub server: RecordKey,
}

impl MasterSecret {
    /// Bound to the two randoms only (RFC 5246 §8.1).
    #[must_use]
    pub fn plain(psk: &Psk, client: &Random, server: &Random) -> Self {
        Self::derive(psk, b"master secret", &[client, server])
    }

    /// Bound to all of the handshake so far, through ClientKeyExchange (RFC 7627 §4).
    #[must_use]
    pub fn extended(psk: &Psk, session_hash: &[u8; 32]) -> Self {
        Self::derive(psk, b"extended master secret", &[session_hash])
    }

    /// The record keys (RFC 5246 §6.3); AEAD suites need no MAC keys.
    #[must_use]
    pub fn keys(&self, aead: Aead, client: &Random, server: &Random) -> Keys {
        let mut block = Zeroizing::new([0; KEY_BLOCK_LENGTH]);
        prf_sha256(
            self.0.as_slice(),
            b"key expansion",
            &[server, client],
            block.as_mut_slice(),
        );
        let mut rest = block.iter().copied();
        let client_key = Zeroizing::new(take(&mut rest));
        let server_key = Zeroizing::new(take(&mut rest));
        let client_salt = take(&mut rest);
        let server_salt = take(&mut rest);
        Keys {
            client: RecordKey::new(aead, *client_key, client_salt),
            server: RecordKey::new(aead, *server_key, server_salt),
        }
    }

    /// What `side` must say in its Finished over this transcript (RFC 5246 §7.4.9).
    #[must_use]
    pub fn verify_data(&self, side: Side, transcript_hash: &[u8; 32]) -> [u8; VERIFY_DATA_LENGTH] {
        let label: &[u8] = match side {
            Side::Client => b"client finished",
            Side::Server => b"server finished",
        };
        let mut out = [0; VERIFY_DATA_LENGTH];
        prf_sha256(self.0.as_slice(), label, &[transcript_hash], &mut out);
        out
    }

    /// Whether `received` is what `side` must say; takes the same time for every wrong answer.
    #[must_use]
    pub fn verifies(&self, side: Side, transcript_hash: &[u8; 32], received: &[u8]) -> bool {
        self.verify_data(side, transcript_hash)
            .as_slice()
            .ct_eq(received)
            .into()
    }

    fn derive(psk: &Psk, label: &[u8], seed: &[&[u8]]) -> Self {
        let mut secret = Zeroizing::new([0; 48]);
        prf_sha256(&psk.premaster_secret(), label, seed, secret.as_mut_slice());
        Self(secret)
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(..)")
    }
}

fn take<const N: usize>(bytes: &mut impl Iterator<Item = u8>) -> [u8; N] {
    std::array::from_fn(|_| bytes.next().unwrap_or_default())
}

/// Bytes of a Finished (RFC 5246 §7.4.9).
pub const VERIFY_DATA_LENGTH: usize = 12;

/// Two keys, two salts.
const KEY_BLOCK_LENGTH: usize = 2 * (KEY_LENGTH + SALT_LENGTH);
