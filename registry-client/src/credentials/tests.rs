//! How credentials are read and which key counts, line by line (spec: registry-apis A.5, coap-adapter §9).

use std::time::{Duration, SystemTime};

use amqp_client::{Body, Message};
use sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

use super::{Credentials, CredentialsClient, CredentialsType};
use crate::{
    CacheConfig,
    exchange::{
        Exchange,
        service::{Service, config, connect, response},
    },
    notifications::Subject,
};

fn read(json: &str) -> Option<Credentials> {
    Credentials::from_json(json.as_bytes()).ok()
}

fn with_secrets(secrets: &str) -> Option<Credentials> {
    read(&format!(
        r#"{{"device-id":"4711","type":"psk","auth-id":"sensor1","secrets":{secrets}}}"#
    ))
}

#[test]
fn the_example_gives_its_key_and_shows_it_to_nobody_else() {
    let credentials = read(
        r#"{"device-id":"4711","type":"psk","auth-id":"sensor1","enabled":true,"secrets":[{"id":"s1","key":"aG9uby1zZWNyZXQ="}]}"#,
    )
    .unwrap();
    assert_eq!(credentials.device_id, "4711");
    assert_eq!(credentials.auth_id, "sensor1");
    assert_eq!(credentials.kind, CredentialsType::Psk);
    let key = credentials.psk(SystemTime::now()).unwrap();
    assert_eq!(key.expose(), b"hono-secret");
    let shown = format!("{credentials:?} {key:?}");
    assert!(
        !shown.contains("hono") && !shown.contains("aG9u") && !shown.contains("104"),
        "{shown}"
    );
}

#[test]
fn the_first_secret_that_is_enabled_valid_and_has_a_key_counts() {
    // Noon of 2025-06-01.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_748_779_200);
    let good = r#"{"key":"Zmlyc3Q="}"#;
    let first = Some("first");
    let other = Some("other");
    for (line, secret, expected) in [
        ("first in order", good, first),
        (
            "enabled: default true",
            r#"{"key":"Zmlyc3Q=","enabled":null}"#,
            first,
        ),
        (
            "enabled: wrong type = absent",
            r#"{"key":"Zmlyc3Q=","enabled":"false"}"#,
            first,
        ),
        (
            "enabled: false",
            r#"{"key":"Zmlyc3Q=","enabled":false}"#,
            other,
        ),
        (
            "not-before: past",
            r#"{"key":"Zmlyc3Q=","not-before":"2025-06-01T11:59:59Z"}"#,
            first,
        ),
        (
            "not-before: strictly",
            r#"{"key":"Zmlyc3Q=","not-before":"2025-06-01T12:00:00Z"}"#,
            other,
        ),
        (
            "not-before: future",
            r#"{"key":"Zmlyc3Q=","not-before":"2025-06-01T12:00:01Z"}"#,
            other,
        ),
        (
            "not-after: future",
            r#"{"key":"Zmlyc3Q=","not-after":"2025-06-01T12:00:01Z"}"#,
            first,
        ),
        (
            "not-after: strictly",
            r#"{"key":"Zmlyc3Q=","not-after":"2025-06-01T12:00:00Z"}"#,
            other,
        ),
        (
            "not-after: past",
            r#"{"key":"Zmlyc3Q=","not-after":"2025-06-01T11:59:59Z"}"#,
            other,
        ),
        (
            "offset: past",
            r#"{"key":"Zmlyc3Q=","not-after":"2025-06-01T13:30:00+02:00"}"#,
            other,
        ),
        (
            "offset: future",
            r#"{"key":"Zmlyc3Q=","not-after":"2025-06-01T11:30:00-02:00"}"#,
            first,
        ),
        (
            "unparsable = no bound",
            r#"{"key":"Zmlyc3Q=","not-after":"2020"}"#,
            first,
        ),
        (
            "wrong type = no bound",
            r#"{"key":"Zmlyc3Q=","not-before":9999999999999}"#,
            first,
        ),
        ("no key", r#"{"id":"1","pwd-hash":"Zmlyc3Q="}"#, other),
        ("key of the wrong type", r#"{"key":7}"#, other),
        ("empty key", r#"{"key":""}"#, other),
        ("no Base64", r#"{"key":"first"}"#, other),
        ("no padding", r#"{"key":"Zmlyc3Q"}"#, other),
        ("blank", r#"{"key":"Zmlyc3Q= "}"#, other),
        ("URL alphabet", r#"{"key":"-_-_"}"#, other),
    ] {
        let credentials = with_secrets(&format!(r#"[{secret},{{"key":"b3RoZXI="}}]"#)).unwrap();
        let key = credentials.psk(now).map(|key| key.expose());
        assert_eq!(key, expected.map(str::as_bytes), "{line}");
        let alone = with_secrets(&format!("[{secret}]")).unwrap();
        assert_eq!(alone.psk(now).is_some(), expected == first, "{line}, alone");
    }
}

#[test]
fn keys_of_any_length_are_decoded() {
    for (text, bytes) in [
        ("AA==", &[0][..]),
        ("AAE=", &[0, 1]),
        ("AAEC", &[0, 1, 2]),
        ("+/+/", &[251, 255, 191]),
    ] {
        let credentials = with_secrets(&format!(r#"[{{"key":"{text}"}}]"#)).unwrap();
        let key = credentials
            .psk(SystemTime::UNIX_EPOCH)
            .map(|key| key.expose());
        assert_eq!(key, Some(bytes), "{text}");
    }
}

#[test]
fn credentials_that_must_not_be_used_have_no_key() {
    let with = |members: &str| {
        let secrets = r#""secrets":[{"key":"Zmlyc3Q="}]"#;
        read(&format!(
            r#"{{"device-id":"d","auth-id":"a",{members},{secrets}}}"#
        ))
        .unwrap()
    };
    let has_key = |members: &str| with(members).psk(SystemTime::now()).is_some();
    assert!(has_key(r#""type":"psk""#));
    assert!(
        has_key(r#""type":"psk","enabled":"no""#),
        "wrong type = default true"
    );
    assert!(!has_key(r#""type":"psk","enabled":false"#));
    for kind in ["x509-cert", "hashed-password", "rpk"] {
        let credentials = with(&format!(r#""type":"{kind}""#));
        assert_eq!(credentials.kind.name(), kind);
        assert!(credentials.psk(SystemTime::now()).is_none(), "{kind}");
        // A bare key is public, and is what such credentials are for.
        let keys = credentials.secrets.iter().any(|it| it.key.is_some());
        assert_eq!(keys, kind == "rpk", "{kind}");
    }
}

#[test]
fn malformed_credentials_are_unusable() {
    for (line, json) in [
        ("no JSON", "x"),
        ("no object", "[]"),
        (
            "device-id missing",
            r#"{"type":"psk","auth-id":"a","secrets":[{}]}"#,
        ),
        (
            "device-id no text",
            r#"{"device-id":1,"type":"psk","auth-id":"a","secrets":[{}]}"#,
        ),
        (
            "auth-id missing",
            r#"{"device-id":"d","type":"psk","secrets":[{}]}"#,
        ),
        (
            "type missing",
            r#"{"device-id":"d","auth-id":"a","secrets":[{}]}"#,
        ),
        (
            "type unknown",
            r#"{"device-id":"d","type":"x","auth-id":"a","secrets":[{}]}"#,
        ),
        (
            "secrets missing",
            r#"{"device-id":"d","type":"psk","auth-id":"a"}"#,
        ),
        (
            "secrets empty",
            r#"{"device-id":"d","type":"psk","auth-id":"a","secrets":[]}"#,
        ),
        (
            "secrets no array",
            r#"{"device-id":"d","type":"psk","auth-id":"a","secrets":{}}"#,
        ),
        (
            "secret no object",
            r#"{"device-id":"d","type":"psk","auth-id":"a","secrets":[{},7]}"#,
        ),
    ] {
        assert!(read(json).is_none(), "{line}");
    }
}

fn asked(request: &Message) -> serde_json::Value {
    let Body::Data(json) = &request.body else {
        panic!("{request:?}")
    };
    serde_json::from_slice(json).unwrap()
}

/// The answer of a service, to be kept for a while.
fn kept(request: &Message, key: &str) -> Message {
    let mut answer = response(request.properties.message_id.clone(), Some(200));
    let directive = ("cache_control".to_owned(), "max-age = 180".into());
    answer.application_properties.push(directive);
    answer.properties.content_type = Some("application/json".to_owned());
    answer.body = Body::Data(
        format!(r#"{{"device-id":"d","type":"psk","auth-id":"a","secrets":[{{"key":"{key}"}}]}}"#)
            .into_bytes(),
    );
    answer
}

#[tokio::test]
async fn kept_credentials_are_asked_for_again_after_they_changed() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let mut service = Service::start(&sandbox).await;
    let exchange = Exchange::new(connect(config(&sandbox)), "event");
    let client = CredentialsClient::over(exchange, CacheConfig::default());
    let key = async || {
        let found = client.get("S", CredentialsType::Psk, "a").await.unwrap();
        let key = found.psk(SystemTime::now()).unwrap();
        key.expose().to_vec()
    };
    let first = async {
        let request = service.take().await;
        assert_eq!(asked(&request), json!({"auth-id": "a", "type": "psk"}));
        service.send(&request, &kept(&request, "Zmlyc3Q=")).await;
    };
    assert_eq!(tokio::join!(key(), first).0, b"first");
    assert_eq!(key().await, b"first");
    let changed = |device: &str| Subject::Credentials {
        tenant_id: "S".to_owned(),
        device_id: device.to_owned(),
    };
    client.forget(&changed("other"));
    assert_eq!(key().await, b"first");
    client.forget(&changed("d"));
    let second = async {
        let request = service.take().await;
        service.send(&request, &kept(&request, "b3RoZXI=")).await;
    };
    assert_eq!(tokio::join!(key(), second).0, b"other");
}

#[tokio::test]
async fn a_certificate_goes_along_and_each_has_its_own_answer() {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let mut service = Service::start(&sandbox).await;
    let exchange = Exchange::new(connect(config(&sandbox)), "event");
    let client = CredentialsClient::over(exchange, CacheConfig::default());
    for (certificate, base64) in [([1, 2], "AQI="), ([3, 4], "AwQ=")] {
        let serve = async {
            let request = service.take().await;
            let expected =
                json!({"type": "x509-cert", "auth-id": "a", "client-certificate": base64});
            assert_eq!(asked(&request), expected);
            service.send(&request, &kept(&request, "Zmlyc3Q=")).await;
        };
        let found = client.get_or_provision("S", "a", &certificate);
        assert!(tokio::join!(found, serve).0.is_ok());
    }
}
