//! What one device sends to one endpoint reaches the application in the order in which its datagrams arrived.

use std::{collections::BTreeMap, time::Duration};

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, Device},
    northbound::Behaviour,
    services::{Fault, Operation},
    world::World,
};
use tokio::time::sleep;

use crate::scene::{SOON, application, plain};

const DEVICES: usize = 8;
/// Messages that a device sends back to back, and how often it does.
const BURST: u16 = 5;
const BURSTS: u16 = 8;

/// Bursts of a device arrived in another order: each request is a task of its own, the newest one ran first, and each waited for
/// its own look-up. Here each look-up takes another time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_of_devices_arrive_in_order_while_look_ups_take_different_time() {
    let devices: String = (0..DEVICES)
        .map(|it| format!("      d{it}: {{}}\n"))
        .collect();
    let yaml = format!("tenants:\n  T:\n    devices:\n{devices}");
    let world = World::from_yaml("burst", &yaml).unwrap();
    let every_time = [("HONO_REGISTRATION_RESPONSECACHEMAXSIZE", "0")];
    let stand = Stand::start(world, &every_time).await.unwrap();
    let services = stand.sandbox().services();
    let changing = tokio::spawn(async move {
        for step in 0_u64.. {
            let late = Duration::from_millis(step.wrapping_mul(7919) % 150);
            services.fail(Operation::Assertion, Fault::Late(late));
            sleep(Duration::from_millis(1)).await;
        }
    });
    for resource in ["telemetry", "event"] {
        let mut application = application(&stand, "T", Behaviour::Accept).await;
        let mut sources = Vec::new();
        for device in 0..DEVICES {
            sources.push((format!("{resource}/T/d{device}"), plain(&stand).await));
        }
        let mut arrived = BTreeMap::<String, Vec<String>>::new();
        for burst in 0..BURSTS {
            for message in 0..BURST {
                for (path, source) in &mut sources {
                    send(source, path, burst * BURST + message).await;
                }
            }
            for _ in 0..DEVICES * usize::from(BURST) {
                let received = application.receive(SOON).await.unwrap();
                let device = received.application_property("device_id", "string");
                let device = device.as_str().unwrap().to_owned();
                let body = String::from_utf8(received.payload).unwrap();
                arrived.entry(device).or_default().push(body);
            }
        }
        for (device, bodies) in arrived {
            assert!(bodies.is_sorted(), "{resource} of {device}: {bodies:?}");
            assert_eq!(bodies.len(), usize::from(BURST * BURSTS));
        }
    }
    changing.abort();
    stand.stop().await;
}

/// Confirmable and not in turn; events are always confirmable.
async fn send(source: &mut Device, path: &str, message: u16) {
    let request = CoapRequest::put(path).body(0, format!("{message:03}"));
    let request = match message % 2 {
        1 if path.starts_with("telemetry") => request.non_confirmable(),
        _ => request,
    };
    let bytes = request.encode(message, &message.to_be_bytes());
    source.send_raw(&bytes).await.unwrap();
}
