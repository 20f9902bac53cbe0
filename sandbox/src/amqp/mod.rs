//! The little of AMQP 1.0 that both ends in the sandbox share: frames, and the sections of a message.
//!
//! The sandbox speaks in frames, not through a client library, for two reasons. The acceptor of `fe2o3-amqp` 0.18 grants a
//! sender 200 credits the moment it attaches, and nothing it offers can withhold them; but "nobody listens" is exactly what a
//! sender without credit gets an error (spec: amqp-messages §4). And a message that passes must
//! stay as it was, byte for byte, and be
//! shown byte for byte. Types and their encoding are those of `fe2o3-amqp-types` and `serde_amqp`.

pub(crate) mod frame;
pub(crate) mod outbox;
pub(crate) use amqp_proto::sections;

use fe2o3_amqp_types::{
    definitions::{Error, ErrorCondition},
    primitives::Symbol,
};

/// An AMQP error of any condition.
pub(crate) fn error(condition: &str, text: &str) -> Error {
    Error::new(
        ErrorCondition::Custom(Symbol::from(condition)),
        text.to_owned(),
        None,
    )
}
