//! Receivers: requests to the sandbox's registry, and what an adapter gets.

use amqp_client::{Body, Connection, Message, Outcome, Properties, Value};
use tokio::time::timeout;

use super::{PATIENCE, connect, sandbox};

/// A request to a service, and its answer (spec: registry-apis A.1).
async fn ask(connection: &Connection, operation: &str, id: &str) -> Message {
    let reply_to = format!("tenant/{id}");
    let mut replies = connection.receiver(&reply_to, 10).await.unwrap();
    let requests = connection.sender("tenant").await.unwrap();
    let request = Message {
        properties: Properties {
            to: Some("tenant".to_owned()),
            subject: Some(operation.to_owned()),
            message_id: Some(id.into()),
            reply_to: Some(reply_to),
            ..Properties::default()
        },
        ..Message::data(*br#"{"tenant-id": "DEFAULT_TENANT"}"#)
    };
    let outcome = requests.send(&request).await.unwrap().outcome(None).await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
    let incoming = timeout(PATIENCE, replies.next()).await.unwrap().unwrap();
    let message = incoming.message.as_ref().unwrap().clone();
    assert!(!incoming.settled_by_peer);
    assert!(incoming.settle(Outcome::Accepted));
    message
}

#[tokio::test]
async fn a_request_is_answered() {
    let sandbox = sandbox().await;
    let connection = connect(sandbox.amqp_address()).await;
    let answer = ask(&connection, "get", "request-1").await;
    assert_eq!(answer.properties.correlation_id, Some("request-1".into()));
    assert_eq!(
        answer.application_property("status"),
        Some(&Value::Int(200))
    );
    let Body::Data(json) = answer.body else {
        panic!("{answer:?}");
    };
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["tenant-id"], "DEFAULT_TENANT");
    let answer = ask(&connection, "no such thing", "request-2").await;
    assert_eq!(
        answer.application_property("status"),
        Some(&Value::Int(400))
    );
}

#[tokio::test]
async fn many_requests_on_one_pair_of_links_are_all_answered() {
    let sandbox = sandbox().await;
    let connection = connect(sandbox.amqp_address()).await;
    // Fewer than there are answers: each one taken has to be replaced.
    let mut replies = connection.receiver("tenant/here", 5).await.unwrap();
    let requests = connection.sender("tenant").await.unwrap();
    for number in 0..50_u32 {
        let request = Message {
            properties: Properties {
                subject: Some("get".to_owned()),
                message_id: Some(number.to_string().into()),
                reply_to: Some("tenant/here".to_owned()),
                ..Properties::default()
            },
            ..Message::data(*br#"{"tenant-id": "DEFAULT_TENANT"}"#)
        };
        requests.send(&request).await.unwrap().let_go();
        let incoming = timeout(PATIENCE, replies.next()).await.unwrap().unwrap();
        let id = incoming
            .message
            .as_ref()
            .unwrap()
            .properties
            .correlation_id
            .clone();
        assert_eq!(id, Some(number.to_string().into()));
        incoming.settle(Outcome::Accepted);
    }
}

#[tokio::test]
async fn a_receiver_ends_with_its_connection() {
    let sandbox = sandbox().await;
    let connection = connect(sandbox.amqp_address()).await;
    let mut replies = connection.receiver("tenant/here", 5).await.unwrap();
    let (next, ()) = tokio::join!(timeout(PATIENCE, replies.next()), sandbox.stop());
    assert!(next.unwrap().is_none());
    assert!(!replies.is_attached());
}
