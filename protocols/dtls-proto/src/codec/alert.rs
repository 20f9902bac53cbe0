//! Alerts (RFC 5246 §7.2).

use std::fmt;

use crate::codec::{Malformed, Reader};

/// How grave an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertLevel(pub u8);

impl AlertLevel {
    /// The association may go on.
    pub const WARNING: Self = Self(1);
    /// The association is over.
    pub const FATAL: Self = Self(2);
}

/// What an alert says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlertDescription(pub u8);

impl AlertDescription {
    /// The sender has nothing more to say.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message that has no place here.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// No common ground, most often no common suite.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// A certificate, or whom it stands for, is not accepted.
    pub const BAD_CERTIFICATE: Self = Self(42);
    /// A field has a value that can't be.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A message could not be decoded.
    pub const DECODE_ERROR: Self = Self(50);
    /// A Finished did not match the handshake, or a signature its content.
    pub const DECRYPT_ERROR: Self = Self(51);
    /// The offered version is not spoken here.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// Something failed that has nothing to do with the peer.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// A hello answered what was not offered (RFC 5246 §7.4.1.4).
    pub const UNSUPPORTED_EXTENSION: Self = Self(110);
    /// A new handshake inside the association is refused (RFC 5246 §7.2.2).
    pub const NO_RENEGOTIATION: Self = Self(100);

    fn name(self) -> &'static str {
        match self {
            Self::CLOSE_NOTIFY => "close_notify",
            Self::UNEXPECTED_MESSAGE => "unexpected_message",
            Self::HANDSHAKE_FAILURE => "handshake_failure",
            Self::BAD_CERTIFICATE => "bad_certificate",
            Self::ILLEGAL_PARAMETER => "illegal_parameter",
            Self::DECODE_ERROR => "decode_error",
            Self::DECRYPT_ERROR => "decrypt_error",
            Self::PROTOCOL_VERSION => "protocol_version",
            Self::INTERNAL_ERROR => "internal_error",
            Self::UNSUPPORTED_EXTENSION => "unsupported_extension",
            Self::NO_RENEGOTIATION => "no_renegotiation",
            _ => "alert",
        }
    }
}

/// What is not well-formed is answered by `decode_error` (RFC 5246 §7.2.2).
impl From<Malformed> for AlertDescription {
    fn from(_: Malformed) -> Self {
        Self::DECODE_ERROR
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Debug for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One alert message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// How grave.
    pub level: AlertLevel,
    /// What.
    pub description: AlertDescription,
}

impl Alert {
    /// The end of the association, orderly.
    pub const CLOSE_NOTIFY: Self = Self {
        level: AlertLevel::WARNING,
        description: AlertDescription::CLOSE_NOTIFY,
    };

    /// An alert that ends the association.
    #[must_use]
    pub fn fatal(description: AlertDescription) -> Self {
        Self {
            level: AlertLevel::FATAL,
            description,
        }
    }

    /// An alert after which the association may go on.
    #[must_use]
    pub fn warning(description: AlertDescription) -> Self {
        Self {
            level: AlertLevel::WARNING,
            description,
        }
    }

    /// Whether nothing can follow: `close_notify` and every fatal alert.
    #[must_use]
    pub fn ends_association(self) -> bool {
        self.level == AlertLevel::FATAL || self.description == AlertDescription::CLOSE_NOTIFY
    }

    /// Reads the fragment of an alert record.
    ///
    /// # Errors
    /// [`Malformed`] unless it is exactly two bytes.
    pub fn decode(fragment: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(fragment);
        let alert = Self {
            level: AlertLevel(reader.u8()?),
            description: AlertDescription(reader.u8()?),
        };
        reader.end()?;
        Ok(alert)
    }

    /// The fragment of an alert record.
    #[must_use]
    pub fn encode(self) -> [u8; 2] {
        [self.level.0, self.description.0]
    }
}
