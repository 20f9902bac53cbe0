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

/// Whether decoding these bytes goes no deeper than it has to for anything sensible, and meets no list, map or array that is
/// too small for its own count and no map of an odd count, which the decoder does not survive. They may still be malformed.
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
        let size = number(size);
        if !compound {
            bytes = content.get(size..).unwrap_or_default();
            continue;
        }
        let Some(count) = content.get(..size_bytes).map(number) else {
            return true;
        };
        let is_map = code & 0x0f == 1;
        if size < size_bytes || (is_map && !count.is_multiple_of(2)) {
            return false;
        }
        open.push(content.len().saturating_sub(size));
        bytes = content.get(size_bytes..).unwrap_or_default();
        if matches!(code >> 4, 0xe | 0xf) {
            let Some(after) = after_array(content, size_bytes, size) else {
                return false;
            };
            bytes = after;
        }
    }
    true
}

/// What the decoder reads after an array, which starts with its count. None if the elements are no plain ones, which have their
/// constructor in common, or are not as long as the array says.
fn after_array(content: &[u8], count_bytes: usize, size: usize) -> Option<&[u8]> {
    let (array, after) = content.split_at_checked(size)?;
    let (count, elements) = array.split_at_checked(count_bytes)?;
    let count = number(count);
    if count == 0 {
        // The decoder does not read a constructor that nothing follows.
        return content.get(count_bytes..);
    }
    let (constructor, mut elements) = elements.split_first()?;
    let width: usize = match constructor >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xb => {
            let size_bytes = if constructor >> 4 == 0xa { 1 } else { 4 };
            for _ in 0..count {
                let (size, rest) = elements.split_at_checked(size_bytes)?;
                elements = rest.get(number(size)..)?;
            }
            return elements.is_empty().then_some(after);
        }
        _ => return None,
    };
    (width.checked_mul(count) == Some(elements.len())).then_some(after)
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
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
            &[0x00, 0x53, 0x75, 0xc0, 0x04, 0x01, 0xc0, 0x01, 0x00]
        )));
        assert!(is_shallow(&[0xa0, 0xff]) && is_shallow(&[0xb0]) && is_shallow(&[]));
    }

    /// The decoder takes the count's length off the size of a list, map or array: with too small a size it panicked on the
    /// subtraction. It reads as many elements of an array as there are said to be, so that what follows them inside the array
    /// escaped this look.
    #[test]
    fn compounds_too_small_for_their_count_and_arrays_of_another_length_are_seen() {
        for bytes in [
            [0xc0, 0x00, 0x00].as_slice(),
            &[0xc1, 0x00, 0x00],
            &[0xd0, 0, 0, 0, 3, 0, 0, 0, 0],
            &[0xd1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xe0, 0x01, 0x01, 0x50],
            &[0xf0, 0, 0, 0, 4, 0, 0, 0, 1, 0x50],
            &[0xe0, 0x06, 0x01, 0x50, 0x07, 0xc0, 0x00, 0x00],
            &[0xe0, 0x05, 0x01, 0xa1, 0x00, 0xc0, 0x00],
            &[0xe0, 0x04, 0x00, 0xc0, 0x00, 0x00],
            &[0xe0, 0x40, 0x01, 0x50, 0x07],
            &[0xe0, 0x03, 0x01, 0xc0, 0x00],
            &[0xc1, 0x02, 0x01, 0x40],
            &[0xd1, 0, 0, 0, 5, 0, 0, 0, 1, 0x40],
        ] {
            assert!(!is_shallow(bytes), "{bytes:x?}");
        }
        for bytes in [
            [0xc0, 0x01, 0x00].as_slice(),
            &[0xd1, 0, 0, 0, 4, 0, 0, 0, 0],
            &[0xe0, 0x03, 0x01, 0x50, 0x07],
            &[0xe0, 0x02, 0x01, 0x41],
            &[0xe0, 0x05, 0x02, 0xa3, 0x00, 0x01, b'a'],
            &[0xf0, 0, 0, 0, 9, 0, 0, 0, 1, 0xb1, 0, 0, 0, 0],
        ] {
            assert!(is_shallow(bytes), "{bytes:x?}");
        }
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
