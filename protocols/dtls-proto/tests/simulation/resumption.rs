//! Clients that come back: by session id, by ticket, and with something that is no good.

use std::time::{Duration, SystemTime};

use dtls_client::{Config as ClientConfig, MasterSecretKind, Resumption as Session, Tickets};
use dtls_proto::codec::alert::Alert;
use dtls_proto::codec::handshake::HandshakeType;
use dtls_proto::codec::record::ContentType;
use dtls_proto::{
    AlertDescription, CipherSuite, Config, ConnectionIds, Psk, Resumption, TicketKeys, Verdict,
};

use crate::network::{Towards, Weather};
use crate::pair::{Pair, client_config};
use crate::pki;

/// How sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Here,
    InTicket,
}

const BOTH: [Kept; 2] = [Kept::Here, Kept::InTicket];

fn server_config(kept: Kept) -> Config {
    let mut config = pki::server_config();
    config.resumption = Resumption::default();
    match kept {
        Kept::Here => config.resumption.cached_sessions = 10,
        Kept::InTicket => config.resumption.tickets = Some(TicketKeys::new([5; 32], None)),
    }
    config
}

fn wanting(mut config: ClientConfig, kept: Kept) -> ClientConfig {
    if kept == Kept::InTicket {
        config.tickets = Tickets::Wanted;
    }
    config
}

/// After a full handshake, with what the client may come back with.
fn first(config: &ClientConfig, kept: Kept) -> (Pair, Session) {
    first_with(config, server_config(kept), kept)
}

fn first_with(config: &ClientConfig, server: Config, kept: Kept) -> (Pair, Session) {
    let mut pair = Pair::with(wanting(config.clone(), kept), server, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let session = pair.client.resumption().unwrap();
    assert_eq!(session.session_id().is_empty(), kept == Kept::InTicket);
    assert_eq!(session.ticket().is_empty(), kept == Kept::Here);
    (pair, session)
}

/// The client comes back; whether it got through without a full handshake.
fn comes_back(pair: &mut Pair, config: &ClientConfig, session: Session) -> bool {
    let resumed = pair.server.statistics().resumptions_established;
    let mut config = config.clone();
    config.resume = Some(session);
    pair.replace_client(config);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
    pair.client.send(pair.now, b"back").unwrap();
    let association = pair.association().unwrap();
    pair.server.send(pair.now, association, b"hello").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data().last(), Some(&&b"back"[..]));
    assert_eq!(pair.client_data().last(), Some(&&b"hello"[..]));
    pair.server.statistics().resumptions_established > resumed
}

fn with_certificate() -> ClientConfig {
    ClientConfig::with_certificate(pki::device())
}

#[test]
fn a_client_comes_back_without_a_full_handshake() {
    for kept in BOTH {
        for config in [client_config(), with_certificate()] {
            let (mut pair, session) = first(&config, kept);
            let requests = pair.requests();
            for _ in 0..3 {
                assert!(comes_back(&mut pair, &config, session.clone()), "{kept:?}");
            }
            assert_eq!(
                pair.requests(),
                requests + 3,
                "the credentials are asked for"
            );
            assert_eq!(pair.server.established(), 1);
        }
    }
}

#[test]
fn every_suite_can_be_resumed_and_with_connection_ids_too() {
    for kept in BOTH {
        for suite in CipherSuite::ALL {
            let mut config = client_config();
            config.certificate = Some(pki::device());
            config.suites = vec![suite];
            config.connection_id = Some(b"cid".to_vec());
            let mut server = server_config(kept);
            server.connection_ids = ConnectionIds::new(8, 0, 0).ok();
            let (mut pair, session) = first_with(&config, server, kept);
            assert!(comes_back(&mut pair, &config, session), "{suite}");
            assert!(pair.client.uses_connection_ids());
        }
    }
}

#[test]
fn the_suite_is_that_of_the_session_whatever_the_client_likes_now() {
    let mut config = client_config();
    config.suites = vec![CipherSuite::PskAes256GcmSha384, CipherSuite::PskAes128Ccm8];
    let (mut pair, session) = first(&config, Kept::Here);
    config.suites.reverse();
    let mut again = config.clone();
    again.resume = Some(session.clone());
    pair.replace_client(again);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.statistics().resumptions_established, 1);
    // If it isn't offered any more, there is a full handshake.
    config.suites.truncate(1);
    assert!(!comes_back(&mut pair, &config, session));
}

#[test]
fn without_the_setting_nothing_is_kept_and_nothing_given() {
    let config = wanting(client_config(), Kept::InTicket);
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let session = pair.client.resumption().unwrap();
    assert!(session.session_id().is_empty() && session.ticket().is_empty());
    assert_eq!(pair.server.resumable(), 0);
    assert_eq!(
        pair.message_of_server(HandshakeType::NEW_SESSION_TICKET),
        None
    );
}

/// RFC 7627 §5.3.
#[test]
fn without_extended_master_secret_nothing_is_resumed() {
    for kept in BOTH {
        let mut plain = client_config();
        plain.master_secret = MasterSecretKind::Plain;
        let config = wanting(plain.clone(), kept);
        let mut pair = Pair::with(config, server_config(kept), Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        let session = pair.client.resumption().unwrap();
        assert!(session.session_id().is_empty() && session.ticket().is_empty());

        let (mut pair, session) = first(&client_config(), kept);
        assert!(!comes_back(&mut pair, &plain, session));
    }
}

/// RFC 6066 §3.
#[test]
fn a_session_of_another_host_is_not_resumed() {
    for kept in BOTH {
        let mut config = client_config();
        config.server_name = Some("one.example".to_owned());
        let (mut pair, session) = first(&config, kept);
        config.server_name = Some("two.example".to_owned());
        assert!(!comes_back(&mut pair, &config, session));
    }
}

#[test]
fn a_device_whose_key_is_gone_or_changed_does_not_come_back() {
    for kept in BOTH {
        for key in [None, Some(Psk::from(b"another".as_slice()))] {
            let (mut pair, session) = first(&client_config(), kept);
            pair.lookup = None;
            let mut config = client_config();
            config.resume = Some(session);
            pair.replace_client(config);
            pair.run_for(Duration::from_millis(100));
            let asked = pair.last_asked().unwrap();
            pair.server.provide_psk(pair.now, asked, key.clone());
            pair.run_for(Duration::from_millis(100));
            let statistics = pair.server.statistics();
            assert_eq!(statistics.resumptions_refused, 1);
            assert_eq!(statistics.resumptions_established, 0);
            // It went on with a full handshake, where the same key is asked for and no good either.
            assert_eq!(pair.requests(), 3);
            let asked = pair.last_asked().unwrap();
            pair.server.provide_psk(pair.now, asked, key);
            pair.run_out();
            assert!(!pair.client.is_established());
            assert_eq!(pair.server.established(), 1, "the old one is untouched");
        }
    }
}

#[test]
fn a_certificate_that_is_refused_now_does_not_come_back() {
    for kept in BOTH {
        let (mut pair, session) = first(&with_certificate(), kept);
        pair.verdict = Verdict::Refused;
        let mut config = with_certificate();
        config.resume = Some(session);
        pair.replace_client(config);
        pair.run_for(Duration::from_secs(1));
        assert!(pair.client.is_closed());
        assert_eq!(pair.server.statistics().resumptions_refused, 1);
        assert_eq!(pair.server.statistics().certificates_refused, 1);
    }
}

#[test]
fn credentials_nobody_finds_in_time_lead_to_a_full_handshake() {
    for config in [client_config(), with_certificate()] {
        let (mut pair, session) = first(&config, Kept::Here);
        pair.lookup = None;
        let mut again = config.clone();
        again.resume = Some(session);
        pair.replace_client(again);
        pair.run_for(Duration::from_secs(9));
        pair.lookup = Some(Duration::ZERO);
        pair.run_for(Duration::from_secs(20));
        assert!(pair.client.is_established());
        assert_eq!(pair.server.statistics().resumptions_refused, 1);
    }
}

#[test]
fn ids_and_tickets_of_nobody_lead_to_a_full_handshake_with_cookie() {
    let (_, foreign) = first(&client_config(), Kept::Here);
    let (mut pair, _) = first(&client_config(), Kept::Here);
    let cookies = pair.server.statistics().cookies_sent;
    // The two servers gave different ids by chance.
    assert!(!comes_back(&mut pair, &client_config(), foreign));
    assert_eq!(pair.server.statistics().cookies_sent, cookies + 1);

    let (mut pair, session) = first(&client_config(), Kept::InTicket);
    let good = session.ticket().to_vec();
    for at in [0, 15, 16, 28, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let session = session.clone().with_ticket(bad);
        assert!(!comes_back(&mut pair, &client_config(), session), "{at}");
    }
    for bad in [vec![1], good[..good.len() - 1].to_vec(), vec![7; 900]] {
        let session = session.clone().with_ticket(bad);
        assert!(!comes_back(&mut pair, &client_config(), session));
    }
    assert!(comes_back(&mut pair, &client_config(), session));
}

#[test]
fn a_ticket_is_good_as_long_as_its_key() {
    let (mut pair, session) = first(&client_config(), Kept::InTicket);
    let keys = |current, previous| Some(TicketKeys::new([current; 32], previous));
    pair.server.set_ticket_keys(keys(6, Some([5; 32])));
    assert!(comes_back(&mut pair, &client_config(), session.clone()));
    pair.server.set_ticket_keys(keys(7, Some([6; 32])));
    assert!(!comes_back(&mut pair, &client_config(), session));
}

/// Symptom: a ticket was good as long as two keys, however long these were kept. Cause: there was no
/// time in it.
#[test]
fn a_ticket_is_good_for_its_lifetime() {
    let mut server = server_config(Kept::InTicket);
    server.resumption.ticket_lifetime = Duration::from_secs(3600);
    let wall = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let config = wanting(client_config(), Kept::InTicket);
    let mut pair = Pair::with(config, server, Weather::FINE, 0);
    pair.server.set_wall_clock(wall(100_000));
    pair.run_for(Duration::from_secs(1));
    let session = pair.client.resumption().unwrap();
    let hint = pair
        .message_of_server(HandshakeType::NEW_SESSION_TICKET)
        .unwrap();
    assert_eq!(hint[..4], 3600_u32.to_be_bytes());
    for (seconds, is_good) in [
        (100_000, true),
        (103_599, true),
        (103_600, false),
        // By a clock that is behind.
        (99_700, true),
        (99_699, false),
    ] {
        pair.server.set_wall_clock(wall(seconds));
        let came_back = comes_back(&mut pair, &client_config(), session.clone());
        assert_eq!(came_back, is_good, "{seconds}");
    }
}

#[test]
fn only_so_many_sessions_are_kept_and_only_so_long() {
    let mut config = server_config(Kept::Here);
    config.resumption.cached_sessions = 2;
    config.resumption.cache_lifetime = Duration::from_secs(3600);
    let (mut pair, oldest) = first_with(&client_config(), config, Kept::Here);
    let mut sessions = Vec::new();
    for _ in 0..2 {
        pair.replace_client(client_config());
        pair.run_for(Duration::from_secs(1));
        sessions.push(pair.client.resumption().unwrap());
    }
    assert_eq!(pair.server.resumable(), 2);
    assert!(!comes_back(&mut pair, &client_config(), oldest));
    assert!(comes_back(
        &mut pair,
        &client_config(),
        sessions.pop().unwrap()
    ));
    let session = pair.client.resumption().unwrap();
    pair.run_for(Duration::from_secs(3600));
    assert!(!comes_back(&mut pair, &client_config(), session));
    assert_eq!(pair.server.resumable(), 1);
}

/// Symptom: after a fatal alert in a resumed connection, and with a ticket always, the session could
/// be resumed again. Cause: the id was known to the first connection only, and a ticket to none (RFC
/// 5246 §7.2.2).
#[test]
fn a_session_ended_by_a_fatal_alert_is_not_resumed() {
    for kept in BOTH {
        for resumptions in 0..3 {
            let (mut pair, session) = first(&client_config(), kept);
            for _ in 0..resumptions {
                assert!(comes_back(&mut pair, &client_config(), session.clone()));
            }
            let alert = Alert::fatal(AlertDescription::INTERNAL_ERROR);
            pair.client
                .send_record(ContentType::ALERT, &alert.encode())
                .unwrap();
            pair.run_for(Duration::from_secs(1));
            assert_eq!(pair.server.resumable(), 0);
            let came_back = comes_back(&mut pair, &client_config(), session);
            assert!(!came_back, "{kept:?} after {resumptions}");
        }
    }
}

/// An id is sent in plaintext, so anybody may have seen it: without the secret it is of no use.
#[test]
fn whoever_saw_an_id_or_a_ticket_does_not_get_in_and_does_no_harm() {
    for kept in BOTH {
        let (mut pair, session) = first(&client_config(), kept);
        // The thief's session has another secret.
        let (_, other) = first(&client_config(), kept);
        let stolen = other.with_ids_of(&session);
        let victim = pair.association().unwrap();
        let mut config = client_config();
        config.resume = Some(stolen);
        let mut victims = pair.replace_client(config);
        pair.run_for(Duration::from_secs(600));
        assert!(!pair.client.is_established());
        assert_eq!(pair.server.statistics().resumptions_established, 0);
        assert_eq!(pair.server.handshaking(), 0);
        pair.server.send(pair.now, victim, b"still here").unwrap();
        let mut record = pair.server.poll_transmit().unwrap();
        victims.handle_datagram(pair.now, &mut record.payload);
        assert!(comes_back(&mut pair, &client_config(), session));
    }
}

#[test]
fn a_resumption_survives_a_bad_network() {
    let mut established = 0;
    for seed in 0..200 {
        for kept in BOTH {
            let (mut pair, session) = first(&client_config(), kept);
            pair.network.change(Weather {
                loss: seed % 45,
                duplication: seed % 20,
                delay: 1 + seed % 5 * 150,
            });
            let mut config = client_config();
            config.resume = Some(session);
            config.mtu = 100;
            pair.replace_client(config);
            pair.run_out();
            assert!(pair.client.is_established() || pair.client.is_closed());
            assert_eq!(pair.server.handshaking(), 0, "seed {seed}");
            if !pair.client.is_established() {
                continue;
            }
            established += 1;
            pair.network.change(Weather::FINE);
            pair.client.send(pair.now, b"back").unwrap();
            pair.run_out();
            // The server may have given up on a client that thinks it is done: then it is silent, and the client must begin anew.
            let resumed = pair.server.statistics().resumptions_established > 0;
            assert_eq!(pair.server_data() == [b"back"], resumed, "seed {seed}");
        }
    }
    assert!(established > 300, "only {established} of 400");
}

#[test]
fn a_lost_last_flight_of_the_client_is_sent_again_when_the_server_asks() {
    let (mut pair, session) = first(&client_config(), Kept::Here);
    let mut config = client_config();
    config.resume = Some(session);
    pair.replace_client(config);
    while !pair.client.is_established() {
        pair.run_for(Duration::from_millis(1));
    }
    let (towards, _lost) = pair.take_next().unwrap();
    assert_eq!(towards, Towards::Server);
    assert_eq!(pair.server.statistics().resumptions_established, 0);
    pair.client.send(pair.now, b"early").unwrap();
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.server.statistics().resumptions_established, 1);
    assert_eq!(pair.server_data(), [b"early"]);
}
