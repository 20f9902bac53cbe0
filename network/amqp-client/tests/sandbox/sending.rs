//! Credit and outcomes.

use std::{sync::Arc, time::Duration};

use amqp_client::{Connection, LinkError, Outcome, SendError, Senders, Until, send_once};
use sandbox::northbound::{Application, Behaviour};

use super::{PATIENCE, TELEMETRY, TENANT, application, config, connect, message, sandbox, up};

#[tokio::test]
async fn each_behaviour_of_an_application_is_told_as_it_is() {
    let rejected = |condition: Option<&str>, description: Option<&str>| Outcome::Rejected {
        condition: condition.map(str::to_owned),
        description: description.map(str::to_owned),
    };
    let modified = |delivery_failed, undeliverable_here| Outcome::Modified {
        delivery_failed,
        undeliverable_here,
    };
    for (behaviour, expected) in [
        (Behaviour::Accept, Ok(Outcome::Accepted)),
        (
            Behaviour::Delay(Duration::from_millis(50)),
            Ok(Outcome::Accepted),
        ),
        (Behaviour::Release, Ok(Outcome::Released)),
        (Behaviour::Reject(None), Ok(rejected(None, None))),
        (
            Behaviour::Reject(Some("amqp:not-allowed".to_owned())),
            Ok(rejected(Some("amqp:not-allowed"), Some("no thanks"))),
        ),
        (
            Behaviour::Reject(Some("hono:bad-request".to_owned())),
            Ok(rejected(Some("hono:bad-request"), Some("no thanks"))),
        ),
        (Behaviour::Modify, Ok(modified(true, false))),
        (Behaviour::ModifyUndeliverable, Ok(modified(false, true))),
        (Behaviour::Silent, Err(SendError::TimedOut)),
        // The network takes the message all the same, for a receiver that may ask for it.
        (Behaviour::NoCredit, Err(SendError::TimedOut)),
    ] {
        let sandbox = sandbox().await;
        let mut config = config(sandbox.amqp_address());
        config.send_message_timeout = Some(Duration::from_millis(300));
        let connection = up(Connection::start("Test", config).unwrap()).await;
        let _application = application(&sandbox, behaviour.clone()).await;
        let senders = Senders::new(connection.clone());
        let outcome = senders
            .send(TELEMETRY, &message(b"21"), Until::Settled)
            .await;
        assert_eq!(outcome, expected, "{behaviour:?}");
        connection.close().await;
    }
}

#[tokio::test]
async fn what_is_sent_arrives_as_it_was() {
    let sandbox = sandbox().await;
    let mut application = application(&sandbox, Behaviour::Accept).await;
    let senders = Senders::new(connect(sandbox.amqp_address()).await);
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for length in [0, 1, 1000, 65_000, 65_536, 300_000] {
        let sent = message(&payload[..length]);
        let outcome = senders.send(TELEMETRY, &sent, Until::Settled).await;
        assert_eq!(outcome, Ok(Outcome::Accepted), "{length} bytes");
        let received = application.receive(PATIENCE).await.unwrap();
        assert!(!received.settled);
        assert_eq!(received.link, TELEMETRY);
        assert_eq!(received.payload, payload[..length]);
        assert_eq!(received.sections["properties"]["to"]["string"], TELEMETRY);
    }
}

#[tokio::test]
async fn nobody_to_listen_fails_at_once_and_somebody_who_comes_is_heard() {
    let sandbox = sandbox().await;
    let senders = Senders::new(connect(sandbox.amqp_address()).await);
    for until in [Until::Transferred, Until::Settled] {
        let outcome = senders.send(TELEMETRY, &message(b"1"), until).await;
        assert_eq!(outcome, Err(SendError::NoCredit));
    }
    let mut application = application(&sandbox, Behaviour::Accept).await;
    // The same link gets its credit; that takes a moment.
    let outcome = tokio::time::timeout(PATIENCE, async {
        loop {
            match senders
                .send(TELEMETRY, &message(b"2"), Until::Settled)
                .await
            {
                Err(SendError::NoCredit) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    });
    assert_eq!(outcome.await.unwrap(), Ok(Outcome::Accepted));
    assert_eq!(application.receive(PATIENCE).await.unwrap().payload, b"2");
}

#[tokio::test]
async fn many_are_under_way_at_once_and_each_gets_its_own_outcome() {
    let sandbox = sandbox().await;
    let _application = application(&sandbox, Behaviour::Delay(Duration::from_millis(100))).await;
    let senders = Arc::new(Senders::new(connect(sandbox.amqp_address()).await));
    let sender = senders.connection().sender(TELEMETRY).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..250_u32 {
        deliveries.push(sender.send(&message(&number.to_be_bytes())).await.unwrap());
    }
    for delivery in deliveries {
        assert_eq!(delivery.outcome(None).await, Ok(Outcome::Accepted));
    }
}

#[tokio::test]
async fn a_silent_application_does_not_use_up_the_link() {
    let sandbox = sandbox().await;
    let application = application(&sandbox, Behaviour::Silent).await;
    let mut config = config(sandbox.amqp_address());
    config.send_message_timeout = Some(Duration::from_millis(100));
    let connection = up(Connection::start("Test", config).unwrap()).await;
    let senders = Senders::new(connection.clone());
    for _ in 0..3 {
        let outcome = senders
            .send(TELEMETRY, &message(b"1"), Until::Settled)
            .await;
        assert_eq!(outcome, Err(SendError::TimedOut));
    }
    let until = Until::Transferred;
    let outcome = senders.send(TELEMETRY, &message(b"2"), until).await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
    application.detach().await;
    connection.close().await;
    assert!(!connection.is_connected());
}

#[tokio::test]
async fn a_response_goes_on_a_link_of_its_own() {
    let sandbox = sandbox().await;
    let connection = connect(sandbox.amqp_address()).await;
    let address = "command_response/DEFAULT_TENANT/app/1";
    let outcome = send_once(&connection, address, &message(b"x")).await;
    assert_eq!(outcome, Err(SendError::NoCredit));
    let mut application = Application::attach(
        sandbox.amqp_address(),
        TENANT,
        &[address],
        Behaviour::Accept,
    )
    .await
    .unwrap();
    for number in 0..20 {
        let outcome = send_once(&connection, address, &message(&[number])).await;
        assert_eq!(outcome, Ok(Outcome::Accepted));
        let received = application.receive(PATIENCE).await.unwrap();
        assert_eq!(
            (received.link.as_str(), received.payload),
            (address, vec![number])
        );
    }
}

#[tokio::test]
async fn senders_of_one_address_share_a_link() {
    let sandbox = sandbox().await;
    let _application = application(&sandbox, Behaviour::Accept).await;
    let senders = Arc::new(Senders::new(connect(sandbox.amqp_address()).await));
    let sending: Vec<_> = (0..50_u8)
        .map(|number| {
            let senders = Arc::clone(&senders);
            tokio::spawn(async move {
                senders
                    .send(TELEMETRY, &message(&[number]), Until::Settled)
                    .await
            })
        })
        .collect();
    for sent in sending {
        assert_eq!(sent.await.unwrap(), Ok(Outcome::Accepted));
    }
    assert!(!senders.close_idle(TELEMETRY, PATIENCE), "it was used");
    assert!(senders.close_idle(TELEMETRY, Duration::ZERO));
    assert!(senders.close_idle("event/T", PATIENCE), "there was none");
    let outcome = senders
        .send(TELEMETRY, &message(b"1"), Until::Settled)
        .await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_with_a_reason_every_time() {
    let sandbox = sandbox().await;
    let senders = Arc::new(Senders::new(connect(sandbox.amqp_address()).await));
    let sending: Vec<_> = (0..20_u8)
        .map(|number| {
            let senders = Arc::clone(&senders);
            tokio::spawn(async move {
                let until = Until::Settled;
                senders.send("nowhere", &message(&[number]), until).await
            })
        })
        .collect();
    for sent in sending {
        let refused = sent.await.unwrap();
        assert!(
            matches!(
                &refused,
                Err(SendError::Link(LinkError::Refused {
                    condition: Some(_),
                    ..
                }))
            ),
            "{refused:?}"
        );
    }
    assert!(senders.close_idle("nowhere", PATIENCE), "there is none");
}

/// A request that is dropped half-way leaves nothing behind that would stop the next one.
#[tokio::test]
async fn a_dropped_send_leaves_nothing_behind() {
    let sandbox = sandbox().await;
    let _application = application(&sandbox, Behaviour::Delay(Duration::from_millis(20))).await;
    let senders = Senders::new(connect(sandbox.amqp_address()).await);
    for patience in 0..30 {
        let first = message(b"1");
        let sending = senders.send(TELEMETRY, &first, Until::Settled);
        drop(tokio::time::timeout(Duration::from_micros(patience * 200), sending).await);
    }
    let outcome = senders
        .send(TELEMETRY, &message(b"2"), Until::Settled)
        .await;
    assert_eq!(outcome, Ok(Outcome::Accepted));
}
