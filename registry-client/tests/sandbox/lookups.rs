//! What the clients tell of what the registry knows.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use registry_client::{
    CacheConfig, CredentialsClient, CredentialsType, RegistrationClient, ServiceError,
    TenantClient, tenant::ABSENT_FOR,
};
use serde_json::json;

use crate::network::{connect, sandbox, source};

fn status<T>(answer: Result<T, ServiceError>) -> u16 {
    answer.map_or_else(|error| error.status, |_| 200)
}

#[tokio::test]
async fn a_tenant_is_found_by_its_id_its_alias_and_its_authority() {
    let sandbox = sandbox().await;
    let client = TenantClient::new(connect(sandbox.amqp_address()), CacheConfig::default());
    let tenant = client.by_id("T").await.unwrap();
    assert_eq!((tenant.id.as_str(), tenant.enabled), ("T", true));
    assert_eq!(
        tenant.adapter("hono-coap").unwrap().integer("max-ttd"),
        Some(30)
    );
    assert_eq!(client.by_id("other").await.unwrap().id, "T");
    assert_eq!(
        client.by_subject_dn(source(), "CN=ca").await.unwrap().id,
        "T"
    );
    assert!(!client.by_id("U").await.unwrap().enabled);
    let unknown = Err(ServiceError::new(404, "no such tenant"));
    assert_eq!(client.by_id("X").await, unknown);
    assert_eq!(client.by_subject_dn(source(), "CN=x").await, unknown);
}

#[tokio::test]
async fn a_registration_is_asserted_for_the_device_and_for_its_gateways() {
    let sandbox = sandbox().await;
    let client = RegistrationClient::new(connect(sandbox.amqp_address()), CacheConfig::default());
    let assertion = client.assert("T", "d", None).await.unwrap();
    assert_eq!(assertion.device_id, "d");
    let via: BTreeSet<&str> = assertion.via.iter().map(String::as_str).collect();
    assert_eq!(via, BTreeSet::from(["gw-1", "gw-2"]));
    assert_eq!(assertion.defaults["ttl"], json!(7));
    for (tenant, device, gateway, expected) in [
        ("T", "d", Some("gw-1"), 200),
        ("T", "d", Some("gw-2"), 200),
        ("T", "d", Some("gw-3"), 403),
        ("T", "d", Some("nobody"), 403),
        ("T", "nobody", Some("gw-3"), 404),
        ("T", "nobody", None, 404),
        ("T", "off", None, 404),
        ("X", "d", None, 404),
    ] {
        let answer = client.assert(tenant, device, gateway).await;
        assert_eq!(status(answer), expected, "{tenant} {device} {gateway:?}");
    }
}

#[tokio::test]
async fn a_key_is_found_by_its_name() {
    let sandbox = sandbox().await;
    let client = CredentialsClient::new(connect(sandbox.amqp_address()), CacheConfig::default());
    let credentials = client.get("T", CredentialsType::Psk, "a").await.unwrap();
    assert_eq!(
        (credentials.device_id.as_str(), credentials.auth_id.as_str()),
        ("d", "a")
    );
    let key = credentials.psk(SystemTime::now()).unwrap();
    assert_eq!(key.expose(), b"hono-secret");
    for (tenant, kind, auth_id) in [
        ("T", CredentialsType::Psk, "b"),
        ("T", CredentialsType::X509Cert, "a"),
        ("X", CredentialsType::Psk, "a"),
    ] {
        let answer = client.get(tenant, kind, auth_id).await;
        assert_eq!(
            answer.unwrap_err().status,
            404,
            "{tenant} {kind:?} {auth_id}"
        );
    }
    let provisioned = client.get_or_provision("T", "CN=new", &[1, 2, 3]).await;
    assert_eq!(provisioned.unwrap_err().status, 404);
}

/// Over one pair of links each, several requests under way at a time get each its own answer.
#[tokio::test]
async fn many_requests_at_a_time_are_not_mixed_up() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    for number in 0..AT_A_TIME {
        world.set_device("T", format!("d{number}"), sandbox::world::Device::default());
    }
    let connection = connect(sandbox.amqp_address());
    let client = Arc::new(RegistrationClient::new(connection, CacheConfig::default()));
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..AT_A_TIME {
        let client = client.clone();
        asked.spawn(async move {
            let device = format!("d{number}");
            let assertion = client.assert("T", &device, None).await.unwrap();
            assert_eq!(assertion.device_id, device);
        });
    }
    assert_eq!(asked.join_all().await.len(), AT_A_TIME);
}

/// The sandbox grants credit for 100 requests, as Hono's registry does; the others wait for their turn.
const AT_A_TIME: usize = 1_000;

/// Symptom: each made-up name of a tenant cost the registry a request, and one of the adapter's links
/// to other services. Cause: that there is no such tenant was not remembered.
#[tokio::test]
async fn that_there_is_no_such_tenant_is_remembered_for_a_moment() {
    let sandbox = sandbox().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let client = TenantClient::new(connect(sandbox.amqp_address()), CacheConfig::default());
    let client = client.observed_by(move |_, _, _| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let (long, source) = ("x".repeat(257), source());
    for (name, expected) in [
        ("none", 1),
        ("none", 1),
        ("a/b", 1),
        ("a\n", 1),
        ("", 1),
        (long.as_str(), 1),
    ] {
        let unknown = client.by_id_from(source, name).await.unwrap_err();
        assert_eq!(
            unknown,
            ServiceError::new(404, "no such tenant"),
            "{name:?}"
        );
        assert_eq!(status(client.exists(source, name).await), 404, "{name:?}");
        assert_eq!(requests.load(Ordering::SeqCst), expected, "{name:?}");
        assert!(!client.is_known(name), "{name:?}");
    }
    tokio::time::pause();
    tokio::time::advance(ABSENT_FOR).await;
    tokio::time::resume();
    assert_eq!(status(client.exists(source, "none").await), 404);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

/// A device's handshake needs no answer of the tenant service where there was one before.
#[tokio::test]
async fn a_tenant_that_was_once_confirmed_is_known_without_a_request() {
    let sandbox = sandbox().await;
    let config = CacheConfig {
        max_size: 0,
        ..CacheConfig::default()
    };
    let client = TenantClient::new(connect(sandbox.amqp_address()), config);
    assert!(!client.is_known("T"));
    client.exists(source(), "T").await.unwrap();
    assert!(client.is_known("T"));
    sandbox.stop().await;
    client.exists(source(), "T").await.unwrap();
    assert_eq!(status(client.exists(source(), "U").await), 503);
}
