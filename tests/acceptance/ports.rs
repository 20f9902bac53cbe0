//! Which ports there are, and what can be had at each (spec: coap-adapter §1, §2).

use std::net::UdpSocket;

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, Device},
    northbound::Behaviour,
};

use crate::scene::{
    A_WHILE, CONTENT_FORMAT, SOON, application, device, is_served, plain, stand, told, values,
    world,
};

/// Where every device has to say who it is, nobody can speak without a session, even if a port for that is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_port_without_security_if_authentication_is_required() {
    let free = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let port = address.port().to_string();
    let settings = [
        ("HONO_COAP_AUTHENTICATIONREQUIRED", "true"),
        ("HONO_COAP_INSECUREPORTENABLED", "true"),
        ("HONO_COAP_INSECUREPORT", &port),
    ];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    assert_eq!(stand.app().coap_address(), None);
    // It is ours to take.
    drop(UdpSocket::bind(address).unwrap());
    let mut known = device(&stand, "sensor").await;
    is_served(&mut known, &mut application, "by the other port").await;
    stand.stop().await;
}

/// CoAP without a session is not answered at the secure port: neither discovery nor a message, wherever it says it is from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secure_port_tells_nothing_before_a_handshake() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut stranger = Device::plain(stand.coaps()).await.unwrap();
    let discovery = CoapRequest::new(1, ".well-known/core");
    let put = CoapRequest::put("t/T/d").body(0, "x");
    for (id, request) in [(1, &discovery), (2, &put)] {
        stranger.send_raw(&request.encode(id, b"t")).await.unwrap();
        assert_eq!(stranger.receive(A_WHILE).await.unwrap(), None);
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    let mut known = device(&stand, "sensor").await;
    let mut plain = plain(&stand).await;
    for device in [&mut known, &mut plain] {
        let response = device.request(&discovery, SOON).await.unwrap();
        let links = "</command_response>,</cr>,</e>,</event>,</t>,</telemetry>";
        assert_eq!(told(&response), ("2.05".to_owned(), links.to_owned()));
        assert_eq!(values(&response, CONTENT_FORMAT), [[40]]);
    }
    stand.stop().await;
}

/// What a tenant says about authentication is for other adapters: here the port decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_wants_authentication_is_served_without() {
    let stand = stand().await;
    let mut application = application(&stand, "STRICT", Behaviour::Accept).await;
    let response = plain(&stand)
        .await
        .request(&CoapRequest::put("t/STRICT/d").body(0, "x"), SOON)
        .await
        .unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    assert!(application.receive(SOON).await.is_some());
    stand.stop().await;
}
