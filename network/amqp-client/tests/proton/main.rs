//! The client against a peer of another make: qpid-proton, in Python.
//!
//! Skipped, loudly, where the package is missing. `PROTON_PYTHON` may name an interpreter that has it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod peer;

use std::time::Duration;

use amqp_client::{
    Connection, ConnectionConfig, Header, HostnameVerification, LinkError, Message, Outcome,
    Properties, SendError, Senders, TlsVersion, Until, Value,
};
use serde_json::json;

use self::peer::{Files, Peer};

async fn connect(config: ConnectionConfig) -> Connection {
    let connection = Connection::start("Test", config).unwrap();
    assert!(connection.connected(PATIENCE).await, "{connection:?}");
    connection
}

fn event() -> Message {
    Message {
        header: Header {
            durable: true,
            ttl: Some(Duration::from_secs(20)),
        },
        annotations: vec![
            ("tenant_id".to_owned(), "T".into()),
            (
                "x-opt-trace-context".to_owned(),
                Value::Map(vec![(
                    Value::Symbol("traceparent".to_owned()),
                    "00-1".into(),
                )]),
            ),
        ],
        properties: Properties {
            message_id: Some("GenericSenderLink-1".into()),
            to: Some("event/T".to_owned()),
            correlation_id: Some("c".into()),
            content_type: Some("text/plain".to_owned()),
            creation_time: Some(1_700_000_000_123),
            ..Properties::default()
        },
        application_properties: vec![
            ("qos".to_owned(), 1.into()),
            ("large".to_owned(), Value::Int(70_000)),
            ("long".to_owned(), Value::Long(1 << 40)),
            ("half".to_owned(), Value::Double(0.5)),
            ("on".to_owned(), true.into()),
            ("device_id".to_owned(), "4711".into()),
        ],
        ..Message::data(*b"21")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_understood_in_every_part() {
    let Some(mut peer) = Peer::start("accept", 10, None) else {
        return;
    };
    let senders = Senders::new(connect(peer.config()).await);
    let opened = peer.next("open");
    let expected = senders.connection().container_id();
    assert_eq!(opened["container"], expected);
    assert_eq!(opened["mechanism"], "ANONYMOUS");
    assert_eq!(opened["idle"], 8.0, "half of the idle time-out, in seconds");
    let outcome = senders.send("event/T", &event(), Until::Settled).await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
    assert_eq!(
        peer.next("sender"),
        json!({"event": "sender", "address": "event/T", "settle": 0})
    );
    assert_eq!(
        peer.next("message"),
        json!({
            "event": "message", "address": "event/T", "settled": false,
            "durable": true, "ttl": 20.0, "id": "GenericSenderLink-1", "to": "event/T",
            "correlation": "c", "created": 1_700_000_000.123, "content_type": {"symbol": "text/plain"},
            "annotations": {"tenant_id": "T", "x-opt-trace-context": {"traceparent": "00-1"}},
            "properties": {
                "qos": ["int32", 1], "large": ["int32", 70_000], "long": ["int", 1_i64 << 40_i64],
                "half": ["float", 0.5], "on": ["bool", true], "device_id": ["str", "4711"],
            },
            "body": {"hex": "3231"},
        })
    );
    senders.connection().close().await;
    peer.next("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_told_as_it_is() {
    for (outcome, expected) in [
        ("accept", Ok(Outcome::Accepted)),
        (
            "reject",
            Ok(Outcome::rejected("hono:bad-request", "no thanks")),
        ),
        ("release", Ok(Outcome::Released)),
        (
            "modify",
            Ok(Outcome::Modified {
                delivery_failed: true,
                undeliverable_here: true,
            }),
        ),
        ("silent", Err(SendError::TimedOut)),
    ] {
        let Some(mut peer) = Peer::start(outcome, 10, None) else {
            return;
        };
        let mut config = peer.config();
        config.send_message_timeout = Some(Duration::from_millis(300));
        let senders = Senders::new(connect(config).await);
        let reported = senders.send("event/T", &event(), Until::Settled).await;
        assert_eq!(reported, expected, "{outcome}");
        if outcome == "silent" {
            assert_eq!(
                peer.next("settled")["state"],
                "RELEASED",
                "we settled it ourselves"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credit_a_message_fails_at_once() {
    let Some(peer) = Peer::start("accept", 0, None) else {
        return;
    };
    let senders = Senders::new(connect(peer.config()).await);
    let outcome = senders.send("event/T", &event(), Until::Settled).await;
    assert_eq!(outcome, Err(SendError::NoCredit));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_goes_and_comes_in_many_frames() {
    let Some(mut peer) = Peer::start("accept", 10, None) else {
        return;
    };
    let senders = Senders::new(connect(peer.config()).await);
    let payload: Vec<u8> = (0..=255).cycle().take(500_000).collect();
    let message = Message::data(payload.clone());
    let outcome = senders.send("event/T", &message, Until::Settled).await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
    let reported = peer.next("message");
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(reported["body"]["hex"] == hex.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_is_settled_as_told() {
    let Some(mut peer) = Peer::start("accept", 0, None) else {
        return;
    };
    let connection = connect(peer.config()).await;
    let mut receiver = connection.receiver("command_internal/1", 1).await.unwrap();
    for (number, outcome, state, condition) in [
        (0, Outcome::Accepted, "ACCEPTED", None),
        (
            1,
            Outcome::rejected("hono:bad-request", "malformed"),
            "REJECTED",
            Some("hono:bad-request"),
        ),
        (2, Outcome::Released, "RELEASED", None),
    ] {
        let next = tokio::time::timeout(PATIENCE, receiver.next()).await;
        let incoming = next.unwrap().unwrap();
        let message = incoming.message.as_ref().unwrap();
        assert_eq!(message.properties.subject.as_deref(), Some("do"));
        assert_eq!(
            message.properties.message_id,
            Some(amqp_client::MessageId::Ulong(7))
        );
        assert_eq!(
            message.body,
            amqp_client::Body::ValueString(format!("command {number}"))
        );
        assert!(incoming.settle(outcome));
        let reported = peer.next("settled");
        assert_eq!(reported["state"], state);
        assert_eq!(reported["condition"].as_str(), condition);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_killed_and_comes_back_is_found_again() {
    let Some(peer) = Peer::start("accept", 10, None) else {
        return;
    };
    let senders = Senders::new(connect(peer.config()).await);
    let port = peer.port();
    drop(peer);
    senders.connection().disconnected().await;
    let outcome = senders.send("event/T", &event(), Until::Settled).await;
    assert_eq!(outcome, Err(SendError::Link(LinkError::NotConnected)));
    let _again = Peer::at(port, "accept", 10, None).unwrap();
    assert!(senders.connection().connected(PATIENCE).await);
    let outcome = senders.send("event/T", &event(), Until::Settled).await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_client_certificate_is_sasl_external() {
    let files = Files::new();
    for versions in [vec![TlsVersion::Tls12], vec![TlsVersion::Tls13]] {
        let Some(mut peer) = Peer::start("accept", 10, Some(&files)) else {
            return;
        };
        let mut config = peer.config();
        config.host = "localhost".to_owned();
        let mut tls = files.tls();
        tls.versions = versions;
        config.tls = Some(tls);
        let senders = Senders::new(connect(config).await);
        let opened = peer.next("open");
        assert_eq!(opened["mechanism"], "EXTERNAL");
        assert!(
            opened["user"].as_str().unwrap().contains("adapter"),
            "{opened}"
        );
        let outcome = senders.send("event/T", &event(), Until::Settled).await;
        assert_eq!(outcome, Ok(Outcome::Accepted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_good_only_if_names_do_not_matter() {
    let files = Files::new();
    let Some(peer) = Peer::start("accept", 10, Some(&files)) else {
        return;
    };
    // The certificate names `localhost`, not this address.
    let mut config = peer.config();
    config.tls = Some(files.tls());
    let strict = Connection::start("Test", config.clone()).unwrap();
    assert!(!strict.connected(Duration::from_millis(500)).await);
    let mut lax = files.tls();
    lax.hostname_verification = HostnameVerification::Skipped;
    config.tls = Some(lax.clone());
    connect(config.clone()).await;
    // Somebody else's word is not enough even so.
    let others = Files::new();
    lax.trust_store = others.tls().trust_store;
    config.tls = Some(lax);
    let strict = Connection::start("Test", config).unwrap();
    assert!(!strict.connected(Duration::from_millis(500)).await);
}

const PATIENCE: Duration = Duration::from_secs(10);
