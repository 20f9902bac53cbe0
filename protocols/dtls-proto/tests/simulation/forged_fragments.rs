//! One plaintext fragment that somebody else sends in the client's name.

use std::time::Duration;

use dtls_proto::codec::handshake::{HandshakeHeader, HandshakeType};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record};
use proptest::prelude::*;

use crate::network::{Towards, Weather};
use crate::pair::{Pair, client_config};
use crate::pki;

/// A fragment under the number of a message of the client's last plaintext flight.
#[derive(Debug, Clone)]
struct Forgery {
    message_type: u8,
    message_seq: u16,
    length: u32,
    offset: u32,
    body: Vec<u8>,
    /// Before which datagram of the client it comes, counted from its second hello on.
    before: usize,
}

impl Forgery {
    fn record(&self) -> Vec<u8> {
        let mut fragment = Vec::new();
        HandshakeHeader {
            message_type: HandshakeType(self.message_type),
            length: self.length,
            message_seq: self.message_seq,
            fragment_offset: self.offset,
            fragment_length: u32::try_from(self.body.len()).unwrap(),
        }
        .encode(&mut fragment);
        fragment.extend_from_slice(&self.body);
        let mut record = Vec::new();
        let header = RecordHeader::new(ContentType::HANDSHAKE, 0, 77);
        put_plain_record(header, &fragment, &mut record);
        record
    }
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let kinds = prop::sample::select(vec![0_u8, 2, 11, 15, 16, 20, 99]);
    let lengths = prop::sample::select(vec![20_u32, 24, 32, 67, 200, 500, 5000]);
    let body = prop::collection::vec(any::<u8>(), 1..20);
    (kinds, 2_u16..6, lengths, 0_u32..40, body, 1_usize..5).prop_map(
        |(message_type, message_seq, length, offset, body, before)| Forgery {
            message_type,
            message_seq,
            length,
            // Never all of a message: a whole one that is well-formed cannot be distinguished from the right
            // one.
            offset: offset.min(length - 1 - u32::try_from(body.len()).unwrap() % length),
            body: body
                .into_iter()
                .take(usize::try_from(length / 2).unwrap())
                .collect(),
            before,
        },
    )
}

/// Whether the handshake ends well with the forgery in it; the client sends again what gets lost.
fn completes(client: dtls_client::Config, forgery: &Forgery) -> bool {
    let mut pair = Pair::with(client, pki::server_config(), Weather::FINE, 0);
    let mut number = 0;
    while let Some((towards, payload)) = pair.take_next() {
        if towards == Towards::Server {
            if number == forgery.before {
                pair.inject(&forgery.record());
            }
            number += 1;
        }
        pair.give(towards, &payload);
    }
    pair.run_for(Duration::from_secs(40));
    pair.client.is_established()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Symptom: "never done after 6 flights, 46 s". Cause: a forged fragment was kept, and the
    /// right message refused as contradicting it, for as long as the handshake lived.
    #[test]
    fn no_single_forged_fragment_makes_a_handshake_impossible(forgery in forgery()) {
        let mut certified = dtls_client::Config::with_certificate(pki::device());
        certified.mtu = 300;
        prop_assert!(completes(client_config(), &forgery));
        prop_assert!(completes(certified, &forgery));
    }
}

/// The two fragments of the report: another type, another length.
#[test]
fn a_fragment_of_another_type_or_length_is_overruled_by_the_right_message() {
    for (message_type, length) in [(11, 26), (16, 200), (16, 26), (20, 12)] {
        let forgery = Forgery {
            message_type,
            message_seq: 2,
            length,
            offset: 0,
            body: vec![0],
            before: 2,
        };
        assert!(completes(client_config(), &forgery), "{forgery:?}");
    }
}
