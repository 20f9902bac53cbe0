//! Arbitrary bytes: nothing panics, and what is decoded encodes to the same.

use std::time::{Duration, SystemTime};

use arbtest::arbtest;
use dtls_client::Client;
use dtls_proto::{Moment, fuzzing};
use proptest::prelude::*;

use crate::pair::{Pair, client_config, start};

#[test]
fn any_bytes_are_records_or_not() {
    arbtest(|u| {
        fuzzing::records(u.arbitrary()?);
        Ok(())
    });
}

#[test]
fn any_bytes_are_messages_or_not() {
    arbtest(|u| {
        fuzzing::messages(u.arbitrary()?);
        Ok(())
    });
}

#[test]
fn any_bytes_are_certificates_or_not() {
    arbtest(|u| {
        fuzzing::certificates(u.arbitrary()?);
        Ok(())
    });
}

/// A true certificate with one byte changed, at each place and in several ways.
#[test]
fn a_broken_certificate_is_survived() {
    let device = crate::pki::device();
    let good = &device.chain()[0];
    for at in 0..good.len() {
        for change in [1, 0x80, 0xff] {
            let mut broken = good.clone();
            broken[at] ^= change;
            fuzzing::certificates(&broken);
        }
        fuzzing::certificates(&good[..at]);
    }
}

#[test]
fn any_bytes_are_tickets_or_not() {
    arbtest(|u| {
        fuzzing::tickets(u.arbitrary()?);
        Ok(())
    });
}

#[test]
fn any_bytes_are_saved_sessions_or_not() {
    let at = Moment {
        now: start(),
        wall: SystemTime::UNIX_EPOCH,
    };
    arbtest(move |u| {
        fuzzing::saved_sessions(at, u.arbitrary()?);
        Ok(())
    });
}

#[test]
fn any_bytes_are_fragments_or_not() {
    arbtest(|u| {
        fuzzing::fragments(u.arbitrary()?);
        Ok(())
    });
}

#[test]
fn any_datagram_from_a_stranger_leaves_nothing() {
    let now = start();
    arbtest(move |u| {
        fuzzing::datagram(now, u.arbitrary()?);
        Ok(())
    });
}

#[test]
fn any_datagram_is_survived_by_a_live_server_and_client() {
    let (mut pair, association) = Pair::established();
    arbtest(|u| {
        let mut datagram: Vec<u8> = u.arbitrary()?;
        pair.inject(&datagram);
        pair.client.handle_datagram(pair.now, &mut datagram);
        assert_eq!(
            pair.server.send(pair.now, association, b"still here"),
            Ok(())
        );
        pair.server.poll_transmit();
        assert!(pair.client.is_established());
        Ok(())
    });
}

#[test]
fn every_datagram_cut_off_anywhere_is_survived() {
    let (template, _) = Pair::established();
    for datagram in template.from_client.iter().chain(&template.from_server) {
        for length in 0..datagram.len() {
            let mut pair = Pair::new();
            pair.inject(&datagram[..length]);
            pair.client
                .handle_datagram(pair.now, &mut datagram[..length].to_vec());
            assert_eq!(pair.server.established(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Records with a true header, so that what is behind it is reached.
    #[test]
    fn records_with_any_content_are_survived(
        content_type in 18..27_u8,
        epoch in 0..3_u16,
        sequence: u32,
        content in prop::collection::vec(any::<u8>(), 0..200),
        lookup: bool,
    ) {
        use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record};
        let mut record = Vec::new();
        let header = RecordHeader::new(ContentType(content_type), epoch, sequence.into());
        put_plain_record(header, &content, &mut record);
        let mut pair = Pair::new();
        pair.lookup = lookup.then_some(Duration::from_millis(20));
        for _ in 0..8 {
            pair.run_for(Duration::from_millis(1));
            pair.inject(&record);
            pair.client.handle_datagram(pair.now, &mut record.clone());
        }
        pair.run_out();
        prop_assert_eq!(pair.server.handshaking(), 0);
    }

    /// A client is as safe as the server.
    #[test]
    fn a_client_in_handshake_survives_any_bytes(mut datagram in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut client = Client::new(start(), client_config()).unwrap();
        client.handle_datagram(start(), &mut datagram);
    }
}
