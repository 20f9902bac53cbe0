//! Values as they stand in received bytes (AMQP 1.0 part 1 §1.6), taken one after the other, without copying what is in them.
//!
//! Messages and the performatives that come all the time are read by this; what comes seldom is read by `serde_amqp`.

use std::collections::{HashMap, hash_map::Entry};

use crate::{DecodeError, value::Value};

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Item<'a> {
    Null,
    Bool(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Char(char),
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(&'a [u8]),
    String(&'a str),
    Symbol(&'a str),
    List(Items<'a>),
    Map(Items<'a>),
    /// A value with this descriptor; the value itself comes next.
    Described(Descriptor<'a>),
    /// An array or a decimal, which nothing here looks into.
    Other,
}

/// What kind of value a described one is (§1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptor<'a> {
    Code(u64),
    Name(&'a str),
}

/// Values that follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
    /// Announced number of items, if there is one.
    count: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Malformed(&'static str);

impl<'a> Items<'a> {
    /// All that these bytes hold.
    pub(crate) const fn all(bytes: &'a [u8]) -> Self {
        Self { bytes, count: None }
    }

    /// The next value; none at the end. A described value is two.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'a>>, DecodeError> {
        if self.bytes.is_empty() {
            return match self.count {
                Some(1..) => Err(malformed("fewer values than there should be")),
                _ => Ok(None),
            };
        }
        let item = self.take_value()?;
        if let (Some(count), false) = (&mut self.count, matches!(item, Item::Described(_))) {
            *count = count
                .checked_sub(1)
                .ok_or_else(|| malformed("more values than there should be"))?;
        }
        Ok(Some(item))
    }

    fn take_value(&mut self) -> Result<Item<'a>, DecodeError> {
        let [code] = self.take()?;
        Ok(match code {
            0x00 => Item::Described(self.take_descriptor()?),
            0x40 => Item::Null,
            0x41 => Item::Bool(true),
            0x42 => Item::Bool(false),
            0x43 => Item::Uint(0),
            0x44 => Item::Ulong(0),
            0x45 => Item::List(Items {
                bytes: &[],
                count: Some(0),
            }),
            0x50 => Item::Ubyte(u8::from_be_bytes(self.take()?)),
            0x51 => Item::Byte(i8::from_be_bytes(self.take()?)),
            0x52 => Item::Uint(u8::from_be_bytes(self.take()?).into()),
            0x53 => Item::Ulong(u8::from_be_bytes(self.take()?).into()),
            0x54 => Item::Int(i8::from_be_bytes(self.take()?).into()),
            0x55 => Item::Long(i8::from_be_bytes(self.take()?).into()),
            0x56 => match self.take()? {
                [0] => Item::Bool(false),
                [1] => Item::Bool(true),
                _ => return Err(malformed("neither true nor false")),
            },
            0x60 => Item::Ushort(u16::from_be_bytes(self.take()?)),
            0x61 => Item::Short(i16::from_be_bytes(self.take()?)),
            0x70 => Item::Uint(u32::from_be_bytes(self.take()?)),
            0x71 => Item::Int(i32::from_be_bytes(self.take()?)),
            0x72 => Item::Float(f32::from_be_bytes(self.take()?)),
            0x73 => Item::Char(
                char::from_u32(u32::from_be_bytes(self.take()?))
                    .ok_or_else(|| malformed("no character"))?,
            ),
            0x80 => Item::Ulong(u64::from_be_bytes(self.take()?)),
            0x81 => Item::Long(i64::from_be_bytes(self.take()?)),
            0x82 => Item::Double(f64::from_be_bytes(self.take()?)),
            0x83 => Item::Timestamp(i64::from_be_bytes(self.take()?)),
            0x98 => Item::Uuid(self.take()?),
            0xa0 | 0xb0 => Item::Binary(self.take_variable(code)?),
            0xa1 | 0xb1 => Item::String(text(self.take_variable(code)?)?),
            0xa3 | 0xb3 => Item::Symbol(text(self.take_variable(code)?)?),
            0xc0 | 0xd0 => Item::List(self.take_compound(code)?),
            0xc1 | 0xd1 => Item::Map(self.take_compound(code)?),
            0x74 => self.skip::<4>()?,
            0x84 => self.skip::<8>()?,
            0x94 => self.skip::<16>()?,
            0xe0 | 0xf0 => {
                self.take_variable(code)?;
                Item::Other
            }
            _ => return Err(malformed("an unknown type")),
        })
    }

    fn take_descriptor(&mut self) -> Result<Descriptor<'a>, DecodeError> {
        let [code] = self.take()?;
        match code {
            0x44 => Ok(Descriptor::Code(0)),
            0x53 => Ok(Descriptor::Code(u8::from_be_bytes(self.take()?).into())),
            0x80 => Ok(Descriptor::Code(u64::from_be_bytes(self.take()?))),
            0xa3 | 0xb3 => Ok(Descriptor::Name(text(self.take_variable(code)?)?)),
            _ => Err(malformed("no descriptor")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or_else(|| malformed("a value is cut off"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn skip<const N: usize>(&mut self) -> Result<Item<'a>, DecodeError> {
        self.take::<N>().map(|_| Item::Other)
    }

    /// What is as long as it says: in one byte where the type is a small one, else in four.
    fn take_variable(&mut self, code: u8) -> Result<&'a [u8], DecodeError> {
        let length = if matches!(code >> 4, 0xa | 0xc | 0xe) {
            usize::from(u8::from_be_bytes(self.take()?))
        } else {
            u32::from_be_bytes(self.take()?) as usize
        };
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| malformed("a value is cut off"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn take_compound(&mut self, code: u8) -> Result<Self, DecodeError> {
        let mut content = Self::all(self.take_variable(code)?);
        let count = if code >> 4 == 0xc {
            usize::from(u8::from_be_bytes(content.take()?))
        } else {
            u32::from_be_bytes(content.take()?) as usize
        };
        if code & 0x0f == 1 && !count.is_multiple_of(2) {
            return Err(malformed("a key without value"));
        }
        content.count = Some(count);
        Ok(content)
    }

    /// The values as ours, each of which may hold others, `deep` levels down at most.
    fn values(&mut self, deep: usize) -> Result<Vec<Value>, DecodeError> {
        let mut values = Vec::new();
        while let Some(item) = self.next()? {
            values.push(self.value(item, deep)?);
        }
        Ok(values)
    }

    /// Passes over the value that was just taken, if it is described: over what it describes.
    pub(crate) fn pass(&mut self, item: Item<'a>) -> Result<(), DecodeError> {
        if let Item::Described(_) = item {
            self.value(item, MAX_DEPTH)?;
        }
        Ok(())
    }

    /// The value that was just taken as one of ours; if it is described, what it describes is taken, too.
    fn value(&mut self, item: Item<'a>, deep: usize) -> Result<Value, DecodeError> {
        let deeper = || deep.checked_sub(1).ok_or(DecodeError::TooDeep);
        Ok(match item {
            Item::Null => Value::Null,
            Item::Bool(value) => Value::Bool(value),
            Item::Ubyte(value) => Value::Ubyte(value),
            Item::Ushort(value) => Value::Ushort(value),
            Item::Uint(value) => Value::Uint(value),
            Item::Ulong(value) => Value::Ulong(value),
            Item::Byte(value) => Value::Byte(value),
            Item::Short(value) => Value::Short(value),
            Item::Int(value) => Value::Int(value),
            Item::Long(value) => Value::Long(value),
            Item::Float(value) => Value::Float(value),
            Item::Double(value) => Value::Double(value),
            Item::Char(value) => Value::Char(value),
            Item::Timestamp(value) => Value::Timestamp(value),
            Item::Uuid(value) => Value::Uuid(value),
            Item::Binary(value) => Value::Binary(value.to_vec()),
            Item::String(value) => Value::String(value.to_owned()),
            Item::Symbol(value) => Value::Symbol(value.to_owned()),
            Item::List(mut items) => Value::List(items.values(deeper()?)?),
            Item::Map(mut items) => {
                let mut entries = Vec::new();
                let mut values = items.values(deeper()?)?.into_iter();
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    entries.push((key, value));
                }
                Value::Map(entries)
            }
            Item::Described(_) => {
                let described = self.next()?;
                let described = described.ok_or_else(|| malformed("a value is cut off"))?;
                self.value(described, deeper()?)?;
                Value::Other
            }
            Item::Other => Value::Other,
        })
    }

    /// The entries of a map whose keys are words; others are passed over. Of a key that comes twice the last value counts.
    pub(crate) fn entries(mut self) -> Result<Vec<(String, Value)>, DecodeError> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut places = HashMap::new();
        while let Some(key) = self.next()? {
            self.pass(key)?;
            let value = self.next()?;
            let value = value.ok_or_else(|| malformed("a key without value"))?;
            let value = self.value(value, MAX_DEPTH)?;
            let (Item::String(key) | Item::Symbol(key)) = key else {
                continue;
            };
            match places.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(entries.len());
                    entries.push((key.to_owned(), value));
                }
                Entry::Occupied(place) => {
                    if let Some((_, former)) = entries.get_mut(*place.get()) {
                        *former = value;
                    }
                }
            }
        }
        Ok(entries)
    }

    /// The fields of a list by their places: null where there are none, [`Item::Other`] for what is described.
    pub(crate) fn fields<const N: usize>(mut self) -> Result<[Item<'a>; N], DecodeError> {
        let mut fields = [Item::Null; N];
        let mut place = 0_usize;
        while let Some(item) = self.next()? {
            self.pass(item)?;
            let field = match item {
                Item::Described(_) => Item::Other,
                plain => plain,
            };
            if let Some(at) = fields.get_mut(place) {
                *at = field;
            }
            place = place.saturating_add(1);
        }
        Ok(fields)
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    str::from_utf8(bytes).map_err(|_| malformed("text that is not UTF-8"))
}

pub(crate) fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Value(Box::new(Malformed(what)))
}

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 32;
