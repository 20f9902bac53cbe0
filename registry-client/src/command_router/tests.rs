//! What the command router gets to see, line by line (spec: registry-apis A.6).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use amqp_client::{Body, Message, Value};
use sandbox::{Sandbox, SandboxConfig, world::World};
use tokio::task::JoinSet;

use super::CommandRouterClient;
use crate::exchange::{
    Exchange,
    service::{Service, config, connect, response},
};

async fn stage() -> (Sandbox, Service, CommandRouterClient) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let service = Service::start(&sandbox).await;
    let connection = connect(config(&sandbox));
    let exchange = Exchange::new(connection.clone(), "event");
    (
        sandbox,
        service,
        CommandRouterClient::over(connection, exchange),
    )
}

/// Takes the next request and answers with a status.
async fn serve(service: &mut Service, status: i32) -> Message {
    let request = service.take().await;
    let id = request.properties.message_id.clone();
    service.send(&request, &response(id, Some(status))).await;
    request
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// The subject and what else makes a request.
fn shown(request: &Message) -> (&str, BTreeMap<&str, Value>, Option<serde_json::Value>) {
    let properties = request.application_properties.iter();
    let json = match &request.body {
        Body::Data(json) => Some(serde_json::from_slice(json).unwrap()),
        other => {
            assert_eq!(*other, Body::None);
            None
        }
    };
    let content_type = request.properties.content_type.as_deref();
    assert_eq!(content_type, json.as_ref().map(|_| "application/json"));
    (
        request.properties.subject.as_deref().unwrap(),
        properties
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect(),
        json,
    )
}

#[tokio::test]
async fn a_registration_has_the_members_of_a_6_and_204_is_its_only_success() {
    let (_sandbox, mut service, client) = stage().await;
    for (lifespan, seconds) in [(Some(30), 30), (None, -1), (Some(u64::MAX), i32::MAX)] {
        let lifespan = lifespan.map(Duration::from_secs);
        let registering = client.register_consumer("S", "d", "me", lifespan);
        let (answer, request) = tokio::join!(registering, serve(&mut service, 204));
        assert_eq!(answer, Ok(()));
        let properties = BTreeMap::from([
            ("device_id", text("d")),
            ("adapter_instance_id", text("me")),
            ("lifespan", Value::Int(seconds)),
            ("send_event", Value::Bool(false)),
        ]);
        assert_eq!(
            shown(&request),
            ("register-command-consumer", properties, None)
        );
    }
    for (status, expected) in [(200, 500), (404, 404), (503, 503), (302, 302)] {
        let registering = client.register_consumer("S", "d", "me", None);
        let (answer, _) = tokio::join!(registering, serve(&mut service, status));
        assert_eq!(answer.unwrap_err().status, expected);
    }
}

#[tokio::test]
async fn the_end_of_a_registration_has_the_members_of_a_6() {
    let (_sandbox, mut service, client) = stage().await;
    let leaving = client.unregister_consumer("S", "d", "me");
    let (answer, request) = tokio::join!(leaving, serve(&mut service, 412));
    assert_eq!(answer.unwrap_err().status, 412);
    let properties = BTreeMap::from([
        ("device_id", text("d")),
        ("adapter_instance_id", text("me")),
        ("send_event", Value::Bool(false)),
    ]);
    assert_eq!(
        shown(&request),
        ("unregister-command-consumer", properties, None)
    );
}

#[tokio::test]
async fn one_last_known_gateway_goes_into_properties_and_several_into_an_object() {
    let (_sandbox, mut service, client) = stage().await;
    client.set_last_known_gateway("S", "d", "old");
    client.set_last_known_gateway("S", "d", "gw");
    let properties = BTreeMap::from([("device_id", text("d")), ("gateway_id", text("gw"))]);
    let request = serve(&mut service, 204).await;
    assert_eq!(shown(&request), ("set-last-known-gw", properties, None));

    client.set_last_known_gateway("S", "d", "gw");
    client.set_last_known_gateway("S", "e", "e");
    let object = serde_json::json!({"d": "gw", "e": "e"});
    let request = serve(&mut service, 503).await;
    assert_eq!(
        shown(&request),
        ("set-last-known-gw", BTreeMap::new(), Some(object))
    );
}

#[tokio::test]
async fn tenants_are_named_by_the_hundred_on_the_link_of_the_first() {
    let (_sandbox, mut service, client) = stage().await;
    let mut tenants = vec!["S".to_owned()];
    tenants.extend((1..100).map(|number| number.to_string()));
    let enabling = client.enable_command_routing(&tenants);
    let (answer, request) = tokio::join!(enabling, serve(&mut service, 204));
    assert_eq!(answer, Ok(()));
    let all = serde_json::json!(tenants);
    assert_eq!(
        shown(&request),
        ("enable-command-routing", BTreeMap::new(), Some(all))
    );
}

/// The request is sent once the service is back, not before and not at the first start.
#[tokio::test]
async fn routing_is_enabled_again_after_an_outage() {
    let (sandbox, service, client) = stage().await;
    let address = sandbox.amqp_address();
    let client = Arc::new(client);
    assert!(client.connection.connected(Duration::from_secs(20)).await);
    let keeping = {
        let client = client.clone();
        async move { client.keep_routing(|| vec!["S".to_owned()]).await }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(keeping);
    // Time for the task to see the first connection.
    tokio::task::yield_now().await;
    drop(service);
    sandbox.stop().await;
    let sandbox = loop {
        if let Ok(sandbox) = Sandbox::start(SandboxConfig::new(address, World::default())).await {
            break sandbox;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut service = Service::start(&sandbox).await;
    let request = serve(&mut service, 204).await;
    let tenants = serde_json::json!(["S"]);
    assert_eq!(
        shown(&request),
        ("enable-command-routing", BTreeMap::new(), Some(tenants))
    );
}
