//! What a connection says of itself, and what it puts up with.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::Secret;

/// The settings of a [`Connection`](crate::Connection).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// `container-id` of the open (part 2 §2.7.1).
    pub container_id: String,
    /// `hostname` of the open, and of SASL.
    pub hostname: Option<String>,
    /// How to tell the peer who we are.
    pub sasl: Sasl,
    /// What the names of links start with. Two connections of one container should differ in it.
    pub link_name: String,
    /// Silence after which the connection is lost; half of it is announced to the peer (§2.4.5).
    /// `None`: never.
    pub idle_timeout: Option<Duration>,
    /// The largest frame we take, in bytes; at least 512 (§2.3.1).
    pub max_frame_size: u32,
    /// The largest message we take, in bytes. A larger one ends its link.
    pub max_message_size: u64,
    /// How many transfer frames the peer may have under way to us (§2.5.6).
    pub incoming_window: u32,
    /// How long a delivery may stay unsettled before it is settled as released. `None`: for ever.
    pub delivery_timeout: Option<Duration>,
    /// How many links there may be.
    pub max_links: usize,
    /// How many deliveries of ours may be unsettled, and how many of the peer's on one link.
    pub max_unsettled: usize,
    /// How many bytes may wait to be written, before no message is taken any more. While there are more, the caller should not
    /// read from the stream ([`Connection::wants_input`](crate::Connection::wants_input)).
    pub max_outgoing: usize,
    /// Bytes of messages that have arrived in part, over all links. A message beyond that ends its link.
    pub max_incoming: usize,
    /// Whether what arrives holds secrets: its buffers are wiped as soon as they are read.
    pub sensitive: bool,
}

/// Every bound as wide as a large adapter needs it, and nobody to introduce.
impl Default for Config {
    fn default() -> Self {
        Self {
            container_id: String::new(),
            hostname: None,
            sasl: Sasl::Anonymous,
            link_name: "link".to_owned(),
            idle_timeout: Some(Duration::from_secs(16)),
            max_frame_size: crate::frame::MAX_FRAME_SIZE,
            max_message_size: 16 * 1024 * 1024,
            incoming_window: 2048,
            delivery_timeout: Some(Duration::from_secs(1)),
            max_links: 100_000,
            max_unsettled: 1_000_000,
            max_outgoing: 4 * 1024 * 1024,
            max_incoming: 16 * 1024 * 1024,
            sensitive: false,
        }
    }
}

/// How to tell the peer who we are (part 5 §5.3).
#[derive(Debug, Clone)]
pub enum Sasl {
    /// Not at all: no SASL layer.
    None,
    /// Nobody in particular: ANONYMOUS.
    Anonymous,
    /// EXTERNAL: the identity of the TLS client certificate.
    External,
    /// A user with a password: PLAIN (RFC 4616).
    Plain {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
}

impl Sasl {
    pub(crate) const fn mechanism(&self) -> &'static str {
        match self {
            Self::None | Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
            Self::Plain { .. } => "PLAIN",
        }
    }

    /// What is said without being asked (RFC 4505, RFC 4422 appendix A, RFC 4616).
    pub(crate) fn initial_response(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::None | Self::Anonymous | Self::External => Zeroizing::default(),
            Self::Plain { username, password } => {
                let (username, password) = (username.as_bytes(), password.reveal().as_bytes());
                // As long as it gets at once: a buffer that grows leaves copies behind.
                let length = username.len().saturating_add(password.len());
                let mut response = Zeroizing::new(Vec::with_capacity(length.saturating_add(2)));
                response.push(0);
                response.extend_from_slice(username);
                response.push(0);
                response.extend_from_slice(password);
                response
            }
        }
    }
}
