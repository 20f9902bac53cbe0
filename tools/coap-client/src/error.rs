//! What can go wrong on a device's side, by what the caller should do about it.

use std::{io, net::SocketAddr, time::Duration};

/// Why a request or a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server is not there, or went away.
    #[error("no connection to {address}")]
    Connection {
        /// Where the server should be.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The server refused the handshake.
    #[error("{address} refused the handshake: {reason}")]
    Handshake {
        /// The server.
        address: SocketAddr,
        /// The reason that the server gave.
        reason: String,
    },
    /// The server rejected this message (RFC 7252 §4.2).
    #[error("the message was answered with a reset")]
    Reset,
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}
