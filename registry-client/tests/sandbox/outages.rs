//! Results during outages of services, and recovery afterwards.

use std::time::Duration;

use amqp_client::Connection;
use registry_client::{
    CacheConfig, CommandRouterClient, CredentialsClient, CredentialsType, RegistrationClient,
    TenantClient,
};

use crate::network::{config, connect, eventually, sandbox, sandbox_at, source};

#[tokio::test]
async fn every_look_up_without_a_service_is_a_503_and_works_once_it_is_there() {
    let sandbox = sandbox().await;
    let address = sandbox.amqp_address();
    sandbox.stop().await;
    let mut config = config(address);
    config.link_establishment_timeout = Duration::from_millis(50);
    config.reconnect_max_delay = Duration::from_millis(100);
    let connection = Connection::start("Test", config).unwrap();
    let cache = CacheConfig::default();
    let tenants = TenantClient::new(connection.clone(), cache);
    let registrations = RegistrationClient::new(connection.clone(), cache);
    let credentials = CredentialsClient::new(connection.clone(), cache);
    let router = CommandRouterClient::new(connection);

    assert_eq!(tenants.by_id("T").await.unwrap_err().status, 503);
    assert_eq!(
        tenants
            .by_subject_dn(source(), "CN=ca")
            .await
            .unwrap_err()
            .status,
        503
    );
    assert_eq!(
        registrations
            .assert("T", "d", None)
            .await
            .unwrap_err()
            .status,
        503
    );
    let found = credentials.get("T", CredentialsType::Psk, "a").await;
    assert_eq!(found.unwrap_err().status, 503);
    let registered = router.register_consumer("T", "d", "me", None).await;
    assert_eq!(registered.unwrap_err().status, 503);
    let enabled = router.enable_command_routing(&["T".to_owned()]).await;
    assert_eq!(enabled.unwrap_err().status, 503);

    let _sandbox = sandbox_at(address).await;
    eventually(async || tenants.by_id("T").await.ok()).await;
    eventually(async || registrations.assert("T", "d", None).await.ok()).await;
    eventually(async || credentials.get("T", CredentialsType::Psk, "a").await.ok()).await;
    eventually(async || router.register_consumer("T", "d", "me", None).await.ok()).await;
}

#[tokio::test]
async fn links_are_opened_again_after_the_service_restarts_and_until_then_it_is_a_503() {
    let first = sandbox().await;
    let address = first.amqp_address();
    let cache = CacheConfig {
        max_size: 0,
        ..CacheConfig::default()
    };
    let mut config = config(address);
    config.link_establishment_timeout = Duration::from_millis(200);
    config.reconnect_max_delay = Duration::from_millis(100);
    let connection = Connection::start("Test", config).unwrap();
    let tenants = TenantClient::new(connection.clone(), cache);
    let registrations = RegistrationClient::new(connection, cache);
    for _ in 0..3 {
        eventually(async || tenants.by_id("T").await.ok()).await;
        eventually(async || registrations.assert("T", "d", None).await.ok()).await;
    }
    first.stop().await;
    for _ in 0..3 {
        assert_eq!(tenants.by_id("T").await.unwrap_err().status, 503);
        assert_eq!(
            registrations
                .assert("T", "d", None)
                .await
                .unwrap_err()
                .status,
            503
        );
    }
    let _second = sandbox_at(address).await;
    eventually(async || tenants.by_id("T").await.ok()).await;
    eventually(async || registrations.assert("T", "d", None).await.ok()).await;
}

#[tokio::test]
async fn what_is_kept_is_told_during_an_outage_too() {
    let sandbox = sandbox().await;
    let connection = connect(sandbox.amqp_address());
    let tenants = TenantClient::new(connection, CacheConfig::default());
    tenants.by_id("T").await.unwrap();
    sandbox.stop().await;
    assert_eq!(tenants.by_id("T").await.unwrap().id, "T");
}

#[tokio::test]
async fn a_tenant_s_links_are_opened_again_after_they_were_given_up() {
    let sandbox = sandbox().await;
    let cache = CacheConfig {
        max_size: 0,
        ..CacheConfig::default()
    };
    let registrations = RegistrationClient::new(connect(sandbox.amqp_address()), cache);
    for _ in 0..3 {
        registrations.assert("T", "d", None).await.unwrap();
        registrations.close_tenant("T");
        registrations.close_tenant("nobody");
    }
}
