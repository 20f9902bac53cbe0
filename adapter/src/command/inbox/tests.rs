//! Commands and waiting requests without any network.

use std::sync::mpsc;

use amqp_client::{Body, MessageId, Properties, Value};

use super::*;
use crate::authn::Authenticated;

fn origin(device: &str, gateway: Option<&str>) -> Origin {
    Origin {
        tenant: "T".into(),
        device: device.into(),
        gateway: gateway.map(Into::into),
        auth_id: None,
        authenticated: Authenticated::Yes,
    }
}

fn message(device: &str) -> Message {
    Message {
        properties: Properties {
            to: Some(format!("command/T/{device}")),
            subject: Some("go".to_owned()),
            message_id: Some(MessageId::String("m".to_owned())),
            ..Properties::default()
        },
        body: Body::Data(b"x".to_vec()),
        ..Message::default()
    }
}

/// Delivers a message; the receiver tells its outcome.
fn deliver(inboxes: &Inboxes, message: &Message) -> mpsc::Receiver<Outcome> {
    let (told, outcome) = mpsc::channel();
    let _fate = inboxes.deliver(
        message,
        Delivery::new(move |outcome| {
            told.send(outcome).unwrap();
            Told::InTime
        }),
    );
    outcome
}

fn rejected(description: &str) -> Outcome {
    Outcome::Rejected {
        condition: Some("hono:bad-request".to_owned()),
        description: Some(description.to_owned()),
    }
}

#[tokio::test]
async fn a_command_reaches_the_device_that_waits_for_it() {
    let inboxes = Arc::new(Inboxes::default());
    let mut inbox = inboxes.open(&origin("4711", None));
    let outcome = deliver(&inboxes, &message("4711"));
    let received = inbox.command().await.unwrap();
    assert_eq!(
        (received.command.name.as_str(), received.via.as_deref()),
        ("go", None)
    );
    assert!(
        outcome.try_recv().is_err(),
        "not settled before the device is answered"
    );
    assert_eq!(received.delivery.accept(), Told::InTime);
    assert_eq!(outcome.recv(), Ok(Outcome::Accepted));
    assert_eq!(inbox.close(), Closed::Last);
    assert!(inboxes.is_empty());
}

#[tokio::test]
async fn a_command_for_nobody_is_released() {
    let inboxes = Arc::new(Inboxes::default());
    assert_eq!(
        deliver(&inboxes, &message("4711")).recv(),
        Ok(Outcome::Released)
    );
    let _other = inboxes.open(&origin("4712", None));
    assert_eq!(
        deliver(&inboxes, &message("4711")).recv(),
        Ok(Outcome::Released)
    );
}

#[tokio::test]
async fn a_second_command_is_released_and_the_first_stays() {
    let inboxes = Arc::new(Inboxes::default());
    let mut inbox = inboxes.open(&origin("4711", None));
    let first = deliver(&inboxes, &message("4711"));
    assert_eq!(
        deliver(&inboxes, &message("4711")).recv(),
        Ok(Outcome::Released)
    );
    let received = inbox.command().await.unwrap();
    assert_eq!(received.delivery.accept(), Told::InTime);
    assert_eq!(first.recv(), Ok(Outcome::Accepted));
}

#[tokio::test]
async fn a_malformed_command_is_rejected_and_the_device_waits_on() {
    let inboxes = Arc::new(Inboxes::default());
    let mut inbox = inboxes.open(&origin("4711", None));
    let mut wrong = message("4711");
    wrong.properties.subject = None;
    assert_eq!(
        deliver(&inboxes, &wrong).recv(),
        Ok(rejected("malformed command message"))
    );
    wrong.properties.to = Some("command/T".to_owned());
    assert_eq!(
        deliver(&inboxes, &wrong).recv(),
        Ok(rejected("invalid command target address"))
    );
    let _outcome = deliver(&inboxes, &message("4711"));
    assert!(inbox.command().await.is_some());
}

#[tokio::test]
async fn a_command_goes_back_when_its_request_is_gone() {
    let inboxes = Arc::new(Inboxes::default());
    let inbox = inboxes.open(&origin("4711", None));
    let fetched_by_nobody = deliver(&inboxes, &message("4711"));
    drop(inbox);
    assert_eq!(fetched_by_nobody.recv(), Ok(Outcome::Released));
    assert!(inboxes.is_empty());
}

#[tokio::test]
async fn a_command_fetched_and_dropped_goes_back() {
    let inboxes = Arc::new(Inboxes::default());
    let mut inbox = inboxes.open(&origin("4711", None));
    let outcome = deliver(&inboxes, &message("4711"));
    drop(inbox.command().await);
    assert_eq!(outcome.recv(), Ok(Outcome::Released));
}

#[tokio::test]
async fn of_two_requests_of_a_device_the_later_gets_the_command() {
    let inboxes = Arc::new(Inboxes::default());
    let mut earlier = inboxes.open(&origin("4711", None));
    let mut later = inboxes.open(&origin("4711", Some("gw")));
    let _outcome = deliver(&inboxes, &message("4711"));
    assert!(earlier.command().await.is_none());
    assert_eq!(earlier.close(), Closed::Replaced);
    assert_eq!(inboxes.len(), 1, "the later one still waits");
    let received = later.command().await.unwrap();
    assert_eq!(
        received.via.as_deref(),
        Some("gw"),
        "a gateway waits for this device"
    );
    assert_eq!(later.close(), Closed::Last);
}

#[tokio::test]
async fn a_gateway_gets_the_commands_that_are_routed_through_it() {
    let inboxes = Arc::new(Inboxes::default());
    let mut inbox = inboxes.open(&origin("gw", None));
    let mut through = message("4712");
    through
        .application_properties
        .push(("via".to_owned(), Value::from("gw")));
    let _outcome = deliver(&inboxes, &through);
    let received = inbox.command().await.unwrap();
    assert_eq!(
        (received.device.as_str(), received.via.as_deref()),
        ("4712", Some("gw"))
    );
    assert_eq!(inboxes.tenants().len(), 1);
}
