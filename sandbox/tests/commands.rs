//! Commands through the sandbox's AMQP network: an application sends them, an AMQP client of another make is the adapter.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use fe2o3_amqp::{
    Connection, Receiver, Session, connection::ConnectionHandle, link::delivery::Delivery,
    link::receiver::CreditMode, session::SessionHandle,
};
use fe2o3_amqp_types::{
    definitions::ErrorCondition,
    messaging::{
        ApplicationProperties, Body as AnyBody, Message as AmqpMessage, Modified, Properties,
    },
    primitives::{Binary, SimpleValue, Value},
};
use sandbox::{
    Error, Sandbox, SandboxConfig,
    northbound::{
        Application, ApplicationConfig, Behaviour, Body, Message, Outcome, command,
        recorded_outcome,
    },
    services::{Fault, Operation},
    world::{Device, Tenant, World},
};
use tokio::{net::TcpStream, time::timeout};

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(300);
const TENANT: &str = "DEFAULT_TENANT";

/// What an adapter does towards the command router.
struct Adapter {
    _connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
    requests: fe2o3_amqp::Sender,
    replies: Receiver,
    instance: String,
    commands: Receiver,
    send_event: bool,
}

impl Adapter {
    async fn of(sandbox: &Sandbox, instance: &str, credit: CreditMode) -> Self {
        let stream = TcpStream::connect(sandbox.amqp_address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection::builder()
            .container_id(instance)
            .open_with_stream(stream)
            .await
            .unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let replies = Receiver::attach(
            &mut session,
            "replies",
            format!("cmd_router/{TENANT}/{instance}"),
        )
        .await
        .unwrap();
        let requests =
            fe2o3_amqp::Sender::attach(&mut session, "requests", format!("cmd_router/{TENANT}"))
                .await
                .unwrap();
        let commands = Receiver::builder()
            .name("commands")
            .source(format!("command_internal/{instance}"))
            .credit_mode(credit)
            .attach(&mut session)
            .await
            .unwrap();
        Self {
            _connection: connection,
            session,
            requests,
            replies,
            instance: instance.to_owned(),
            commands,
            send_event: false,
        }
    }

    /// Sends a request to the command router and returns the status of its response.
    async fn ask(&mut self, subject: &str, device: &str) -> i32 {
        let request = AmqpMessage::builder()
            .properties(Properties {
                message_id: Some(format!("{subject}-{device}").into()),
                to: Some(format!("cmd_router/{TENANT}")),
                subject: Some(subject.to_owned()),
                reply_to: Some(format!("cmd_router/{TENANT}/{}", self.instance)),
                ..Properties::default()
            })
            .application_properties(
                ApplicationProperties::builder()
                    .insert("device_id", device)
                    .insert("adapter_instance_id", self.instance.as_str())
                    .insert("lifespan", 60)
                    .insert("send_event", self.send_event)
                    .build(),
            )
            .data(Binary::from(Vec::new()))
            .build();
        timeout(SOON, self.requests.send(request))
            .await
            .unwrap()
            .unwrap();
        let reply = timeout(SOON, self.replies.recv::<AnyBody<Value>>())
            .await
            .unwrap()
            .unwrap();
        self.replies.accept(&reply).await.unwrap();
        let message = reply.into_message();
        assert_eq!(
            message.properties.unwrap().correlation_id,
            Some(format!("{subject}-{device}").into())
        );
        match message.application_properties.unwrap().get("status") {
            Some(SimpleValue::Int(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    async fn waits_for(&mut self, device: &str) {
        assert_eq!(self.ask("register-command-consumer", device).await, 204);
    }

    async fn command(&mut self) -> Delivery<AnyBody<Value>> {
        timeout(SOON, self.commands.recv()).await.unwrap().unwrap()
    }

    async fn hears_nothing(&mut self) {
        let heard = timeout(A_WHILE, self.commands.recv::<AnyBody<Value>>()).await;
        assert!(heard.is_err(), "a command came");
    }
}

async fn sandbox() -> (Sandbox, Application) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let application = Application::attach(sandbox.amqp_address(), TENANT, &[], Behaviour::Accept)
        .await
        .unwrap();
    (sandbox, application)
}

/// Sends in a task of its own, so that the adapter can answer meanwhile.
fn send(
    application: &Application,
    command: Message,
) -> tokio::task::JoinHandle<Result<Option<Outcome>, Error>> {
    let sender = application.sender();
    tokio::spawn(async move {
        sender
            .send(&format!("command/{TENANT}"), &command, SOON)
            .await
    })
}

#[tokio::test]
async fn a_command_goes_to_the_adapter_where_the_device_waits_and_the_outcome_comes_back() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    let mut order = command(TENANT, "4711", "setLight");
    order.body = Body::Data(b"on".to_vec());
    order.properties.reply_to = Some(format!("command_response/{TENANT}/r"));
    order.properties.content_type = Some("text/plain".to_owned());
    let id = order.properties.message_id.clone().unwrap();

    for outcome in ["accepted", "rejected", "released", "modified"] {
        let sent = send(&application, order.clone());
        let delivery = adapter.command().await;
        match outcome {
            "accepted" => adapter.commands.accept(&delivery).await.unwrap(),
            "released" => adapter.commands.release(&delivery).await.unwrap(),
            "modified" => adapter
                .commands
                .modify(
                    &delivery,
                    Modified {
                        delivery_failed: Some(true),
                        undeliverable_here: None,
                        message_annotations: None,
                    },
                )
                .await
                .unwrap(),
            _ => {
                let error = fe2o3_amqp_types::definitions::Error::new(
                    ErrorCondition::Custom("amqp:not-allowed".into()),
                    "too much".to_owned(),
                    None,
                );
                adapter.commands.reject(&delivery, error).await.unwrap();
            }
        }
        let properties = delivery.into_message().properties.unwrap();
        assert_eq!(properties.to, Some(format!("command/{TENANT}/4711")));
        assert_eq!(
            properties.correlation_id,
            Some(id.as_str().unwrap().to_owned().into())
        );
        assert_eq!(
            properties.reply_to,
            Some(format!("command_response/{TENANT}/r"))
        );
        let reported = sent.await.unwrap().unwrap();
        let expected = match outcome {
            "rejected" => ("rejected", Some("hono:bad-request"), Some("too much")),
            other => (other, None, None),
        };
        assert_eq!(recorded_outcome(reported.as_ref()), expected);
    }
}

#[tokio::test]
async fn a_command_through_a_gateway_names_it() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("gw-1").await;
    let sent = send(&application, command(TENANT, "4712", "setLight"));
    let delivery = adapter.command().await;
    adapter.commands.accept(&delivery).await.unwrap();
    let message = delivery.into_message();
    assert_eq!(
        message.properties.unwrap().to,
        Some(format!("command/{TENANT}/4712"))
    );
    assert_eq!(
        message.application_properties.unwrap().get("via"),
        Some(&SimpleValue::String("gw-1".to_owned()))
    );
    assert_eq!(sent.await.unwrap().unwrap(), Some(Outcome::Accepted));
}

#[tokio::test]
async fn a_command_that_nobody_can_take_is_released() {
    let (sandbox, application) = sandbox().await;
    let order = command(TENANT, "4711", "setLight");
    let released = Some(Outcome::Released);
    let outcome = application
        .send_command(TENANT, &order, SOON)
        .await
        .unwrap();
    assert_eq!(outcome, released, "nobody has registered");

    let mut idle = Adapter::of(&sandbox, "idle", CreditMode::Manual).await;
    idle.waits_for("4711").await;
    let outcome = application
        .send_command(TENANT, &order, SOON)
        .await
        .unwrap();
    assert_eq!(outcome, released, "the adapter gives no credit");

    let mut gone = Adapter::of(&sandbox, "gone", CreditMode::default()).await;
    gone.waits_for("4711").await;
    drop(gone);
    let outcome = application
        .send_command(TENANT, &order, SOON)
        .await
        .unwrap();
    assert_eq!(outcome, released, "the adapter is gone");

    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    assert_eq!(
        adapter.ask("unregister-command-consumer", "4711").await,
        204
    );
    assert_eq!(
        adapter.ask("unregister-command-consumer", "4711").await,
        412
    );
    let outcome = application
        .send_command(TENANT, &order, SOON)
        .await
        .unwrap();
    assert_eq!(outcome, released, "the device waits no longer");
}

#[tokio::test]
async fn a_command_that_the_adapter_does_not_settle_is_released_and_taken_back() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    let sent = send(&application, command(TENANT, "4711", "first"));
    let late = adapter.command().await;
    assert_eq!(sent.await.unwrap().unwrap(), Some(Outcome::Released));
    // What the adapter says now concerns nobody, and the next command goes its way.
    adapter.commands.accept(&late).await.unwrap();
    let sent = send(&application, command(TENANT, "4711", "second"));
    let delivery = adapter.command().await;
    adapter.commands.accept(&delivery).await.unwrap();
    assert_eq!(
        delivery
            .into_message()
            .properties
            .unwrap()
            .subject
            .as_deref(),
        Some("second")
    );
    assert_eq!(sent.await.unwrap().unwrap(), Some(Outcome::Accepted));
}

#[tokio::test]
async fn commands_under_way_are_released_when_their_adapter_goes() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    let sent = send(&application, command(TENANT, "4711", "x"));
    let _unsettled = adapter.command().await;
    adapter.session.end().await.unwrap();
    assert_eq!(sent.await.unwrap().unwrap(), Some(Outcome::Released));
}

#[tokio::test]
async fn a_wrong_command_is_rejected_with_the_reason_and_no_adapter_sees_it() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    let mut no_subject = command(TENANT, "4711", "x");
    no_subject.properties.subject = None;
    let rows = [
        (no_subject, "hono:bad-request", "malformed command message"),
        (
            command(TENANT, "none", "x"),
            "hono:bad-request",
            "device is disabled or not registered",
        ),
        (
            command("OTHER", "4711", "x"),
            "amqp:unauthorized-access",
            "unauthorized to send command to tenant",
        ),
    ];
    for (order, condition, description) in rows {
        let outcome = application
            .send_command(TENANT, &order, SOON)
            .await
            .unwrap();
        let expected = ("rejected", Some(condition), Some(description));
        assert_eq!(recorded_outcome(outcome.as_ref()), expected);
    }
    let garbage = application.sender();
    let outcome = garbage
        .send_bytes(&format!("command/{TENANT}"), vec![0xff, 0], SOON)
        .await
        .unwrap();
    assert_eq!(recorded_outcome(outcome.as_ref()).0, "rejected");
    adapter.hears_nothing().await;
}

#[tokio::test]
async fn commands_to_a_device_arrive_in_their_order_and_none_twice() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    let received = tokio::spawn(async move {
        let mut subjects = Vec::new();
        for _ in 0..100 {
            let delivery = adapter.command().await;
            adapter.commands.accept(&delivery).await.unwrap();
            subjects.push(delivery.into_message().properties.unwrap().subject.unwrap());
        }
        adapter.hears_nothing().await;
        subjects
    });
    // One task after the other takes its place in the queue, for a test runs on one thread.
    let sent: Vec<_> = (0..100)
        .map(|index| send(&application, command(TENANT, "4711", &index.to_string())))
        .collect();
    for outcome in sent {
        assert_eq!(outcome.await.unwrap().unwrap(), Some(Outcome::Accepted));
    }
    let expected: Vec<String> = (0..100).map(|index| index.to_string()).collect();
    assert_eq!(received.await.unwrap(), expected);
}

#[tokio::test]
async fn an_application_gets_the_responses_at_the_address_that_it_named() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let mut config =
        ApplicationConfig::of_tenant(sandbox.amqp_address(), TENANT, Behaviour::Accept);
    config.addresses = vec![format!("command_response/{TENANT}/4711/app2")];
    let mut application = Application::start(config).await.unwrap();
    let adapter = Application::attach(sandbox.amqp_address(), TENANT, &[], Behaviour::Accept)
        .await
        .unwrap();
    let mut response = Message::data("done");
    response.application_properties = vec![("status".to_owned(), 200.into())];
    let outcome = adapter
        .sender()
        .send(
            &format!("command_response/{TENANT}/4711/app2"),
            &response,
            SOON,
        )
        .await
        .unwrap();
    assert_eq!(outcome, Some(Outcome::Accepted));
    let received = application.receive(SOON).await.unwrap();
    assert_eq!(received.payload, b"done");
    assert_eq!(
        received.sections["application-properties"]["status"]["int"],
        200
    );
}

#[tokio::test]
async fn only_who_sends_to_a_known_tenant_has_credit_and_only_the_router_receives() {
    let (sandbox, application) = sandbox().await;
    let outcome = application
        .send_command("NEW", &command("NEW", "d", "x"), A_WHILE)
        .await
        .unwrap();
    assert_eq!(outcome, None, "there was credit");
    sandbox
        .world()
        .set_tenant("NEW", Tenant::default().with_device("d", Device::default()));
    let outcome = application
        .send_command("NEW", &command("NEW", "d", "x"), SOON)
        .await
        .unwrap();
    assert_eq!(outcome, Some(Outcome::Released));
    for address in [
        format!("command/{TENANT}"),
        format!("command/{TENANT}/4711"),
    ] {
        let refused = Application::attach(
            sandbox.amqp_address(),
            TENANT,
            &[&address],
            Behaviour::Accept,
        )
        .await;
        assert!(
            matches!(refused, Err(Error::Refused { .. })),
            "{address}: {refused:?}"
        );
    }
    let refused = application
        .sender()
        .send("command/a/b", &Message::default(), SOON)
        .await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn every_receiver_of_notifications_is_told_of_every_change() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let addresses = [
        "notification/registry-tenant",
        "notification/registry-device",
    ];
    let peer = sandbox.amqp_address();
    let mut receivers = Vec::new();
    for _ in 0..2 {
        receivers.push(
            Application::attach(peer, TENANT, &addresses, Behaviour::Accept)
                .await
                .unwrap(),
        );
    }
    let world = sandbox.world();
    world.set_tenant("T", Tenant::default());
    world.set_device("T", "d", Device::default().with_psk("a", "k"));
    world.set_device("T", "d", Device::default());
    world.change(|world| {
        world
            .tenants
            .get_mut("T")
            .map(|tenant| tenant.devices.remove("d"))
    });
    world.remove_device("T", "d");
    world.remove_tenant("T");
    let expected = [
        ["tenant-change-v1 CREATE", "tenant-change-v1 DELETE"].as_slice(),
        &[
            "device-change-v1 CREATE",
            "credentials-change-v1 ",
            "device-change-v1 UPDATE",
            "credentials-change-v1 ",
            "device-change-v1 DELETE",
        ],
    ];
    for receiver in &mut receivers {
        let mut reported = [Vec::new(), Vec::new()];
        for _ in 0..expected.concat().len() {
            let received = receiver.receive(SOON).await.unwrap();
            assert_eq!(
                received.sections["properties"]["content-type"]["symbol"],
                "application/json"
            );
            let json: serde_json::Value = serde_json::from_slice(&received.payload).unwrap();
            assert_eq!(json["tenant-id"], "T");
            let text = |member: &str| json[member].as_str().unwrap_or_default().to_owned();
            // The order is that of each address; two links have none in common.
            let link = addresses
                .iter()
                .position(|it| *it == received.link)
                .unwrap();
            reported[link].push(format!("{} {}", text("type"), text("change")));
        }
        assert_eq!(reported, expected);
        assert!(
            receiver.receive(A_WHILE).await.is_none(),
            "one change too many was reported"
        );
    }
}

#[tokio::test]
async fn more_changes_than_a_receiver_has_credit_for_are_all_told() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let address = ["notification/registry-device"];
    let mut receiver =
        Application::attach(sandbox.amqp_address(), TENANT, &address, Behaviour::Accept)
            .await
            .unwrap();
    for index in 0..900 {
        sandbox
            .world()
            .set_device("T", index.to_string(), Device::default());
    }
    for index in 0..900 {
        let received = receiver.receive(SOON).await.unwrap();
        let reported: serde_json::Value = serde_json::from_slice(&received.payload).unwrap();
        assert_eq!(reported["device-id"], index.to_string());
    }
}

#[tokio::test]
async fn each_of_many_devices_gets_its_own_command_once() {
    let devices = 1000;
    let mut tenant = Tenant::default();
    for number in 0..devices {
        tenant = tenant.with_device(format!("d{number}"), Device::default());
    }
    let mut world = World::empty();
    world.tenants.insert("T".to_owned(), tenant);
    let mut config = SandboxConfig::default();
    config.world = world;
    let sandbox = Sandbox::start(config).await.unwrap();
    let mut config = ApplicationConfig::of_tenant(sandbox.amqp_address(), "T", Behaviour::Accept);
    config.addresses = vec!["command_internal/a".to_owned(), "cmd_router/T/1".to_owned()];
    let mut adapter = Application::start(config).await.unwrap();
    for number in 0..devices {
        let mut request = Message::default();
        request.properties.message_id = Some("1".into());
        request.properties.subject = Some("register-command-consumer".to_owned());
        request.properties.reply_to = Some("cmd_router/T/1".to_owned());
        request.application_properties = vec![
            ("device_id".to_owned(), format!("d{number}").into()),
            ("adapter_instance_id".to_owned(), "a".into()),
        ];
        adapter
            .sender()
            .send("cmd_router/T", &request, SOON)
            .await
            .unwrap();
        let reply = adapter.receive(SOON).await.unwrap();
        assert_eq!(reply.application_property("status", "int"), 204);
    }
    let application = Application::attach(sandbox.amqp_address(), "T", &[], Behaviour::Accept)
        .await
        .unwrap();
    let mut sent = tokio::task::JoinSet::new();
    for number in 0..devices {
        let sender = application.sender();
        sent.spawn(async move {
            let order = command("T", &format!("d{number}"), "ping");
            sender.send("command/T", &order, SOON * 6).await.unwrap()
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..devices {
        let received = adapter.receive(SOON).await.unwrap();
        let to = received.sections["properties"]["to"]["string"]
            .as_str()
            .unwrap();
        assert!(seen.insert(to.to_owned()), "{to} came twice");
    }
    while let Some(outcome) = sent.join_next().await {
        assert_eq!(outcome.unwrap(), Some(Outcome::Accepted));
    }
}

#[tokio::test]
async fn a_message_that_nobody_waits_for_any_more_is_not_sent_later() {
    let (sandbox, application) = sandbox().await;
    let address = format!("command_response/{TENANT}/r");
    let sender = application.sender();
    let early = sender
        .send(&address, &Message::data("early"), A_WHILE)
        .await
        .unwrap();
    assert_eq!(early, None, "there was credit");
    let mut receiver = Application::attach(
        sandbox.amqp_address(),
        TENANT,
        &[&address],
        Behaviour::Accept,
    )
    .await
    .unwrap();
    let late = sender
        .send(&address, &Message::data("late"), SOON)
        .await
        .unwrap();
    assert_eq!(late, Some(Outcome::Accepted));
    assert_eq!(receiver.receive(SOON).await.unwrap().payload, b"late");
}

#[tokio::test]
async fn an_adapter_may_have_the_router_tell_when_a_device_comes_and_goes() {
    let (sandbox, mut application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.send_event = true;
    for (subject, status, ttd) in [
        ("register-command-consumer", 204, Some(-1)),
        ("unregister-command-consumer", 204, Some(0)),
        ("unregister-command-consumer", 412, None),
    ] {
        assert_eq!(adapter.ask(subject, "4711").await, status);
        let Some(ttd) = ttd else {
            assert!(application.receive(A_WHILE).await.is_none());
            continue;
        };
        let event = application.receive(SOON).await.unwrap();
        assert_eq!(event.link, format!("event/{TENANT}"));
        assert_eq!(event.application_property("ttd", "int"), ttd);
        assert_eq!(event.application_property("device_id", "string"), "4711");
        assert_eq!(
            event.sections["properties"]["content-type"]["symbol"],
            "application/vnd.eclipse-hono-empty-notification"
        );
    }
}

#[tokio::test]
async fn what_is_to_go_wrong_goes_wrong_until_it_is_mended() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    let (services, register) = (sandbox.services(), "register-command-consumer");
    let mut asked = services.asked();

    // Refused, nothing is registered.
    services.fail(Operation::RegisterConsumer, Fault::Status(503));
    assert_eq!(adapter.ask(register, "4711").await, 503);
    let sent = send(&application, command(TENANT, "4711", "go")).await;
    assert_eq!(sent.unwrap().unwrap(), Some(Outcome::Released));

    // Answered twice: the second answer is there without a second request.
    services.fail(Operation::RegisterConsumer, Fault::Twice);
    adapter.waits_for("4711").await;
    let again = adapter.replies.recv::<AnyBody<Value>>();
    timeout(SOON, again).await.unwrap().unwrap();

    // Answered late, but done at once, and never before its time.
    let late = Duration::from_millis(400);
    services.fail(Operation::UnregisterConsumer, Fault::Late(late));
    let begun = Instant::now();
    assert_eq!(
        adapter.ask("unregister-command-consumer", "4711").await,
        204
    );
    assert!(begun.elapsed() >= late);

    services.recover(Operation::RegisterConsumer);
    adapter.waits_for("4711").await;
    assert!(
        timeout(A_WHILE, adapter.replies.recv::<AnyBody<Value>>())
            .await
            .is_err()
    );

    let mut seen = Vec::new();
    while let Ok(request) = asked.try_recv() {
        assert_eq!(request.address, format!("cmd_router/{TENANT}"));
        assert_eq!(request.text("device_id"), Some("4711"));
        seen.push((request.operation, request.status));
    }
    let expected = [
        (Operation::RegisterConsumer, 503),
        (Operation::RegisterConsumer, 204),
        (Operation::UnregisterConsumer, 204),
        (Operation::RegisterConsumer, 204),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_command_is_released_while_the_registry_fails() {
    let (sandbox, application) = sandbox().await;
    let mut adapter = Adapter::of(&sandbox, "a-1", CreditMode::default()).await;
    adapter.waits_for("4711").await;
    let services = sandbox.services();
    let rejected = |text| ("rejected", Some("hono:bad-request"), Some(text));
    let released = ("released", None, None);
    let mut nameless = command(TENANT, "4711", "");
    nameless.properties.subject = None;
    let order = command(TENANT, "4711", "go");
    for (operation, fault, message, expected) in [
        (Operation::Tenant, Fault::Status(503), &order, released),
        (Operation::Assertion, Fault::Status(500), &order, released),
        (Operation::Assertion, Fault::Silent, &order, released),
        (
            Operation::Tenant,
            Fault::Status(404),
            &order,
            rejected("tenant is disabled or not registered"),
        ),
        (
            Operation::Assertion,
            Fault::Status(404),
            &order,
            rejected("device is disabled or not registered"),
        ),
        (
            Operation::Assertion,
            Fault::Status(503),
            &nameless,
            rejected("malformed command message"),
        ),
    ] {
        services.fail(operation, fault.clone());
        let reported = send(&application, message.clone()).await.unwrap().unwrap();
        assert_eq!(
            recorded_outcome(reported.as_ref()),
            expected,
            "{operation:?} {fault:?}"
        );
        services.recover(operation);
    }
    adapter.hears_nothing().await;
    let sent = send(&application, order);
    let delivery = adapter.command().await;
    adapter.commands.accept(&delivery).await.unwrap();
    assert_eq!(sent.await.unwrap().unwrap(), Some(Outcome::Accepted));
}
