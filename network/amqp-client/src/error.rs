//! Errors, by what the caller should do.

use std::{path::PathBuf, sync::Arc};

/// A setting that cannot work. It has to be changed by a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An address rewrite rule that is not `"<regex> <replacement>"`.
    #[error("an address rewrite rule is a regular expression, a space and a replacement")]
    AddressRewriteRule {
        /// What is wrong with the expression, if that is it.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file that does not hold what it should.
    #[error("no {expected} in PEM in {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// A trust store or a client certificate that cannot be used.
    #[error("unusable TLS settings: {reason}")]
    Tls {
        /// What is wrong.
        reason: Arc<str>,
    },
    /// A host that is neither a name nor an address.
    #[error("not a host name: {0}")]
    HostName(String),
}

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no connection, or it went away meanwhile.
    #[error("no connection to service")]
    NotConnected,
    /// The peer refused the link.
    #[error("the peer refused the link: {}", condition.as_deref().unwrap_or("no reason given"))]
    Refused {
        /// The kind of error, such as `amqp:unauthorized-access`.
        condition: Option<String>,
        /// The error in words.
        description: Option<String>,
    },
    /// The peer did not answer in time.
    #[error("the peer did not answer the attach in time")]
    TimedOut,
    /// The peer takes only messages that are smaller than `minMaxMessageSize`.
    #[error("the peer takes no messages of more than {limit} bytes")]
    MaxMessageSize {
        /// What it takes.
        limit: u64,
    },
    /// There are as many links as there can be.
    #[error("too many links")]
    TooManyLinks,
}

impl LinkError {
    /// The HTTP-like status that Hono gives the failure (spec: amqp-messages §4).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotConnected | Self::TimedOut | Self::TooManyLinks => 503,
            Self::MaxMessageSize { .. } => 412,
            Self::Refused { condition, .. } => match condition.as_deref() {
                None => 503,
                Some("amqp:resource-limit-exceeded" | "amqp:unauthorized-access") => 403,
                Some("amqp:internal-error") => 500,
                Some("hono:bad-request") => 400,
                Some(_) => 404,
            },
        }
    }
}

/// Why a message was not sent, or what became of it is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The receiver grants no credit: nobody listens. Nothing was sent.
    #[error("no consumer available")]
    NoCredit,
    /// No disposition came in time. The delivery was settled as released; the message may or may not have arrived.
    #[error("consumer failed to indicate in time whether it has processed the message")]
    TimedOut,
    /// The link or its connection was lost before the disposition came; the message may or may not have arrived.
    #[error("the link was lost")]
    LinkLost,
    /// There is no link to send on.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The message is larger than the peer takes. Nothing was sent.
    #[error("the peer takes no messages of more than {limit} bytes")]
    TooLarge {
        /// What it takes.
        limit: u64,
    },
    /// The peer sent a state without settling, or settled without a state.
    #[error("the peer did not settle the message with an outcome")]
    Unsettled,
    /// The peer takes the bytes of the connection too slowly. Nothing was sent.
    #[error("the connection is congested")]
    Congested,
}

#[cfg(test)]
mod tests {
    use super::LinkError;

    /// The table of spec: amqp-messages §4.
    #[test]
    fn each_condition_of_a_refused_attach_has_its_status() {
        for (condition, status) in [
            (None, 503),
            (Some("amqp:resource-limit-exceeded"), 403),
            (Some("amqp:unauthorized-access"), 403),
            (Some("amqp:internal-error"), 500),
            (Some("hono:bad-request"), 400),
            (Some("amqp:not-found"), 404),
            (Some("anything:else"), 404),
        ] {
            let refused = LinkError::Refused {
                condition: condition.map(str::to_owned),
                description: None,
            };
            assert_eq!(refused.status(), status, "{condition:?}");
        }
        assert_eq!(LinkError::MaxMessageSize { limit: 1 }.status(), 412);
        assert_eq!(LinkError::NotConnected.status(), 503);
        assert_eq!(LinkError::TimedOut.status(), 503);
    }
}
