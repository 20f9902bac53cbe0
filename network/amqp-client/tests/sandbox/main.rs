//! The client against the sandbox's AMQP network, over TCP.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod sending;

mod receiving;

mod connections;

use std::{net::SocketAddr, time::Duration};

use amqp_client::{Connection, ConnectionConfig, Message, Properties};
use sandbox::{
    Sandbox, SandboxConfig,
    northbound::{Application, Behaviour},
};

async fn sandbox() -> Sandbox {
    Sandbox::start(SandboxConfig::default()).await.unwrap()
}

fn config(peer: SocketAddr) -> ConnectionConfig {
    ConnectionConfig::new(peer.ip().to_string(), peer.port())
}

async fn connect(peer: SocketAddr) -> Connection {
    up(Connection::start("Test", config(peer)).unwrap()).await
}

async fn up(connection: Connection) -> Connection {
    assert!(connection.connected(PATIENCE).await, "{connection:?}");
    connection
}

async fn application(sandbox: &Sandbox, behaviour: Behaviour) -> Application {
    Application::attach(sandbox.amqp_address(), TENANT, &[], behaviour)
        .await
        .unwrap()
}

fn message(payload: &[u8]) -> Message {
    Message {
        properties: Properties {
            to: Some(TELEMETRY.to_owned()),
            ..Properties::default()
        },
        ..Message::data(payload)
    }
}

const TENANT: &str = "DEFAULT_TENANT";
const TELEMETRY: &str = "telemetry/DEFAULT_TENANT";
const PATIENCE: Duration = Duration::from_secs(10);
