//! Runs the sandbox's AMQP network with its registry on 127.0.0.1:5672 and tells of every message, until it is stopped.

use std::net::{Ipv4Addr, SocketAddr};

use sandbox::{Sandbox, SandboxConfig, world::World};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .map_or(Ok(5672), |port| port.parse())?;
    let _sandbox = Sandbox::start(SandboxConfig::new(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        World::default(),
    ))
    .await?;
    std::future::pending().await
}
