//! The usual cast: an adapter in its sandbox, devices that talk to it, an application that listens.

use std::{path::Path, time::Duration};

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, CoapResponse, Device},
    northbound::{Application, Behaviour, Body, Message, Outcome, command},
    services::{Asked, Operation},
    world::World,
};
use tokio::{sync::broadcast::Receiver, time::timeout};

/// How long anything may take that should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long to watch that nothing comes.
pub(crate) const A_WHILE: Duration = Duration::from_millis(300);

/// Between two looks at what is to change.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Tenants that may use the adapter, and tenants that may not.
const WORLD: &str = "
tenants:
  T:
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k }] }
      off: { enabled: false, credentials: [{ type: psk, auth-id: off, key: k }] }
      gw: { credentials: [{ type: psk, auth-id: gw, key: k }] }
      behind: { via: [gw] }
      gw2: { credentials: [{ type: psk, auth-id: gw2, key: k }] }
      both: { via: [gw, gw2], credentials: [{ type: psk, auth-id: both, key: k }] }
      both-2: { via: [gw2, gw] }
      gw-off: { enabled: false, credentials: [{ type: psk, auth-id: gw-off, key: k }] }
      behind-off: { via: [gw-off] }
      disabled-key: { credentials: [{ type: psk, auth-id: disabled, key: k, enabled: false }] }
  OTHER:
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: other }] }
  STRICT:
    adapters: [{ type: hono-coap, enabled: true, device-authentication-required: true }]
    devices: { d: {} }
  OFF:
    enabled: false
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k }] }
  NO-COAP:
    adapters: [{ type: hono-http, enabled: true }]
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k }] }
";

pub(crate) fn world() -> World {
    World::from_yaml("scene", WORLD).unwrap()
}

pub(crate) async fn stand() -> Stand {
    Stand::start(world(), &[]).await.unwrap()
}

/// The folder with all packages.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Listens to the telemetry and the events of a tenant.
pub(crate) async fn application(stand: &Stand, tenant: &str, behaviour: Behaviour) -> Application {
    Application::attach(stand.amqp(), tenant, &[], behaviour)
        .await
        .unwrap()
}

/// A device of tenant `T` in a DTLS session.
pub(crate) async fn device(stand: &Stand, auth_id: &str) -> Device {
    session(stand, &format!("{auth_id}@T")).await
}

/// A DTLS session under any identity with the usual key.
pub(crate) async fn session(stand: &Stand, identity: &str) -> Device {
    Device::connect(stand.coaps(), identity, b"k", SOON)
        .await
        .unwrap()
}

/// A device on the port without security, whose address is proved by the Echo option (RFC 9175), so
/// that it gets answers as they are.
pub(crate) async fn plain(stand: &Stand) -> Device {
    let mut device = unproved(stand).await;
    let links = || CoapRequest::new(1, ".well-known/core");
    let refusal = raw_answer(&mut device, &links().encode(0x3ff0, &[])).await;
    // A header of 4 bytes, and an option with 2 bytes before its value of 8.
    let proof = links().option(ECHO, &refusal[6..14]);
    let proved = raw_answer(&mut device, &proof.encode(0x3ff1, &[])).await;
    assert!(proved.len() > 3 * refusal.len());
    device
}

/// A device on the port without security whose address is not proved.
pub(crate) async fn unproved(stand: &Stand) -> Device {
    Device::plain(stand.coap()).await.unwrap()
}

async fn raw_answer(device: &mut Device, request: &[u8]) -> Vec<u8> {
    device.send_raw(request).await.unwrap();
    device.receive(SOON).await.unwrap().unwrap()
}

/// Waits until a service is asked for this, and tells what was asked.
pub(crate) async fn asked_for(asked: &mut Receiver<Asked>, operation: Operation) -> Asked {
    let wanted = async {
        loop {
            let asked = asked.recv().await.unwrap();
            if asked.operation == operation {
                return asked;
            }
        }
    };
    timeout(SOON, wanted).await.unwrap()
}

/// What has been asked for of this kind so far.
pub(crate) fn already_asked(asked: &mut Receiver<Asked>, operation: Operation) -> Vec<Asked> {
    let all = std::iter::from_fn(|| asked.try_recv().ok());
    all.filter(|it| it.operation == operation).collect()
}

/// Sends a one-way command with this body, and tells what became of it.
pub(crate) async fn give(
    application: &Application,
    device: &str,
    body: impl Into<Vec<u8>>,
) -> Option<Outcome> {
    let order = Message {
        body: Body::Data(body.into()),
        ..command("T", device, "go")
    };
    application.send_command("T", &order, SOON).await.unwrap()
}

/// Code and text of an answer.
pub(crate) fn told(response: &CoapResponse) -> (String, String) {
    (
        response.code(),
        String::from_utf8_lossy(&response.payload).into_owned(),
    )
}

/// The values of an option.
pub(crate) fn values(response: &CoapResponse, number: u16) -> Vec<&[u8]> {
    let matching = response.options.iter().filter(|(it, _)| *it == number);
    matching.map(|(_, value)| value.as_slice()).collect()
}

/// Telemetry that is served as ever.
pub(crate) async fn is_served(device: &mut Device, application: &mut Application, body: &str) {
    let response = device
        .request(&CoapRequest::post("t").body(0, body), SOON)
        .await
        .unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    assert_eq!(
        application.receive(SOON).await.unwrap().payload,
        body.as_bytes()
    );
}

/// RFC 7252 §5.10.7.
pub(crate) const LOCATION_PATH: u16 = 8;
/// RFC 7252 §5.10.7.
pub(crate) const LOCATION_QUERY: u16 = 20;
/// RFC 7252 §5.10.
pub(crate) const CONTENT_FORMAT: u16 = 12;
/// RFC 7252 §5.10.5.
pub(crate) const MAX_AGE: u16 = 14;
/// RFC 9175 §2.2.
pub(crate) const ECHO: u16 = 252;
/// The option with the adapter's time (spec: coap-adapter §3).
pub(crate) const TIME: u16 = 65_000;
