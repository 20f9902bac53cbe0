//! What may go wrong with an answer of the registry or of the command router.

use std::time::Duration;

use amqp_proto::{Message, Outcome, Value, message::Body};

/// What a service does instead of what it should.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It does what is asked, and answers after this time only.
    Late(Duration),
    /// It does what is asked, and answers twice.
    Twice,
    /// It does what is asked, and never answers.
    Silent,
    /// It does nothing, and answers with this status.
    Status(i32),
    /// It does nothing, and settles the request like this.
    Settled(Outcome),
    /// It does what is asked, and answers with rubbish.
    Garbage(Garbage),
}

/// An answer that nobody can make sense of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Garbage {
    /// Bytes that are no AMQP message.
    NoMessage,
    /// A message without any section.
    Empty,
    /// It does not say which request it answers.
    NoCorrelation,
    /// It answers a request that nobody sent.
    OtherCorrelation,
    /// It has no status.
    NoStatus,
    /// The status is a text.
    TextStatus,
    /// The status is a 64-bit number.
    LongStatus,
    /// The status is below all there are.
    NegativeStatus,
    /// The status is above all there are.
    HugeStatus,
    /// The body is no JSON.
    NoJson,
    /// The body is JSON, but no object.
    OtherJson,
    /// The body is an object without any of the members it should have.
    NoMembers,
    /// The body is said to be something else than JSON.
    OtherContentType,
    /// The body is larger than any there should be.
    Large,
}

impl Garbage {
    /// All there are.
    pub const ALL: [Self; 14] = [
        Self::NoMessage,
        Self::Empty,
        Self::NoCorrelation,
        Self::OtherCorrelation,
        Self::NoStatus,
        Self::TextStatus,
        Self::LongStatus,
        Self::NegativeStatus,
        Self::HugeStatus,
        Self::NoJson,
        Self::OtherJson,
        Self::NoMembers,
        Self::OtherContentType,
        Self::Large,
    ];
}

/// An answer before it is bytes.
pub(crate) struct Answer(pub(crate) Message);

impl Answer {
    /// The message as it should be.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.0.size_hint());
        self.0.encode(&mut message);
        message
    }

    /// The bytes that are sent instead.
    pub(crate) fn spoilt(mut self, garbage: Garbage) -> Vec<u8> {
        let Message {
            properties, body, ..
        } = &mut self.0;
        match garbage {
            Garbage::NoMessage => return vec![0xff; 40],
            Garbage::Empty => return Vec::new(),
            Garbage::NoCorrelation => properties.correlation_id = None,
            Garbage::OtherCorrelation => {
                properties.correlation_id = Some("nobody asked this".into());
            }
            Garbage::NoStatus => self.set_status(None),
            Garbage::TextStatus => self.set_status(Some("200".into())),
            Garbage::LongStatus => self.set_status(Some(Value::Long(200))),
            Garbage::NegativeStatus => self.set_status(Some(Value::Int(i32::MIN))),
            Garbage::HugeStatus => self.set_status(Some(Value::Int(i32::MAX))),
            Garbage::NoJson => *body = Body::Data(b"{\"tenant-id\":".to_vec()),
            Garbage::OtherJson => *body = Body::Data(b"[null]".to_vec()),
            Garbage::NoMembers => *body = Body::Data(b"{}".to_vec()),
            Garbage::OtherContentType => {
                properties.content_type = Some("text/html".to_owned());
            }
            Garbage::Large => *body = Body::Data(vec![b'['; LARGE]),
        }
        self.encode()
    }

    fn set_status(&mut self, status: Option<Value>) {
        let properties = &mut self.0.application_properties;
        properties.retain(|(name, _)| name != STATUS);
        properties.extend(status.map(|status| (STATUS.to_owned(), status)));
    }
}

/// The application property that says whether a request was served (spec: registry-apis A.1).
pub(crate) const STATUS: &str = "status";
/// More than a registry ever tells of a tenant or a device.
const LARGE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_rubbish_is_other_bytes_than_the_answer() {
        let answer = || {
            let mut answer = Message::data(*b"{\"tenant-id\":\"T\"}");
            answer.properties.correlation_id = Some("1".into());
            answer.properties.content_type = Some("application/json".to_owned());
            answer.application_properties = vec![(STATUS.to_owned(), 200.into())];
            Answer(answer)
        };
        let mut seen = vec![answer().encode()];
        for garbage in Garbage::ALL {
            let spoilt = answer().spoilt(garbage);
            assert!(!seen.contains(&spoilt), "{garbage:?}");
            seen.push(spoilt);
        }
    }
}
