//! Whole records and Finished messages, from pre-shared key to ciphertext, as another implementation makes them: HMAC of Python's
//! standard library after RFC 5246 §5, §6.3, §7.4.9 and RFC 4279 §2, and OpenSSL's AEADs over the additional data of RFC 5246 §6.2.3.3
//! and RFC 9146 §5. (RFC 9146 has no vectors of its own.)
//!
//! Key `secret1`; client random 0 to 31, server random 32 to 63; plain master secret; epoch 1, first record, from the client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use dtls_proto::codec::connection_id::ConnectionId;
use dtls_proto::codec::record::{ContentType, split_first};
use dtls_proto::crypto::{MasterSecret, PremasterSecret, Side, Transcript};
use dtls_proto::protection::{IdPair, Protection};
use dtls_proto::{CipherSuite, Psk};

struct Vector {
    suite: CipherSuite,
    /// The record without a connection id.
    plain: &'static str,
    /// The same content with one.
    with_id: &'static str,
    /// What the client's Finished says over a transcript of `the handshake`.
    finished: &'static str,
}

const VECTORS: [Vector; 6] = [
    Vector {
        suite: CipherSuite::PskAes128Ccm8,
        plain: "17fefd0001000000000000001c000100000000000011575e0caf1a2b65aa34039223ba79dfad0f6041",
        with_id: "19fefd0001000000000000c0ffee01001d000100000000000011575e0caf1a2b65aa34039286b06fd7d97c078928",
        finished: "5b39cc9ad66e1af4e705d734",
    },
    Vector {
        suite: CipherSuite::PskAes128Ccm,
        plain: "17fefd00010000000000000024000100000000000011575e0caf1a2b65aa340392b7c54fe07e9bb30693557fbd158c1038",
        with_id: "19fefd0001000000000000c0ffee010025000100000000000011575e0caf1a2b65aa34039286c0618d01cd9e9245b9c589c77a4cda3a",
        finished: "5b39cc9ad66e1af4e705d734",
    },
    Vector {
        suite: CipherSuite::PskAes256Ccm8,
        plain: "17fefd0001000000000000001c00010000000000000e4f55bbb5daf8488f490c5698f5974edcd6da0f",
        with_id: "19fefd0001000000000000c0ffee01001d00010000000000000e4f55bbb5daf8488f490c5640b0b5a6e42414dc48",
        finished: "5b39cc9ad66e1af4e705d734",
    },
    Vector {
        suite: CipherSuite::PskAes256Ccm,
        plain: "17fefd0001000000000000002400010000000000000e4f55bbb5daf8488f490c569979b76d33eb690a1e38f3b695da763d",
        with_id: "19fefd0001000000000000c0ffee01002500010000000000000e4f55bbb5daf8488f490c5640bf9b19ad50beaa62a7aaf7dbbb645039",
        finished: "5b39cc9ad66e1af4e705d734",
    },
    Vector {
        suite: CipherSuite::PskAes128GcmSha256,
        plain: "17fefd00010000000000000024000100000000000058b64bf25b32763d3c148e144d48d3c1d4fa7a2c6ee5700683363501",
        with_id: "19fefd0001000000000000c0ffee010025000100000000000058b64bf25b32763d3c148e140161289fe41b23d1fcbe315a38cefa05f9",
        finished: "5b39cc9ad66e1af4e705d734",
    },
    Vector {
        suite: CipherSuite::PskAes256GcmSha384,
        plain: "17fefd000100000000000000240001000000000000dddf60c22c9186eaa7a19bf34a6359922b2b6491b88c33ea0f963638",
        with_id: "19fefd0001000000000000c0ffee0100250001000000000000dddf60c22c9186eaa7a19bf3522ac19a97517e42c6535fb0805de8f406",
        finished: "78ffafa85696d19925afb79e",
    },
];

const CONTENT: &[u8] = b"21.5 degrees";

const ID: [u8; 4] = [0xc0, 0xff, 0xee, 0x01];

fn master_secret(suite: CipherSuite) -> MasterSecret {
    let premaster = PremasterSecret::psk(&Psk::from(b"secret1".as_slice()));
    MasterSecret::plain(suite.hash(), &premaster, &client(), &server())
}

fn protection(side: Side, suite: CipherSuite, ids: Option<IdPair>) -> Protection {
    let keys = master_secret(suite).keys(suite.aead(), &client(), &server());
    Protection::new(side, keys).with_connection_ids(ids)
}

fn client() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at).unwrap())
}

fn server() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at + 32).unwrap())
}

#[test]
fn records_are_sealed_as_others_seal_them() {
    for vector in &VECTORS {
        for (ids, expected) in [(None, vector.plain), (Some(ids()), vector.with_id)] {
            let mut record = Vec::new();
            protection(Side::Client, vector.suite, ids)
                .seal(ContentType::APPLICATION_DATA, CONTENT, &mut record)
                .unwrap();
            assert_eq!(record, hex(expected), "{:?}", vector.suite);
        }
    }
}

#[test]
fn records_of_others_are_opened() {
    for vector in &VECTORS {
        let mirrored = IdPair {
            ours: ids().peers,
            peers: ConnectionId::EMPTY,
        };
        for (ids, record) in [(None, vector.plain), (Some(mirrored), vector.with_id)] {
            let mut record = hex(record);
            let split = split_first(&mut record, ID.len()).unwrap();
            let mut server = protection(Side::Server, vector.suite, ids);
            let opened = server.open(split.header, split.fragment).unwrap();
            assert_eq!(opened.plaintext, CONTENT, "{:?}", vector.suite);
            assert_eq!(opened.content_type, ContentType::APPLICATION_DATA);
        }
    }
}

#[test]
fn finished_says_what_others_say() {
    for vector in &VECTORS {
        let mut transcript = Transcript::new(vector.suite.hash());
        transcript.add(b"the handshake");
        let said = master_secret(vector.suite).verify_data(Side::Client, &transcript.hash());
        assert_eq!(said, *hex(vector.finished), "{:?}", vector.suite);
    }
}

fn ids() -> IdPair {
    IdPair {
        ours: ConnectionId::EMPTY,
        peers: ConnectionId::new(&ID).unwrap(),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
    digits.iter().map(|pair| byte(pair).unwrap()).collect()
}
