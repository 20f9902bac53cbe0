//! The cipher suites and what each is made of.

use std::fmt;

use crate::crypto::{Aead, HashAlgorithm};

macro_rules! suites {
    ($($(#[$doc:meta])+ $suite:ident = $code:literal $name:literal $exchange:ident $aead:ident $hash:ident,)+) => {
        /// A cipher suite this crate can speak.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CipherSuite {
            $($(#[$doc])+ $suite,)+
        }

        impl CipherSuite {
            /// Every suite, the most modern first.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$suite),+];

            fn parameters(self) -> Parameters {
                match self {
                    $(Self::$suite => Parameters {
                        code: $code,
                        name: $name,
                        key_exchange: KeyExchange::$exchange,
                        aead: Aead::$aead,
                        hash: HashAlgorithm::$hash,
                    },)+
                }
            }
        }
    };
}

suites! {
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256` (RFC 5289).
    EcdheEcdsaAes128GcmSha256 = 0xc02b "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" EcdheEcdsa Aes128Gcm Sha256,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384` (RFC 5289).
    EcdheEcdsaAes256GcmSha384 = 0xc02c "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" EcdheEcdsa Aes256Gcm Sha384,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_CCM` (RFC 7251).
    EcdheEcdsaAes128Ccm = 0xc0ac "TLS_ECDHE_ECDSA_WITH_AES_128_CCM" EcdheEcdsa Aes128Ccm Sha256,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_CCM` (RFC 7251).
    EcdheEcdsaAes256Ccm = 0xc0ad "TLS_ECDHE_ECDSA_WITH_AES_256_CCM" EcdheEcdsa Aes256Ccm Sha256,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8` (RFC 7251), mandatory for CoAP with certificates (RFC 7252 §9.1.3.3).
    EcdheEcdsaAes128Ccm8 = 0xc0ae "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8" EcdheEcdsa Aes128Ccm8 Sha256,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8` (RFC 7251).
    EcdheEcdsaAes256Ccm8 = 0xc0af "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8" EcdheEcdsa Aes256Ccm8 Sha256,
    /// `TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256` (RFC 8442).
    EcdhePskAes128GcmSha256 = 0xd001 "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256" EcdhePsk Aes128Gcm Sha256,
    /// `TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384` (RFC 8442).
    EcdhePskAes256GcmSha384 = 0xd002 "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384" EcdhePsk Aes256Gcm Sha384,
    /// `TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256` (RFC 8442).
    EcdhePskAes128CcmSha256 = 0xd005 "TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256" EcdhePsk Aes128Ccm Sha256,
    /// `TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256` (RFC 8442).
    EcdhePskAes128Ccm8Sha256 = 0xd003 "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256" EcdhePsk Aes128Ccm8 Sha256,
    /// `TLS_PSK_WITH_AES_128_GCM_SHA256` (RFC 5487).
    PskAes128GcmSha256 = 0x00a8 "TLS_PSK_WITH_AES_128_GCM_SHA256" Psk Aes128Gcm Sha256,
    /// `TLS_PSK_WITH_AES_256_GCM_SHA384` (RFC 5487).
    PskAes256GcmSha384 = 0x00a9 "TLS_PSK_WITH_AES_256_GCM_SHA384" Psk Aes256Gcm Sha384,
    /// `TLS_PSK_WITH_AES_128_CCM` (RFC 6655).
    PskAes128Ccm = 0xc0a4 "TLS_PSK_WITH_AES_128_CCM" Psk Aes128Ccm Sha256,
    /// `TLS_PSK_WITH_AES_256_CCM` (RFC 6655).
    PskAes256Ccm = 0xc0a5 "TLS_PSK_WITH_AES_256_CCM" Psk Aes256Ccm Sha256,
    /// `TLS_PSK_WITH_AES_128_CCM_8` (RFC 6655), mandatory for CoAP (RFC 7252 §9.1.3.1).
    PskAes128Ccm8 = 0xc0a8 "TLS_PSK_WITH_AES_128_CCM_8" Psk Aes128Ccm8 Sha256,
    /// `TLS_PSK_WITH_AES_256_CCM_8` (RFC 6655).
    PskAes256Ccm8 = 0xc0a9 "TLS_PSK_WITH_AES_256_CCM_8" Psk Aes256Ccm8 Sha256,
}

/// How both sides come to a common secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyExchange {
    /// They have a key beforehand (RFC 4279 §2).
    Psk,
    /// They have a key beforehand, and agree on a secret that dies with the handshake (RFC 5489 §2).
    EcdhePsk,
    /// They have certificates, and agree on a secret that dies with the handshake (RFC 8422 §2.1).
    EcdheEcdsa,
}

impl CipherSuite {
    /// The suite with this code, if this crate can speak it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self.parameters().code
    }

    /// The name in IANA's registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.parameters().name
    }

    /// How the common secret is found.
    #[must_use]
    pub fn key_exchange(self) -> KeyExchange {
        self.parameters().key_exchange
    }

    /// What protects the records.
    #[must_use]
    pub fn aead(self) -> Aead {
        self.parameters().aead
    }

    /// What hashes the transcript and derives the keys.
    #[must_use]
    pub fn hash(self) -> HashAlgorithm {
        self.parameters().hash
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row of the table of suites.
struct Parameters {
    code: u16,
    name: &'static str,
    key_exchange: KeyExchange,
    aead: Aead,
    hash: HashAlgorithm,
}
