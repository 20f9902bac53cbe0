//! How deep values lie in each other (AMQP 1.0 part 1 §1.2), seen before they are decoded.
//!
//! The decoder goes down a level by calling itself. Without a bound, a few kilobytes of lists in lists would end the process.

/// The length of the performative that a frame's body starts with: a described list. None if it is something else.
pub(crate) fn performative_length(body: &[u8]) -> Option<usize> {
    let [DESCRIBED, descriptor @ ..] = body else {
        return None;
    };
    let list = match descriptor {
        [0x44, list @ ..] | [0x53, _, list @ ..] | [0x80, _, _, _, _, _, _, _, _, list @ ..] => {
            list
        }
        [0xa3, length, rest @ ..] => rest.get(usize::from(*length)..)?,
        _ => return None,
    };
    let before = body.len().saturating_sub(list.len());
    let length = match list {
        [0x45, ..] => 1,
        [0xc0, size, ..] => usize::from(*size).saturating_add(2),
        [0xd0, a, b, c, d, ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_add(5),
        _ => return None,
    };
    Some(before.saturating_add(length)).filter(|length| *length <= body.len())
}

/// Whether decoding these bytes goes no deeper than it has to for anything sensible. They may still be malformed.
pub(crate) fn is_shallow(mut bytes: &[u8]) -> bool {
    // How many bytes are left over of each open list, map or array once it ends, from the outermost to the innermost.
    let mut open: Vec<usize> = Vec::new();
    let mut described = 0_usize;
    while let Some((code, rest)) = bytes.split_first() {
        while open
            .last()
            .is_some_and(|left_over| bytes.len() <= *left_over)
        {
            open.pop();
        }
        described = if *code == DESCRIBED {
            described.saturating_add(1)
        } else {
            0
        };
        if open.len().saturating_add(described) > MAX_DEPTH {
            return false;
        }
        let (width, compound) = match code >> 4 {
            0x5 => (1, false),
            0x6 => (2, false),
            0x7 => (4, false),
            0x8 => (8, false),
            0x9 => (16, false),
            0xa | 0xb => (0, false),
            0xc..=0xf => (0, true),
            _ => {
                bytes = rest;
                continue;
            }
        };
        if width > 0 {
            bytes = rest.get(width..).unwrap_or_default();
            continue;
        }
        let size_bytes = if matches!(code >> 4, 0xa | 0xc | 0xe) {
            1
        } else {
            4
        };
        let Some((size, content)) = rest.split_at_checked(size_bytes) else {
            return true;
        };
        let size = size
            .iter()
            .fold(0, |size, byte| size << 8 | usize::from(*byte));
        if !compound {
            bytes = content.get(size..).unwrap_or_default();
            continue;
        }
        open.push(content.len().saturating_sub(size));
        bytes = content.get(size_bytes..).unwrap_or_default();
        if matches!(code >> 4, 0xe | 0xf) {
            // The elements of an array have one constructor in common; only plain ones are taken.
            if bytes
                .first()
                .is_some_and(|element| *element == DESCRIBED || element >> 4 >= 0xc)
            {
                return false;
            }
            bytes = content.get(size..).unwrap_or_default();
        }
    }
    true
}

const DESCRIBED: u8 = 0x00;
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::{is_shallow, performative_length};

    #[test]
    fn values_deep_in_each_other_are_seen_and_many_beside_each_other_are_not_deep() {
        let nested = |count: usize, open: &[u8]| open.repeat(count);
        assert!(is_shallow(&nested(20, &[0xc0, 0xff, 0x01])));
        assert!(!is_shallow(&nested(40, &[0xc0, 0xff, 0x01])));
        assert!(!is_shallow(&nested(
            5000,
            &[0xd0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 1]
        )));
        assert!(!is_shallow(&[0; 40]));
        assert!(!is_shallow(&[0xe0, 0x05, 0x01, 0xe0, 0x02, 0x01, 0xe0]));
        assert!(is_shallow(&[0xe0, 0x05, 0x02, 0xa3, 0x01, b'a', 0x00]));
        assert!(is_shallow(&nested(
            1000,
            &[0x00, 0x53, 0x75, 0xc0, 0x03, 0x01, 0xc0, 0x00]
        )));
        assert!(is_shallow(&[0xa0, 0xff]) && is_shallow(&[0xb0]) && is_shallow(&[]));
    }

    #[test]
    fn a_performative_ends_where_its_list_ends() {
        for (body, length) in [
            (b"\x00\x53\x14\xc0\x02\x01\x43payload".as_slice(), Some(7)),
            (b"\x00\x80\0\0\0\0\0\0\0\x18\x45", Some(11)),
            (b"\x00\xa3\x02ab\xd0\0\0\0\x04\0\0\0\0rest", Some(14)),
            (b"\x00\x53\x14\xc0\x09\x01", None),
            (b"\x00\x53\x14\xd1\0\0\0\0", None),
            (b"\x00\xa3\xff", None),
            (b"\x41", None),
            (b"", None),
        ] {
            assert_eq!(performative_length(body), length, "{body:?}");
        }
    }
}
