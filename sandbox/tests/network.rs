//! The sandbox's AMQP network as a client of another make sees it: `fe2o3-amqp` sends, asks and receives.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use fe2o3_amqp::{
    Connection, Receiver, Sendable, Sender, Session, connection::ConnectionHandle,
    link::receiver::CreditMode, sasl_profile::SaslProfile, session::SessionHandle,
};
use fe2o3_amqp_types::{
    messaging::{
        ApplicationProperties, Body, Data, Header, Message, MessageAnnotations, Outcome, Properties,
    },
    primitives::{Binary, SimpleValue, Symbol, Value},
};
use sandbox::{
    Error, Sandbox, SandboxConfig,
    northbound::{Application, ApplicationConfig, Behaviour},
    world::{Device, World},
};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(300);

struct Client {
    connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
}

impl Client {
    async fn to(sandbox: &Sandbox) -> Self {
        // Without this, every answer to a request waits for a delayed acknowledgement of TCP.
        let stream = TcpStream::connect(sandbox.amqp_address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection::builder()
            .container_id("client")
            .open_with_stream(stream)
            .await
            .unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        Self {
            connection,
            session,
        }
    }

    async fn sender(&mut self, address: &str) -> Sender {
        Sender::attach(&mut self.session, format!("sender-{address}"), address)
            .await
            .unwrap()
    }
}

async fn sandbox() -> Sandbox {
    Sandbox::start(SandboxConfig::default()).await.unwrap()
}

fn message(text: &str) -> Message<Data> {
    Message::builder()
        .header(Header {
            durable: true,
            ttl: Some(7000),
            ..Header::default()
        })
        .message_annotations(
            MessageAnnotations::builder()
                .insert("device_id", "4711")
                .build(),
        )
        .properties(Properties {
            to: Some("event/T".to_owned()),
            content_type: Some(Symbol::from("text/plain")),
            ..Properties::default()
        })
        .application_properties(ApplicationProperties::builder().insert("qos", 1).build())
        .data(Binary::from(text.as_bytes()))
        .build()
}

async fn send(sender: &mut Sender, text: &str) -> Outcome {
    timeout(SOON, sender.send(message(text)))
        .await
        .expect("an outcome in time")
        .unwrap()
}

#[tokio::test]
async fn every_outcome_of_the_application_reaches_the_sender() {
    let sandbox = sandbox().await;
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("event/T").await;
    for behaviour in [
        "accept",
        "reject",
        "reject:amqp:not-allowed",
        "release",
        "modify",
        "modify-undeliverable",
        "delay:0.2",
    ] {
        let application =
            Application::attach(sandbox.amqp_address(), "T", &[], behaviour.parse().unwrap())
                .await
                .unwrap();
        let started = Instant::now();
        match (behaviour, send(&mut sender, "x").await) {
            ("accept", Outcome::Accepted(_)) | ("release", Outcome::Released(_)) => {}
            ("delay:0.2", Outcome::Accepted(_)) => {
                assert!(started.elapsed() >= Duration::from_millis(200));
            }
            ("reject", Outcome::Rejected(rejected)) => assert_eq!(rejected.error, None),
            ("reject:amqp:not-allowed", Outcome::Rejected(rejected)) => {
                let error = rejected.error.unwrap();
                assert_eq!(format!("{:?}", error.condition), "AmqpError(NotAllowed)");
                assert_eq!(error.description.as_deref(), Some("no thanks"));
            }
            ("modify", Outcome::Modified(modified)) => {
                assert_eq!(
                    (modified.delivery_failed, modified.undeliverable_here),
                    (Some(true), None)
                );
            }
            ("modify-undeliverable", Outcome::Modified(modified)) => {
                assert_eq!(
                    (modified.delivery_failed, modified.undeliverable_here),
                    (None, Some(true))
                );
            }
            (_, other) => panic!("{behaviour}: {other:?}"),
        }
        application.detach().await;
    }
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let sandbox = sandbox().await;
    let mut application = Application::attach(sandbox.amqp_address(), "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("event/T").await;
    send(&mut sender, "21").await;
    let received = application.receive(SOON).await.unwrap();
    assert_eq!(
        (received.link.as_str(), received.settled),
        ("event/T", false)
    );
    assert_eq!(received.payload, b"21");
    let expected = json!({
        "header": {"durable": {"boolean": true}, "ttl": {"uint": 7000}},
        "message-annotations": {"device_id": {"string": "4711"}},
        "properties": {"to": {"string": "event/T"}, "content-type": {"symbol": "text/plain"}},
        "application-properties": {"qos": {"int": 1}},
        "data": {"binary": "3231"},
        "order": ["header", "message-annotations", "properties", "application-properties", "data"],
    });
    assert_eq!(received.sections, expected);

    let settled = Sendable::builder()
        .message(message("settled"))
        .settled(true)
        .build();
    sender.send(settled).await.unwrap();
    assert!(application.receive(SOON).await.unwrap().settled);
}

#[tokio::test]
async fn a_message_of_many_frames_arrives_whole() {
    let sandbox = sandbox().await;
    let mut application = Application::attach(sandbox.amqp_address(), "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("telemetry/T").await;
    let large: String = (0..300_000u32)
        .map(|index| if index % 90_000 < 70_000 { '\0' } else { 'x' })
        .collect();
    assert!(send(&mut sender, &large).await.is_accepted());
    assert!(application.receive(SOON).await.unwrap().payload == large.as_bytes());
}

#[tokio::test]
async fn without_receiver_a_sender_has_no_credit_until_one_comes_and_loses_it_when_the_last_one_leaves()
 {
    let sandbox = sandbox().await;
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("telemetry/T").await;
    assert!(
        timeout(A_WHILE, sender.send(message("early")))
            .await
            .is_err(),
        "there was credit"
    );
    for _ in 0..2 {
        let mut application =
            Application::attach(sandbox.amqp_address(), "T", &[], Behaviour::Accept)
                .await
                .unwrap();
        assert!(send(&mut sender, "heard").await.is_accepted());
        assert_eq!(application.receive(SOON).await.unwrap().payload, b"heard");
        application.detach().await;
        sleep(Duration::from_millis(50)).await;
        assert!(
            timeout(A_WHILE, sender.send(message("late")))
                .await
                .is_err(),
            "there was still credit"
        );
    }
}

#[tokio::test]
async fn messages_under_way_are_released_when_the_receiver_goes() {
    for behaviour in [Behaviour::Silent, Behaviour::NoCredit] {
        let sandbox = sandbox().await;
        let application = Application::attach(sandbox.amqp_address(), "T", &[], behaviour)
            .await
            .unwrap();
        let mut client = Client::to(&sandbox).await;
        let mut sender = client.sender("telemetry/T").await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(
                timeout(SOON, sender.send_batchable(message("x")))
                    .await
                    .unwrap()
                    .unwrap(),
            );
        }
        sleep(A_WHILE).await;
        drop(application);
        for outcome in waiting {
            assert!(timeout(SOON, outcome).await.unwrap().unwrap().is_released());
        }
    }
}

#[tokio::test]
async fn messages_wait_for_the_credit_of_a_receiver() {
    let sandbox = sandbox().await;
    let mut consumer = Client::to(&sandbox).await;
    let mut receiver = Receiver::builder()
        .name("r")
        .source("event/T")
        .credit_mode(CreditMode::Manual)
        .attach(&mut consumer.session)
        .await
        .unwrap();
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("event/T").await;
    let first = sender.send_batchable(message("1")).await.unwrap();
    let second = sender.send_batchable(message("2")).await.unwrap();
    assert!(
        timeout(A_WHILE, receiver.recv::<Body<Value>>())
            .await
            .is_err()
    );
    receiver.set_credit(1).await.unwrap();
    let delivery = timeout(SOON, receiver.recv::<Body<Value>>())
        .await
        .unwrap()
        .unwrap();
    receiver.accept(&delivery).await.unwrap();
    assert!(timeout(SOON, first).await.unwrap().unwrap().is_accepted());
    receiver.set_credit(1).await.unwrap();
    let delivery = timeout(SOON, receiver.recv::<Body<Value>>())
        .await
        .unwrap()
        .unwrap();
    receiver.release(&delivery).await.unwrap();
    assert!(timeout(SOON, second).await.unwrap().unwrap().is_released());
    consumer.connection.close().await.unwrap();
}

#[tokio::test]
async fn receivers_take_turns_and_those_of_a_lower_priority_step_aside() {
    let sandbox = sandbox().await;
    let peer = sandbox.amqp_address();
    let mut config = ApplicationConfig::of_tenant(peer, "T", Behaviour::Accept);
    config.priority = -1;
    let mut watcher = Application::start(config).await.unwrap();
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("event/T").await;
    send(&mut sender, "seen").await;
    assert!(watcher.receive(SOON).await.is_some());

    let mut one = Application::attach(peer, "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let mut two = Application::attach(peer, "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    for _ in 0..4 {
        send(&mut sender, "x").await;
    }
    for application in [&mut one, &mut two] {
        for _ in 0..2 {
            assert!(application.receive(SOON).await.is_some());
        }
    }
    assert!(watcher.receive(A_WHILE).await.is_none());
    one.detach().await;
    two.detach().await;
    send(&mut sender, "seen again").await;
    assert_eq!(watcher.receive(SOON).await.unwrap().payload, b"seen again");
}

#[tokio::test]
async fn a_thousand_messages_in_flight_all_get_their_outcome() {
    let sandbox = sandbox().await;
    let mut application = Application::attach(sandbox.amqp_address(), "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let mut client = Client::to(&sandbox).await;
    let mut sender = client.sender("telemetry/T").await;
    let fetched = tokio::spawn(async move {
        for _ in 0..1000 {
            application.receive(SOON).await.unwrap();
        }
    });
    let mut outcomes = Vec::new();
    for index in 0..1000 {
        outcomes.push(
            timeout(SOON, sender.send_batchable(message(&index.to_string())))
                .await
                .unwrap()
                .unwrap(),
        );
    }
    for outcome in outcomes {
        assert!(timeout(SOON, outcome).await.unwrap().unwrap().is_accepted());
    }
    fetched.await.unwrap();
}

#[tokio::test]
async fn unknown_addresses_are_refused() {
    let sandbox = sandbox().await;
    let mut client = Client::to(&sandbox).await;
    for address in ["telemetri/T", "telemetry", "telemetry/", "nowhere"] {
        // The client library does not get over a refusal in the same session.
        let mut session = Session::begin(&mut client.connection).await.unwrap();
        assert!(
            Sender::attach(&mut session, "s", address).await.is_err(),
            "{address}"
        );
        let mut session = Session::begin(&mut client.connection).await.unwrap();
        assert!(
            Receiver::attach(&mut session, "r", address).await.is_err(),
            "{address}"
        );
    }
    let error = Application::attach(sandbox.amqp_address(), "T", &["nowhere"], Behaviour::Accept)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Refused { address, .. } if address == "nowhere"),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_registry_answers_requests_with_a_status() {
    let sandbox = sandbox().await;
    let mut client = Client::to(&sandbox).await;
    let reply_to = "credentials/DEFAULT_TENANT/4a6f";
    let mut replies = Receiver::attach(&mut client.session, "replies", reply_to)
        .await
        .unwrap();
    let mut requests = client.sender("credentials/DEFAULT_TENANT").await;
    let request = |id: &str, auth_id: &str| {
        Message::builder()
            .properties(Properties {
                message_id: Some(id.to_owned().into()),
                to: Some("credentials/DEFAULT_TENANT".to_owned()),
                subject: Some("get".to_owned()),
                reply_to: Some(reply_to.to_owned()),
                ..Properties::default()
            })
            .data(Binary::from(
                json!({"type": "psk", "auth-id": auth_id})
                    .to_string()
                    .into_bytes(),
            ))
            .build()
    };
    sandbox.world().set_device(
        "DEFAULT_TENANT",
        "new",
        Device::default().with_psk("new", "k"),
    );
    for (id, auth_id, status, body) in [
        ("1", "sensor1", 200, "aG9uby1zZWNyZXQ="),
        ("2", "nobody", 404, ""),
        ("3", "new", 200, "aw=="),
    ] {
        assert!(
            timeout(SOON, requests.send(request(id, auth_id)))
                .await
                .unwrap()
                .unwrap()
                .is_accepted()
        );
        let reply = timeout(SOON, replies.recv::<Option<Data>>())
            .await
            .unwrap()
            .unwrap();
        replies.accept(&reply).await.unwrap();
        let message = reply.into_message();
        let properties = message.properties.unwrap();
        assert_eq!(properties.correlation_id, Some(id.to_owned().into()));
        assert_eq!(
            properties.content_type,
            (status == 200).then(|| Symbol::from("application/json"))
        );
        let application = message.application_properties.unwrap();
        assert_eq!(application.get("status"), Some(&SimpleValue::Int(status)));
        let cache_control = application.get("cache_control");
        assert_eq!(
            cache_control,
            (status == 200)
                .then(|| SimpleValue::String("no-cache".to_owned()))
                .as_ref()
        );
        let body_of_reply = message.body.map(|data| data.0.into_vec());
        let text = String::from_utf8(body_of_reply.unwrap_or_default()).unwrap();
        assert!(text.contains(body), "{text}");
    }

    let without_subject = Message::builder().properties(Properties {
        message_id: Some(1u64.into()),
        ..Properties::default()
    });
    let outcome = requests
        .send(without_subject.data(Binary::from(Vec::new())).build())
        .await
        .unwrap();
    assert!(
        matches!(outcome, Outcome::Rejected(rejected) if rejected.error.clone().unwrap().description.unwrap() == "malformed request message")
    );
}

#[tokio::test]
async fn requests_and_replies_go_on_for_longer_than_the_first_credit_lasts() {
    let sandbox = sandbox().await;
    let mut client = Client::to(&sandbox).await;
    let mut replies = Receiver::attach(&mut client.session, "replies", "tenant/1")
        .await
        .unwrap();
    let mut requests = client.sender("tenant").await;
    for id in 0..350u64 {
        let properties = Properties {
            message_id: Some(id.into()),
            subject: Some("get".to_owned()),
            reply_to: Some("tenant/1".to_owned()),
            ..Properties::default()
        };
        let request = Message::builder()
            .properties(properties)
            .data(Binary::from(br#"{"tenant-id":"DEFAULT_TENANT"}"#.to_vec()))
            .build();
        timeout(SOON, requests.send(request))
            .await
            .unwrap()
            .unwrap();
        let reply = timeout(SOON, replies.recv::<Data>())
            .await
            .unwrap()
            .unwrap();
        replies.accept(&reply).await.unwrap();
    }
}

#[tokio::test]
async fn anonymous_and_plain_clients_are_welcome() {
    let sandbox = sandbox().await;
    let url = format!("amqp://{}", sandbox.amqp_address());
    for profile in [
        SaslProfile::Anonymous,
        SaslProfile::Plain {
            username: "any".to_owned(),
            password: "thing".to_owned(),
        },
    ] {
        let mut connection = Connection::builder()
            .container_id("c")
            .sasl_profile(profile)
            .open(url.as_str())
            .await
            .unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        session.end().await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_idle_connection_stays_and_garbage_hurts_nobody_else() {
    let sandbox = sandbox().await;
    let url = format!("amqp://{}", sandbox.amqp_address());
    let mut connection = Connection::builder()
        .container_id("c")
        .idle_time_out(400u32)
        .open(url.as_str())
        .await
        .unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"AMQP\x00\x01\x00\x00\xff\xff\xff\xff",
        b"AMQP\x00\x01\x00\x00\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x10\xc0",
    ] {
        TcpStream::connect(sandbox.amqp_address())
            .await
            .unwrap()
            .write_all(garbage)
            .await
            .unwrap();
    }
    sleep(Duration::from_millis(1500)).await;
    let sender = timeout(SOON, Sender::attach(&mut session, "s", "event/T"))
        .await
        .unwrap()
        .unwrap();
    sender.close().await.unwrap();
}

#[tokio::test]
async fn a_busy_port_is_told_with_its_address_and_a_stopped_one_is_free_again() {
    let first = sandbox().await;
    let address = first.amqp_address();
    let config = SandboxConfig::new(address, World::empty());
    let error = Sandbox::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, Error::PortBusy { address: busy } if busy == address));
    let mut client = Client::to(&first).await;
    first.stop().await;
    assert!(
        timeout(SOON, client.connection.on_close()).await.is_ok(),
        "the client got no error"
    );
    Sandbox::start(config).await.unwrap().stop().await;
}
