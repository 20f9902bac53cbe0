//! What a connection has to tell, and the names by which it speaks of things.

use zeroize::Zeroizing;

use crate::Outcome;

/// A link of this connection. Never used for another one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub(crate) handle: u32,
    pub(crate) serial: u32,
}

/// A message of ours on its way. Never used for another one again while the connection lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    pub(crate) place: u32,
    pub(crate) serial: u32,
}

/// A message of the peer's: its delivery number (part 2 §2.8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncomingId(pub(crate) u32);

/// Something that happened.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Connection and session are open: links can be attached.
    Opened,
    /// The peer attached its end of a link.
    Attached {
        /// The link.
        link: LinkId,
        /// The largest message the peer takes, in bytes, if it has a limit (§2.7.3).
        max_message_size: Option<u64>,
    },
    /// The peer refused a link, or detached it. The link is gone, and so are its deliveries, each with an event of its own.
    Detached {
        /// The link.
        link: LinkId,
        /// Why.
        error: Option<PeerError>,
    },
    /// A sender that had no credit has some.
    Credit {
        /// The link.
        link: LinkId,
    },
    /// A delivery of ours came to its end.
    Settled {
        /// The delivery.
        delivery: DeliveryId,
        /// How.
        settlement: Settlement,
    },
    /// A message came.
    Message {
        /// The link it came on.
        link: LinkId,
        /// To settle it by.
        delivery: IncomingId,
        /// Whether the peer settled it already (§2.7.5).
        settled: bool,
        /// Its sections, wiped when dropped.
        message: Zeroizing<Vec<u8>>,
    },
    /// Enough was written that a message is taken again, after [`CannotSend::Full`].
    Room,
    /// The connection has ended. There are no more events of its links and deliveries; pending
    /// output
    /// should still be written.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// How a delivery of ours ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The peer said what became of it.
    Outcome(Outcome),
    /// The peer sent a state without settling, or settled without a state. The delivery is settled
    /// now.
    Unsettled,
    /// The peer said nothing in time. It is settled now, as released.
    TimedOut,
    /// Its link is gone.
    Lost,
}

/// What the peer said was wrong (part 2 §2.8.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerError {
    /// The kind of error, such as `amqp:not-found`.
    pub condition: String,
    /// The error in words.
    pub description: Option<String>,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it, and the peer agreed.
    #[error("closed")]
    Local,
    /// The peer closed it, or its session.
    #[error("the peer closed the connection{}", .0.as_ref().map(|error| format!(": {}", error.condition)).unwrap_or_default())]
    Remote(Option<PeerError>),
    /// The stream ended without farewell.
    #[error("the connection was lost")]
    Lost,
    /// Nothing was heard for longer than the idle time-out.
    #[error("nothing was heard for too long")]
    Idle,
    /// The peer speaks no SASL. Without a need to introduce ourselves, the next attempt can do without.
    #[error("the peer speaks no SASL")]
    NoSasl,
    /// The peer does not offer the mechanism we need.
    #[error("the peer does not offer SASL {0}")]
    Mechanism(&'static str),
    /// The peer does not believe who we are (part 5 §5.3.3.6).
    #[error("the peer refused to authenticate us (SASL code {0})")]
    Authentication(u8),
    /// The peer does not keep to the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

/// Why a message was not taken. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotSend {
    /// There is no such sender, or it is not attached.
    #[error("the link is not attached")]
    NotAttached,
    /// The peer granted no credit (§2.6.7).
    #[error("no credit")]
    NoCredit,
    /// Too much waits to be written or to be settled; try again after [`Event::Room`].
    #[error("too much is under way")]
    Full,
    /// The message is larger than the peer takes.
    #[error("the peer takes no messages of more than {limit} bytes")]
    TooLarge {
        /// What it takes.
        limit: u64,
    },
}

/// Why a link cannot be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotAttach {
    /// The connection is not open.
    #[error("the connection is not open")]
    NotOpen,
    /// There are as many links as there may be.
    #[error("too many links")]
    TooMany,
}
