//! What probes are told while the adapter ends (spec: metrics-health §3).

use std::time::Duration;

use acceptance::stand::{Stand, page};
use sandbox::{device::CoapRequest, northbound::Behaviour};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::scene::{SOON, application, device, world};

/// As long as requests are being finished, no new device is to be sent here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_is_down_from_the_first_moment_of_ending() {
    let settings = [("HONO_MESSAGING_SENDMESSAGETIMEOUT", "3000")];
    let stand = Stand::start(world(), &settings).await.unwrap();
    let mut application = application(&stand, "T", Behaviour::Silent).await;
    let mut device = device(&stand, "sensor").await;
    let health = stand.app().health_address();
    let asked = tokio::spawn(async move {
        let request = CoapRequest::post("e").body(0, "x");
        device.request(&request, SOON).await.unwrap().code()
    });
    // It is in progress, and nobody will settle it.
    application.receive(SOON).await.unwrap();
    let ending = tokio::spawn(stand.stop());
    let deadline = Instant::now() + SOON;
    let body = loop {
        let (status, body) = page(health, "/readiness").await.unwrap();
        if status == 503 {
            break body;
        }
        assert!(Instant::now() < deadline, "{status}: {body}");
        sleep(Duration::from_millis(5)).await;
    };
    let body: Value = serde_json::from_str(&body).unwrap();
    let deployment = &body["checks"][0];
    assert_eq!(deployment["name"], "Vert.x deployment");
    assert_eq!(deployment["status"], "DOWN");
    assert_eq!(deployment["data"]["coaps"], "draining");
    assert_eq!(asked.await.unwrap(), "5.03");
    ending.await.unwrap();
}
