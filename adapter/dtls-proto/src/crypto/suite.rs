//! The cipher suites and what each is made of.

use std::fmt;

use crate::crypto::Aead;

/// A cipher suite this crate can speak; all use SHA-256 for the key schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// `TLS_PSK_WITH_AES_128_CCM_8` (RFC 6655), mandatory for CoAP (RFC 7252 §9.1.3.1).
    PskAes128Ccm8,
    /// `TLS_PSK_WITH_AES_128_CCM` (RFC 6655).
    PskAes128Ccm,
    /// `TLS_PSK_WITH_AES_128_GCM_SHA256` (RFC 5487).
    PskAes128GcmSha256,
}

/// How both sides come to a common secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyExchange {
    /// They have a key beforehand (RFC 4279 §2).
    Psk,
}

impl CipherSuite {
    /// Every suite, the most modern first.
    pub const ALL: [Self; 3] = [
        Self::PskAes128GcmSha256,
        Self::PskAes128Ccm,
        Self::PskAes128Ccm8,
    ];

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

    fn parameters(self) -> Parameters {
        let (code, name, key_exchange, aead) = match self {
            Self::PskAes128Ccm8 => (
                0xc0a8,
                "TLS_PSK_WITH_AES_128_CCM_8",
                KeyExchange::Psk,
                Aead::Aes128Ccm8,
            ),
            Self::PskAes128Ccm => (
                0xc0a4,
                "TLS_PSK_WITH_AES_128_CCM",
                KeyExchange::Psk,
                Aead::Aes128Ccm,
            ),
            Self::PskAes128GcmSha256 => (
                0x00a8,
                "TLS_PSK_WITH_AES_128_GCM_SHA256",
                KeyExchange::Psk,
                Aead::Aes128Gcm,
            ),
        };
        Parameters {
            code,
            name,
            key_exchange,
            aead,
        }
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
}
