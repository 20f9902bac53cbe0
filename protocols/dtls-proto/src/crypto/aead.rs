//! Sealing and opening of one record's fragment (RFC 5246 §6.2.3.3, RFC 5288 §3, RFC 6655 §3).
//!
//! All suites here use a nonce of 4 secret and 8 explicit bytes; the explicit ones are sent before the ciphertext, and are epoch and
//! sequence number when we send.

use std::fmt;

use aes::{Aes128Enc, Aes256Enc};
use ccm::aead::{AeadInOut, Nonce, Tag};
use ccm::consts::{U8, U12, U16};
use ccm::{Ccm, KeyInit};
use ring::aead as ring_aead;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::record::RecordHeader;
use crate::codec::{Malformed, Reader};

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
    /// AES-256 in counter mode with CBC-MAC, tag of 8 bytes.
    Aes256Ccm8,
    /// AES-256 in counter mode with CBC-MAC, tag of 16 bytes.
    Aes256Ccm,
    /// AES-256 in Galois/counter mode.
    Aes256Gcm,
}

impl Aead {
    /// How many bytes the tag adds to the plaintext.
    #[must_use]
    pub fn tag_length(self) -> usize {
        match self {
            Self::Aes128Ccm8 | Self::Aes256Ccm8 => 8,
            Self::Aes128Ccm | Self::Aes128Gcm | Self::Aes256Ccm | Self::Aes256Gcm => 16,
        }
    }

    /// How many bytes the key has.
    #[must_use]
    pub fn key_length(self) -> usize {
        match self {
            Self::Aes128Ccm8 | Self::Aes128Ccm | Self::Aes128Gcm => 16,
            Self::Aes256Ccm8 | Self::Aes256Ccm | Self::Aes256Gcm => 32,
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
/// Only the key's own bytes are kept, not the cipher's expanded form, which is ten to thirty times as large, because there may be a
/// hundred thousand of these. Expanding costs about 0.2 µs a record with AES instructions.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecordKey {
    #[zeroize(skip)]
    aead: Aead,
    key: [u8; MAX_KEY_LENGTH],
    salt: [u8; SALT_LENGTH],
}

impl RecordKey {
    /// The key and the secret part of the nonce, for this cipher; a cipher with a short key uses the start of `key`.
    #[must_use]
    pub fn new(aead: Aead, key: [u8; MAX_KEY_LENGTH], salt: [u8; SALT_LENGTH]) -> Self {
        Self { aead, key, salt }
    }

    /// Appends the key and the secret part of the nonce.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.key.iter().take(self.aead.key_length()));
        out.extend_from_slice(&self.salt);
    }

    /// Reads what [`RecordKey::put`] wrote.
    pub(crate) fn read(aead: Aead, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut key = Zeroizing::new([0; MAX_KEY_LENGTH]);
        let bytes = reader.bytes(aead.key_length())?;
        for (byte, source) in key.iter_mut().zip(bytes) {
            *byte = *source;
        }
        Ok(Self::new(aead, *key, reader.array()?))
    }

    /// The cipher the key is for.
    #[must_use]
    pub fn aead(&self) -> Aead {
        self.aead
    }

    /// Appends the whole record: `header`, explicit nonce, ciphertext and tag. The plaintext may come in parts.
    ///
    /// `None`, and nothing of worth appended, if the plaintext is too long for a record.
    #[must_use]
    pub fn seal(&self, header: RecordHeader, plaintext: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
        let plaintext_length: usize = plaintext.iter().map(|part| part.len()).sum();
        let length = plaintext_length.checked_add(self.aead.overhead())?;
        let explicit = header.epoch_and_sequence();
        let additional_data = header.additional_data(u16::try_from(plaintext_length).ok()?);
        out.reserve(length.saturating_add(header.encoded_length()));
        header.encode(u16::try_from(length).ok()?, out);
        out.extend_from_slice(&explicit);
        let start = out.len();
        for part in plaintext {
            out.extend_from_slice(part);
        }
        let tag = self.encrypt(
            self.nonce(explicit),
            additional_data.as_ref(),
            out.get_mut(start..)?,
        )?;
        out.extend(tag.iter().take(self.aead.tag_length()));
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
        self.decrypt(
            self.nonce((&*explicit).try_into().ok()?),
            additional_data.as_ref(),
            sealed,
        )
    }

    /// Encrypts in place; the tag stands at the start of what is returned.
    fn encrypt(
        &self,
        nonce: [u8; 12],
        additional_data: &[u8],
        buffer: &mut [u8],
    ) -> Option<[u8; 16]> {
        let mut out = [0; 16];
        let mut put = |tag: &[u8]| {
            for (byte, source) in out.iter_mut().zip(tag) {
                *byte = *source;
            }
        };
        let (key, aad) = (self.key()?, additional_data);
        match self.aead {
            Aead::Aes128Ccm8 => put(&seal::<Aes128Ccm8>(key, nonce, aad, buffer)?),
            Aead::Aes128Ccm => put(&seal::<Aes128Ccm>(key, nonce, aad, buffer)?),
            Aead::Aes256Ccm8 => put(&seal::<Aes256Ccm8>(key, nonce, aad, buffer)?),
            Aead::Aes256Ccm => put(&seal::<Aes256Ccm>(key, nonce, aad, buffer)?),
            Aead::Aes128Gcm | Aead::Aes256Gcm => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                let tag = self
                    .gcm()?
                    .seal_in_place_separate_tag(
                        nonce,
                        ring_aead::Aad::from(additional_data),
                        buffer,
                    )
                    .ok()?;
                put(tag.as_ref());
            }
        }
        Some(out)
    }

    /// Decrypts ciphertext and tag in place.
    fn decrypt<'a>(
        &self,
        nonce: [u8; 12],
        additional_data: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let (key, aad) = (self.key()?, additional_data);
        match self.aead {
            Aead::Aes128Ccm8 => open::<Aes128Ccm8>(key, nonce, aad, sealed),
            Aead::Aes128Ccm => open::<Aes128Ccm>(key, nonce, aad, sealed),
            Aead::Aes256Ccm8 => open::<Aes256Ccm8>(key, nonce, aad, sealed),
            Aead::Aes256Ccm => open::<Aes256Ccm>(key, nonce, aad, sealed),
            Aead::Aes128Gcm | Aead::Aes256Gcm => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                self.gcm()?
                    .open_in_place(nonce, ring_aead::Aad::from(additional_data), sealed)
                    .ok()
            }
        }
    }

    fn nonce(&self, explicit: [u8; EXPLICIT_NONCE_LENGTH]) -> [u8; 12] {
        let [s0, s1, s2, s3] = self.salt;
        let [e0, e1, e2, e3, e4, e5, e6, e7] = explicit;
        [s0, s1, s2, s3, e0, e1, e2, e3, e4, e5, e6, e7]
    }

    /// As many bytes as the cipher wants.
    fn key(&self) -> Option<&[u8]> {
        self.key.get(..self.aead.key_length())
    }

    fn gcm(&self) -> Option<ring_aead::LessSafeKey> {
        let algorithm = if self.aead == Aead::Aes256Gcm {
            &ring_aead::AES_256_GCM
        } else {
            &ring_aead::AES_128_GCM
        };
        ring_aead::UnboundKey::new(algorithm, self.key()?)
            .ok()
            .map(ring_aead::LessSafeKey::new)
    }
}

type Aes128Ccm8 = Ccm<Aes128Enc, U8, U12>;
type Aes128Ccm = Ccm<Aes128Enc, U16, U12>;
type Aes256Ccm8 = Ccm<Aes256Enc, U8, U12>;
type Aes256Ccm = Ccm<Aes256Enc, U16, U12>;

fn seal<C: AeadInOut<NonceSize = U12> + KeyInit>(
    key: &[u8],
    nonce: [u8; 12],
    additional_data: &[u8],
    buffer: &mut [u8],
) -> Option<Tag<C>> {
    C::new_from_slice(key)
        .ok()?
        .encrypt_inout_detached(&Nonce::<C>::from(nonce), additional_data, buffer.into())
        .ok()
}

fn open<'a, C: AeadInOut<NonceSize = U12> + KeyInit>(
    key: &[u8],
    nonce: [u8; 12],
    additional_data: &[u8],
    sealed: &'a mut [u8],
) -> Option<&'a mut [u8]> {
    let length = sealed.len().checked_sub(Tag::<C>::default().len())?;
    let (buffer, tag) = sealed.split_at_mut_checked(length)?;
    let tag = Tag::<C>::try_from(&*tag).ok()?;
    C::new_from_slice(key)
        .ok()?
        .decrypt_inout_detached(
            &Nonce::<C>::from(nonce),
            additional_data,
            (&mut *buffer).into(),
            &tag,
        )
        .ok()?;
    Some(buffer)
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({:?}, ..)", self.aead)
    }
}

/// Bytes of the longest key, that of AES-256.
pub(crate) const MAX_KEY_LENGTH: usize = 32;

/// Bytes of the nonce that come from the key block (RFC 5288 §3, RFC 6655 §3).
pub(crate) const SALT_LENGTH: usize = 4;

/// Bytes of the nonce that are sent with the record.
const EXPLICIT_NONCE_LENGTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::record::{ContentType, HEADER_LENGTH};

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().as_chunks::<2>().0;
        digits
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// One vector, both ways.
    fn check(aead: Aead, vector: [&str; 6]) {
        let [key, nonce, additional_data, plaintext, ciphertext, tag] = vector.map(hex);
        let mut padded = [0; MAX_KEY_LENGTH];
        padded[..key.len()].copy_from_slice(&key);
        let key = RecordKey::new(aead, padded, [0; SALT_LENGTH]);
        let nonce = nonce.try_into().unwrap();
        let mut buffer = plaintext.clone();
        let made = key.encrypt(nonce, &additional_data, &mut buffer).unwrap();
        assert_eq!(buffer, ciphertext);
        assert_eq!(made[..aead.tag_length()], tag);
        let mut sealed = [ciphertext, tag].concat();
        let opened = key
            .decrypt(nonce, &additional_data, &mut sealed.clone())
            .unwrap()
            .to_vec();
        assert_eq!(opened, plaintext);
        *sealed.last_mut().unwrap() ^= 1;
        assert!(key.decrypt(nonce, &additional_data, &mut sealed).is_none());
    }

    #[test]
    fn ccm_8_gives_example_3_of_nist_sp_800_38c() {
        check(
            Aead::Aes128Ccm8,
            [
                "404142434445464748494a4b4c4d4e4f",
                "101112131415161718191a1b",
                "000102030405060708090a0b0c0d0e0f10111213",
                "202122232425262728292a2b2c2d2e2f3031323334353637",
                "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5",
                "484392fbc1b09951",
            ],
        );
    }

    #[test]
    fn gcm_gives_test_case_4_of_its_specification() {
        check(
            Aead::Aes128Gcm,
            [
                "feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                 b16aedf5aa0de657ba637b39",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05\
                 1ba30b396a0aac973d58e091",
                "5bc94fbc3221a5db94fae95ae7121a47",
            ],
        );
    }

    #[test]
    fn gcm_with_a_long_key_gives_test_case_16_of_its_specification() {
        check(
            Aead::Aes256Gcm,
            [
                "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                 b16aedf5aa0de657ba637b39",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
                 c5f61e6393ba7a0abcc9f662",
                "76fc6ece0f4e1768cddf8853bb2d551b",
            ],
        );
    }

    #[test]
    fn a_record_opens_under_its_own_header_only() {
        for aead in [
            Aead::Aes128Ccm8,
            Aead::Aes128Ccm,
            Aead::Aes128Gcm,
            Aead::Aes256Ccm8,
            Aead::Aes256Ccm,
            Aead::Aes256Gcm,
        ] {
            let key = RecordKey::new(aead, [1; MAX_KEY_LENGTH], [2; SALT_LENGTH]);
            let header = RecordHeader::new(ContentType::APPLICATION_DATA, 1, 7);
            let mut record = Vec::new();
            key.seal(header, &[b"21.5"], &mut record).unwrap();
            assert_eq!(record.len(), HEADER_LENGTH + aead.overhead() + 4);
            let fragment = &record[HEADER_LENGTH..];
            assert_eq!(key.open(header, &mut fragment.to_vec()).unwrap(), b"21.5");
            for other in [
                RecordHeader {
                    content_type: ContentType::ALERT,
                    ..header
                },
                RecordHeader { epoch: 2, ..header },
                RecordHeader {
                    sequence: 8,
                    ..header
                },
            ] {
                assert!(
                    key.open(other, &mut fragment.to_vec()).is_none(),
                    "{other:?}"
                );
            }
            for length in 0..fragment.len() {
                assert!(
                    key.open(header, &mut fragment[..length].to_vec()).is_none(),
                    "{length}"
                );
            }
        }
    }
}
