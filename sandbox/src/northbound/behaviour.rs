//! What an application does with the messages that it gets.

use std::{str::FromStr, time::Duration};

use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Modified, Rejected, Released};

/// What the application does with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Takes it.
    Accept,
    /// Refuses it for ever; with a condition, also says "no thanks".
    Reject(Option<String>),
    /// Gives it back untouched.
    Release,
    /// Gives it back as one whose delivery failed.
    Modify,
    /// Gives it back as one that cannot be delivered here.
    ModifyUndeliverable,
    /// Receives and never says what became of it.
    Silent,
    /// Is attached and asks for nothing.
    NoCredit,
    /// Takes it after a while.
    Delay(Duration),
}

impl Behaviour {
    pub(super) fn outcome(&self) -> Option<DeliveryState> {
        let modified = |delivery_failed, undeliverable_here| {
            DeliveryState::Modified(Modified {
                delivery_failed,
                undeliverable_here,
                message_annotations: None,
            })
        };
        match self {
            Self::Accept | Self::Delay(_) => Some(DeliveryState::Accepted(Accepted {})),
            Self::Reject(condition) => {
                let error = condition
                    .as_deref()
                    .map(|condition| crate::amqp::error(condition, "no thanks"));
                Some(DeliveryState::Rejected(Rejected { error }))
            }
            Self::Release => Some(DeliveryState::Released(Released {})),
            Self::Modify => Some(modified(Some(true), None)),
            Self::ModifyUndeliverable => Some(modified(None, Some(true))),
            Self::Silent | Self::NoCredit => None,
        }
    }
}

/// The words of the recorded exchanges: `accept`, `reject`, `reject:amqp:not-allowed`, `release`, `modify`,
/// `modify-undeliverable`, `none`, `no-credit`, `delay:0.8`.
impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(text: &str) -> Result<Self, UnknownBehaviour> {
        let unknown = || UnknownBehaviour(text.to_owned());
        match (text, text.split_once(':')) {
            ("accept", _) => Ok(Self::Accept),
            ("reject", _) => Ok(Self::Reject(None)),
            ("release", _) => Ok(Self::Release),
            ("modify", _) => Ok(Self::Modify),
            ("modify-undeliverable", _) => Ok(Self::ModifyUndeliverable),
            ("none", _) => Ok(Self::Silent),
            ("no-credit", _) => Ok(Self::NoCredit),
            (_, Some(("reject", condition))) if !condition.is_empty() => {
                Ok(Self::Reject(Some(condition.to_owned())))
            }
            (_, Some(("delay", seconds))) => {
                let seconds = seconds
                    .parse()
                    .ok()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                seconds.map(Self::Delay).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }
}

/// A text that names no [`Behaviour`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is nothing an application can do; accept, reject[:condition], release, modify, modify-undeliverable, none, no-credit or delay:SECONDS"
)]
pub struct UnknownBehaviour(String);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Behaviour;

    #[test]
    fn the_words_of_the_recordings_are_understood_and_others_are_not() {
        for (text, behaviour) in [
            ("accept", Behaviour::Accept),
            ("reject", Behaviour::Reject(None)),
            (
                "reject:amqp:not-allowed",
                Behaviour::Reject(Some("amqp:not-allowed".to_owned())),
            ),
            ("release", Behaviour::Release),
            ("modify", Behaviour::Modify),
            ("modify-undeliverable", Behaviour::ModifyUndeliverable),
            ("none", Behaviour::Silent),
            ("no-credit", Behaviour::NoCredit),
            ("delay:0.8", Behaviour::Delay(Duration::from_millis(800))),
        ] {
            assert_eq!(text.parse(), Ok(behaviour));
        }
        for text in [
            "", "Accept", "reject:", "delay:", "delay:-1", "delay:x", "absent",
        ] {
            assert!(text.parse::<Behaviour>().is_err(), "{text}");
        }
    }
}
