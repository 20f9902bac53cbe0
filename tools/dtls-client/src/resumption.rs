//! What a client can come back with to the same server (RFC 5246 §7.3, RFC 5077).

use std::fmt;

use dtls_proto::CipherSuite;
use dtls_proto::crypto::MasterSecret;

/// A session that may be resumed; see [`crate::Client::resumption`] and [`crate::Config::resume`].
#[derive(Clone)]
pub struct Resumption {
    pub(crate) suite: CipherSuite,
    pub(crate) master_secret: MasterSecret,
    /// Empty if the server keeps nothing.
    pub(crate) session_id: Vec<u8>,
    /// Empty if the server gave none.
    pub(crate) ticket: Vec<u8>,
}

impl Resumption {
    /// The id the server knows the session by; empty if it keeps nothing.
    #[must_use]
    pub fn session_id(&self) -> &[u8] {
        &self.session_id
    }

    /// The ticket the server gave; empty if it gave none.
    #[must_use]
    pub fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// This session's secret under the id and ticket of another, for tests of servers.
    #[must_use]
    pub fn with_ids_of(mut self, other: &Self) -> Self {
        self.session_id.clone_from(&other.session_id);
        self.ticket.clone_from(&other.ticket);
        self
    }

    /// The same with another ticket, for tests of servers.
    #[must_use]
    pub fn with_ticket(mut self, ticket: Vec<u8>) -> Self {
        self.ticket = ticket;
        self
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resumption({}, ..)", self.suite)
    }
}
