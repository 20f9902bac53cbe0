//! Connections that come, go and come again.

use std::time::{Duration, Instant};

use amqp_client::{
    Connection, LinkError, Outcome, Secret, SendError, Senders, Until, UserCredentials,
};
use sandbox::{Sandbox, SandboxConfig, northbound::Behaviour, world::World};
use tokio::{net::TcpListener, task::JoinSet};

use super::{PATIENCE, TELEMETRY, application, config, connect, message, sandbox, up};

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let sandbox = sandbox().await;
    let address = sandbox.amqp_address();
    let senders = Senders::new(connect(address).await);
    let container_id = senders.connection().container_id().to_owned();
    let mut running = sandbox;
    for _ in 0..3 {
        let application = application(&running, Behaviour::Accept).await;
        let outcome = senders
            .send(TELEMETRY, &message(b"1"), Until::Settled)
            .await;
        assert_eq!(outcome, Ok(Outcome::Accepted));
        drop(application);
        running.stop().await;
        senders.connection().disconnected().await;
        let outcome = senders
            .send(TELEMETRY, &message(b"1"), Until::Settled)
            .await;
        assert_eq!(outcome, Err(SendError::Link(LinkError::NotConnected)));
        running = restart(address).await;
        assert!(senders.connection().connected(PATIENCE).await);
        assert_eq!(senders.connection().container_id(), container_id);
    }
}

/// The port may take a moment to be free again.
async fn restart(address: std::net::SocketAddr) -> Sandbox {
    let until = Instant::now() + PATIENCE;
    loop {
        match Sandbox::start(SandboxConfig::new(address, World::default())).await {
            Ok(sandbox) => return sandbox,
            Err(error) if Instant::now() > until => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A service that was back was used only after the random pause that had begun before, of up to seven seconds, and requests were
/// refused until then. Here the pause is an hour, so that only a request can end it.
#[tokio::test]
async fn a_request_brings_the_next_attempt_forward_and_is_held_until_then() {
    let sandbox = sandbox().await;
    let address = sandbox.amqp_address();
    let mut patient = config(address);
    let hour = Duration::from_secs(3600);
    (
        patient.reconnect_delay_increment,
        patient.reconnect_max_delay,
    ) = (hour, hour);
    patient.link_establishment_timeout = PATIENCE;
    let connection = up(Connection::start("Test", patient).unwrap()).await;
    sandbox.stop().await;
    connection.disconnected().await;
    let refused = connection.sender(TELEMETRY).await.map(drop);
    assert_eq!(refused, Err(LinkError::NotConnected));
    let _running = restart(address).await;
    let mut attempts = JoinSet::new();
    for _ in 0..10 {
        let connection = connection.clone();
        attempts.spawn(async move { connection.sender(TELEMETRY).await.map(drop) });
    }
    assert_eq!(attempts.join_all().await, [const { Ok(()) }; 10]);
}

/// Many messages that had been waiting for the same outage waited for an attempt of their own one after the other.
#[tokio::test]
async fn a_request_that_has_seen_an_attempt_fail_is_refused() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let asked = Instant::now();
    let mut patient = config(address);
    let hour = Duration::from_secs(3600);
    (
        patient.reconnect_delay_increment,
        patient.reconnect_max_delay,
    ) = (hour, hour);
    patient.link_establishment_timeout = hour;
    let connection = Connection::start("Test", patient).unwrap();
    for _ in 0..100 {
        let refused = connection.sender_since(TELEMETRY, asked).await.map(drop);
        assert_eq!(refused, Err(LinkError::NotConnected));
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_no_error_until_somebody_sends() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let connection = Connection::start("Test", config(nobody)).unwrap();
    assert!(!connection.is_connected());
    assert_eq!(
        connection.sender(TELEMETRY).await.unwrap_err(),
        LinkError::NotConnected
    );
    connection.close().await;
}

#[tokio::test]
async fn a_link_waits_for_the_connection_that_is_being_made() {
    let sandbox = sandbox().await;
    let connection = Connection::start("Test", config(sandbox.amqp_address())).unwrap();
    assert!(connection.sender(TELEMETRY).await.is_ok());
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(silent.local_addr().unwrap());
    config.connect_timeout = Duration::from_millis(100);
    config.link_establishment_timeout = Duration::from_millis(50);
    let connection = Connection::start("Test", config).unwrap();
    assert_eq!(
        connection.sender(TELEMETRY).await.unwrap_err(),
        LinkError::NotConnected
    );
    let mut streams = Vec::new();
    for _ in 0..3 {
        let accepted = tokio::time::timeout(PATIENCE, silent.accept()).await;
        streams.push(accepted.unwrap().unwrap());
    }
    connection.close().await;
}

#[tokio::test]
async fn a_user_is_introduced_by_plain() {
    let sandbox = sandbox().await;
    let mut config = config(sandbox.amqp_address());
    config.credentials = Some(UserCredentials {
        username: "adapter".to_owned(),
        password: Secret::new("not for the log"),
    });
    assert!(!format!("{config:?}").contains("not for the log"));
    let connection = up(Connection::start("Test", config).unwrap()).await;
    connection.close().await;
    assert!(!connection.is_connected());
}

#[tokio::test]
async fn the_last_handle_takes_the_connection_with_it() {
    let sandbox = sandbox().await;
    let connection = connect(sandbox.amqp_address()).await;
    let sender = connection.sender(TELEMETRY).await.unwrap();
    drop(connection);
    assert!(sender.is_attached());
}

#[tokio::test]
async fn an_idle_connection_stays() {
    let sandbox = sandbox().await;
    let mut config = config(sandbox.amqp_address());
    config.idle_timeout = Duration::from_secs(1);
    let connection = up(Connection::start("Test", config).unwrap()).await;
    let lost = tokio::time::timeout(Duration::from_millis(2500), connection.disconnected());
    assert!(
        lost.await.is_err(),
        "the peer's empty frames were not heard"
    );
}
