//! What became of a delivery (AMQP 1.0 part 3 §3.4).

use fe2o3_amqp_types::{
    definitions::{Error, ErrorCondition},
    messaging::{Accepted, DeliveryState, Modified, Rejected, Released},
    primitives::Symbol,
};
use serde_amqp::Value;

/// What a receiver says that became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was taken.
    Accepted,
    /// It is wrong and would be wrong again.
    Rejected {
        /// The kind of error, such as `amqp:resource-limit-exceeded`.
        condition: Option<String>,
        /// The error in words.
        description: Option<String>,
    },
    /// It was not processed and may be sent again.
    Released,
    /// It was not processed, and the receiver says more about it.
    Modified {
        /// The attempt counts as a failed one.
        delivery_failed: bool,
        /// This receiver cannot take it, ever.
        undeliverable_here: bool,
    },
}

impl Outcome {
    /// Rejected for a reason.
    #[must_use]
    pub fn rejected(condition: &str, description: &str) -> Self {
        Self::Rejected {
            condition: Some(condition.to_owned()),
            description: Some(description.to_owned()),
        }
    }

    /// The outcome in a delivery state; `None` for a state that is none (`received`).
    #[must_use]
    pub fn from_state(state: DeliveryState) -> Option<Self> {
        match state {
            DeliveryState::Accepted(_) => Some(Self::Accepted),
            DeliveryState::Released(_) => Some(Self::Released),
            DeliveryState::Rejected(Rejected { error }) => {
                let (condition, description) = error.map(|error| parts(&error)).unzip();
                Some(Self::Rejected {
                    condition,
                    description: description.flatten(),
                })
            }
            DeliveryState::Modified(modified) => Some(Self::Modified {
                delivery_failed: modified.delivery_failed.unwrap_or(false),
                undeliverable_here: modified.undeliverable_here.unwrap_or(false),
            }),
            DeliveryState::Received(_) => None,
        }
    }

    /// The delivery state that tells the outcome.
    #[must_use]
    pub fn into_state(self) -> DeliveryState {
        match self {
            Self::Accepted => DeliveryState::Accepted(Accepted {}),
            Self::Released => DeliveryState::Released(Released {}),
            Self::Rejected {
                condition,
                description,
            } => DeliveryState::Rejected(Rejected {
                error: condition.map(|condition| {
                    Error::new(
                        ErrorCondition::Custom(Symbol::from(condition)),
                        description,
                        None,
                    )
                }),
            }),
            Self::Modified {
                delivery_failed,
                undeliverable_here,
            } => DeliveryState::Modified(Modified {
                delivery_failed: Some(delivery_failed),
                undeliverable_here: Some(undeliverable_here),
                message_annotations: None,
            }),
        }
    }
}

/// The condition and the description of an AMQP error.
pub(crate) fn parts(error: &Error) -> (String, Option<String>) {
    let condition = match serde_amqp::to_vec(&error.condition)
        .ok()
        .and_then(|bytes| serde_amqp::from_slice::<Value>(&bytes).ok())
    {
        Some(Value::Symbol(Symbol(condition))) => condition,
        _ => String::new(),
    };
    (condition, error.description.clone())
}
