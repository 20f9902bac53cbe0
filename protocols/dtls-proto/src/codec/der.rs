//! As much of DER (X.690) as certificates and keys need: elements with their tags, one after the other.

use crate::codec::{Malformed, Reader};

/// The tag of an element, its class and form included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u8);

impl Tag {
    /// A truth value.
    pub const BOOLEAN: Self = Self(0x01);
    /// A whole number.
    pub const INTEGER: Self = Self(0x02);
    /// Bits, the first byte tells how many of the last are unused.
    pub const BIT_STRING: Self = Self(0x03);
    /// Bytes.
    pub const OCTET_STRING: Self = Self(0x04);
    /// What something is called by machines.
    pub const OBJECT_IDENTIFIER: Self = Self(0x06);
    /// Elements in an order.
    pub const SEQUENCE: Self = Self(0x30);
    /// Elements in none.
    pub const SET: Self = Self(0x31);

    /// A constructed element with a number of the context's own.
    #[must_use]
    pub fn context(number: u8) -> Self {
        Self(0xa0 | number)
    }
}

/// The next element.
///
/// # Errors
/// [`Malformed`] if there is no whole element, or its length is not written as DER wants it.
pub fn element<'a>(reader: &mut Reader<'a>) -> Result<(Tag, &'a [u8]), Malformed> {
    let tag = reader.u8()?;
    // Tags above 30 take more bytes; nothing here has one.
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    let (length, shortest) = match reader.u8()? {
        short @ 0..=0x7f => (u32::from(short), 0),
        0x81 => (u32::from(reader.u8()?), 0x80),
        0x82 => (u32::from(reader.u16()?), 0x100),
        0x83 => (reader.u24()?, 0x1_0000),
        _ => return Err(Malformed),
    };
    if length < shortest {
        return Err(Malformed);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    Ok((Tag(tag), reader.bytes(length)?))
}

/// The content of the next element, which must have this tag.
///
/// # Errors
/// [`Malformed`] if it is missing or another.
pub fn expect<'a>(reader: &mut Reader<'a>, tag: Tag) -> Result<&'a [u8], Malformed> {
    match element(reader)? {
        (found, content) if found == tag => Ok(content),
        _ => Err(Malformed),
    }
}

/// The next element with its tag and length; it must have this tag.
///
/// # Errors
/// [`Malformed`] if it is missing or another.
pub fn whole<'a>(reader: &mut Reader<'a>, tag: Tag) -> Result<&'a [u8], Malformed> {
    let (mut all, mut rest) = (*reader, *reader);
    let all = all.remaining();
    expect(&mut rest, tag)?;
    *reader = rest;
    let rest = rest.remaining();
    let length = all.len().checked_sub(rest.len()).ok_or(Malformed)?;
    all.get(..length).ok_or(Malformed)
}

/// The content of the next element if it has this tag; else nothing is taken.
///
/// # Errors
/// [`Malformed`] if something is there that is no element.
pub fn optional<'a>(reader: &mut Reader<'a>, tag: Tag) -> Result<Option<&'a [u8]>, Malformed> {
    if reader.is_empty() {
        return Ok(None);
    }
    let mut ahead = *reader;
    let (found, content) = element(&mut ahead)?;
    Ok((found == tag).then(|| {
        *reader = ahead;
        content
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_one_by_one() {
        let bytes = [0x30, 3, 2, 1, 5, 4, 0x81, 0x80];
        let mut bytes = bytes.to_vec();
        bytes.extend([9; 0x80]);
        let mut reader = Reader::new(&bytes);
        let sequence = expect(&mut reader, Tag::SEQUENCE).unwrap();
        assert_eq!(
            element(&mut Reader::new(sequence)),
            Ok((Tag::INTEGER, &[5][..]))
        );
        assert_eq!(optional(&mut reader, Tag::SET), Ok(None));
        let bytes = optional(&mut reader, Tag::OCTET_STRING).unwrap();
        assert_eq!(bytes.unwrap().len(), 0x80);
        assert_eq!(optional(&mut reader, Tag::SET), Ok(None));
        assert!(element(&mut reader).is_err());
    }

    #[test]
    fn lengths_that_lie_or_could_be_shorter_are_refused() {
        for bytes in [
            &[4][..],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 0x7f],
            &[4, 0x82, 0, 1, 0],
            &[4, 0x84, 0, 0, 0, 1, 0],
            &[0x1f, 0x1f, 0],
        ] {
            let mut padded = bytes.to_vec();
            if bytes.len() > 2 {
                padded.extend([0; 4]);
            }
            assert!(element(&mut Reader::new(&padded)).is_err(), "{bytes:?}");
        }
    }
}
