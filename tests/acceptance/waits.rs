//! How a device's wait for a command begins and ends, seen from the device, the application and the command router
//! (spec: coap-adapter §4 steps 6 to 10, registry-apis A.6).

use std::time::Duration;

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, Error},
    northbound::{Application, ApplicationConfig, Behaviour, Outcome},
    services::{Fault, Operation},
};
use serde_json::json;

use crate::{
    metrics::Metrics,
    scene::{
        A_WHILE, SOON, already_asked, application, asked_for, device, give, plain, stand, told,
        world,
    },
};

fn waiting(seconds: u32) -> CoapRequest {
    CoapRequest::put("e/T/d")
        .query(&format!("hono-ttd={seconds}"))
        .query("empty")
}

/// Of two waits of a device the later one gets the command; the earlier one ends with nothing at its own time, and gives up no
/// place but its own (spec: coap-adapter §10 K).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_waits_of_a_device_the_later_gets_the_command() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let (mut earlier, mut later) = (plain(&stand).await, plain(&stand).await);
    let (first, second) = (waiting(3), waiting(60));
    let (first, (second, outcome)) = tokio::join!(earlier.request(&first, SOON), async {
        assert!(application.receive(SOON).await.is_some());
        tokio::join!(later.request(&second, SOON), async {
            assert!(application.receive(SOON).await.is_some());
            give(&application, "d", "for the later").await
        })
    });
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(outcome, Some(Outcome::Accepted));
    let expected = ("2.04".to_owned(), "for the later".to_owned());
    assert_eq!(told(&second), expected);
    assert_eq!(told(&first), ("2.04".to_owned(), String::new()));
    assert_eq!(first.options, []);
    // How each wait ended is counted (spec: coap-adapter §10 E).
    let metrics = Metrics::of(&stand).await;
    for (ttd, waits) in [("expired", 1.0), ("command", 1.0), ("none", 0.0)] {
        let labels = [("tenant", "T"), ("type", "event"), ("ttd", ttd)];
        let counted = metrics.sum("hono_telemetry_payload_bytes_count", &labels);
        assert!(counted.total_cmp(&waits).is_eq(), "{ttd}: {counted}");
    }
    assert!(first.took >= Duration::from_secs(3), "{:?}", first.took);
    // The place was the later one's, so only that gave it up.
    assert_eq!(
        already_asked(&mut asked, Operation::UnregisterConsumer).len(),
        1
    );
    stand.stop().await;
}

/// The lifespan is what the device waits, no event is wanted, and the answer comes after the farewell at the router.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_router_has_let_the_device_go_before_it_is_answered() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    let mut asked = services.asked();
    let late = Duration::from_millis(600);
    services.fail(Operation::UnregisterConsumer, Fault::Late(late));
    let response = plain(&stand)
        .await
        .request(&waiting(1), SOON)
        .await
        .unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    let least = Duration::from_secs(1) + late;
    assert!(response.took >= least, "{:?}", response.took);
    let event = application.receive(SOON).await.unwrap();
    assert_eq!(event.application_property("ttd", "int"), 1);

    let begun = asked_for(&mut asked, Operation::RegisterConsumer).await;
    let ended = asked_for(&mut asked, Operation::UnregisterConsumer).await;
    for request in [&begun, &ended] {
        assert_eq!(request.address, "cmd_router/T");
        assert_eq!(request.text("device_id"), Some("d"));
        let properties = &request.sections["application-properties"];
        assert_eq!(properties["send_event"]["boolean"], false);
    }
    assert_eq!(
        begun.sections["application-properties"]["lifespan"]["int"],
        1
    );
    let instance = begun.text("adapter_instance_id");
    assert!(instance.is_some_and(|it| it.starts_with("HonoCoAPAdapter-")));
    assert_eq!(ended.text("adapter_instance_id"), instance);
    stand.stop().await;
}

/// What the router says at the end of a wait is no matter of the device's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farewell_that_fails_changes_no_answer() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    for fault in [
        Fault::Status(404),
        Fault::Status(412),
        Fault::Status(500),
        Fault::Settled(Outcome::Released),
    ] {
        services.fail(Operation::UnregisterConsumer, fault.clone());
        let mut device = plain(&stand).await;
        let request = waiting(60);
        let (response, outcome) = tokio::join!(device.request(&request, SOON), async {
            assert!(application.receive(SOON).await.is_some());
            give(&application, "d", "x").await
        });
        assert_eq!(
            told(&response.unwrap()),
            ("2.04".to_owned(), "x".to_owned()),
            "{fault:?}"
        );
        assert_eq!(outcome, Some(Outcome::Accepted), "{fault:?}");
    }
    stand.stop().await;
}

/// Without its place at the router a device cannot wait, so its message is not sent either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_wait_is_refused_and_nothing_goes_north() {
    let stand = Stand::start(world(), &[("HONO_COMMANDROUTER_REQUESTTIMEOUT", "300")]).await;
    let stand = stand.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    let mut device = device(&stand, "sensor").await;
    let refused = |condition: &str| {
        Fault::Settled(Outcome::Rejected {
            condition: Some(condition.to_owned()),
            description: Some("no".to_owned()),
        })
    };
    let later = ("5.03", "Temporarily unavailable");
    let rows = [
        (Fault::Status(503), later),
        (Fault::Silent, later),
        (Fault::Settled(Outcome::Released), later),
        (refused("amqp:resource-limit-exceeded"), later),
        (Fault::Status(500), ("5.00", "Internal server error")),
        (
            Fault::Status(404),
            ("4.04", "the sandbox is configured to refuse this"),
        ),
        (
            Fault::Status(400),
            ("4.00", "the sandbox is configured to refuse this"),
        ),
        (Fault::Status(507), ("5.00", "Internal server error")),
    ];
    for (fault, (code, text)) in rows {
        services.fail(Operation::RegisterConsumer, fault.clone());
        for resource in ["t", "e"] {
            let request = CoapRequest::post(resource)
                .body(0, "x")
                .query("hono-ttd=60");
            let response = device.request(&request, SOON).await.unwrap();
            assert_eq!(
                told(&response),
                (code.to_owned(), text.to_owned()),
                "{fault:?}"
            );
        }
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    assert_eq!(give(&application, "d", "x").await, Some(Outcome::Released));
    stand.stop().await;
}

/// No request is acknowledged early for what the registry takes; it is for what the application takes (spec: coap-adapter §5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_s_time_is_not_acknowledged() {
    let settings = [
        ("HONO_COAP_TIMEOUTTOACK", "1500"),
        ("HONO_MESSAGING_FLOWLATENCY", "300"),
        ("HONO_REGISTRATION_REQUESTTIMEOUT", "10000"),
        ("HONO_COMMANDROUTER_REQUESTTIMEOUT", "10000"),
        ("HONO_MESSAGING_SENDMESSAGETIMEOUT", "10000"),
    ];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let late = Duration::from_millis(1800);
    let attached = |behaviour, endpoint| {
        let mut config = ApplicationConfig::of_tenant(stand.amqp(), "T", behaviour);
        config.addresses = vec![format!("{endpoint}/T")];
        Application::start(config)
    };
    let mut quick = attached(Behaviour::Accept, "telemetry").await.unwrap();
    let mut slow = attached(Behaviour::Delay(late), "event").await.unwrap();
    let mut device = device(&stand, "sensor").await;
    let services = stand.sandbox().services();
    services.fail(Operation::Assertion, Fault::Late(late));
    let upload = |resource| CoapRequest::post(resource).body(0, "x");
    let response = device.request(&upload("t"), SOON).await.unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    assert!(response.took >= late && !response.separate, "{response:?}");
    assert!(quick.receive(SOON).await.is_some());
    services.recover(Operation::Assertion);
    // Nor is the command router's: here nobody listens, so that the answer comes at once after it.
    services.fail(Operation::RegisterConsumer, Fault::Late(late));
    let mut stranger = plain(&stand).await;
    let unheard = CoapRequest::put("e/OTHER/d")
        .body(0, "x")
        .query("hono-ttd=60");
    let response = stranger.request(&unheard, SOON).await.unwrap();
    let nobody = ("5.03".to_owned(), "no consumer available".to_owned());
    assert_eq!(told(&response), nobody);
    assert!(response.took >= late && !response.separate, "{response:?}");
    services.recover(Operation::RegisterConsumer);
    let response = device.request(&upload("e"), SOON).await.unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    assert!(response.took >= late && response.separate, "{response:?}");
    assert!(slow.receive(SOON).await.is_some());
    stand.stop().await;
}

/// The router passes commands on to disabled tenants: who waits already gets them; who is in a session has lost it, and what comes
/// for it goes back (spec: command-routing §3, registry-apis part B).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_disabled_meanwhile_still_gets_its_commands() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let (mut stranger, mut known) = (plain(&stand).await, device(&stand, "gw").await);
    let (in_the_open, in_a_session) = (
        waiting(60),
        CoapRequest::post("e").query("empty").query("hono-ttd=60"),
    );
    let (response, lost, ()) = tokio::join!(
        stranger.request(&in_the_open, SOON),
        known.request(&in_a_session, SOON),
        async {
            for _ in 0..2 {
                assert!(application.receive(SOON).await.is_some());
            }
            let mut asked = stand.sandbox().services().asked();
            stand.sandbox().world().change(|world| {
                let tenant = world.tenants.get_mut("T").unwrap();
                tenant.members.insert("enabled".to_owned(), false.into());
            });
            asked_for(&mut asked, Operation::UnregisterConsumer).await;
            assert_eq!(give(&application, "gw", "x").await, Some(Outcome::Released));
            assert_eq!(give(&application, "d", "x").await, Some(Outcome::Accepted));
        },
    );
    assert_eq!(
        told(&response.unwrap()),
        ("2.04".to_owned(), "x".to_owned())
    );
    assert!(matches!(lost, Err(Error::Connection { .. })), "{lost:?}");
    let refused = stranger.request(&waiting(60), SOON).await.unwrap();
    let text = "tenant is disabled or not registered";
    assert_eq!(told(&refused), ("4.03".to_owned(), text.to_owned()));
    stand.stop().await;
}

/// The device is told what became of its own message, and the command is there for the next time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_back_when_the_device_s_own_message_fails() {
    let settings = [("HONO_MESSAGING_SENDMESSAGETIMEOUT", "500")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut silent = application(&stand, "T", Behaviour::Silent).await;
    let mut device = plain(&stand).await;
    let request = waiting(60);
    let (response, outcome) = tokio::join!(device.request(&request, SOON), async {
        assert!(silent.receive(SOON).await.is_some());
        give(&silent, "d", "x").await
    });
    let text = "consumer failed to indicate in time whether it has processed the message";
    assert_eq!(
        told(&response.unwrap()),
        ("5.03".to_owned(), text.to_owned())
    );
    assert_eq!(outcome, Some(Outcome::Released));
    stand.stop().await;
}

/// A tenant whose devices want answers apart, and a device that can do with one (spec: coap-adapter §5; the reference's own tests want
/// this of requests that are not confirmable, too).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_comes_apart_or_with_the_acknowledgement_as_tenant_and_device_want() {
    let mut world = world();
    let tenant = world.tenants.get_mut("T").unwrap();
    tenant.members.insert(
        "adapters".to_owned(),
        json!([{
            "type": "hono-coap",
            "enabled": true,
            "ext": {"timeoutToAck": 0, "deviceTriggeredTimeoutToAck": 30_000},
        }]),
    );
    let stand = Stand::start(world, &[]).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut device = device(&stand, "gw").await;
    for (path, id) in [
        ("t//behind", "behind"),
        ("e//behind", "behind"),
        ("t//gw", "gw"),
    ] {
        for (piggy, separate) in [(false, true), (true, false)] {
            let mut request = CoapRequest::put(path).query("hono-ttd=60").body(0, "x");
            if piggy {
                request = request.query("piggy");
            }
            let (response, outcome) = tokio::join!(device.request(&request, SOON), async {
                assert!(application.receive(SOON).await.is_some());
                give(&application, id, "y").await
            });
            let response = response.unwrap();
            assert_eq!(outcome, Some(Outcome::Accepted), "{path}");
            assert_eq!(
                told(&response),
                ("2.04".to_owned(), "y".to_owned()),
                "{path}"
            );
            assert_eq!(response.separate, separate, "{path}, piggy: {piggy}");
        }
    }
    // NON in, NON out, whatever is wanted.
    let request = CoapRequest::put("t//behind")
        .query("hono-ttd=60")
        .body(0, "x");
    let request = request.query("piggy").non_confirmable().encode(1, b"non");
    device.send_raw(&request).await.unwrap();
    assert!(application.receive(SOON).await.is_some());
    assert_eq!(
        give(&application, "behind", "y").await,
        Some(Outcome::Accepted)
    );
    let answer = device.receive(SOON).await.unwrap().unwrap();
    // Version 1, NON, three bytes of token; 2.04.
    assert_eq!(answer[..2], [0x53, 0x44]);
    stand.stop().await;
}
