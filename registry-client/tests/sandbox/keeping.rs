//! Which answers are kept: what changes in the registry is seen only once the answer before is forgotten.

use std::time::Duration;

use registry_client::{
    CacheConfig, CredentialsClient, CredentialsType, RegistrationClient, TenantClient,
};
use sandbox::world::{Device, Tenant};

use crate::network::{connect, eventually, sandbox};

#[tokio::test]
async fn tenants_and_assertions_are_kept_but_errors_and_keys_are_not() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    let (connection, config) = (connect(sandbox.amqp_address()), CacheConfig::default());
    let tenants = TenantClient::new(connection.clone(), config);
    let registrations = RegistrationClient::new(connection.clone(), config);
    let credentials = CredentialsClient::new(connection, config);

    assert_eq!(tenants.by_id("new").await.unwrap_err().status, 404);
    world.set_tenant("new", Tenant::default());
    assert_eq!(tenants.by_id("new").await.unwrap().id, "new");
    world.remove_tenant("new");
    assert_eq!(tenants.by_id("new").await.unwrap().id, "new");

    assert_eq!(
        registrations
            .assert("T", "new", None)
            .await
            .unwrap_err()
            .status,
        404
    );
    world.set_device("T", "new", Device::default().with_psk("n", "first"));
    registrations.assert("T", "new", None).await.unwrap();
    world.remove_device("T", "new");
    registrations.assert("T", "new", None).await.unwrap();
    let by_gateway = registrations.assert("T", "new", Some("gw-1")).await;
    assert_eq!(by_gateway.unwrap_err().status, 404);

    let key = async || {
        let found = credentials.get("T", CredentialsType::Psk, "n").await.ok()?;
        let key = found.psk(std::time::SystemTime::now())?;
        Some(key.expose().to_vec())
    };
    assert_eq!(key().await, None);
    world.set_device("T", "new", Device::default().with_psk("n", "first"));
    assert_eq!(key().await.as_deref(), Some(&b"first"[..]));
    world.set_device("T", "new", Device::default().with_psk("n", "second"));
    assert_eq!(key().await.as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn a_maximum_size_of_0_keeps_nothing() {
    let sandbox = sandbox().await;
    let config = CacheConfig {
        max_size: 0,
        ..CacheConfig::default()
    };
    let client = RegistrationClient::new(connect(sandbox.amqp_address()), config);
    client.assert("T", "d", None).await.unwrap();
    sandbox.world().remove_device("T", "d");
    assert_eq!(client.assert("T", "d", None).await.unwrap_err().status, 404);
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_the_default_time_even_if_it_is_used_all_the_time() {
    let sandbox = sandbox().await;
    let config = CacheConfig {
        default_timeout: Duration::from_secs(1),
        ..CacheConfig::default()
    };
    let client = RegistrationClient::new(connect(sandbox.amqp_address()), config);
    client.assert("T", "d", None).await.unwrap();
    sandbox.world().remove_device("T", "d");
    let gone = async || client.assert("T", "d", None).await.err();
    assert_eq!(eventually(gone).await.status, 404);
}
