//! A sandbox, and connections to it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use amqp_client::{Connection, ConnectionConfig};
use fair_share::{Holder, HolderHasher};
use sandbox::{Sandbox, SandboxConfig, world::World};
use tokio::time::{Instant, sleep};

/// Long enough for a busy machine; what is tested never takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const WORLD: &str = "
tenants:
  T:
    alias: other
    adapters: [{type: hono-coap, enabled: true, ext: {max-ttd: 30}}]
    trusted-ca: [{id: 1, subject-dn: 'CN=ca', public-key: AQI=}]
    devices:
      d: {via: [gw-1], viaGroups: [g], defaults: {ttl: 7}, credentials: [{auth-id: a, key: hono-secret}]}
      off: {enabled: false}
      gw-1: {}
      gw-2: {memberOf: [g]}
      gw-3: {}
  U:
    enabled: false
";

pub(crate) async fn sandbox() -> Sandbox {
    sandbox_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
}

/// The same world at a port that may not be free yet.
pub(crate) async fn sandbox_at(address: SocketAddr) -> Sandbox {
    let world = World::from_yaml("world", WORLD).expect("the world is right");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Sandbox::start(SandboxConfig::new(address, world.clone())).await {
            Ok(sandbox) => return sandbox,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn config(address: SocketAddr) -> ConnectionConfig {
    let mut config = ConnectionConfig::new(address.ip().to_string(), address.port());
    config.connect_timeout = PATIENCE;
    config.link_establishment_timeout = PATIENCE;
    config.flow_latency = PATIENCE;
    config.send_message_timeout = None;
    config.request_timeout = PATIENCE;
    config
}

pub(crate) fn connect(address: SocketAddr) -> Connection {
    Connection::start("Test", config(address)).expect("the settings are right")
}

/// Asks again until the answer is the right one.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "the right answer never came");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A peer that may be anybody.
pub(crate) fn source() -> Holder {
    HolderHasher::default().source(IpAddr::from([192, 0, 2, 1]))
}
