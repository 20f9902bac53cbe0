//! The corpus of the fuzz targets: each file of `fuzz/corpus` is given to its target.
//!
//! With `DTLS_CORPUS=write` true handshakes are written there first, of every key exchange, back by ticket, and with connection ids;
//! what coverage-guided runs find is added by hand.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use dtls_client::Tickets;
use dtls_proto::codec::certificate::decode_chain;
use dtls_proto::codec::handshake::read_fragments;
use dtls_proto::codec::record::{ContentType, split_first};
use dtls_proto::{CipherSuite, ConnectionIds, Moment, TicketKeys, fuzzing};

use crate::network::Weather;
use crate::pair::{Pair, client_config, start};
use crate::pki;

#[test]
fn every_file_of_the_corpus_is_survived() {
    if std::env::var_os("DTLS_CORPUS").is_some() {
        write();
    }
    let now = start();
    let at = Moment {
        now,
        wall: SystemTime::UNIX_EPOCH,
    };
    let targets: [Target<'_>; 9] = [
        ("records", &fuzzing::records),
        ("messages", &fuzzing::messages),
        ("fragments", &fuzzing::fragments),
        ("certificates", &fuzzing::certificates),
        ("connection_ids", &fuzzing::connection_ids),
        ("tickets", &fuzzing::tickets),
        ("datagram", &|bytes| fuzzing::datagram(now, bytes)),
        ("handshake", &|bytes| fuzzing::handshake(now, bytes)),
        ("saved_sessions", &|bytes| {
            fuzzing::saved_sessions(at, bytes);
        }),
    ];
    for (name, target) in targets {
        let mut count = 0;
        for file in std::fs::read_dir(folder(name)).unwrap() {
            target(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "no corpus for {name}");
    }
}

/// The name of a target's folder, and what it is given to.
type Target<'a> = (&'static str, &'a dyn Fn(&[u8]));

fn folder(target: &str) -> PathBuf {
    PathBuf::from("fuzz/corpus").join(target)
}

/// Two handshakes of each key exchange, the second by the ticket of the first, in all the forms that targets take.
fn write() {
    for (name, suite) in [
        ("psk", CipherSuite::PskAes128Ccm8),
        ("ecdhe-psk", CipherSuite::EcdhePskAes128GcmSha256),
        ("ecdsa", CipherSuite::EcdheEcdsaAes128Ccm8),
    ] {
        let mut config = client_config();
        config.suites = vec![suite];
        config.certificate = Some(pki::device());
        config.connection_id = Some(vec![7; 4]);
        config.tickets = Tickets::Wanted;
        config.server_name = Some("tenant.example".to_owned());
        let mut server = pki::server_config();
        server.connection_ids = ConnectionIds::new(8, 1, 2).ok();
        server.resumption.tickets = Some(TicketKeys::new([9; 32], None));
        server.mtu = 300;
        let mut pair = Pair::with(config.clone(), server, Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        config.resume = pair.client.resumption();
        put("tickets", name, 0, config.resume.as_ref().unwrap().ticket());
        pair.replace_client(config);
        pair.run_for(Duration::from_secs(1));
        let association = pair.association().unwrap();
        pair.client.send(pair.now, b"20.5").unwrap();
        pair.server.send(pair.now, association, b"answer").unwrap();
        pair.run_for(Duration::from_secs(1));
        put_all(name, &pair.from_client);
        put_all(&format!("{name}-server"), &pair.from_server);
        let at = Moment {
            now: pair.now,
            wall: SystemTime::UNIX_EPOCH,
        };
        let saved = pair.server.save(at, |_| Some(vec![1; 20]));
        put("saved_sessions", name, 0, fuzzing::content(&saved));
    }
    put("certificates", "device", 0, &pki::device().chain()[0]);
    put("certificates", "large", 0, &pki::large_device().chain()[0]);
}

/// Everything that one side sent.
fn put_all(name: &str, datagrams: &[Vec<u8>]) {
    let mut conversation = Vec::new();
    for (number, datagram) in datagrams.iter().enumerate() {
        put("datagram", name, number, datagram);
        put("records", name, number, datagram);
        conversation.extend(u16::try_from(datagram.len()).unwrap().to_be_bytes());
        conversation.extend(datagram);
        if datagram[0] == ContentType::TLS12_CID.0 {
            put("connection_ids", name, number, datagram);
        }
        let mut rest = datagram.clone();
        let mut rest = rest.as_mut_slice();
        while let Ok(split) = split_first(rest, 8) {
            if split.header.content_type == ContentType::HANDSHAKE && split.header.epoch == 0 {
                put("fragments", name, number, split.fragment);
                put_messages(name, number, split.fragment);
            }
            rest = split.rest;
        }
    }
    put("handshake", name, 0, &conversation);
}

fn put_messages(name: &str, number: usize, record: &[u8]) {
    for fragment in read_fragments(record).filter_map(Result::ok) {
        let kind = fragment.header.message_type.0;
        if fragment.is_whole() {
            put("messages", &format!("{name}-{kind}"), number, fragment.body);
            for certificate in decode_chain(fragment.body).unwrap_or_default() {
                put("certificates", name, number, certificate);
            }
        }
    }
}

fn put(target: &str, name: &str, number: usize, bytes: &[u8]) {
    let folder = folder(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}-{number}")), bytes).unwrap();
}
