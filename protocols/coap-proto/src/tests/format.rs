//! The byte form (RFC 7252 §3): a table of faults, encode against decode, and our codec against coap-lite's.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fuzzing;
use crate::message::FormatError;

#[test]
fn every_format_error_is_told() {
    use FormatError::*;
    let rows = [
        ("", TooShort),
        ("400100", TooShort),
        ("00010001", UnknownVersion),
        ("80010001", UnknownVersion),
        ("c0010001", UnknownVersion),
        ("49010001010203040506070809", TokenLength),
        ("4f010001", TokenLength),
        ("4201000101", TruncatedToken),
        ("4100000101", BytesAfterEmpty),
        ("40000001ff01", BytesAfterEmpty),
        ("4000000110", BytesAfterEmpty),
        ("40010001f0", ReservedNibble),
        ("40010001f1aa", ReservedNibble),
        ("400100010f", ReservedNibble),
        ("40010001d0", TruncatedOption),
        ("40010001e001", TruncatedOption),
        ("400100010d", TruncatedOption),
        ("400100010e00", TruncatedOption),
        ("40010001b2aa", TruncatedOption),
        ("40010001bd00", TruncatedOption),
        ("40010001e0ffff", OptionNumber),
        ("40010001e0fef210", OptionNumber),
        ("40010001ff", MarkerWithoutPayload),
        ("40010001b174ff", MarkerWithoutPayload),
    ];
    for (datagram, error) in rows {
        assert_eq!(
            Message::decode(&hex(datagram)).unwrap_err().error,
            error,
            "{datagram}"
        );
    }
}

#[test]
fn the_edges_of_the_format_are_understood() {
    let rows = [
        ("40010001c0", 12, 0),
        ("40010001d000", 13, 0),
        ("40010001d0ff", 268, 0),
        ("40010001e00000", 269, 0),
        ("40010001e0fef2", 65_535, 0),
        ("400100010c000000000000000000000000", 0, 12),
        ("400100010d0000000000000000000000000000", 0, 13),
    ];
    for (datagram, number, length) in rows {
        let message = Message::decode(&hex(datagram)).expect(datagram);
        let options: Vec<_> = message
            .options
            .iter()
            .map(|(number, value)| (number, value.len()))
            .collect();
        assert_eq!(options, [(number, length)], "{datagram}");
        assert_eq!(message.encode().unwrap(), hex(datagram), "{datagram}");
    }
}

#[test]
fn an_option_value_of_65804_bytes_is_the_longest() {
    let long = |length| {
        with_option(
            message(Type::Confirmable, Code::GET, 1),
            2048,
            &vec![7; length],
        )
    };
    let longest = long(65_804);
    assert_eq!(Message::decode(&longest.encode().unwrap()), Ok(longest));
    assert!(long(65_805).encode().is_err());
}

#[test]
fn options_may_be_added_in_any_order() {
    let mut message = message(Type::Confirmable, Code::GET, 1);
    for (number, value) in [(15, b"q"), (11, b"a"), (3, b"h"), (11, b"b")] {
        message.options.push(number, value);
    }
    let decoded = Message::decode(&message.encode().unwrap()).unwrap();
    let options: Vec<_> = decoded.options.iter().collect();
    assert_eq!(
        options,
        [(3, &b"h"[..]), (11, b"a"), (11, b"b"), (15, b"q")]
    );
}

#[test]
fn any_bytes_do_no_harm() {
    arbtest::arbtest(|bytes| {
        fuzzing::decode(bytes.arbitrary()?);
        Ok(())
    });
    arbtest::arbtest(|bytes| {
        fuzzing::endpoint(start(), bytes.arbitrary()?);
        Ok(())
    });
    arbtest::arbtest(|bytes| {
        fuzzing::blocks(start(), bytes.arbitrary()?);
        Ok(())
    });
}

fn messages() -> impl Strategy<Value = Message> {
    let option = (0..=u16::MAX, vec(any::<u8>(), 0..300));
    let rest = (
        vec(any::<u8>(), 0..=8),
        vec(option, 0..8),
        vec(any::<u8>(), 0..64),
    );
    (0..4_u8, 1..=u8::MAX, any::<u16>(), rest).prop_map(
        |(kind, code, id, (token, mut options, payload))| {
            options.sort_by_key(|(number, _)| *number);
            Message {
                kind: Type::from_bits(kind),
                code: Code::from_byte(code),
                id: MessageId(id),
                token: Token::new(&token).unwrap(),
                options: options
                    .iter()
                    .map(|(number, value)| (*number, value.as_slice()))
                    .collect::<Options>(),
                payload,
            }
        },
    )
}

/// Options as coap-lite sees them.
fn options_of(packet: &coap_lite::Packet) -> Vec<(u16, Vec<u8>)> {
    let values = packet
        .options()
        .flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone())));
    values.collect()
}

fn options(message: &Message) -> Vec<(u16, Vec<u8>)> {
    message
        .options
        .iter()
        .map(|(number, value)| (number, value.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_the_same(message in messages()) {
        prop_assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
    }

    #[test]
    fn bytes_that_nearly_are_a_message_do_no_harm(message in messages(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bits: u8) {
        let mut bytes = message.encode().unwrap();
        let at = flip.index(bytes.len());
        bytes[at] ^= bits;
        fuzzing::decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        fuzzing::decode(&bytes);
        fuzzing::endpoint(start(), &bytes);
    }

    #[test]
    fn coap_lite_understands_what_we_write(message in messages()) {
        let packet = coap_lite::Packet::from_bytes(&message.encode().unwrap()).unwrap();
        prop_assert_eq!(packet.get_token(), message.token.as_bytes());
        prop_assert_eq!((packet.header.message_id, u8::from(packet.header.code)), (message.id.0, message.code.to_byte()));
        prop_assert_eq!(&packet.payload, &message.payload);
        prop_assert_eq!(options_of(&packet), options(&message));
    }

    /// coap-lite lets more pass than we do, never less.
    #[test]
    fn what_we_accept_coap_lite_reads_alike(bytes in vec(any::<u8>(), 0..40)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = (*first & 0x37) | 0x40;
        }
        if let Ok(message) = Message::decode(&bytes) {
            let packet = coap_lite::Packet::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&packet.payload, &message.payload);
            prop_assert_eq!(options_of(&packet), options(&message));
        }
    }
}
