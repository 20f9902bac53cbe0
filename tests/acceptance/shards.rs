//! Several tasks serve each port, every one with a socket of its own: devices and operators notice nothing of it.

use acceptance::stand::{self, Stand};
use adapter::app::{App, StartError};
use sandbox::{device::CoapRequest, northbound::Behaviour};

use crate::{
    metrics::Metrics,
    scene::{POLL, SOON, application, is_served, session, told, unproved, world},
};

const FOUR: (&str, &str) = ("HONO_COAP_SHARDS", "4");

async fn sessions(stand: &Stand, expected: f64) {
    let mut last = None;
    let seen = async {
        while last != Some(expected) {
            tokio::time::sleep(POLL).await;
            let metrics = Metrics::of(stand).await;
            last = Some(metrics.sum("coap_adapter_dtls_sessions", &[]));
        }
    };
    let seen = tokio::time::timeout(SOON, seen).await;
    assert!(seen.is_ok(), "{last:?} sessions in place of {expected}");
}

/// Twenty of them land on all shards with near certainty; each is served, and the page of metrics has them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_on_all_shards_are_served_and_counted_together() {
    let stand = Stand::start(world(), &[FOUR]).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let (mut secure, mut insecure) = (Vec::new(), Vec::new());
    for number in 0..20 {
        let mut device = session(&stand, "sensor@T").await;
        is_served(&mut device, &mut application, &format!("secure {number}")).await;
        secure.push(device);
        let mut device = unproved(&stand).await;
        let request = CoapRequest::put("t/T/d").body(0, b"x");
        let response = device.request(&request, SOON).await.unwrap();
        assert_eq!(told(&response).0, "2.04", "plain {number}");
        assert!(application.receive(SOON).await.is_some());
        insecure.push(device);
    }
    sessions(&stand, 20.0).await;
    let metrics = Metrics::of(&stand).await;
    for (name, labels, expected) in [
        (
            "coap_adapter_handshakes_total",
            &[("result", "established")][..],
            20.0,
        ),
        (
            "coap_adapter_coap_requests_total",
            &[("transport", "dtls")],
            20.0,
        ),
        (
            "coap_adapter_coap_requests_total",
            &[("transport", "udp")],
            20.0,
        ),
        (
            "coap_adapter_table_entries",
            &[("table", "dtls_sessions")],
            20.0,
        ),
    ] {
        let mut sum = metrics.sum(name, labels);
        for _ in 0..200 {
            if sum >= expected {
                break;
            }
            tokio::time::sleep(POLL).await;
            sum = Metrics::of(&stand).await.sum(name, labels);
        }
        assert!((sum - expected).abs() < 0.5, "{name} {labels:?}: {sum}");
    }
    // Whichever shard has them: the registry's word closes all.
    stand.sandbox().world().remove_device("T", "d");
    sessions(&stand, 0.0).await;
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_each_may_have_one_session_a_new_one_closes_the_older_on_any_shard() {
    let settings = [FOUR, ("HONO_COAP_DTLSONESESSIONEACH", "true")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut devices = Vec::new();
    for number in 0..12 {
        let mut device = session(&stand, "sensor@T").await;
        is_served(&mut device, &mut application, &number.to_string()).await;
        devices.push(device);
    }
    sessions(&stand, 1.0).await;
    let newest = devices.last_mut().unwrap();
    is_served(newest, &mut application, "the newest").await;
    stand.stop().await;
}

/// All places are the port's, not a shard's. When they are taken, the device that has most sessions
/// loses its oldest one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_connections_as_are_allowed_find_a_place_on_any_shard() {
    let settings = [FOUR, ("HONO_COAP_MAXCONNECTIONS", "10")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut devices = Vec::new();
    for _ in 0..10 {
        devices.push(session(&stand, "sensor@T").await);
    }
    devices.push(session(&stand, "sensor@T").await);
    let metrics = Metrics::of(&stand).await;
    assert!(metrics.sum("coap_adapter_dtls_sessions", &[]) < 10.5);
    sessions(&stand, 10.0).await;
    stand.stop().await;
}

/// Sockets that may be shared are not shared with another adapter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_adapter_does_not_get_the_port() {
    let stand = Stand::start(world(), &[FOUR]).await.unwrap();
    let taken = stand.coaps();
    let port = taken.port().to_string();
    for shards in ["1", "4"] {
        let settings = [
            ("HONO_COAP_SHARDS", shards),
            ("HONO_COAP_PORT", &port),
            ("HONO_COAP_BINDADDRESS", "127.0.0.1"),
        ];
        let config = stand::config(stand.amqp(), &settings).unwrap();
        let refused = App::start(config).await.unwrap_err();
        assert!(
            matches!(refused, StartError::PortBusy { address } if address == taken),
            "{refused:?}"
        );
    }
    stand.stop().await;
}
