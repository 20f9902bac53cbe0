//! What can go wrong in the sandbox, by what the caller should do about it.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use crate::store::StoreError;

/// Why something in the sandbox failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody listens there already: choose another port or end the other one.
    #[error("{address} is in use")]
    PortBusy {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address is none of this machine, or needs rights that the process has not.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The file for the registry's data cannot be used: name another one.
    #[error("{} cannot keep the registry's data", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// The other side is not there, or went away.
    #[error("no connection to {address}")]
    Connection {
        /// Where the other side should be.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The AMQP peer does not let a receiver attach to this address.
    #[error("cannot receive from `{address}`: {reason}")]
    Refused {
        /// The address of the link.
        address: String,
        /// What the peer says.
        reason: String,
    },
    /// The device of the scene failed.
    #[error(transparent)]
    Device(#[from] coap_client::Error),
    /// Nothing more can be shown, for the output is closed.
    #[error("cannot write to the output")]
    Output(#[source] io::Error),
    /// The other side did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}
