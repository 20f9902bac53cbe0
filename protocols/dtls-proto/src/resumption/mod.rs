//! What lets a client that was here come back without a full handshake: kept here under a session id (RFC 5246 §7.4.1.2), or by the
//! client in a ticket (RFC 5077).
//!
//! Whichever it is, it names the credentials the client had. They are asked for anew before the session is resumed, so that a device
//! whose credentials are gone, or whose key was changed, does not come back.

mod cache;
mod ended;
mod ticket;

use std::fmt;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::codec::{Malformed, Reader, put_vector8, put_vector16};
use crate::crypto::{CipherSuite, MasterSecret, Psk};

pub(crate) use cache::{SessionCache, SessionId};
pub(crate) use ended::{EndedSessions, SecretFingerprint};
pub use ticket::TicketKeys;

/// Whether and how sessions may be resumed; [`Resumption::default`] is not at all, as the reference has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumption {
    /// For how many sessions their secrets are kept under a session id; 0 for none.
    pub cached_sessions: usize,
    /// How long they are kept; RFC 5246 §F.1.4 suggests no more than a day.
    pub cache_lifetime: Duration,
    /// How long a ticket is good, if its key is not changed before. RFC 5077 §5.6 wants it bounded.
    pub ticket_lifetime: Duration,
    /// What tickets are sealed with; `None`: there are no tickets.
    pub tickets: Option<TicketKeys>,
}

impl Resumption {
    pub(crate) fn is_enabled(&self) -> bool {
        self.cached_sessions > 0 || self.tickets.is_some()
    }
}

impl Default for Resumption {
    fn default() -> Self {
        Self {
            cached_sessions: 0,
            cache_lifetime: Duration::from_secs(24 * 3600),
            ticket_lifetime: Duration::from_secs(24 * 3600),
            tickets: None,
        }
    }
}

/// What a session is resumed from. Its suite, name and secret are those of the session it was.
#[derive(Clone)]
pub(crate) struct Resumable {
    pub(crate) suite: CipherSuite,
    pub(crate) master_secret: MasterSecret,
    pub(crate) server_name: Option<String>,
    pub(crate) credential: Credential,
}

/// How the client proved itself in the full handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Psk {
        identity: Vec<u8>,
        /// SHA-256 of the key.
        fingerprint: [u8; 32],
    },
    /// By this certificate.
    Certificate(Vec<u8>),
}

impl Credential {
    pub(crate) fn psk(identity: Vec<u8>, key: &Psk) -> Self {
        Self::Psk {
            identity,
            fingerprint: fingerprint(key),
        }
    }

    /// Whether it is the same key still.
    pub(crate) fn is_of(&self, key: &Psk) -> bool {
        match self {
            Self::Psk {
                fingerprint: known, ..
            } => fingerprint(key).ct_eq(known).into(),
            Self::Certificate(_) => false,
        }
    }
}

fn fingerprint(key: &Psk) -> [u8; 32] {
    digest(&SHA256, key.bytes())
        .as_ref()
        .try_into()
        .unwrap_or_default()
}

impl Resumable {
    /// The content of a ticket.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.suite.code().to_be_bytes());
        out.extend_from_slice(self.master_secret.bytes());
        put_vector8(
            out,
            self.server_name.as_deref().unwrap_or_default().as_bytes(),
        );
        match &self.credential {
            Credential::Psk {
                identity,
                fingerprint,
            } => {
                out.push(PSK);
                out.extend_from_slice(fingerprint);
                put_vector16(out, identity);
            }
            Credential::Certificate(certificate) => {
                out.push(CERTIFICATE);
                put_vector16(out, certificate);
            }
        }
    }

    /// The most that [`Resumable::encode`] appends.
    pub(crate) fn encoded_length(&self) -> usize {
        let name = self.server_name.as_ref().map_or(0, String::len);
        let credential = match &self.credential {
            Credential::Psk { identity, .. } => identity.len(),
            Credential::Certificate(certificate) => certificate.len(),
        };
        // Version, suite, secret, kind, fingerprint, and three bytes of lengths.
        [1, 2, 48, 1, 32, 3, name]
            .into_iter()
            .fold(credential, usize::saturating_add)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let resumable = Self::read(&mut reader)?;
        reader.end()?;
        Ok(resumable)
    }

    /// Reads what [`Resumable::encode`] wrote.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(Malformed);
        }
        let suite = CipherSuite::from_code(reader.u16()?).ok_or(Malformed)?;
        let master_secret = MasterSecret::from_bytes(suite.hash(), reader.array()?);
        let name = std::str::from_utf8(reader.vector8()?).map_err(|_| Malformed)?;
        let credential = match reader.u8()? {
            PSK => Credential::Psk {
                fingerprint: reader.array()?,
                identity: reader.vector16()?.to_vec(),
            },
            CERTIFICATE => Credential::Certificate(reader.vector16()?.to_vec()),
            _ => return Err(Malformed),
        };
        Ok(Self {
            suite,
            master_secret,
            server_name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            credential,
        })
    }
}

impl fmt::Debug for Resumable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resumable({}, ..)", self.suite)
    }
}

/// How tickets are written so far.
const VERSION: u8 = 1;

const PSK: u8 = 1;
const CERTIFICATE: u8 = 2;
