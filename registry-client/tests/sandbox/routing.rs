//! Requests to the command router.

use std::time::Duration;

use registry_client::CommandRouterClient;

use crate::network::{connect, sandbox};

#[tokio::test]
async fn a_consumer_is_registered_and_unregistered_by_its_own_instance_only() {
    let sandbox = sandbox().await;
    let client = CommandRouterClient::new(connect(sandbox.amqp_address()));
    let lifespan = Some(Duration::from_secs(60));
    client
        .register_consumer("T", "d", "me", lifespan)
        .await
        .unwrap();
    let by_another = client.unregister_consumer("T", "d", "you").await;
    assert_eq!(by_another.unwrap_err().status, 412);
    client.unregister_consumer("T", "d", "me").await.unwrap();
    let twice = client.unregister_consumer("T", "d", "me").await;
    assert_eq!(twice.unwrap_err().status, 412);
    client
        .register_consumer("T", "d", "me", None)
        .await
        .unwrap();
    client.unregister_consumer("T", "d", "me").await.unwrap();
}

#[tokio::test]
async fn an_unknown_tenant_has_no_consumers() {
    let sandbox = sandbox().await;
    let client = CommandRouterClient::new(connect(sandbox.amqp_address()));
    let registered = client.register_consumer("X", "d", "me", None).await;
    assert_eq!(registered.unwrap_err().status, 404);
}

#[tokio::test]
async fn routing_is_enabled_for_any_number_of_tenants() {
    let sandbox = sandbox().await;
    let client = CommandRouterClient::new(connect(sandbox.amqp_address()));
    client.enable_command_routing(&[]).await.unwrap();
    let mut tenants = vec!["T".to_owned()];
    client.enable_command_routing(&tenants).await.unwrap();
    tenants.extend((0..250).map(|number| format!("tenant-{number}")));
    client.enable_command_routing(&tenants).await.unwrap();
}
