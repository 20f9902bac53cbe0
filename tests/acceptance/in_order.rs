//! What one device sends to one endpoint reaches the application in the order in which its datagrams arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use acceptance::stand::{Stand, anywhere};
use sandbox::{
    SandboxConfig,
    device::{CoapRequest, Device},
    northbound::Behaviour,
    services::{Fault, Operation, Services},
    world::World,
};
use tokio::{task::JoinSet, time::sleep};

use crate::scene::{SOON, application, plain, session};

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
    let changing = tokio::spawn(delay_look_ups(stand.sandbox().services()));
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

/// Devices at a time, half of them in DTLS sessions.
const MANY: usize = 100;
/// The messages that a device sends back to back. The receive buffer of one socket has room for those
/// of all devices.
const BACK_TO_BACK: u16 = 4;

/// As above, with a hundred devices that do not wait for each other. Each message is answered 2.04
/// and arrives exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_hundred_devices_arrive_in_order_and_none_is_lost() {
    a_hundred_devices_send(40).await;
}

/// The full size: `cargo test --release --workspace --test acceptance a_hundred -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about a minute"]
async fn a_thousand_messages_of_each_of_a_hundred_devices_arrive_in_order() {
    a_hundred_devices_send(1000).await;
}

async fn a_hundred_devices_send(messages: u16) {
    let device = |it| {
        format!(
            "      d{it}: {{ credentials: [{{ type: psk, auth-id: d{it}, key: k }}] }}
"
        )
    };
    let devices: String = (0..MANY).map(device).collect();
    let yaml = format!(
        "tenants:
  T:
    devices:
{devices}"
    );
    let world = World::from_yaml("hundred", &yaml).unwrap();
    let mut network = SandboxConfig::new(anywhere(), world);
    // A message without credit is refused at once, as by Hono.
    network.link_credit = 2000;
    let every_time = [("HONO_REGISTRATION_RESPONSECACHEMAXSIZE", "0")];
    let stand = Stand::start_with(network, &every_time).await.unwrap();
    let changing = tokio::spawn(delay_look_ups(stand.sandbox().services()));
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut devices = JoinSet::new();
    for device in 0..MANY {
        let name = format!("d{device}");
        let source = if device % 2 == 0 {
            session(&stand, &format!("{name}@T")).await
        } else {
            plain(&stand).await
        };
        devices.spawn(send_bursts(source, format!("telemetry/T/{name}"), messages));
    }
    let mut arrived = BTreeMap::<String, Vec<u16>>::new();
    for _ in 0..MANY * usize::from(messages) {
        let Some(received) = application.receive(SOON).await else {
            break;
        };
        let device = received.application_property("device_id", "string");
        let device = device.as_str().unwrap().to_owned();
        let body = String::from_utf8(received.payload).unwrap();
        arrived
            .entry(device)
            .or_default()
            .push(body.parse().unwrap());
    }
    devices.join_all().await;
    let all: Vec<u16> = (0..messages).collect();
    assert_eq!(arrived.len(), MANY);
    for (device, bodies) in arrived {
        assert_eq!(bodies, all, "{device}");
    }
    changing.abort();
    stand.stop().await;
}

/// Sends bursts of messages, each burst when the one before is answered.
async fn send_bursts(mut device: Device, path: String, messages: u16) {
    for first in (0..messages).step_by(usize::from(BACK_TO_BACK)) {
        let burst = first..first + BACK_TO_BACK;
        for message in burst.clone() {
            send(&mut device, &path, message).await;
        }
        let mut open: BTreeSet<[u8; 2]> = burst.map(u16::to_be_bytes).collect();
        while !open.is_empty() {
            let answer = device.receive(SOON).await.unwrap();
            let answer = answer.unwrap_or_else(|| panic!("no answer to {open:?} of {path}"));
            let [kind, code, high, low, ref rest @ ..] = *answer else {
                panic!("that is no message: {answer:x?}");
            };
            if kind & 0x30 == 0 {
                device.send_raw(&[0x60, 0, high, low]).await.unwrap();
            }
            if code != 0 {
                assert_eq!(code, 0x44, "{path}: {answer:x?}");
                open.remove(&rest[..2]);
            }
        }
    }
}

/// Changes how late the answers of the registry are, many times while they are asked for.
async fn delay_look_ups(services: Services) {
    for step in 0_u64.. {
        let late = Duration::from_millis(step.wrapping_mul(7919) % 150);
        services.fail(Operation::Assertion, Fault::Late(late));
        sleep(Duration::from_millis(1)).await;
    }
}

/// Every second one is non-confirmable, but neither the first nor the last of four: its answer says
/// that the application has all of them. Events are always confirmable.
async fn send(source: &mut Device, path: &str, message: u16) {
    let request = CoapRequest::put(path).body(0, format!("{message:03}"));
    let request = match message % 4 {
        1 | 2 if path.starts_with("telemetry") => request.non_confirmable(),
        _ => request,
    };
    let bytes = request.encode(message, &message.to_be_bytes());
    source.send_raw(&bytes).await.unwrap();
}
