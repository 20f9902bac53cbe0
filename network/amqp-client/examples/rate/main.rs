//! How many messages a second go through, each with its disposition: this client, or `fe2o3-amqp`'s.
//!
//! `rate ours|tasks|fe2o3 PORT COUNT` sends to a receiver on this machine. Make one with `proton.c` beside this file, which is
//! also a third sender. `ours` and `fe2o3` keep 400 deliveries under way from one task; `tasks` has 400 tasks, as an adapter has
//! requests, that each wait for their own outcome. The receiver tells the rate.
#![expect(clippy::unwrap_used, reason = "a measurement ends at the first error")]

use std::{collections::VecDeque, env, sync::Arc, time::Duration};

use amqp_client::{Connection, ConnectionConfig, Message, Outcome, Properties, Sender};
use fe2o3_amqp::types::{
    messaging::{ApplicationProperties, Data, MessageAnnotations, Properties as TheirProperties},
    primitives::{Binary, Symbol, Timestamp},
};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [client, port, count] = arguments.as_slice() else {
        eprintln!("rate ours|tasks|fe2o3 PORT COUNT");
        return;
    };
    let (port, count) = (port.parse().unwrap(), count.parse().unwrap());
    match client.as_str() {
        "fe2o3" => theirs(port, count).await,
        "tasks" => tasks(port, count).await,
        _ => ours(port, count).await,
    }
}

async fn connect(port: u16) -> (Connection, Sender) {
    let config = ConnectionConfig::new("127.0.0.1", port);
    let connection = Connection::start("Rate", config).unwrap();
    assert!(connection.connected(Duration::from_secs(5)).await);
    let sender = connection.sender(ADDRESS).await.unwrap();
    (connection, sender)
}

async fn ours(port: u16, count: usize) {
    let (connection, sender) = connect(port).await;
    let mut under_way = VecDeque::new();
    for number in 0..count {
        if under_way.len() == WINDOW {
            let oldest: amqp_client::Delivery = under_way.pop_front().unwrap();
            assert_eq!(oldest.outcome(None).await, Ok(Outcome::Accepted));
        }
        under_way.push_back(sender.send(&message(number)).await.unwrap());
    }
    for delivery in under_way {
        assert_eq!(delivery.outcome(None).await, Ok(Outcome::Accepted));
    }
    connection.close().await;
}

async fn tasks(port: u16, count: usize) {
    let (connection, sender) = connect(port).await;
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let tasks: Vec<_> = (0..WINDOW)
        .map(|_| {
            let (sender, next) = (sender.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let delivery = sender.send(&message(number)).await.unwrap();
                    assert_eq!(delivery.outcome(None).await, Ok(Outcome::Accepted));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    connection.close().await;
}

async fn theirs(port: u16, count: usize) {
    let url = format!("amqp://127.0.0.1:{port}");
    let mut connection = fe2o3_amqp::Connection::open("rate", url.as_str())
        .await
        .unwrap();
    let mut session = fe2o3_amqp::Session::begin(&mut connection).await.unwrap();
    let mut sender = fe2o3_amqp::Sender::attach(&mut session, "sender", ADDRESS)
        .await
        .unwrap();
    let mut under_way = VecDeque::new();
    for number in 0..count {
        if under_way.len() == WINDOW {
            let oldest: fe2o3_amqp::link::delivery::DeliveryFut<_> = under_way.pop_front().unwrap();
            let outcome: Result<
                fe2o3_amqp::types::messaging::Outcome,
                fe2o3_amqp::link::SendError,
            > = oldest.await;
            outcome.unwrap();
        }
        under_way.push_back(sender.send_batchable(their_message(number)).await.unwrap());
    }
    for delivery in under_way {
        delivery.await.unwrap();
    }
    sender.close().await.unwrap();
    session.end().await.unwrap();
    connection.close().await.unwrap();
}

fn message(number: usize) -> Message {
    let text = |key: &str, value: &str| (key.to_owned(), value.into());
    Message {
        annotations: vec![
            text("tenant_id", "DEFAULT_TENANT"),
            text("device_id", "4711"),
            text("resource", "telemetry/DEFAULT_TENANT/4711"),
        ],
        properties: Properties {
            message_id: Some(format!("GenericSenderLink-{number}").into()),
            to: Some(ADDRESS.to_owned()),
            content_type: Some("application/octet-stream".to_owned()),
            creation_time: Some(1_700_000_000_000),
            ..Properties::default()
        },
        application_properties: vec![
            text("device_id", "4711"),
            text("orig_adapter", "hono-coap"),
            text("orig_address", "/telemetry"),
            ("qos".to_owned(), 1.into()),
        ],
        ..Message::data([0; 100])
    }
}

fn their_message(number: usize) -> fe2o3_amqp::types::messaging::Message<Data> {
    let properties = TheirProperties::builder()
        .message_id(format!("GenericSenderLink-{number}"))
        .to(ADDRESS)
        .content_type("application/octet-stream")
        .creation_time(Timestamp::from(1_700_000_000_000))
        .build();
    fe2o3_amqp::types::messaging::Message::builder()
        .message_annotations(
            MessageAnnotations::builder()
                .insert(Symbol::from("tenant_id"), "DEFAULT_TENANT")
                .insert(Symbol::from("device_id"), "4711")
                .insert(Symbol::from("resource"), "telemetry/DEFAULT_TENANT/4711")
                .build(),
        )
        .properties(properties)
        .application_properties(
            ApplicationProperties::builder()
                .insert("device_id", "4711")
                .insert("orig_adapter", "hono-coap")
                .insert("orig_address", "/telemetry")
                .insert("qos", 1)
                .build(),
        )
        .data(Binary::from(vec![0; 100]))
        .build()
}

const ADDRESS: &str = "telemetry/DEFAULT_TENANT";
const WINDOW: usize = 400;
