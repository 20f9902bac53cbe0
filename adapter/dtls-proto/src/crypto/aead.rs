//! Sealing and opening of one record's fragment (RFC 5246 §6.2.3.3, RFC 5288 §3, RFC 6655 §3).
//!
//! All suites here use a nonce of 4 secret and 8 explicit bytes; the explicit ones are sent before the ciphertext, and are epoch and
//! sequence number when we send.

use std::fmt;

use aes::Aes128Enc;
use ccm::aead::AeadInOut;
use ccm::consts::{U8, U12, U16};
use ccm::{Ccm, KeyInit, Nonce, Tag};
use ring::aead as ring_aead;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::codec::record::RecordHeader;

/// An authenticated cipher for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aead {
    /// AES-128 in counter mode with CBC-MAC, tag of 8 bytes.
    Aes128Ccm8,
    /// AES-128 in counter mode with CBC-MAC, tag of 16 bytes.
    Aes128Ccm,
    /// AES-128 in Galois/counter mode.
    Aes128Gcm,
}

impl Aead {
    /// How many bytes the tag adds to the plaintext.
    #[must_use]
    pub fn tag_length(self) -> usize {
        match self {
            Self::Aes128Ccm8 => 8,
            Self::Aes128Ccm | Self::Aes128Gcm => 16,
        }
    }

    /// How many bytes a record grows: explicit nonce and tag.
    #[must_use]
    pub fn overhead(self) -> usize {
        self.tag_length().saturating_add(EXPLICIT_NONCE_LENGTH)
    }
}

/// The key of one direction; wiped when dropped, never printed.
///
/// Only the key's own bytes are kept, not the cipher's expanded form, which is ten to thirty times as large: there may be a hundred
/// thousand of these, and expanding costs less than fetching the expanded form from cold memory.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecordKey {
    #[zeroize(skip)]
    aead: Aead,
    key: [u8; KEY_LENGTH],
    salt: [u8; SALT_LENGTH],
}

impl RecordKey {
    /// The key and the secret part of the nonce, for this cipher.
    #[must_use]
    pub fn new(aead: Aead, key: [u8; KEY_LENGTH], salt: [u8; SALT_LENGTH]) -> Self {
        Self { aead, key, salt }
    }

    /// The cipher the key is for.
    #[must_use]
    pub fn aead(&self) -> Aead {
        self.aead
    }

    /// Appends the whole record: `header`, explicit nonce, ciphertext and tag.
    ///
    /// `None`, and nothing of worth appended, if the plaintext is too long for a record.
    #[must_use]
    pub fn seal(&self, header: RecordHeader, plaintext: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let plaintext_length = u16::try_from(plaintext.len()).ok()?;
        let length = plaintext.len().checked_add(self.aead.overhead())?;
        let explicit = header.epoch_and_sequence();
        let additional_data = header.additional_data(plaintext_length);
        out.reserve(length.saturating_add(header.encoded_length()));
        header.encode(u16::try_from(length).ok()?, out);
        out.extend_from_slice(&explicit);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let buffer = out.get_mut(start..)?;
        let nonce = self.nonce(explicit);
        match self.aead {
            Aead::Aes128Ccm8 => {
                let cipher = Ccm::<Aes128Enc, U8, U12>::new(&self.key.into());
                let tag = cipher
                    .encrypt_inout_detached(&Nonce::from(nonce), &additional_data, buffer.into())
                    .ok()?;
                out.extend_from_slice(&tag);
            }
            Aead::Aes128Ccm => {
                let cipher = Ccm::<Aes128Enc, U16, U12>::new(&self.key.into());
                let tag = cipher
                    .encrypt_inout_detached(&Nonce::from(nonce), &additional_data, buffer.into())
                    .ok()?;
                out.extend_from_slice(&tag);
            }
            Aead::Aes128Gcm => {
                let tag = self
                    .gcm()?
                    .seal_in_place_separate_tag(
                        ring_aead::Nonce::assume_unique_for_key(nonce),
                        ring_aead::Aad::from(additional_data),
                        buffer,
                    )
                    .ok()?;
                out.extend_from_slice(tag.as_ref());
            }
        }
        Some(())
    }

    /// Decrypts a fragment (explicit nonce, ciphertext, tag) in place and returns the plaintext.
    ///
    /// `None` if it was not sealed with this key under this header; the fragment is then of no use any more.
    #[must_use]
    pub fn open<'a>(&self, header: RecordHeader, fragment: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (explicit, sealed) = fragment.split_at_mut_checked(EXPLICIT_NONCE_LENGTH)?;
        let length = sealed.len().checked_sub(self.aead.tag_length())?;
        let additional_data = header.additional_data(u16::try_from(length).ok()?);
        let nonce = self.nonce((&*explicit).try_into().ok()?);
        if self.aead == Aead::Aes128Gcm {
            let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
            return self
                .gcm()?
                .open_in_place(nonce, ring_aead::Aad::from(additional_data), sealed)
                .ok();
        }
        let nonce = Nonce::from(nonce);
        let (buffer, tag) = sealed.split_at_mut_checked(length)?;
        if self.aead == Aead::Aes128Ccm8 {
            let tag = Tag::<U8>::try_from(&*tag).ok()?;
            Ccm::<Aes128Enc, U8, U12>::new(&self.key.into())
                .decrypt_inout_detached(&nonce, &additional_data, (&mut *buffer).into(), &tag)
                .ok()?;
        } else {
            let tag = Tag::<U16>::try_from(&*tag).ok()?;
            Ccm::<Aes128Enc, U16, U12>::new(&self.key.into())
                .decrypt_inout_detached(&nonce, &additional_data, (&mut *buffer).into(), &tag)
                .ok()?;
        }
        Some(buffer)
    }

    fn nonce(&self, explicit: [u8; EXPLICIT_NONCE_LENGTH]) -> [u8; 12] {
        let [s0, s1, s2, s3] = self.salt;
        let [e0, e1, e2, e3, e4, e5, e6, e7] = explicit;
        [s0, s1, s2, s3, e0, e1, e2, e3, e4, e5, e6, e7]
    }

    fn gcm(&self) -> Option<ring_aead::LessSafeKey> {
        ring_aead::UnboundKey::new(&ring_aead::AES_128_GCM, &self.key)
            .ok()
            .map(ring_aead::LessSafeKey::new)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({:?}, ..)", self.aead)
    }
}

/// Bytes of an AES-128 key.
pub(crate) const KEY_LENGTH: usize = 16;

/// Bytes of the nonce that come from the key block (RFC 5288 §3, RFC 6655 §3).
pub(crate) const SALT_LENGTH: usize = 4;

/// Bytes of the nonce that are sent with the record.
const EXPLICIT_NONCE_LENGTH: usize = 8;
