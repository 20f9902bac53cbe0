//! What an authority has signed: certificates (RFC 5280 §4.1.1) and answers about them (RFC 6960 §4.2.1) alike.

use dtls_proto::codec::{
    Malformed, Reader,
    der::{Tag, expect, whole},
};
use dtls_proto::crypto::{PublicKeyInfo, SignatureError};

/// A message, and a signature beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The message, as it was signed.
    pub message: &'a [u8],
    /// The content of the `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads a SEQUENCE of message, algorithm and signature; what follows these in it is passed over.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are none.
    pub fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(der);
        let mut signed = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
        reader.end()?;
        let message = whole(&mut signed, Tag::SEQUENCE)?;
        let algorithm = expect(&mut signed, Tag::SEQUENCE)?;
        let bits = expect(&mut signed, Tag::BIT_STRING)?;
        let signature = bits.strip_prefix(&[0]).ok_or(Malformed)?;
        Ok(Self {
            message,
            algorithm,
            signature,
        })
    }

    /// Whether it was signed with this key (`SubjectPublicKeyInfo` in DER), in a way that is still believed.
    #[must_use]
    pub fn is_by(&self, public_key: &[u8]) -> bool {
        self.verify(public_key).is_ok()
    }

    /// As [`Signed::is_by`], with the reason.
    ///
    /// # Errors
    /// [`SignatureError`] if it was not, or if that cannot be verified.
    pub fn verify(&self, public_key: &[u8]) -> Result<(), SignatureError> {
        PublicKeyInfo::from_der(public_key)
            .map_err(|Malformed| SignatureError::UnsupportedKey)?
            .verify(self.algorithm, self.message, self.signature)
    }
}
