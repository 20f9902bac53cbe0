//! From premaster secret to record keys and Finished (RFC 5246 §6.3, §7.4.9, §8.1; RFC 7627 §4).

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::codec::hello::Random;
use crate::crypto::aead::{MAX_KEY_LENGTH, SALT_LENGTH};
use crate::crypto::{Aead, HashAlgorithm, PremasterSecret, RecordKey, TranscriptHash, prf};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who said ClientHello.
    Client,
    /// Who answered it.
    Server,
}

/// The 48 bytes both sides have in common; wiped when dropped, never printed.
#[derive(Clone)]
pub struct MasterSecret {
    hash: HashAlgorithm,
    secret: Zeroizing<[u8; 48]>,
}

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
    pub fn plain(
        hash: HashAlgorithm,
        premaster: &PremasterSecret,
        client: &Random,
        server: &Random,
    ) -> Self {
        Self::derive(hash, premaster, b"master secret", &[client, server])
    }

    /// Bound to all of the handshake so far, through ClientKeyExchange (RFC 7627 §4).
    #[must_use]
    pub fn extended(
        hash: HashAlgorithm,
        premaster: &PremasterSecret,
        session_hash: &TranscriptHash,
    ) -> Self {
        let seed: &[&[u8]] = &[session_hash.as_ref()];
        Self::derive(hash, premaster, b"extended master secret", seed)
    }

    /// That of a session which is resumed.
    pub(crate) fn from_bytes(hash: HashAlgorithm, bytes: [u8; 48]) -> Self {
        Self {
            hash,
            secret: Zeroizing::new(bytes),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 48] {
        &self.secret
    }

    /// The record keys (RFC 5246 §6.3); AEAD suites need no MAC keys.
    #[must_use]
    pub fn keys(&self, aead: Aead, client: &Random, server: &Random) -> Keys {
        let mut block = Zeroizing::new([0; MAX_KEY_BLOCK_LENGTH]);
        prf(
            self.hash,
            self.secret.as_slice(),
            b"key expansion",
            &[server, client],
            block.as_mut_slice(),
        );
        let mut rest = block.iter().copied();
        let client_key = key(aead, &mut rest);
        let server_key = key(aead, &mut rest);
        let client_salt = take(&mut rest);
        let server_salt = take(&mut rest);
        Keys {
            client: RecordKey::new(aead, *client_key, client_salt),
            server: RecordKey::new(aead, *server_key, server_salt),
        }
    }

    /// What `side` must say in its Finished over this transcript (RFC 5246 §7.4.9).
    #[must_use]
    pub fn verify_data(
        &self,
        side: Side,
        transcript_hash: &TranscriptHash,
    ) -> [u8; VERIFY_DATA_LENGTH] {
        let label: &[u8] = match side {
            Side::Client => b"client finished",
            Side::Server => b"server finished",
        };
        let mut out = [0; VERIFY_DATA_LENGTH];
        let seed: &[&[u8]] = &[transcript_hash.as_ref()];
        prf(self.hash, self.secret.as_slice(), label, seed, &mut out);
        out
    }

    /// Whether `received` is what `side` must say; takes the same time for every wrong answer.
    #[must_use]
    pub fn verifies(&self, side: Side, transcript_hash: &TranscriptHash, received: &[u8]) -> bool {
        self.verify_data(side, transcript_hash)
            .as_slice()
            .ct_eq(received)
            .into()
    }

    fn derive(
        hash: HashAlgorithm,
        premaster: &PremasterSecret,
        label: &[u8],
        seed: &[&[u8]],
    ) -> Self {
        let mut secret = Zeroizing::new([0; 48]);
        prf(hash, premaster.bytes(), label, seed, secret.as_mut_slice());
        Self { hash, secret }
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(..)")
    }
}

/// A key of the cipher's length; the rest stays zero.
fn key(aead: Aead, bytes: &mut impl Iterator<Item = u8>) -> Zeroizing<[u8; MAX_KEY_LENGTH]> {
    let mut key = Zeroizing::new([0; MAX_KEY_LENGTH]);
    for byte in key.iter_mut().take(aead.key_length()) {
        *byte = bytes.next().unwrap_or_default();
    }
    key
}

fn take<const N: usize>(bytes: &mut impl Iterator<Item = u8>) -> [u8; N] {
    std::array::from_fn(|_| bytes.next().unwrap_or_default())
}

/// Bytes of a Finished (RFC 5246 §7.4.9).
pub const VERIFY_DATA_LENGTH: usize = 12;

/// Two keys of the longest kind, two salts; a cipher with shorter keys uses less of it.
const MAX_KEY_BLOCK_LENGTH: usize = 2 * (MAX_KEY_LENGTH + SALT_LENGTH);
