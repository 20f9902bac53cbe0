//! As much of the CoAP format (RFC 7252 §3) as a device needs. It shares nothing with the adapter's, so that a mistake shows.

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Confirmable,
    NonConfirmable,
    Acknowledgement,
    Reset,
}

/// What is looked at of a message that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind,
    pub(crate) code: u8,
    pub(crate) id: u16,
    /// The tokens of devices here have four bytes; another length is none of theirs.
    pub(crate) token: Option<u32>,
    /// Options, and a payload if there is one.
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let [first, code, high, low, rest @ ..] = bytes else {
            return None;
        };
        if first >> 6 != 1 {
            return None;
        }
        let kind = match (first >> 4) & 3 {
            0 => Kind::Confirmable,
            1 => Kind::NonConfirmable,
            2 => Kind::Acknowledgement,
            _ => Kind::Reset,
        };
        let (token, rest) = rest.split_at_checked(usize::from(first & 15))?;
        Some(Self {
            kind,
            code: *code,
            id: u16::from_be_bytes([*high, *low]),
            token: token.try_into().ok().map(u32::from_be_bytes),
            rest,
        })
    }

    /// The values of an option, in their order, as far as the options can be read.
    pub(crate) fn options(&self, wanted: u16) -> impl Iterator<Item = &'a [u8]> {
        let (mut rest, mut number) = (self.rest, 0);
        std::iter::from_fn(move || {
            let (delta, value, behind) = take_option(rest)?;
            number += delta;
            rest = behind;
            Some((number, value))
        })
        .filter_map(move |(number, value)| (number == u32::from(wanted)).then_some(value))
    }

    /// Empty if there is none.
    pub(crate) fn payload(&self) -> &'a [u8] {
        let mut rest = self.rest;
        while let Some((_, _, behind)) = take_option(rest) {
            rest = behind;
        }
        match rest {
            [0xFF, payload @ ..] => payload,
            _ => &[],
        }
    }

    pub(crate) const fn is_response(&self) -> bool {
        matches!(self.code >> 5, 2..=5)
    }
}

/// A request; options are in ascending order.
pub(crate) fn request(
    kind: Kind,
    method: u8,
    id: u16,
    token: u32,
    options: &[(u16, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut bytes = vec![0x44 | (kind as u8) << 4, method, high, low];
    bytes.extend(token.to_be_bytes());
    let mut before = 0;
    for (number, value) in options {
        put_option(&mut bytes, number - before, value);
        before = *number;
    }
    bytes.push(0xFF);
    bytes.extend(payload);
    bytes
}

/// An empty ACK (RFC 7252 §4.2).
pub(crate) const fn acknowledgement(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x60, 0, high, low]
}

/// The next option's delta and value, and what is behind it; none at the payload, at the end, and before what can't be read.
fn take_option(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first == 0xFF {
        return None;
    }
    let (delta, rest) = take_extended(first >> 4, rest)?;
    let (length, rest) = take_extended(first & 15, rest)?;
    let (value, rest) = rest.split_at_checked(length as usize)?;
    Some((delta, value, rest))
}

fn take_extended(nibble: u8, bytes: &[u8]) -> Option<(u32, &[u8])> {
    match (nibble, bytes) {
        (0..=12, rest) => Some((nibble.into(), rest)),
        (13, [one, rest @ ..]) => Some((u32::from(*one) + 13, rest)),
        (14, [high, low, rest @ ..]) => {
            Some((u32::from(u16::from_be_bytes([*high, *low])) + 269, rest))
        }
        _ => None,
    }
}

/// No option of a device here has a delta or a length beyond the one-byte extension.
fn put_option(bytes: &mut Vec<u8>, delta: u16, value: &[u8]) {
    let extended = |number: usize| match u8::try_from(number) {
        Ok(small @ 0..=12) => (small, None),
        _ => (13, u8::try_from(number.saturating_sub(13)).ok()),
    };
    let (delta, delta_more) = extended(usize::from(delta));
    let (length, length_more) = extended(value.len());
    bytes.push(delta << 4 | length);
    bytes.extend(delta_more.into_iter().chain(length_more));
    bytes.extend(value);
}

pub(crate) const LOCATION_PATH: u16 = 8;
pub(crate) const URI_PATH: u16 = 11;
pub(crate) const CONTENT_FORMAT: u16 = 12;
pub(crate) const URI_QUERY: u16 = 15;
pub(crate) const POST: u8 = 2;
pub(crate) const PUT: u8 = 3;
/// 2.04 Changed.
pub(crate) const CHANGED: u8 = 0x44;
/// 5.03 Service Unavailable.
pub(crate) const SERVICE_UNAVAILABLE: u8 = 0xA3;

#[cfg(test)]
mod tests {
    use super::{
        CONTENT_FORMAT, Kind, LOCATION_PATH, Message, POST, URI_PATH, URI_QUERY, acknowledgement,
        request,
    };

    #[test]
    fn a_request_is_as_the_rfc_draws_it() {
        let options: [(u16, &[u8]); 3] = [
            (URI_PATH, b"t"),
            (CONTENT_FORMAT, &[42]),
            (URI_QUERY, b"hono-ttd=60000"),
        ];
        let bytes = request(Kind::Confirmable, POST, 0x1234, 0x0102_0304, &options, b"x");
        let mut wanted = vec![
            0x44, 2, 0x12, 0x34, 1, 2, 3, 4, 0xB1, b't', 0x11, 42, 0x3D, 1,
        ];
        wanted.extend(b"hono-ttd=60000\xFFx");
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn options_are_read_wherever_they_stand() {
        let mut bytes = vec![0x64, 0x44, 0, 7, 0, 0, 0, 9];
        bytes.extend(b"\x82cr\x03abc\x4D\x00thirteen-byte\x61x\xFF\x81!");
        let answer = Message::decode(&bytes).unwrap();
        let path: Vec<_> = answer.options(LOCATION_PATH).collect();
        assert_eq!(path, [&b"cr"[..], b"abc"]);
        assert_eq!(answer.payload(), b"\x81!");
        for length in 0..bytes.len() {
            let cut = Message::decode(&bytes[..length]);
            assert!(cut.is_none_or(|cut| cut.options(LOCATION_PATH).count() <= 2));
        }
    }

    #[test]
    fn answers_are_told_apart_and_rubbish_is_left() {
        let answer = Message::decode(&[0x64, 0x44, 0, 7, 0, 0, 0, 9]).unwrap();
        assert_eq!((answer.kind, answer.id), (Kind::Acknowledgement, 7));
        assert!(answer.is_response() && answer.token == Some(9));
        let bytes = acknowledgement(3);
        let empty = Message::decode(&bytes).unwrap();
        assert!(!empty.is_response() && empty.token.is_none() && empty.id == 3);
        for rubbish in [
            &[][..],
            &[0x44, 0x44, 0],
            &[0x04, 0, 0, 0],
            &[0x64, 0x44, 0, 7, 1],
        ] {
            assert_eq!(Message::decode(rubbish), None);
        }
    }
}
