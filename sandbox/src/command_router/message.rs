//! A command message in sections, so that the router changes what it has to and passes on the rest byte for byte.

use fe2o3_amqp_types::primitives::OrderedMap;
use serde_amqp::{Value, described::Described, descriptor::Descriptor};

use crate::amqp::{frame::encode, sections};

/// A message taken apart.
pub(super) struct Message<'a>(Vec<Part<'a>>);

struct Part<'a> {
    section: Section,
    value: Value,
    raw: &'a [u8],
}

/// The sections that the router looks at; others it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Header,
    Properties,
    ApplicationProperties,
    Data,
    Sequence,
    Value,
    Other,
}

/// What a message carries (AMQP 1.0 part 3 §3.2.6 to §3.2.8), as far as the router has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// None, data, or one binary or textual value.
    Bytes,
    /// Sequences, null, other values, or sections of different kinds.
    Other,
}

impl<'a> Message<'a> {
    /// Takes a message apart; none if it is not one.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let parts = sections::parts(bytes).ok()?;
        let part = |(name, value, raw)| Part {
            section: Section::of(name),
            value,
            raw,
        };
        Some(Self(parts.into_iter().map(part).collect()))
    }

    /// A field of the properties by its place (§3.2.4); absent and null are the same.
    pub(super) fn property(&self, place: usize) -> Option<&Value> {
        let Value::List(fields) = self.value(Section::Properties)? else {
            return None;
        };
        fields.get(place).filter(|value| **value != Value::Null)
    }

    pub(super) fn body_kind(&self) -> BodyKind {
        let bodies: Vec<&Part<'_>> = self
            .0
            .iter()
            .filter(|part| part.section.is_body())
            .collect();
        let is_bytes = match bodies.as_slice() {
            [one] if one.section == Section::Value => {
                matches!(one.value, Value::Binary(_) | Value::String(_))
            }
            all => all.iter().all(|part| part.section == Section::Data),
        };
        if is_bytes {
            BodyKind::Bytes
        } else {
            BodyKind::Other
        }
    }

    /// The message as it goes on (spec: command-routing §5): without header, with these properties set, and with the
    /// application property `via` if there is a gateway.
    pub(super) fn forward(&self, properties: &[(usize, Value)], via: Option<&str>) -> Vec<u8> {
        let mut forwarded = Vec::new();
        let mut via = via;
        for part in &self.0 {
            if part.section.is_body()
                && let Some(gateway) = via.take()
            {
                forwarded.extend(with_via(OrderedMap::new(), gateway));
            }
            match (part.section, &part.value) {
                (Section::Header, _) => {}
                (Section::Properties, Value::List(fields)) => {
                    forwarded.extend(with_properties(fields.clone(), properties));
                }
                (Section::ApplicationProperties, Value::Map(map)) if via.is_some() => {
                    forwarded.extend(with_via(map.clone(), via.take().unwrap_or_default()));
                }
                _ => forwarded.extend_from_slice(part.raw),
            }
        }
        if let Some(gateway) = via {
            forwarded.extend(with_via(OrderedMap::new(), gateway));
        }
        forwarded
    }

    fn value(&self, wanted: Section) -> Option<&Value> {
        self.0
            .iter()
            .find(|part| part.section == wanted)
            .map(|part| &part.value)
    }
}

impl Section {
    fn of(name: &str) -> Self {
        match name {
            "header" => Self::Header,
            "properties" => Self::Properties,
            "application-properties" => Self::ApplicationProperties,
            "data" => Self::Data,
            "amqp-sequence" => Self::Sequence,
            "amqp-value" => Self::Value,
            _ => Self::Other,
        }
    }

    const fn is_body(self) -> bool {
        matches!(self, Self::Data | Self::Sequence | Self::Value)
    }
}

fn with_properties(mut fields: Vec<Value>, changes: &[(usize, Value)]) -> Vec<u8> {
    for (place, value) in changes {
        if fields.len() <= *place {
            fields.resize(place + 1, Value::Null);
        }
        if let Some(field) = fields.get_mut(*place) {
            *field = value.clone();
        }
    }
    section(0x73, Value::List(fields))
}

fn with_via(mut map: OrderedMap<Value, Value>, gateway: &str) -> Vec<u8> {
    map.insert(
        Value::String("via".to_owned()),
        Value::String(gateway.to_owned()),
    );
    section(0x74, Value::Map(map))
}

fn section(code: u64, value: Value) -> Vec<u8> {
    encode(&Described {
        descriptor: Descriptor::Code(code),
        value,
    })
}
