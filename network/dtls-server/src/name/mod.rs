//! Distinguished names of certificates, written as RFC 2253 wants them and as Java's `X500Principal` does.

use std::fmt::{self, Write as _};

use dtls_proto::codec::{
    Malformed, Reader,
    der::{Tag, element, expect},
};

/// The name of a subject or an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName {
    der: Vec<u8>,
    /// In the order of the encoding, the most general first.
    parts: Vec<Vec<Attribute>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    /// The content of the object identifier.
    kind: Vec<u8>,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    /// Something else than text, whole.
    Other(Vec<u8>),
}

impl DistinguishedName {
    /// Reads a `Name` in DER (RFC 5280 §4.1.2.4).
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such name.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(der);
        let mut sequence = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
        reader.end()?;
        let mut parts = Vec::new();
        while !sequence.is_empty() {
            let mut set = Reader::new(expect(&mut sequence, Tag::SET)?);
            let mut part = Vec::new();
            while !set.is_empty() {
                part.push(Attribute::read(&mut set)?);
            }
            if part.is_empty() {
                return Err(Malformed);
            }
            parts.push(part);
        }
        Ok(Self {
            der: der.to_vec(),
            parts,
        })
    }

    /// The name in DER.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The first value, in the order of the encoding, of an attribute with this short name (`CN`, `OU`, `O` ...), if it is text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let attributes = self.parts.iter().flatten();
        attributes
            .filter(|attribute| {
                short_name(&attribute.kind).is_some_and(|short| short.eq_ignore_ascii_case(name))
            })
            .find_map(|attribute| match &attribute.value {
                Value::Text(text) => Some(text.as_str()),
                Value::Other(_) => None,
            })
    }

    /// Whether both name the same, whatever kind of string they are encoded in, and however they are spaced or capitalised
    /// (RFC 5280 §7.1).
    pub fn matches(&self, other: &Self) -> bool {
        canonical(&self.to_string()) == canonical(&other.to_string())
    }

    /// As [`DistinguishedName::matches`], with a name written as RFC 2253 wants it.
    pub fn is_written(&self, name: &str) -> bool {
        canonical(&self.to_string()) == canonical(name)
    }
}

/// The most specific part first, no blanks between the parts (RFC 2253 §2).
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().rev().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            for (index, attribute) in part.iter().enumerate() {
                if index > 0 {
                    f.write_char('+')?;
                }
                attribute.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl Attribute {
    fn read(set: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut pair = Reader::new(expect(set, Tag::SEQUENCE)?);
        let kind = expect(&mut pair, Tag::OBJECT_IDENTIFIER)?;
        let mut rest = pair;
        let whole = rest.remaining();
        let (tag, content) = element(&mut pair)?;
        pair.end()?;
        if kind.is_empty() {
            return Err(Malformed);
        }
        let value = match text(tag, content) {
            Some(text) => Value::Text(text),
            None => Value::Other(whole.to_vec()),
        };
        Ok(Self {
            kind: kind.to_vec(),
            value: if short_name(kind).is_some() {
                value
            } else {
                // Without a name for the kind, nobody knows how to read the text (RFC 2253 §2.4).
                Value::Other(whole.to_vec())
            },
        })
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match short_name(&self.kind) {
            Some(name) => f.write_str(name)?,
            None => write_identifier(f, &self.kind)?,
        }
        f.write_char('=')?;
        match &self.value {
            Value::Text(text) => write_escaped(f, text),
            Value::Other(der) => {
                f.write_char('#')?;
                der.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// What the strings of X.520 say; `None` for anything else.
fn text(tag: Tag, content: &[u8]) -> Option<String> {
    match tag.0 {
        // UTF8String
        0x0c => String::from_utf8(content.to_vec()).ok(),
        // PrintableString, IA5String, GeneralString
        0x13 | 0x16 | 0x1b if content.is_ascii() => String::from_utf8(content.to_vec()).ok(),
        // TeletexString, in practice Latin-1
        0x14 => Some(content.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString
        0x1e => {
            let (units, odd) = content.as_chunks();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            odd.is_empty()
                .then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())?
        }
        // UniversalString
        0x1c => {
            let (units, odd) = content.as_chunks();
            let units = units
                .iter()
                .map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            odd.is_empty().then(|| units.collect())?
        }
        _ => None,
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let leading = text.len() - text.trim_start_matches(' ').len();
    let end = text.trim_end_matches(' ').len();
    for (at, character) in text.char_indices() {
        match character {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => write!(f, "\\{character}")?,
            ' ' if at < leading || at >= end => f.write_str("\\ ")?,
            '\0' => f.write_str("\\00")?,
            _ => f.write_char(character)?,
        }
    }
    Ok(())
}

/// An object identifier in dots (X.690 §8.19).
fn write_identifier(f: &mut fmt::Formatter<'_>, content: &[u8]) -> fmt::Result {
    let mut arc: u128 = 0;
    let mut first = true;
    for byte in content {
        arc = arc.checked_shl(7).unwrap_or(0) | u128::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if first {
            let root = (arc / 40).min(2);
            write!(f, "{root}.{}", arc - root * 40)?;
            first = false;
        } else {
            write!(f, ".{arc}")?;
        }
        arc = 0;
    }
    Ok(())
}

/// The short names of RFC 2253 §2.3.
fn short_name(kind: &[u8]) -> Option<&'static str> {
    Some(match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        _ => return None,
    })
}

/// Small letters, no blanks round separators, one blank instead of several.
fn canonical(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut characters = name.chars().peekable();
    let mut blank = false;
    while let Some(character) = characters.next() {
        match character {
            ' ' => blank = true,
            ',' | '+' | '=' => {
                blank = false;
                out.push(character);
                while characters.peek() == Some(&' ') {
                    characters.next();
                }
            }
            _ => {
                if std::mem::take(&mut blank) && !out.is_empty() {
                    out.push(' ');
                }
                out.extend(character.to_lowercase());
                if character == '\\' {
                    out.extend(characters.next());
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
