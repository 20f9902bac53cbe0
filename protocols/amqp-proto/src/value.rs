//! Values and how they are written (AMQP 1.0 part 1 §1.6), each in its shortest form.

/// A value of an annotation, a property or a body.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth.
    Bool(bool),
    /// 8 bits without sign.
    Ubyte(u8),
    /// 16 bits without sign.
    Ushort(u16),
    /// 32 bits without sign.
    Uint(u32),
    /// 64 bits without sign.
    Ulong(u64),
    /// 8 bits with sign.
    Byte(i8),
    /// 16 bits with sign.
    Short(i16),
    /// 32 bits with sign.
    Int(i32),
    /// 64 bits with sign.
    Long(i64),
    /// 32 bits of floating point.
    Float(f32),
    /// 64 bits of floating point.
    Double(f64),
    /// One Unicode character.
    Char(char),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// An RFC 4122 identifier.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Vec<u8>),
    /// Unicode text.
    String(String),
    /// A word out of a limited vocabulary, in ASCII.
    Symbol(String),
    /// Values in an order.
    List(Vec<Self>),
    /// Values by their keys.
    Map(Vec<(Self, Self)>),
    /// Something received that has no place here (an array, a decimal, a described value). It is sent as null.
    Other,
}

impl Value {
    /// Appends the value.
    pub fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Null | Self::Other => into.push(0x40),
            Self::Bool(value) => into.push(if *value { 0x41 } else { 0x42 }),
            Self::Ubyte(value) => into.extend_from_slice(&[0x50, *value]),
            Self::Ushort(value) => fixed(into, 0x60, value.to_be_bytes()),
            Self::Uint(value) => uint(into, *value),
            Self::Ulong(value) => match u8::try_from(*value) {
                Ok(0) => into.push(0x44),
                Ok(small) => into.extend_from_slice(&[0x53, small]),
                Err(_) => fixed(into, 0x80, value.to_be_bytes()),
            },
            Self::Byte(value) => fixed(into, 0x51, value.to_be_bytes()),
            Self::Short(value) => fixed(into, 0x61, value.to_be_bytes()),
            Self::Int(value) => match i8::try_from(*value) {
                Ok(small) => fixed(into, 0x54, small.to_be_bytes()),
                Err(_) => fixed(into, 0x71, value.to_be_bytes()),
            },
            Self::Long(value) => match i8::try_from(*value) {
                Ok(small) => fixed(into, 0x55, small.to_be_bytes()),
                Err(_) => fixed(into, 0x81, value.to_be_bytes()),
            },
            Self::Float(value) => fixed(into, 0x72, value.to_be_bytes()),
            Self::Double(value) => fixed(into, 0x82, value.to_be_bytes()),
            Self::Char(value) => fixed(into, 0x73, u32::from(*value).to_be_bytes()),
            Self::Timestamp(value) => timestamp(into, *value),
            Self::Uuid(value) => fixed(into, 0x98, *value),
            Self::Binary(value) => binary(into, value),
            Self::String(value) => string(into, value),
            Self::Symbol(value) => symbol(into, value),
            Self::List(values) => list(into, |into| {
                values.iter().for_each(|value| value.encode(into));
                values.len()
            }),
            Self::Map(entries) => map(into, |into| {
                for (key, value) in entries {
                    key.encode(into);
                    value.encode(into);
                }
                entries.len()
            }),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

pub(crate) fn uint(into: &mut Vec<u8>, value: u32) {
    match u8::try_from(value) {
        Ok(0) => into.push(0x43),
        Ok(small) => into.extend_from_slice(&[0x52, small]),
        Err(_) => fixed(into, 0x70, value.to_be_bytes()),
    }
}

pub(crate) fn timestamp(into: &mut Vec<u8>, milliseconds: i64) {
    fixed(into, 0x83, milliseconds.to_be_bytes());
}

pub(crate) fn binary(into: &mut Vec<u8>, bytes: &[u8]) {
    variable(into, 0xa0, bytes);
}

pub(crate) fn string(into: &mut Vec<u8>, text: &str) {
    variable(into, 0xa1, text.as_bytes());
}

pub(crate) fn symbol(into: &mut Vec<u8>, text: &str) {
    variable(into, 0xa3, text.as_bytes());
}

/// Appends a list of what `write` appends; it tells how many values that were.
pub(crate) fn list(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> usize) {
    compound(into, 0xc0, write);
}

/// Appends a map of what `write` appends; it tells how many pairs that were.
pub(crate) fn map(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> usize) {
    compound(into, 0xc1, |into| write(into).saturating_mul(2));
}

fn fixed<const N: usize>(into: &mut Vec<u8>, code: u8, bytes: [u8; N]) {
    into.push(code);
    into.extend_from_slice(&bytes);
}

fn variable(into: &mut Vec<u8>, short_code: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => into.extend_from_slice(&[short_code, length]),
        Err(_) => fixed(into, short_code | 0x10, length(bytes.len()).to_be_bytes()),
    }
    into.extend_from_slice(bytes);
}

/// The content is written behind a wide head first; it moves up if a narrow one is enough.
fn compound(into: &mut Vec<u8>, short_code: u8, write: impl FnOnce(&mut Vec<u8>) -> usize) {
    let start = into.len();
    into.extend_from_slice(&[0; WIDE_HEAD]);
    let content = into.len();
    let count = write(into);
    let size = into.len().saturating_sub(content);
    match (u8::try_from(size.saturating_add(1)), u8::try_from(count)) {
        (Ok(size), Ok(count)) => {
            into.splice(start..content, [short_code, size, count]);
        }
        _ => {
            let mut head = [short_code | 0x10; WIDE_HEAD];
            let (_, numbers) = head.split_at_mut(1);
            let (size_bytes, count_bytes) = numbers.split_at_mut(4);
            size_bytes.copy_from_slice(&length(size.saturating_add(4)).to_be_bytes());
            count_bytes.copy_from_slice(&length(count).to_be_bytes());
            if let Some(place) = into.get_mut(start..content) {
                place.copy_from_slice(&head);
            }
        }
    }
}

/// A length for the wire. Nothing in memory that is sent comes near the bound.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

const WIDE_HEAD: usize = 9;
