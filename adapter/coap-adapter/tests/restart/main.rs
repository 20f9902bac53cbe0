//! The built binary ends and begins again while devices have sessions with it: by SIGTERM, with sessions kept, and by SIGKILL.
//!
//! `RESTART_SESSIONS` in the environment tells how many sessions there are under load; the figures are printed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "figures are for people")]

mod adapter;
mod device;
mod load;

use std::time::Duration;

use sandbox::{
    Sandbox, SandboxConfig,
    northbound::{Application, Behaviour},
    world::{Device as Registered, Tenant, World},
};

use self::adapter::{Place, Signal};
use self::device::{Answer, Device, Ids};

/// How long anything may take that should come soon; the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_after_sigterm_and_a_duplicate_stays_one() {
    let scene = Scene::start("kept", 2).await;
    let mut application = scene.application().await;
    let mut adapter = scene.place.start().await;
    let mut devices = [
        Device::connect(&scene.place, 0, Ids::None).await,
        Device::connect(&scene.place, 1, Ids::Wanted).await,
    ];
    let mut answered = Vec::new();
    for device in &mut devices {
        let event = device.event(b"before");
        assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
        application.receive(SOON).await.unwrap();
        answered.push(event);
    }
    for round in 0..2 {
        adapter.end(Signal::Terminate).await;
        assert!(scene.place.sessions_are_kept());
        adapter = scene.place.start().await;
        assert!(!scene.place.sessions_are_kept(), "loaded once only");
        devices[1].move_elsewhere().await;
        for (device, before) in devices.iter_mut().zip(&answered) {
            // As if the answer had been lost.
            assert_eq!(device.ask(before, SOON).await, Answer::Changed);
            let event = device.event(format!("after {round}").as_bytes());
            assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
            let received = application.receive(SOON).await.unwrap();
            assert_eq!(received.payload, format!("after {round}").into_bytes());
        }
        assert_eq!(adapter.metric("handshakes_established_total").await, 0);
        assert_eq!(adapter.metric("sessions").await, 2);
    }
    adapter.end(Signal::Terminate).await;
    scene.stop().await;
}

/// Each process has another number of shards; nobody has to shake hands again, wherever the kernel takes its records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_with_another_number_of_shards() {
    let scene = Scene::start("shards", 12).await;
    let mut application = scene.application().await;
    let mut adapter = scene.place.start_with_shards(3).await;
    let mut devices = Vec::new();
    for number in 0..12 {
        let ids = [Ids::None, Ids::Wanted][number % 2];
        devices.push((ids, Device::connect(&scene.place, number, ids).await));
    }
    for shards in [3, 2, 4, 1] {
        adapter.end(Signal::Terminate).await;
        adapter = scene.place.start_with_shards(shards).await;
        for (number, (ids, device)) in devices.iter_mut().enumerate() {
            if *ids == Ids::Wanted {
                device.move_elsewhere().await;
            }
            let payload = format!("{number} to one of {shards}");
            let event = device.event(payload.as_bytes());
            assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
            let received = application.receive(SOON).await.unwrap();
            assert_eq!(received.payload, payload.into_bytes());
        }
        assert_eq!(adapter.metric("handshakes_started_total").await, 0);
        assert_eq!(adapter.metric("sessions").await, 12);
        assert_eq!(adapter.metric("datagrams_not_passed_on_total").await, 0);
    }
    adapter.end(Signal::Terminate).await;
    scene.stop().await;
}

/// It goes to and fro until the kernel has taken it to the other shard now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_an_id_that_moves_to_the_socket_of_another_shard_is_served() {
    let scene = Scene::start("moving", 1).await;
    let mut application = scene.application().await;
    let adapter = scene.place.start_with_shards(2).await;
    let mut device = Device::connect(&scene.place, 0, Ids::Wanted).await;
    for _ in 0..20 {
        for _ in 0..20 {
            device.move_elsewhere().await;
            let event = device.event(b"from elsewhere");
            assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
            application.receive(SOON).await.unwrap();
        }
        if adapter.metric("datagrams_passed_on_total").await > 0 {
            break;
        }
    }
    assert!(adapter.metric("datagrams_passed_on_total").await > 0);
    assert_eq!(adapter.metric("handshakes_started_total").await, 1);
    adapter.end(Signal::Kill).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_old_sessions_are_silent_and_devices_begin_anew() {
    let scene = Scene::start("killed", 1).await;
    let mut application = scene.application().await;
    let adapter = scene.place.start().await;
    let mut device = Device::connect(&scene.place, 0, Ids::Wanted).await;
    let event = device.event(b"before");
    assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
    // What was kept once must not come back after the process that took it is killed.
    adapter.end(Signal::Terminate).await;
    let adapter = scene.place.start().await;
    adapter.end(Signal::Kill).await;
    assert!(!scene.place.sessions_are_kept());
    let adapter = scene.place.start().await;
    let event = device.event(b"lost");
    let silence = device.ask(&event, Duration::from_secs(1)).await;
    assert_eq!(silence, Answer::None);
    let mut device = Device::connect(&scene.place, 0, Ids::Wanted).await;
    let event = device.event(b"after");
    assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
    for payload in [b"before".as_slice(), b"after"] {
        let received = application.receive(SOON).await.unwrap();
        assert_eq!(received.payload, payload);
    }
    adapter.end(Signal::Kill).await;
    scene.stop().await;
}

/// Two processes need nothing in common for it but the file with the keys of tickets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_a_device_comes_back_by_its_ticket() {
    let scene = Scene::start("ticket", 1).await;
    let mut application = scene.application().await;
    let adapter = scene.place.start().await;
    let device = Device::connect(&scene.place, 0, Ids::Wanted).await;
    adapter.end(Signal::Kill).await;
    let adapter = scene.place.start().await;
    let mut device = device.resume(&scene.place, 0).await;
    let event = device.event(b"back");
    assert_eq!(device.ask(&event, SOON).await, Answer::Changed);
    assert_eq!(application.receive(SOON).await.unwrap().payload, b"back");
    assert_eq!(adapter.metric("resumptions_established_total").await, 1);
    adapter.end(Signal::Kill).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_its_credentials_meanwhile_is_shown_the_door() {
    let scene = Scene::start("revoked", 2).await;
    let adapter = scene.place.start().await;
    let mut devices = [
        Device::connect(&scene.place, 0, Ids::None).await,
        Device::connect(&scene.place, 1, Ids::Wanted).await,
    ];
    adapter.end(Signal::Terminate).await;
    scene.sandbox.world().remove_device("T", "d0");
    let mut application = scene.application().await;
    let adapter = scene.place.start().await;
    let event = devices[0].event(b"from nobody");
    assert_eq!(devices[0].ask(&event, SOON).await, Answer::SessionClosed);
    let event = devices[1].event(b"from somebody");
    assert_eq!(devices[1].ask(&event, SOON).await, Answer::Changed);
    let received = application.receive(SOON).await.unwrap();
    assert_eq!(received.payload, b"from somebody");
    adapter.end(Signal::Terminate).await;
    scene.stop().await;
}

/// The world round the adapter, and where the adapter is.
struct Scene {
    sandbox: Sandbox,
    place: Place,
}

impl Scene {
    /// With so many devices `d0`, `d1`, … of tenant `T`.
    async fn start(name: &str, devices: usize) -> Self {
        let mut tenant = Tenant::from_json(serde_json::json!({}));
        for number in 0..devices {
            let device = Registered::default().with_psk(format!("a{number}"), "k");
            tenant = tenant.with_device(format!("d{number}"), device);
        }
        let mut world = World::empty();
        world.tenants.insert("T".to_owned(), tenant);
        let anywhere = ([127, 0, 0, 1], 0).into();
        let sandbox = Sandbox::start(SandboxConfig::new(anywhere, world));
        let sandbox = sandbox.await.unwrap();
        let place = Place::new(name, sandbox.amqp_address());
        Self { sandbox, place }
    }

    async fn application(&self) -> Application {
        let peer = self.sandbox.amqp_address();
        let attached = Application::attach(peer, "T", &[], Behaviour::Accept);
        attached.await.unwrap()
    }

    async fn stop(self) {
        self.sandbox.stop().await;
    }
}
