//! Messages of handshakes with certificates (RFC 5246 §7.4.2, §7.4.4, §7.4.8; RFC 8422 §5.4).

use crate::codec::der::{Tag, expect, optional, whole};
use crate::codec::key_exchange::ServerEcdhParams;
use crate::codec::{Malformed, Reader, put_u24, put_vector8, put_vector16};

/// Which signature over which hash: two bytes, as TLS 1.2 pairs them (RFC 5246 §7.4.1.4.1, RFC 8422 §5.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureScheme(pub u16);

impl SignatureScheme {
    /// ECDSA over SHA-256, in TLS 1.2 on any curve.
    pub const ECDSA_SHA256: Self = Self(0x0403);
    /// ECDSA over SHA-384, in TLS 1.2 on any curve.
    pub const ECDSA_SHA384: Self = Self(0x0503);
    /// ECDSA over SHA-512, in TLS 1.2 on any curve.
    pub const ECDSA_SHA512: Self = Self(0x0603);
    /// Ed25519.
    pub const ED25519: Self = Self(0x0807);

    /// What is accepted of a peer.
    pub const ALL: [Self; 4] = [
        Self::ECDSA_SHA256,
        Self::ECDSA_SHA384,
        Self::ECDSA_SHA512,
        Self::ED25519,
    ];
}

/// Reads the body of a Certificate message: the chain in DER, the sender's own first; possibly nothing.
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn decode_chain(body: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut reader = Reader::new(body);
    let mut list = Reader::new(reader.vector24()?);
    reader.end()?;
    let mut chain = Vec::new();
    while !list.is_empty() {
        let certificate = list.vector24()?;
        if certificate.is_empty() {
            return Err(Malformed);
        }
        chain.push(certificate);
    }
    Ok(chain)
}

/// The body of a Certificate message.
#[must_use]
pub fn encode_chain<C: AsRef<[u8]>>(chain: &[C]) -> Vec<u8> {
    let mut list = Vec::new();
    for certificate in chain {
        put_vector24(&mut list, certificate.as_ref());
    }
    let mut out = Vec::new();
    put_vector24(&mut out, &list);
    out
}

/// The `SubjectPublicKeyInfo` in a certificate of any version (RFC 5280 §4.1), in DER. Nothing else of it is looked at.
///
/// # Errors
/// [`Malformed`] for bytes that are no certificate.
pub fn certificate_public_key(der: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(der);
    let mut certificate = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
    reader.end()?;
    let mut tbs = Reader::new(expect(&mut certificate, Tag::SEQUENCE)?);
    optional(&mut tbs, Tag::context(0))?;
    expect(&mut tbs, Tag::INTEGER)?;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        expect(&mut tbs, Tag::SEQUENCE)?;
    }
    whole(&mut tbs, Tag::SEQUENCE)
}

/// Reads the body of a Certificate message that carries a bare key (RFC 7250 §3): a `SubjectPublicKeyInfo` in DER.
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn decode_raw_key(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let key = reader.vector24()?;
    reader.end()?;
    Ok(key)
}

/// The body of a Certificate message with a bare key; empty if there is none.
#[must_use]
pub fn encode_raw_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_vector24(&mut out, key);
    out
}

/// What a server wants to see of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateRequest<'a> {
    /// The kinds of keys, a byte each.
    pub types: &'a [u8],
    /// The signatures it can check, two bytes each.
    pub schemes: &'a [[u8; 2]],
    /// The names of authorities it trusts, each behind its length; empty for any.
    pub authorities: &'a [u8],
}

impl<'a> CertificateRequest<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let types = reader.vector8()?;
        let (schemes, odd) = reader.vector16()?.as_chunks();
        let authorities = reader.vector16()?;
        reader.end()?;
        if types.is_empty() || schemes.is_empty() || !odd.is_empty() {
            return Err(Malformed);
        }
        Ok(Self {
            types,
            schemes,
            authorities,
        })
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vector8(&mut out, self.types);
        put_vector16(&mut out, self.schemes.as_flattened());
        put_vector16(&mut out, self.authorities);
        out
    }
}

/// A signature with what it was made by; the whole body of a CertificateVerify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigitallySigned<'a> {
    /// Which signature over which hash.
    pub scheme: SignatureScheme,
    /// The signature; for ECDSA in DER.
    pub signature: &'a [u8],
}

impl<'a> DigitallySigned<'a> {
    /// Reads the body of a CertificateVerify.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let signed = Self::read(&mut reader)?;
        reader.end()?;
        Ok(signed)
    }

    /// The body of a CertificateVerify.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            scheme: SignatureScheme(reader.u16()?),
            signature: reader.vector16()?,
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.scheme.0.to_be_bytes());
        put_vector16(out, self.signature);
    }
}

/// The body of a ServerKeyExchange that is signed with the server's certificate (RFC 8422 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedServerKeyExchange<'a> {
    /// The server's half of the agreement.
    pub ecdh: ServerEcdhParams<'a>,
    /// Over both randoms and the half of the agreement.
    pub signed: DigitallySigned<'a>,
}

impl<'a> SignedServerKeyExchange<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let exchange = Self {
            ecdh: ServerEcdhParams::decode(&mut reader)?,
            signed: DigitallySigned::read(&mut reader)?,
        };
        reader.end()?;
        Ok(exchange)
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.ecdh.encode(&mut out);
        self.signed.put(&mut out);
        out
    }
}

/// What the signature of a ServerKeyExchange is over.
#[must_use]
pub fn signed_parameters(
    client_random: &[u8; 32],
    server_random: &[u8; 32],
    ecdh: &ServerEcdhParams<'_>,
) -> Vec<u8> {
    let mut out = [client_random.as_slice(), server_random].concat();
    ecdh.encode(&mut out);
    out
}

fn put_vector24(out: &mut Vec<u8>, content: &[u8]) {
    put_u24(out, u32::try_from(content.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(content);
}

/// The kind of key whose certificates are asked for: one that signs on a curve (RFC 8422 §5.5).
pub const ECDSA_SIGN: u8 = 64;

/// A certificate as RFC 5280 has it, as opposed to a bare key (RFC 7250 §3).
pub const X509: u8 = 0;

/// A bare key, a `SubjectPublicKeyInfo` (RFC 7250 §3).
pub const RAW_PUBLIC_KEY: u8 = 2;
