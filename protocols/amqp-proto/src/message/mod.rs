//! A message (AMQP 1.0 part 3 §3.2): the sections that Hono uses, written straight into a frame, read straight out of one.

use std::time::Duration;

use crate::{
    DecodeError,
    read::{Descriptor, Item, Items},
    value::{self, Value},
};

/// A message to send, or one received. What is not set is not on the wire.
#[derive(Clone, PartialEq, Default)]
pub struct Message {
    /// How it is to be treated on the way (§3.2.1).
    pub header: Header,
    /// Message annotations, by symbol (§3.2.3).
    pub annotations: Vec<(String, Value)>,
    /// What every message can tell of itself (§3.2.4).
    pub properties: Properties,
    /// What the application tells (§3.2.5). Values are simple ones: no list, no map.
    pub application_properties: Vec<(String, Value)>,
    /// What it is about (§3.2.6 to §3.2.8).
    pub body: Body,
}

/// The header section. Without any of this, there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Whether a broker has to keep it over a restart.
    pub durable: bool,
    /// How long it is of use, in milliseconds on the wire; at most 49 days.
    pub ttl: Option<Duration>,
}

/// The properties section, as far as Hono uses it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Properties {
    /// What identifies the message.
    pub message_id: Option<MessageId>,
    /// Where it goes.
    pub to: Option<String>,
    /// What it is about: the name of a command, of an operation.
    pub subject: Option<String>,
    /// Where to send an answer.
    pub reply_to: Option<String>,
    /// Which message it answers.
    pub correlation_id: Option<MessageId>,
    /// The media type of the body, a symbol.
    pub content_type: Option<String>,
    /// How the body is packed, a symbol.
    pub content_encoding: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub creation_time: Option<i64>,
}

/// An identifier. Hono sends strings only, but a peer may send any of these (§3.2.11 to §3.2.14).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MessageId {
    /// Text.
    String(String),
    /// A number.
    Ulong(u64),
    /// An RFC 4122 identifier.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Vec<u8>),
}

/// The body of a message.
#[derive(Clone, PartialEq, Default)]
pub enum Body {
    /// No body at all.
    #[default]
    None,
    /// A data section; several received ones are joined.
    Data(Vec<u8>),
    /// An amqp-value section with text.
    ValueString(String),
    /// An amqp-value section with bytes.
    ValueBinary(Vec<u8>),
    /// A body received that is none of these: an amqp-sequence, or another value. It is sent as a null value.
    Other,
}

impl Message {
    /// A message with nothing in it but a data section.
    #[must_use]
    pub fn data(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Body::Data(payload.into()),
            ..Self::default()
        }
    }

    /// The value of an application property.
    #[must_use]
    pub fn application_property(&self, key: &str) -> Option<&Value> {
        find(&self.application_properties, key)
    }

    /// The value of a message annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&Value> {
        find(&self.annotations, key)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] if these bytes are not the sections of a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut items = Items::all(bytes);
        while let Some(item) = items.next()? {
            let Item::Described(descriptor) = item else {
                return Err(DecodeError::NoSection);
            };
            let section = Section::of(descriptor)?;
            let content = items.next()?.ok_or(DecodeError::NoSection)?;
            items.pass(content)?;
            match (section, content) {
                (Section::Header, Item::List(fields)) => message.header = header(fields)?,
                (Section::MessageAnnotations, Item::Map(entries)) => {
                    message.annotations = entries.entries()?;
                }
                (Section::Properties, Item::List(fields)) => {
                    message.properties = properties(fields)?;
                }
                (Section::ApplicationProperties, Item::Map(entries)) => {
                    message.application_properties = entries.entries()?;
                }
                (Section::Data | Section::Sequence | Section::Value, _) => {
                    message.body.join(section, content);
                }
                _ => {}
            }
        }
        Ok(message)
    }

    /// Appends the message.
    pub fn encode(&self, into: &mut Vec<u8>) {
        self.header.encode(into);
        if !self.annotations.is_empty() {
            section(into, MESSAGE_ANNOTATIONS);
            keyed(into, &self.annotations, value::symbol);
        }
        self.properties.encode(into);
        if !self.application_properties.is_empty() {
            section(into, APPLICATION_PROPERTIES);
            keyed(into, &self.application_properties, value::string);
        }
        self.body.encode(into);
    }

    /// About how many bytes its encoding takes.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        let entries = |entries: &[(String, Value)]| -> usize {
            let size = |(key, value): &(String, Value)| match value {
                Value::String(text) | Value::Symbol(text) => key.len().saturating_add(text.len()),
                _ => key.len().saturating_add(16),
            };
            entries
                .iter()
                .map(|entry| size(entry).saturating_add(10))
                .sum()
        };
        let body = match &self.body {
            Body::Data(bytes) | Body::ValueBinary(bytes) => bytes.len(),
            Body::ValueString(text) => text.len(),
            Body::None | Body::Other => 0,
        };
        entries(&self.annotations)
            .saturating_add(entries(&self.application_properties))
            .saturating_add(body)
            .saturating_add(512)
    }
}

impl Header {
    fn encode(&self, into: &mut Vec<u8>) {
        if *self == Self::default() {
            return;
        }
        section(into, HEADER);
        let milliseconds = |ttl: Duration| u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        value::list(into, |into| {
            let mut fields = Fields::new(into);
            fields.put(0, self.durable.then_some(Value::Bool(true)), |into, it| {
                it.encode(into);
            });
            fields.put(2, self.ttl.map(milliseconds), value::uint);
            fields.count
        });
    }
}

impl Properties {
    fn encode(&self, into: &mut Vec<u8>) {
        if *self == Self::default() {
            return;
        }
        section(into, PROPERTIES);
        value::list(into, |into| {
            let mut fields = Fields::new(into);
            fields.put(0, self.message_id.as_ref(), |into, id| id.encode(into));
            fields.put(2, self.to.as_deref(), value::string);
            fields.put(3, self.subject.as_deref(), value::string);
            fields.put(4, self.reply_to.as_deref(), value::string);
            fields.put(5, self.correlation_id.as_ref(), |into, id| id.encode(into));
            fields.put(6, self.content_type.as_deref(), value::symbol);
            fields.put(7, self.content_encoding.as_deref(), value::symbol);
            fields.put(9, self.creation_time, value::timestamp);
            fields.count
        });
    }
}

impl MessageId {
    /// The identifier, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Ulong(_) | Self::Uuid(_) | Self::Binary(_) => None,
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::String(text) => value::string(into, text),
            Self::Ulong(number) => Value::Ulong(*number).encode(into),
            Self::Uuid(id) => Value::Uuid(*id).encode(into),
            Self::Binary(bytes) => value::binary(into, bytes),
        }
    }
}

impl Body {
    /// The bytes in it; none if there is no body, or one of another kind.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Data(bytes) | Self::ValueBinary(bytes) => bytes,
            Self::ValueString(text) => text.as_bytes(),
            Self::None | Self::Other => &[],
        }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Data(bytes) => {
                section(into, DATA);
                value::binary(into, bytes);
            }
            Self::ValueString(text) => {
                section(into, AMQP_VALUE);
                value::string(into, text);
            }
            Self::ValueBinary(bytes) => {
                section(into, AMQP_VALUE);
                value::binary(into, bytes);
            }
            Self::Other => {
                section(into, AMQP_VALUE);
                Value::Null.encode(into);
            }
        }
    }
}

/// Field values and payloads are the devices' business; neither shows.
impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Message")
            .field("to", &self.properties.to)
            .field("subject", &self.properties.subject)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(formatter, "None"),
            Self::Data(bytes) => write!(formatter, "Data({} bytes)", bytes.len()),
            Self::ValueString(text) => write!(formatter, "ValueString({} bytes)", text.len()),
            Self::ValueBinary(bytes) => write!(formatter, "ValueBinary({} bytes)", bytes.len()),
            Self::Other => write!(formatter, "Other"),
        }
    }
}

impl From<String> for MessageId {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<&str> for MessageId {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl Body {
    /// Adds another section of a body to what there is already.
    fn join(&mut self, section: Section, content: Item<'_>) {
        *self = match (std::mem::take(self), section, content) {
            (Self::None, Section::Data, Item::Binary(bytes)) => Self::Data(bytes.to_vec()),
            (Self::Data(mut before), Section::Data, Item::Binary(bytes)) => {
                before.extend_from_slice(bytes);
                Self::Data(before)
            }
            (Self::None, Section::Value, Item::Binary(bytes)) => Self::ValueBinary(bytes.to_vec()),
            (Self::None, Section::Value, Item::String(text)) => Self::ValueString(text.to_owned()),
            _ => Self::Other,
        };
    }
}

/// The sections of a message (§3.2) that are distinguished here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Header,
    MessageAnnotations,
    Properties,
    ApplicationProperties,
    Data,
    Value,
    Sequence,
    Other,
}

impl Section {
    fn of(descriptor: Descriptor<'_>) -> Result<Self, DecodeError> {
        Ok(match descriptor {
            Descriptor::Code(0x70) | Descriptor::Name("amqp:header:list") => Self::Header,
            Descriptor::Code(0x72) | Descriptor::Name("amqp:message-annotations:map") => {
                Self::MessageAnnotations
            }
            Descriptor::Code(0x73) | Descriptor::Name("amqp:properties:list") => Self::Properties,
            Descriptor::Code(0x74) | Descriptor::Name("amqp:application-properties:map") => {
                Self::ApplicationProperties
            }
            Descriptor::Code(0x75) | Descriptor::Name("amqp:data:binary") => Self::Data,
            Descriptor::Code(0x76) | Descriptor::Name("amqp:amqp-sequence:list") => Self::Sequence,
            Descriptor::Code(0x77) | Descriptor::Name("amqp:amqp-value:*") => Self::Value,
            Descriptor::Code(0x71 | 0x78)
            | Descriptor::Name("amqp:delivery-annotations:map" | "amqp:footer:map") => Self::Other,
            _ => return Err(DecodeError::UnknownSection),
        })
    }
}

fn header(fields: Items<'_>) -> Result<Header, DecodeError> {
    let [durable, _, ttl] = fields.fields()?;
    Ok(Header {
        durable: durable == Item::Bool(true),
        ttl: match ttl {
            Item::Uint(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
            _ => None,
        },
    })
}

fn properties(fields: Items<'_>) -> Result<Properties, DecodeError> {
    let [
        message_id,
        _,
        to,
        subject,
        reply_to,
        correlation_id,
        content_type,
        content_encoding,
        _,
        creation_time,
    ] = fields.fields()?;
    let text = |item| match item {
        Item::String(text) | Item::Symbol(text) => Some(text.to_owned()),
        _ => None,
    };
    let id = |item| match item {
        Item::String(text) => Some(MessageId::String(text.to_owned())),
        Item::Ulong(number) => Some(MessageId::Ulong(number)),
        Item::Uuid(id) => Some(MessageId::Uuid(id)),
        Item::Binary(bytes) => Some(MessageId::Binary(bytes.to_vec())),
        _ => None,
    };
    Ok(Properties {
        message_id: id(message_id),
        to: text(to),
        subject: text(subject),
        reply_to: text(reply_to),
        correlation_id: id(correlation_id),
        content_type: text(content_type),
        content_encoding: text(content_encoding),
        creation_time: match creation_time {
            Item::Timestamp(time) => Some(time),
            _ => None,
        },
    })
}

/// The fields of a list, of which the unset ones at the end are left out.
struct Fields<'a> {
    into: &'a mut Vec<u8>,
    count: usize,
}

impl<'a> Fields<'a> {
    const fn new(into: &'a mut Vec<u8>) -> Self {
        Self { into, count: 0 }
    }

    fn put<T>(&mut self, place: usize, field: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        let Some(field) = field else {
            return;
        };
        let unset = place.saturating_sub(self.count);
        self.into.extend(std::iter::repeat_n(0x40, unset));
        write(self.into, field);
        self.count = place.saturating_add(1);
    }
}

fn section(into: &mut Vec<u8>, descriptor: u8) {
    into.extend_from_slice(&[0x00, 0x53, descriptor]);
}

fn keyed(into: &mut Vec<u8>, entries: &[(String, Value)], key: fn(&mut Vec<u8>, &str)) {
    value::map(into, |into| {
        for (name, value) in entries {
            key(into, name);
            value.encode(into);
        }
        entries.len()
    });
}

fn find<'a>(entries: &'a [(String, Value)], wanted: &str) -> Option<&'a Value> {
    entries
        .iter()
        .find(|(key, _)| key == wanted)
        .map(|(_, value)| value)
}

const HEADER: u8 = 0x70;
const MESSAGE_ANNOTATIONS: u8 = 0x72;
const PROPERTIES: u8 = 0x73;
const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;
const AMQP_VALUE: u8 = 0x77;

#[cfg(test)]
mod tests;
