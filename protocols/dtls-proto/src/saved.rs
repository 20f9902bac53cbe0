//! Sessions that outlive a process, in the form in which they are kept: sealed, so that nobody can read, change or make them.
//!
//! ```text
//!   "DTLSsave" | version (1) | salt (32) | name of the key (32) | sealed content | tag (16)
//! ```
//!
//! Everything before the content is authenticated with it, by AES-256-GCM. Cipher key and name come from the configured key, the salt
//! and the version by HKDF (RFC 5869), so that each cipher key seals once only, and two files of one key can't be linked.
//! [`crate::Server::save`] and [`crate::Server::load`] make and take the content.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::codec::{Malformed, Reader};

/// What saved sessions are sealed with; wiped when dropped, never printed.
#[derive(Clone)]
pub struct SaveKey(Zeroizing<[u8; 32]>);

/// Sessions taken out of a server, keys among them; wiped when dropped, never printed.
pub struct SavedSessions {
    /// Room for the header, then the content.
    bytes: Zeroizing<Vec<u8>>,
}

/// Why saved sessions can't be gone on with. None of them is then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// This was written by something else.
    #[error("these are no saved DTLS sessions")]
    Foreign,
    /// A later version of this program has written them, in a form that isn't known here.
    #[error(
        "saved in form {found} by a newer version; form {VERSION} is the newest that is known here"
    )]
    Newer {
        /// The number of the form.
        found: u8,
    },
    /// An earlier version of this program has written them, in a form that is no longer read.
    #[error(
        "saved in form {found} by an older version; form {VERSION} is the only one that is read"
    )]
    Older {
        /// The number of the form.
        found: u8,
    },
    /// They were sealed with another key.
    #[error("sealed with another key")]
    OtherKey,
    /// They are cut off, or were changed.
    #[error("cut off or changed")]
    Torn,
    /// They were saved more than a day ago, or, by a clock that was set back, more than a day from now.
    #[error("saved more than a day ago")]
    TooOld,
    /// There is no randomness for the jump of sequence numbers.
    #[error("no randomness available")]
    NoRandomness,
}

/// Sessions were not sealed: they are more than one seal can cover (64 GiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too much to seal")]
pub struct TooMuch;

impl SaveKey {
    /// 32 random bytes.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Seals sessions to be kept. The salt must be random, and a new one each time.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub fn seal(
        &self,
        salt: [u8; SALT_LENGTH],
        sessions: SavedSessions,
    ) -> Result<Vec<u8>, TooMuch> {
        let mut bytes = sessions.bytes;
        let derived = self.derive(&salt).ok_or(TooMuch)?;
        let header = header(&salt, &derived.name);
        let (head, content) = bytes.split_at_mut_checked(HEADER_LENGTH).ok_or(TooMuch)?;
        head.copy_from_slice(&header);
        let tag = derived
            .cipher
            .seal_in_place_separate_tag(nonce(), Aad::from(&header), content)
            .map_err(|_| TooMuch)?;
        bytes.extend_from_slice(tag.as_ref());
        // Nothing in it is a secret any more.
        Ok(std::mem::take(&mut *bytes))
    }

    /// Opens what [`SaveKey::seal`] made.
    ///
    /// # Errors
    /// [`LoadError`], if not one byte can be trusted.
    pub fn open(&self, sealed: Vec<u8>) -> Result<SavedSessions, LoadError> {
        let torn = |Malformed| LoadError::Torn;
        let mut reader = Reader::new(&sealed);
        let magic = sealed.iter().take(MAGIC.len());
        if !magic.eq(MAGIC.iter().take(sealed.len())) {
            return Err(LoadError::Foreign);
        }
        reader.bytes(MAGIC.len()).map_err(torn)?;
        match reader.u8().map_err(torn)? {
            VERSION => {}
            0 => return Err(LoadError::Foreign),
            found @ ..VERSION => return Err(LoadError::Older { found }),
            found => return Err(LoadError::Newer { found }),
        }
        let salt = reader.array().map_err(torn)?;
        let derived = self.derive(&salt).ok_or(LoadError::OtherKey)?;
        let name: [u8; NAME_LENGTH] = reader.array().map_err(torn)?;
        if !bool::from(name.ct_eq(&derived.name)) {
            return Err(LoadError::OtherKey);
        }
        let header = header(&salt, &name);
        let mut bytes = Zeroizing::new(sealed);
        let sealed = bytes.get_mut(HEADER_LENGTH..).ok_or(LoadError::Torn)?;
        let opened = derived
            .cipher
            .open_in_place(nonce(), Aad::from(&header), sealed)
            .map_err(|_| LoadError::Torn)?
            .len();
        bytes.truncate(HEADER_LENGTH.saturating_add(opened));
        Ok(SavedSessions { bytes })
    }

    fn derive(&self, salt: &[u8; SALT_LENGTH]) -> Option<Derived> {
        let secret = Salt::new(HKDF_SHA256, salt).extract(self.0.as_slice());
        let cipher = secret
            .expand(&[CIPHER_KEY, &[VERSION]], &AES_256_GCM)
            .ok()?;
        Some(Derived {
            cipher: LessSafeKey::new(UnboundKey::from(cipher)),
            name: name(&secret)?,
        })
    }
}

impl fmt::Debug for SaveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaveKey(..)")
    }
}

impl SavedSessions {
    /// With room for so much content: where it suffices, no copy of a key is left behind.
    pub(crate) fn with_room(content: usize) -> Self {
        let room = [HEADER_LENGTH, content, AES_256_GCM.tag_len()];
        let room = room.into_iter().fold(0, usize::saturating_add);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.resize(HEADER_LENGTH, 0);
        Self { bytes }
    }

    pub(crate) fn of(content: &[u8]) -> Self {
        let mut sessions = Self::with_room(content.len());
        sessions.bytes.extend_from_slice(content);
        sessions
    }

    /// Where content is appended.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.bytes.get(HEADER_LENGTH..).unwrap_or_default()
    }
}

impl fmt::Debug for SavedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SavedSessions({} bytes)", self.content().len())
    }
}

/// What a salt makes of the configured key.
struct Derived {
    cipher: LessSafeKey,
    /// What the key is known by; it tells nothing about the key.
    name: [u8; NAME_LENGTH],
}

fn name(secret: &Prk) -> Option<[u8; NAME_LENGTH]> {
    let mut name = [0; NAME_LENGTH];
    let okm = [KEY_NAME, &[VERSION]];
    secret
        .expand(&okm, HKDF_SHA256)
        .ok()?
        .fill(&mut name)
        .ok()?;
    Some(name)
}

fn header(salt: &[u8; SALT_LENGTH], name: &[u8; NAME_LENGTH]) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    let parts = MAGIC.iter().chain(&[VERSION]).chain(salt).chain(name);
    for (byte, source) in header.iter_mut().zip(parts) {
        *byte = *source;
    }
    header
}

/// Each cipher key seals once, so one nonce is enough.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; ring::aead::NONCE_LEN])
}

const MAGIC: [u8; 8] = *b"DTLSsave";

/// How sessions are written so far.
const VERSION: u8 = 2;

const SALT_LENGTH: usize = 32;

const NAME_LENGTH: usize = 32;

const HEADER_LENGTH: usize = MAGIC.len() + 1 + SALT_LENGTH + NAME_LENGTH;

const CIPHER_KEY: &[u8] = b"coap-adapter: cipher key of saved DTLS sessions";

const KEY_NAME: &[u8] = b"coap-adapter: name of the key of saved DTLS sessions";

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"content";

    fn sealed() -> Vec<u8> {
        let key = SaveKey::new([1; 32]);
        key.seal([2; 32], SavedSessions::of(CONTENT)).unwrap()
    }

    fn refusal(key: u8, bytes: &[u8]) -> LoadError {
        SaveKey::new([key; 32]).open(bytes.to_vec()).unwrap_err()
    }

    #[test]
    fn what_is_sealed_is_opened_and_shows_nothing() {
        let sealed = sealed();
        assert!(!sealed.windows(4).any(|bytes| bytes == b"cont"));
        let opened = SaveKey::new([1; 32]).open(sealed).unwrap();
        assert_eq!(opened.content(), CONTENT);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_torn() {
        let sealed = sealed();
        for length in 0..sealed.len() {
            assert_eq!(refusal(1, &sealed[..length]), LoadError::Torn, "{length}");
        }
        assert_eq!(refusal(1, &[&sealed, &[0][..]].concat()), LoadError::Torn);
    }

    #[test]
    fn what_is_changed_anywhere_is_refused_for_a_reason_that_fits() {
        let sealed = sealed();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            let expected = match at {
                0..8 => LoadError::Foreign,
                8 => LoadError::Newer { found: 0x82 },
                9..73 => LoadError::OtherKey,
                _ => LoadError::Torn,
            };
            assert_eq!(refusal(1, &changed), expected, "{at}");
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        assert_eq!(refusal(9, &sealed()), LoadError::OtherKey);
    }

    #[test]
    fn two_files_of_one_key_have_nothing_in_common() {
        let key = SaveKey::new([1; 32]);
        let other = key.seal([3; 32], SavedSessions::of(CONTENT)).unwrap();
        let one = sealed();
        let same = one.iter().zip(&other).skip(9).filter(|(a, b)| a == b);
        assert!(same.count() < 10);
    }
}
