//! The client against a broker, such as ActiveMQ Artemis: what is sent there is kept, and comes back.
//!
//! Skipped, loudly, unless `AMQP_BROKER` names one (`host:port`, anonymous or `AMQP_USER` and `AMQP_PASSWORD`).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, env, time::Duration};

use amqp_client::{
    Body, Connection, ConnectionConfig, Header, Message, Outcome, Properties, Secret,
    UserCredentials,
};
use tokio::time::timeout;

fn config() -> Option<ConnectionConfig> {
    let Ok(broker) = env::var("AMQP_BROKER") else {
        eprintln!(
            "SKIPPED: this test needs a broker (AMQP_BROKER=host:port, AMQP_USER, AMQP_PASSWORD)"
        );
        return None;
    };
    let (host, port) = broker.rsplit_once(':').expect("host:port");
    let mut config = ConnectionConfig::new(host, port.parse().unwrap());
    config.send_message_timeout = Some(PATIENCE);
    config.link_establishment_timeout = PATIENCE;
    config.flow_latency = PATIENCE;
    if let (Ok(username), Ok(password)) = (env::var("AMQP_USER"), env::var("AMQP_PASSWORD")) {
        config.credentials = Some(UserCredentials {
            username,
            password: Secret::new(password),
        });
    }
    Some(config)
}

fn event(address: &str, number: u32) -> Message {
    Message {
        header: Header {
            durable: true,
            ttl: None,
        },
        annotations: vec![("tenant_id".to_owned(), "T".into())],
        properties: Properties {
            message_id: Some(number.to_string().into()),
            to: Some(address.to_owned()),
            ..Properties::default()
        },
        // Some of them larger than a frame.
        ..Message::data(vec![
            0;
            if number.is_multiple_of(100) {
                300_000
            } else {
                100
            }
        ])
    }
}

#[tokio::test]
async fn events_are_kept_until_somebody_takes_them() {
    let Some(config) = config() else {
        return;
    };
    let address = format!("event/{}", uuid::Uuid::new_v4());
    let producer = Connection::start("Producer", config.clone()).unwrap();
    assert!(producer.connected(PATIENCE).await);
    // Attached first, so that a broker that routes without keeping has where to route to.
    let consumer = Connection::start("Consumer", config).unwrap();
    assert!(consumer.connected(PATIENCE).await);
    let mut receiver = consumer.receiver(&address, 50).await.unwrap();
    let sender = producer.sender(&address).await.unwrap();
    let mut under_way = Vec::new();
    for number in 0..COUNT {
        under_way.push(sender.send(&event(&address, number)).await.unwrap());
    }
    for delivery in under_way {
        assert_eq!(delivery.outcome(None).await, Ok(Outcome::Accepted));
    }
    let mut seen = BTreeSet::new();
    let mut given_back = false;
    while seen.len() < COUNT as usize {
        let incoming = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap();
        let message = incoming.message.as_ref().unwrap();
        let Some(id) = message.properties.message_id.as_ref() else {
            continue;
        };
        let number: u32 = id.as_str().unwrap().parse().unwrap();
        assert_eq!(message, &event(&address, number));
        assert!(matches!(&message.body, Body::Data(bytes) if !bytes.is_empty()));
        if number == 7 && !std::mem::replace(&mut given_back, true) {
            incoming.settle(Outcome::Released);
            continue;
        }
        seen.insert(number);
        assert!(incoming.settle(Outcome::Accepted));
    }
    assert!(given_back, "what was released came again");
    producer.close().await;
    consumer.close().await;
}

const COUNT: u32 = 500;
const PATIENCE: Duration = Duration::from_secs(10);
