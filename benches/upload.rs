//! How long an upload takes, from the device's datagram to the answer, and how many go through at a time.
//!
//! `cargo bench -p benches --bench upload`; `-- --test` only tries whether everything works. Devices, adapter, network and
//! application share the machine and the process, over real sockets: the numbers tell of all of them together, and are good to
//! compare two states of the adapter on one machine. The benches next to each part measure its own cost.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{sync::Arc, time::Duration};

use acceptance::stand::Stand;
use divan::{Bencher, counter::ItemsCount};
use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour},
    world::World,
};
use tokio::{
    runtime::Runtime,
    task::{JoinHandle, JoinSet},
};

fn main() {
    divan::main();
}

/// One device on the port without security; the next message follows the answer.
#[divan::bench]
fn upload_telemetry_plain(bencher: Bencher<'_, '_>) {
    one_after_another(
        bencher,
        Port::Plain,
        CoapRequest::put("t/DEFAULT_TENANT/4711"),
    );
}

/// One device in a DTLS session.
#[divan::bench]
fn upload_telemetry_psk(bencher: Bencher<'_, '_>) {
    one_after_another(bencher, Port::Psk, CoapRequest::post("t"));
}

/// An event is what telemetry is, but durable.
#[divan::bench]
fn upload_event_psk(bencher: Bencher<'_, '_>) {
    one_after_another(bencher, Port::Psk, CoapRequest::post("e"));
}

/// Many devices in DTLS sessions, each sends its next message as soon as the last one is answered.
#[divan::bench(args = [16, 64], sample_count = 10, sample_size = 1)]
fn upload_telemetry_psk_together(bencher: Bencher<'_, '_>, devices: usize) {
    const EACH: usize = 50;
    let world = Arc::new(Scene::new());
    let mut sessions: Vec<Device> = (0..devices).map(|_| world.device(Port::Psk)).collect();
    let request = CoapRequest::post("t").body(50, BODY);
    bencher
        .counter(ItemsCount::new(devices * EACH))
        .bench_local(|| {
            sessions = world.runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for mut session in sessions.drain(..) {
                    let request = request.clone();
                    tasks.spawn(async move {
                        for _ in 0..EACH {
                            send(&mut session, &request).await;
                        }
                        session
                    });
                }
                tasks.join_all().await
            });
        });
}

/// A new DTLS session: cookie, key look-up at the registry, six flights.
#[divan::bench]
fn handshake_psk(bencher: Bencher<'_, '_>) {
    let world = Scene::new();
    bencher.bench_local(|| world.device(Port::Psk));
}

#[derive(Clone, Copy)]
enum Port {
    Plain,
    Psk,
}

fn one_after_another(bencher: Bencher<'_, '_>, port: Port, request: CoapRequest) {
    let world = Scene::new();
    let mut device = world.device(port);
    let request = request.body(50, BODY);
    bencher.bench_local(|| world.runtime.block_on(send(&mut device, &request)));
}

async fn send(device: &mut Device, request: &CoapRequest) {
    let response = device.request(request, SOON).await.unwrap();
    let text = String::from_utf8_lossy(&response.payload);
    assert_eq!(response.code(), "2.04", "{text}");
}

/// An adapter in its sandbox, and an application that accepts everything.
struct Scene {
    runtime: Runtime,
    stand: Stand,
    _application: JoinHandle<()>,
}

impl Scene {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (stand, application) = runtime.block_on(async {
            let stand = Stand::start(World::default(), &[]).await.unwrap();
            let attached =
                Application::attach(stand.amqp(), "DEFAULT_TENANT", &[], Behaviour::Accept);
            let mut application = attached.await.unwrap();
            let draining = tokio::spawn(async move { while application.next().await.is_some() {} });
            (stand, draining)
        });
        Self {
            runtime,
            stand,
            _application: application,
        }
    }

    fn device(&self, port: Port) -> Device {
        let connected = async {
            match port {
                Port::Plain => Device::plain(self.stand.coap()).await,
                Port::Psk => {
                    let server = self.stand.coaps();
                    Device::connect(server, "sensor1@DEFAULT_TENANT", b"hono-secret", SOON).await
                }
            }
        };
        self.runtime.block_on(connected).unwrap()
    }
}

/// A hundred bytes, as a small sensor sends them.
const BODY: &[u8; 100] = &[b'7'; 100];
const SOON: Duration = Duration::from_secs(10);
