//! A gateway speaks for the devices that name it, and for itself.

use std::{collections::BTreeMap, time::Duration};

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, CoapResponse, Device},
    northbound::{Behaviour, Outcome},
    services::{Asked, Fault, Operation},
};
use tokio::{sync::broadcast::Receiver, time::sleep};

use crate::scene::{
    LOCATION_PATH, SOON, already_asked, application, asked_for, device, give, plain, stand, told,
    values, world,
};

/// Path, code, text, and whose message arrives (spec: coap-adapter §2).
const ROWS: [(&str, &str, &str, &str); 6] = [
    ("t//behind", "2.04", "", "behind"),
    ("t/T/behind", "2.04", "", "behind"),
    ("e//behind", "2.04", "", "behind"),
    ("e/T/behind", "2.04", "", "behind"),
    ("t//gw", "2.04", "", "gw"),
    ("t//d", "4.03", "gateway is disabled or not registered", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_carries_the_id_of_the_device_it_is_of() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut gateway = device(&stand, "gw").await;
    for (path, code, text, whose) in ROWS {
        let response = gateway
            .request(&CoapRequest::put(path).body(0, path), SOON)
            .await
            .unwrap();
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{path}"
        );
        if code == "2.04" {
            let sections = application.receive(SOON).await.expect(path).sections;
            assert_eq!(
                sections["message-annotations"]["device_id"]["string"], whose,
                "{path}"
            );
            assert_eq!(
                sections["application-properties"]["device_id"]["string"], whose,
                "{path}"
            );
            assert_eq!(
                sections["application-properties"]["orig_address"]["string"],
                format!("/{path}")
            );
            assert!(
                sections["application-properties"]["gateway_id"].is_null(),
                "{path}"
            );
        }
    }
    let response = gateway
        .request(&CoapRequest::post("t").body(0, "x"), SOON)
        .await
        .unwrap();
    assert_eq!(response.code(), "2.04");
    let sections = application.receive(SOON).await.unwrap().sections;
    assert_eq!(sections["message-annotations"]["device_id"]["string"], "gw");
    stand.stop().await;
}

/// By which gateway a device with several was heard last is told to the command router, if it was that or itself that sent; it is no
/// matter where there is but one gateway, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_known_gateway_of_devices_with_several_is_reported() {
    let stand = stand().await;
    let _application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let mut senders = [
        device(&stand, "gw").await,
        device(&stand, "gw2").await,
        device(&stand, "both").await,
        plain(&stand).await,
    ];
    let [gw, gw2, both, stranger] = [0, 1, 2, 3];
    let put = |path| CoapRequest::put(path).body(0, "x");
    let post = |path| CoapRequest::post(path).body(0, "x");
    let response = put("cr//both/001cr").query("hono-cmd-status=200");
    let rows = [
        ("a gateway", gw, put("t//both"), "gw"),
        ("another", gw2, put("e/T/both"), "gw2"),
        ("the device", both, post("t"), "both"),
        ("for itself", both, put("t//both"), "both"),
        ("nobody known", stranger, put("t/T/both"), "both"),
    ];
    for (name, sender, request, gateway) in rows {
        let code = senders[sender]
            .request(&request, SOON)
            .await
            .unwrap()
            .code();
        assert_eq!(code, "2.04", "{name}");
        assert_eq!(reported(&mut asked).await, ("both", gateway), "{name}");
    }
    // An answer to a command is a sign of life as well, even if nobody wants it.
    assert_eq!(
        senders[gw].request(&response, SOON).await.unwrap().code(),
        "5.03"
    );
    assert_eq!(reported(&mut asked).await, ("both", "gw"), "an answer");

    let silent = [
        ("behind one gateway", gw, put("t//behind"), "2.04"),
        ("the gateway itself", gw2, post("t"), "2.04"),
        ("behind another gateway", gw2, put("t//behind"), "4.03"),
    ];
    for (name, sender, request, code) in silent {
        assert_eq!(
            senders[sender]
                .request(&request, SOON)
                .await
                .unwrap()
                .code(),
            code,
            "{name}"
        );
    }
    sleep(COLLECTED_WITHIN * 2).await;
    let further = already_asked(&mut asked, Operation::LastKnownGateway);
    assert_eq!(further, []);
    stand.stop().await;
}

/// Device and gateway of the next report, which is of one device only.
async fn reported(asked: &mut Receiver<Asked>) -> (&'static str, &'static str) {
    let report = asked_for(asked, Operation::LastKnownGateway).await;
    assert_eq!(
        (report.address.as_str(), report.status),
        ("cmd_router/T", 204)
    );
    let known = |name| {
        let told = report.text(name).unwrap();
        let ids = ["both", "gw", "gw2"];
        *ids.iter().find(|id| **id == told).unwrap()
    };
    (known("device_id"), known("gateway_id"))
}

/// Whatever becomes of a report, the message that it is about has its own fate, and later reports are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_fails_or_hangs_concerns_no_device() {
    // Longer than a device waits for its answer here.
    let patient = [("HONO_COMMANDROUTER_REQUESTTIMEOUT", "60000")];
    let stand = Stand::start(world(), &patient).await.unwrap();
    let _application = application(&stand, "T", Behaviour::Accept).await;
    let services = stand.sandbox().services();
    let mut asked = services.asked();
    let mut gateway = device(&stand, "gw").await;
    let upload = CoapRequest::put("t//both").body(0, "x");
    for fault in [Fault::Status(500), Fault::Status(404), Fault::Silent] {
        services.fail(Operation::LastKnownGateway, fault.clone());
        for _ in 0..2 {
            let code = gateway.request(&upload, SOON).await.unwrap().code();
            assert_eq!(code, "2.04", "{fault:?}");
        }
        asked_for(&mut asked, Operation::LastKnownGateway).await;
    }
    let code = gateway.request(&upload, SOON).await.unwrap().code();
    assert_eq!(code, "2.04", "while the last report hangs");
    drop(stand);
}

/// How many devices a gateway speaks for in one go.
const MANY: usize = 250;

/// What comes within a short time is told in few requests, each of a hundred devices at most, and of each device the latest only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_many_devices_are_told_together() {
    let stand = stand().await;
    let _application = application(&stand, "T", Behaviour::Accept).await;
    stand.sandbox().world().change(|world| {
        let tenant = world.tenants.get_mut("T").unwrap();
        for number in 0..MANY {
            let device = sandbox::world::Device::default()
                .with_via("gw")
                .with_via("gw2");
            tenant.devices.insert(format!("many-{number}"), device);
        }
    });
    let mut asked = stand.sandbox().services().asked();
    let mut gateway = device(&stand, "gw").await;
    for number in 0..MANY {
        let request = CoapRequest::put(&format!("t//many-{number}")).body(0, "x");
        let id = u16::try_from(number).unwrap();
        let message = request.non_confirmable().encode(id, b"many");
        gateway.send_raw(&message).await.unwrap();
        // A peer may have so many requests under way, and no more.
        if number % 32 == 31 {
            for _ in 0..32 {
                assert!(gateway.receive(SOON).await.unwrap().is_some());
            }
        }
    }
    let (mut told, mut requests) = (BTreeMap::new(), 0);
    while told.len() < MANY {
        let report = asked_for(&mut asked, Operation::LastKnownGateway).await;
        requests += 1;
        let reports: BTreeMap<String, String> = match report.text("device_id") {
            Some(device) => [(
                device.to_owned(),
                report.text("gateway_id").unwrap().to_owned(),
            )]
            .into(),
            None => serde_json::from_slice(&report.body).unwrap(),
        };
        assert!(reports.len() <= 100, "{} in one request", reports.len());
        for (device, gateway) in reports {
            assert_eq!(gateway, "gw");
            assert_eq!(told.insert(device, gateway), None, "told twice");
        }
    }
    assert!(requests < MANY / 10, "{requests} requests");
    stand.stop().await;
}

/// Where two gateways wait, a command goes to the one that the device was heard of last; when that one waits no longer, to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_to_the_gateway_that_was_heard_last() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let mut gateways = [device(&stand, "gw").await, device(&stand, "gw2").await];
    // The last known gateway is not the first in the device's list, so that it is not by chance that it is chosen.
    for (id, last) in [("both", "gw2"), ("both-2", "gw")] {
        let [other, known] = &mut gateways;
        let upload = CoapRequest::put(&format!("t//{id}")).body(0, "x");
        assert_eq!(known.request(&upload, SOON).await.unwrap().code(), "2.04");
        assert!(application.receive(SOON).await.is_some());
        let report = asked_for(&mut asked, Operation::LastKnownGateway).await;
        let told = (report.text("device_id"), report.text("gateway_id"));
        assert_eq!(told, (Some(id), Some(last)));

        let (known, other, outcomes) = tokio::join!(wait(known), wait(other), async {
            for _ in 0..2 {
                assert!(application.receive(SOON).await.is_some());
            }
            // A command is settled after its device's farewell at the router.
            let first = give(&application, id, "first").await;
            [first, give(&application, id, "second").await]
        });
        assert_eq!(
            outcomes,
            [Some(Outcome::Accepted), Some(Outcome::Accepted)],
            "{id}"
        );
        for (response, body) in [(known, "first"), (other, "second")] {
            assert_eq!(told_and_whom(&response), (body, vec!["c", "", id]), "{id}");
        }
        gateways.reverse();
    }
    stand.stop().await;
}

async fn wait(gateway: &mut Device) -> CoapResponse {
    let waiting = CoapRequest::post("e").query("empty").query("hono-ttd=60");
    gateway.request(&waiting, SOON).await.unwrap()
}

/// The body, and the segments of Location-Path.
fn told_and_whom(response: &CoapResponse) -> (&str, Vec<&str>) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    let path = values(response, LOCATION_PATH).into_iter().map(text);
    (text(&response.payload), path.collect())
}

/// Reports go out so long after the first of them (spec: registry-apis A.6).
const COLLECTED_WITHIN: Duration = Duration::from_millis(400);
