//! Names of tenants that do not exist cost nobody anything: no links, no labels, no turns.

use std::time::Duration;

use acceptance::stand::{Stand, page};
use sandbox::{
    device::{CoapRequest, Device},
    northbound::Behaviour,
    services::Operation,
};
use tokio::{net::UdpSocket, task::JoinSet};

use crate::scene::{
    POLL, SOON, already_asked, application, device, is_served, plain, stand, told, world,
};

/// More than the sandbox has handles for.
const NAMES: usize = 2_300;

/// Symptom: after 2,100 names no device of a tenant without open links was served until the restart
/// (`too many links`), and real tenants counted as `UNKNOWN`. Cause: links were opened and labels
/// given before the tenant service had said that the tenant exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_served_after_thousands_of_made_up_tenants_without_security() {
    let stand = stand().await;
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    socket.connect(stand.coap()).await.unwrap();
    let mut buffer = [0; 2048];
    for number in 0..NAMES {
        let request = CoapRequest::put(&format!("t/none-{number}/d"))
            .body(0, "x")
            .non_confirmable();
        let id = u16::try_from(number).unwrap();
        socket
            .send(&request.encode(id, &id.to_be_bytes()))
            .await
            .unwrap();
        while socket.try_recv(&mut buffer).is_ok() {}
        if number % 20 == 0 {
            tokio::time::sleep(POLL / 5).await;
        }
    }
    let mut peer = plain(&stand).await;
    let last = CoapRequest::put("t/none/d").body(0, "x");
    let answer = peer.request(&last, SOON).await.unwrap();
    assert_eq!(
        told(&answer),
        ("4.04".to_owned(), "no such tenant".to_owned())
    );
    let mut application = application(&stand, "OTHER", Behaviour::Accept).await;
    let newcomer = Device::connect(stand.coaps(), "sensor@OTHER", b"other", SOON).await;
    is_served(&mut newcomer.unwrap(), &mut application, "served").await;
    let (_, page) = page(stand.app().health_address(), "/prometheus")
        .await
        .unwrap();
    assert!(!page.contains(r#"tenant="none"#), "{page}");
    assert!(page.contains(r#"tenant="OTHER""#), "{page}");
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credentials_are_asked_for_in_a_tenant_that_does_not_exist() {
    let stand = stand().await;
    let mut asked = stand.sandbox().services().asked();
    let mut handshakes = JoinSet::new();
    for number in 0..50 {
        let server = stand.coaps();
        handshakes.spawn(async move {
            let identity = match number % 5 {
                0 => "x@T/none".to_owned(),
                _ => format!("x@none-{number}"),
            };
            let patience = Duration::from_secs(1);
            Device::connect(server, &identity, b"k", patience)
                .await
                .is_ok()
        });
    }
    while let Some(proved) = handshakes.join_next().await {
        assert!(!proved.unwrap());
    }
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut sensor = device(&stand, "sensor").await;
    is_served(&mut sensor, &mut application, "served").await;
    let credentials = already_asked(&mut asked, Operation::Credentials);
    let addresses: Vec<_> = credentials.iter().map(|it| it.address.as_str()).collect();
    assert_eq!(addresses, ["credentials/T"]);
    let (_, page) = page(stand.app().health_address(), "/prometheus")
        .await
        .unwrap();
    assert!(!page.contains(r#"tenant="none"#), "{page}");
    stand.stop().await;
}

/// Symptom: a device that may not speak for another used up the other's budget, and naming devices
/// that do not exist it sent without limit. Cause: the device in the path was charged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_spends_its_own_budget_whatever_it_names() {
    let settings = [("HONO_BUDGET_DEVICE_MESSAGES", "5")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut sensor = device(&stand, "sensor").await;
    let mut codes = Vec::new();
    for number in 0..7 {
        let name = if number % 2 == 0 { "behind" } else { "none" };
        let request = CoapRequest::put(&format!("t//{name}")).body(0, "x");
        codes.push(sensor.request(&request, SOON).await.unwrap().code());
    }
    let expected = ["4.03", "4.04", "4.03", "4.04", "4.03", "4.29", "4.29"];
    assert_eq!(codes, expected);
    let mut gateway = device(&stand, "gw").await;
    for number in 0..6 {
        let request = CoapRequest::put("t//behind").body(0, "x");
        let code = gateway.request(&request, SOON).await.unwrap().code();
        assert_eq!(code, if number < 5 { "2.04" } else { "4.29" }, "{number}");
    }
    for _ in 0..5 {
        application.receive(SOON).await.unwrap();
    }
    is_served(&mut gateway, &mut application, "own").await;
    stand.stop().await;
}
