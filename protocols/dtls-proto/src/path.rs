//! The two ends of a datagram: who sent it, and to which of our addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A peer's address and the local address that it talks to. An answer leaves from the address that the
/// request was sent to (RFC 7252 §5.3.2); a client that connected its socket hears nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The peer's address.
    pub remote: SocketAddr,
    /// The local address; `None` if it is unknown, then the system chooses one.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for Path {
    fn from(remote: SocketAddr) -> Self {
        Self {
            remote,
            local: None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local {
            Some(local) => write!(f, "{} (to {local})", self.remote),
            None => fmt::Display::fmt(&self.remote, f),
        }
    }
}
