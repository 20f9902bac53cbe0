//! One device, tenant or address takes nothing that others need, and the port without security
//! multiplies no bytes.

use std::time::Duration;

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, Device},
    northbound::Behaviour,
};
use tokio::time::sleep;

use crate::scene::{
    ECHO, SOON, application, device, is_served, session, stand, told, unproved, values, world,
};

/// The smallest memory: 64 requests that wait, 512 that are remembered in all.
const SMALL: [(&str, &str); 3] = [
    ("HONO_APP_MAXMEMORY", "50331648"),
    ("HONO_COAP_AUTHENTICATIONREQUIRED", "false"),
    ("HONO_COAP_SHARDS", "1"),
];

const WAITS_OF_A_SESSION: u16 = 60;

async fn small_stand() -> Stand {
    Stand::start(world(), &SMALL).await.unwrap()
}

/// A device opened sessions, waited for commands in each and acknowledged no response: every new
/// request of every other device of the shard was ignored for a minute or more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_that_waits_in_many_sessions_keeps_no_other_from_being_served() {
    let stand = small_stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut same_tenant = device(&stand, "gw").await;
    let mut other_tenant = Device::connect(stand.coaps(), "sensor@OTHER", b"other", SOON)
        .await
        .unwrap();
    let mut attackers = Vec::new();
    for _ in 0..20 {
        let mut attacker = session(&stand, "sensor@T").await;
        for id in 0..WAITS_OF_A_SESSION {
            let wait = CoapRequest::post("t").query("hono-ttd=2").query("empty");
            attacker.send_raw(&wait.encode(id, &[])).await.unwrap();
        }
        attackers.push(attacker);
    }
    // While they wait, when they are answered, and while the answers are sent again.
    for round in 0..4 {
        while let Some(message) = application.receive(Duration::from_millis(100)).await {
            assert_ne!(message.payload, b"still served");
        }
        is_served(&mut same_tenant, &mut application, "still served").await;
        let request = CoapRequest::post("t").body(0, "x");
        let response = other_tenant.request(&request, SOON).await.unwrap();
        // Nobody listens there; it is refused for that and nothing else.
        let expected = ("5.03".to_owned(), "no consumer available".to_owned());
        assert_eq!(told(&response), expected, "{round}");
        sleep(Duration::from_secs(1)).await;
    }
    drop(attackers);
    stand.stop().await;
}

/// A device of the same tenant that asks to wait gets its wait, and its command, although another
/// device has taken all waits before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_can_wait_although_another_has_taken_all_waits() {
    let stand = small_stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut attackers = Vec::new();
    for _ in 0..40 {
        let mut attacker = session(&stand, "sensor@T").await;
        for id in 0..WAITS_OF_A_SESSION {
            let wait = CoapRequest::post("t").query("hono-ttd=60").query("empty");
            attacker.send_raw(&wait.encode(id, &[])).await.unwrap();
        }
        attackers.push(attacker);
    }
    while application
        .receive(Duration::from_millis(500))
        .await
        .is_some()
    {}
    let mut other = device(&stand, "gw").await;
    let wait = CoapRequest::post("e").query("hono-ttd=30").query("empty");
    let (response, outcome) = tokio::join!(other.request(&wait, SOON), async {
        assert!(application.receive(SOON).await.is_some());
        crate::scene::give(&application, "gw", "now").await
    });
    assert_eq!(outcome, Some(sandbox::northbound::Outcome::Accepted));
    let expected = ("2.04".to_owned(), "now".to_owned());
    assert_eq!(told(&response.unwrap()), expected);
    drop(attackers);
    stand.stop().await;
}

/// An address that has proved nothing gets at most three times the bytes of its request, whatever it
/// asks for; one that sends back the Echo option gets the whole answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_without_security_multiplies_no_bytes() {
    let stand = stand().await;
    let get = |path| CoapRequest::new(1, path);
    let requests = [
        get(".well-known/core"),
        get(".well-known/core").non_confirmable(),
        CoapRequest::post("t"),
        CoapRequest::put("t"),
        get("x").option(9, &[]),
        get("x").option(65_001, &[]),
        CoapRequest::put("t/T/D"),
        CoapRequest::post("cr").non_confirmable(),
        CoapRequest::put("cr/T/D"),
        CoapRequest::put("e/T/D").non_confirmable(),
        CoapRequest::put("t").option(27, &[0x10]),
        CoapRequest::post("t").option(23, &[0x10]),
        CoapRequest::put("t").option(23, &[7]),
    ];
    for request in requests {
        let mut stranger = unproved(&stand).await;
        let datagram = request.encode(7, &[]);
        stranger.send_raw(&datagram).await.unwrap();
        let mut bytes = 0;
        while let Some(answer) = stranger.receive(Duration::from_millis(200)).await.unwrap() {
            bytes += answer.len();
        }
        let most = 3 * datagram.len();
        assert!(bytes <= most, "{bytes} for {}: {request:?}", datagram.len());
    }
    let mut honest = unproved(&stand).await;
    honest
        .send_raw(&get(".well-known/core").encode(1, &[]))
        .await
        .unwrap();
    let refusal = honest.receive(SOON).await.unwrap().unwrap();
    // 4.01, and an option with the number 252 and 8 bytes: delta 13 + 239.
    assert_eq!((refusal[1], &refusal[4..6]), (0x81, &[0xd8, 0xef][..]));
    let proof = get(".well-known/core").option(ECHO, &refusal[6..14]);
    let response = honest.request(&proof, SOON).await.unwrap();
    assert_eq!(response.code(), "2.05");
    assert_eq!(values(&response, 12), [[40]]);
    stand.stop().await;
}
