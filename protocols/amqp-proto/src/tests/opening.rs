//! Headers, SASL, open and close, and the time in between.

use std::time::Duration;

use fe2o3_amqp_types::{
    performatives::{End, Performative},
    primitives::{Array, Symbol},
    sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome},
};

use super::{Pair, peer::error, plain};
use crate::{
    CannotAttach, CloseReason, Config, Event, PeerError, Sasl, Secret,
    frame::{self, AMQP_HEADER, SASL_HEADER},
};

fn offer(mechanisms: &[&str]) -> Vec<u8> {
    let mut bytes = SASL_HEADER.to_vec();
    let offered = mechanisms.iter().copied().map(Symbol::from).collect();
    frame::write_sasl(
        &mut bytes,
        &SaslMechanisms {
            sasl_server_mechanisms: Array(offered),
        },
    );
    bytes
}

fn verdict(code: SaslCode) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_sasl(
        &mut bytes,
        &SaslOutcome {
            code,
            additional_data: None,
        },
    );
    bytes
}

fn with_sasl(sasl: Sasl) -> Config {
    Config { sasl, ..plain() }
}

fn a_user() -> Sasl {
    Sasl::Plain {
        username: "user".to_owned(),
        password: Secret::new("pass"),
    }
}

#[test]
fn the_mechanism_that_fits_is_taken() {
    for (sasl, mechanism, response) in [
        (Sasl::Anonymous, "ANONYMOUS", b"".as_slice()),
        (Sasl::External, "EXTERNAL", b""),
        (a_user(), "PLAIN", b"\0user\0pass"),
    ] {
        let mut pair = Pair::new(with_sasl(sasl));
        pair.deliver_to_peer();
        pair.peer.say(&offer(&["EXTERNAL", "PLAIN", "ANONYMOUS"]));
        pair.deliver_to_client();
        pair.deliver_to_peer();
        let init: SaslInit = serde_amqp::from_slice(&pair.peer.sasl_frames[0]).unwrap();
        assert_eq!(init.mechanism.as_str(), mechanism);
        assert_eq!(init.initial_response.unwrap_or_default(), response);
        pair.peer.say(&verdict(SaslCode::Ok));
        pair.peer.say(&AMQP_HEADER);
        pair.peer.open(u32::MAX, None);
        pair.peer.begin(10);
        pair.deliver_to_client();
        assert_eq!(pair.events(), [Event::Opened], "{mechanism}");
    }
}

#[test]
fn a_failed_introduction_ends_the_connection() {
    for (sasl, answer, reason) in [
        (
            a_user(),
            offer(&["ANONYMOUS"]),
            CloseReason::Mechanism("PLAIN"),
        ),
        (
            Sasl::External,
            offer(&["PLAIN"]),
            CloseReason::Mechanism("EXTERNAL"),
        ),
        (
            Sasl::Anonymous,
            offer(&["OTHER"]),
            CloseReason::Mechanism("ANONYMOUS"),
        ),
        (Sasl::Anonymous, AMQP_HEADER.to_vec(), CloseReason::NoSasl),
        (
            a_user(),
            [offer(&["PLAIN"]), verdict(SaslCode::Auth)].concat(),
            CloseReason::Authentication(1),
        ),
        (
            Sasl::Anonymous,
            b"HTTP/1.1".to_vec(),
            CloseReason::Protocol("a protocol other than AMQP 1.0".to_owned()),
        ),
    ] {
        let mut pair = Pair::new(with_sasl(sasl));
        pair.peer.say(&answer);
        pair.deliver_to_client();
        assert_eq!(pair.events(), [Event::Closed { reason }]);
        assert!(pair.client.is_closed());
    }
}

#[test]
fn a_password_shows_in_no_log() {
    let shown = format!("{:?}", Pair::new(with_sasl(a_user())).client);
    assert!(
        shown.contains("user") && !shown.contains("pass\""),
        "{shown}"
    );
}

#[test]
fn the_open_tells_who_we_are_and_half_of_our_patience() {
    let config = Config {
        hostname: Some("hono".to_owned()),
        max_frame_size: 1000,
        ..plain()
    };
    let mut pair = Pair::new(config);
    let heard = pair.heard();
    let [Performative::Open(open)] = heard.as_slice() else {
        panic!("{heard:?}");
    };
    assert_eq!(open.container_id, "client");
    assert_eq!(open.hostname.as_deref(), Some("hono"));
    assert_eq!(open.idle_time_out, Some(8000));
    assert_eq!(open.max_frame_size.0, 1000);
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut pair = Pair::new(plain());
    pair.peer.say(&AMQP_HEADER);
    pair.peer.open(u32::MAX, None);
    pair.peer.begin(10);
    for byte in std::mem::take(&mut pair.peer.said) {
        pair.client.handle_bytes(pair.now, &[byte]);
    }
    assert_eq!(pair.events(), [Event::Opened]);
}

#[test]
fn silence_of_ours_is_broken_in_half_the_time_the_peer_gives_us() {
    let mut pair = Pair::new(plain());
    pair.deliver_to_peer();
    pair.peer.say(&AMQP_HEADER);
    pair.peer.open(u32::MAX, Some(4000));
    pair.peer.begin(10);
    pair.deliver_to_client();
    pair.deliver_to_peer();
    pair.peer.heard.clear();
    for _ in 0..5 {
        assert_eq!(
            pair.client.poll_timeout(),
            Some(pair.now + Duration::from_secs(2))
        );
        pair.wait(Duration::from_millis(1999));
        pair.deliver_to_peer();
        assert!(pair.peer.heard.is_empty());
        pair.wait(Duration::from_millis(1));
        pair.deliver_to_peer();
        assert_eq!(pair.peer.heard.len(), 1);
        assert!(pair.peer.heard.remove(0).performative.is_none());
    }
}

#[test]
fn silence_of_the_peer_ends_the_connection() {
    let mut pair = Pair::open();
    pair.wait(Duration::from_secs(15));
    frame::write_heartbeat(&mut pair.peer.said);
    pair.deliver_to_client();
    pair.wait(Duration::from_millis(15_999));
    assert!(pair.events().is_empty());
    pair.wait(Duration::from_millis(1));
    assert_eq!(
        pair.events(),
        [Event::Closed {
            reason: CloseReason::Idle
        }]
    );
    assert!(
        matches!(pair.heard().as_slice(), [Performative::Close(close)] if close.error.is_some())
    );
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn a_close_of_ours_is_answered() {
    let mut pair = Pair::open();
    let link = pair.sender(1);
    pair.client.close();
    assert!(matches!(pair.heard().as_slice(), [Performative::Close(_)]));
    assert!(!pair.client.is_attached(link) || !pair.client.is_open());
    assert_eq!(pair.client.attach_sender("x"), Err(CannotAttach::NotOpen));
    // What was under way does not matter any more.
    pair.peer.give_credit(0, 5);
    pair.peer.close(None);
    pair.deliver_to_client();
    assert_eq!(
        pair.events(),
        [Event::Closed {
            reason: CloseReason::Local
        }]
    );
}

#[test]
fn a_close_or_an_end_of_the_peers_is_answered_and_told() {
    let reported = Some(PeerError {
        condition: "amqp:unauthorized-access".to_owned(),
        description: Some("because".to_owned()),
    });
    let mut pair = Pair::open();
    pair.peer.close(Some("amqp:unauthorized-access"));
    pair.deliver_to_client();
    assert_eq!(
        pair.events(),
        [Event::Closed {
            reason: CloseReason::Remote(reported.clone())
        }]
    );
    assert!(matches!(pair.heard().as_slice(), [Performative::Close(_)]));

    let mut pair = Pair::open();
    pair.peer.perform(End {
        error: Some(error("amqp:unauthorized-access")),
    });
    pair.deliver_to_client();
    assert_eq!(
        pair.events(),
        [Event::Closed {
            reason: CloseReason::Remote(reported)
        }]
    );
    assert!(matches!(
        pair.heard().as_slice(),
        [Performative::End(_), Performative::Close(_)]
    ));
}

#[test]
fn the_end_of_the_stream_is_the_end() {
    let mut pair = Pair::open();
    pair.client.handle_end_of_stream();
    assert_eq!(
        pair.events(),
        [Event::Closed {
            reason: CloseReason::Lost
        }]
    );
    let mut pair = Pair::open();
    pair.client.close();
    pair.client.handle_end_of_stream();
    assert_eq!(
        pair.events(),
        [Event::Closed {
            reason: CloseReason::Local
        }]
    );
}
