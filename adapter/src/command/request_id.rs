//! The id by which a device answers a command: everything that the answer's AMQP message needs, in one path segment
//! (spec: coap-adapter §6).
//!
//! `<digit><LL><correlation id><reply part>`: bit 0 of the digit tells that the reply-to id began with the device's id and a
//! slash, which the reply part then leaves out; bits 1 and 2 tell the messaging type; LL is the correlation id's length.

use std::fmt;

/// Where and as what the answer to a command is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    correlation_id: String,
    /// What stands behind `command_response/<tenant>/` in the command's reply-to.
    reply_id: String,
}

impl RequestId {
    /// The id of a command with this correlation id and reply-to id.
    #[must_use]
    pub const fn new(correlation_id: String, reply_id: String) -> Self {
        Self {
            correlation_id,
            reply_id,
        }
    }

    /// What the application recognises the answer by.
    #[must_use]
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// What stands behind `command_response/<tenant>/` in the answer's address.
    #[must_use]
    pub fn reply_id(&self) -> &str {
        &self.reply_id
    }

    /// The text that `device` is given.
    #[must_use]
    pub fn encode(&self, device: &str) -> String {
        let without_device = self
            .reply_id
            .strip_prefix(device)
            .and_then(|rest| rest.strip_prefix('/'));
        let (digit, reply_part) = match without_device {
            Some(rest) => (1, rest),
            None => (0, self.reply_id.as_str()),
        };
        let length = units(&self.correlation_id);
        format!("{digit}{length:02x}{}{reply_part}", self.correlation_id)
    }

    /// Reads what `device` sent; `None` if it cannot be such an id. The messaging type does not matter, as there is only AMQP.
    #[must_use]
    pub fn decode(text: &str, device: &str) -> Option<Self> {
        let digit = text.chars().next()?.to_digit(10)?;
        let length = text
            .get(1..3)
            .filter(|length| length.bytes().all(|it| it.is_ascii_hexdigit()))?;
        let length = usize::from_str_radix(length, 16).ok()?;
        let (correlation_id, reply_part) = split_at_unit(text.get(3..)?, length)?;
        let reply_id = if digit & 1 == 1 {
            format!("{device}/{reply_part}")
        } else {
            reply_part.to_owned()
        };
        Some(Self::new(correlation_id.to_owned(), reply_id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.correlation_id, self.reply_id)
    }
}

/// The length as Hono counts it: in UTF-16 code units.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn split_at_unit(text: &str, wanted: usize) -> Option<(&str, &str)> {
    let mut passed = 0;
    for (at, letter) in text.char_indices() {
        if passed >= wanted {
            return (passed == wanted).then(|| text.split_at(at));
        }
        passed += letter.len_utf16();
    }
    (passed == wanted).then_some((text, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(correlation_id: &str, reply_id: &str) -> RequestId {
        RequestId::new(correlation_id.to_owned(), reply_id.to_owned())
    }

    #[test]
    fn ids_are_written_as_the_specification_and_the_recordings_show() {
        let rows = [
            (id("abc", "4711/xyz"), "103abcxyz"),
            (id("abc", "r1"), "003abcr1"),
            (id("corr-1", "app1"), "006corr-1app1"),
            (id("corr-1", "4711/app2"), "106corr-1app2"),
            (id("a/b c?d", "app1"), "007a/b c?dapp1"),
            (id("c1", "4711"), "002c14711"),
        ];
        for (id, text) in rows {
            assert_eq!(id.encode("4711"), text);
            assert_eq!(RequestId::decode(text, "4711"), Some(id), "{text}");
        }
    }

    #[test]
    fn what_is_no_request_id_is_not_read_as_one() {
        for text in [
            "",
            "0",
            "00",
            "x06corr-1app1",
            "0zzcorr",
            "0+1a",
            "006corr",
            "0é",
            "00é6",
            "-06corr-1x",
        ] {
            assert_eq!(RequestId::decode(text, "4711"), None, "{text}");
        }
    }

    #[test]
    fn every_digit_is_a_messaging_type_or_counts_as_amqp() {
        for digit in [2, 4, 6, 8] {
            assert_eq!(
                RequestId::decode(&format!("{digit}01cr"), "d"),
                Some(id("c", "r"))
            );
        }
        assert_eq!(RequestId::decode("301cr", "d"), Some(id("c", "d/r")));
    }

    proptest! {
        #[test]
        fn a_device_gives_back_what_it_was_given(correlation in "\\PC{0,40}", reply in "\\PC{1,40}", device in "\\PC{1,5}") {
            let id = id(&correlation, &reply);
            prop_assert_eq!(RequestId::decode(&id.encode(&device), &device), Some(id));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _read = RequestId::decode(&text, "device");
        }
    }
}
