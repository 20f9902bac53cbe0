//! When the AMQP network goes away, devices are told to come back, the adapter finds it again by itself, and nothing that was
//! answered 2.04 is lost.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use acceptance::stand::{Stand, status};
use sandbox::{
    device::{CoapRequest, Device, Error},
    northbound::{Application, Behaviour},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::scene::{MAX_AGE, SOON, application, device, is_served, stand, told, values};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_told_to_come_back_and_is_served_when_it_does() {
    let mut stand = stand().await;
    let mut before = application(&stand, "T", Behaviour::Accept).await;
    let mut device = device(&stand, "sensor").await;
    is_served(&mut device, &mut before, "before").await;
    stand.cut_network().await;
    for resource in ["t", "e"] {
        let response = device
            .request(&CoapRequest::post(resource).body(0, "x"), SOON)
            .await
            .unwrap();
        assert_eq!(response.code(), "5.03", "{resource}: {:?}", told(&response));
        assert_eq!(values(&response, MAX_AGE), [[2]], "{resource}");
    }
    wait_for_readiness(&stand, 503).await;
    stand.restore_network().await.unwrap();
    let mut after = application(&stand, "T", Behaviour::Accept).await;
    wait_for_readiness(&stand, 200).await;
    is_served(&mut device, &mut after, "after").await;
    stand.stop().await;
}

async fn wait_for_readiness(stand: &Stand, wanted: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = status(stand.app().health_address(), "/readiness")
            .await
            .unwrap();
        if found == wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "readiness is {found} instead of {wanted}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// Devices that send events all the time, while the network goes and comes back.
struct Stream {
    accepted: Mutex<BTreeSet<String>>,
    refused: AtomicUsize,
}

const DEVICES: usize = 4;
const EVENTS_EACH: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_that_was_answered_has_arrived() {
    let mut stand = stand().await;
    let before = application(&stand, "T", Behaviour::Accept).await;
    let stream = Arc::new(Stream {
        accepted: Mutex::default(),
        refused: AtomicUsize::new(0),
    });
    let mut devices = JoinSet::new();
    for number in 0..DEVICES {
        devices.spawn(send_events(stand.coaps(), number, Arc::clone(&stream)));
    }
    while stream.accepted.lock().unwrap().len() < DEVICES * EVENTS_EACH / 3 {
        assert!(!devices.is_empty());
        sleep(Duration::from_millis(2)).await;
    }
    stand.cut_network().await;
    while stream.refused.load(Relaxed) < DEVICES {
        sleep(Duration::from_millis(2)).await;
    }
    stand.restore_network().await.unwrap();
    let after = application(&stand, "T", Behaviour::Accept).await;
    while let Some(sent) = devices.join_next().await {
        sent.unwrap();
    }
    let mut arrived = BTreeSet::new();
    for mut application in [before, after] {
        collect(&mut application, &mut arrived).await;
    }
    let accepted = stream.accepted.lock().unwrap().clone();
    assert_eq!(accepted.len(), DEVICES * EVENTS_EACH);
    let lost: Vec<_> = accepted.difference(&arrived).collect();
    assert!(lost.is_empty(), "answered 2.04 and not received: {lost:?}");
    stand.stop().await;
}

/// Sends each event until it is answered 2.04.
async fn send_events(server: SocketAddr, number: usize, stream: Arc<Stream>) {
    let mut device = Device::connect(server, "sensor@T", b"k", SOON)
        .await
        .unwrap();
    for event in 0..EVENTS_EACH {
        let body = format!("{number}-{event}");
        let request = CoapRequest::post("e").body(0, body.as_str());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match device.request(&request, SOON).await {
                Ok(response) if response.code() == "2.04" => break,
                Ok(response) => assert_eq!(response.code(), "5.03", "{:?}", told(&response)),
                Err(error) => assert!(matches!(error, Error::Timeout(_)), "{error}"),
            }
            stream.refused.fetch_add(1, Relaxed);
            assert!(Instant::now() < deadline, "{body} is not taken");
            sleep(Duration::from_millis(50)).await;
        }
        stream.accepted.lock().unwrap().insert(body);
    }
}

async fn collect(application: &mut Application, arrived: &mut BTreeSet<String>) {
    while let Some(received) = application.receive(Duration::from_millis(500)).await {
        arrived.insert(String::from_utf8(received.payload).unwrap());
    }
}
