//! The management API as a person with an HTTP client sees it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{collections::HashMap, env, fs, net::SocketAddr, path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use sandbox::{
    Sandbox, SandboxConfig,
    management::{Login, ManagementConfig},
    northbound::{Application, Behaviour},
    world::World,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(5);

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    fn etag(&self) -> String {
        self.headers["etag"].clone()
    }

    fn error(&self) -> String {
        assert_eq!(
            self.headers["content-type"],
            "application/json; charset=utf-8"
        );
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

struct Api {
    sandbox: Sandbox,
    address: SocketAddr,
}

impl Api {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ManagementConfig)) -> Self {
        Self::of(SandboxConfig::default(), change).await
    }

    /// One that stores its data in a file.
    async fn on(file: &Path) -> Self {
        let mut config = SandboxConfig::default();
        config.data = Some(file.to_owned());
        Self::of(config, |_| {}).await
    }

    async fn of(mut config: SandboxConfig, change: impl FnOnce(&mut ManagementConfig)) -> Self {
        let mut management = ManagementConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut management);
        config.world = World::empty();
        config.management = Some(management);
        let sandbox = Sandbox::start(config).await.unwrap();
        let address = sandbox.management_address().unwrap();
        Self { sandbox, address }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(SOON, stream.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer {
            status: status.parse().unwrap(),
            headers,
            body: body.to_owned(),
        }
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.send(method, path, &headers, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Sends it and wants that status.
    async fn must(&self, method: &str, path: &str, body: &Value, status: u16) -> Answer {
        let answer = self.json(method, path, body).await;
        assert_eq!(
            answer.status, status,
            "{method} {path} {body}: {}",
            answer.body
        );
        answer
    }
}

/// Symptom: a web page could create tenants (a POST without body from its origin), and read and
/// change everything with a name of its own that points to this machine. Cause: `Host` and `Origin`
/// were not looked at.
#[tokio::test]
async fn requests_of_other_hosts_and_origins_are_refused() {
    let api = Api::start().await;
    let own = api.address.to_string();
    let port = api.address.port();
    let by_name = format!("localhost:{port}");
    let (origin, by_name_origin) = (format!("http://{own}"), format!("http://{by_name}"));
    let other_port = format!("http://127.0.0.1:{}", port ^ 1);
    for (headers, status) in [
        (vec![], 201),
        (
            vec![("Host", own.as_str()), ("Origin", origin.as_str())],
            201,
        ),
        (
            vec![
                ("Host", by_name.as_str()),
                ("Origin", by_name_origin.as_str()),
            ],
            201,
        ),
        (vec![("Origin", "https://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", other_port.as_str())], 403),
        (
            vec![
                ("Origin", origin.as_str()),
                ("Origin", "https://evil.example"),
            ],
            403,
        ),
        (vec![("Host", "evil.example")], 403),
        (
            vec![("Host", "evil.example"), ("Origin", "http://evil.example")],
            403,
        ),
        (vec![("Host", own.as_str()), ("Host", "evil.example")], 400),
        (vec![("Host", "a b")], 400),
    ] {
        let answer = api.send("POST", "tenants", &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
    }
    let before = api.get("tenants").await.json()["total"].as_u64();
    assert_eq!(before, Some(3));
    let foreign = [("Host", "evil.example")];
    assert_eq!(api.send("GET", "tenants", &foreign, "").await.status, 403);
}

#[tokio::test]
async fn a_tenant_is_made_read_changed_and_deleted() {
    let api = Api::start().await;
    let made = api
        .must(
            "POST",
            "tenants/T",
            &json!({"enabled": true, "ext": {"a": 1}}),
            201,
        )
        .await;
    assert_eq!(made.json(), json!({"id": "T"}));
    assert_eq!(made.headers["location"], "/v1/tenants/T");
    let read = api.get("tenants/T").await;
    assert_eq!(
        (read.status, read.json()),
        (200, json!({"enabled": true, "ext": {"a": 1}}))
    );
    assert_eq!(read.etag(), made.etag());

    let put = api
        .must("PUT", "tenants/T", &json!({"enabled": false}), 204)
        .await;
    assert!(put.etag() != made.etag() && put.body.is_empty());
    assert_eq!(api.get("tenants/T").await.json(), json!({"enabled": false}));
    let stale = [
        ("Content-Type", "application/json"),
        ("If-Match", made.headers["etag"].as_str()),
    ];
    let answer = api.send("PUT", "tenants/T", &stale, "{}").await;
    assert_eq!(answer.status, 412, "{}", answer.body);
    let answer = api.send("DELETE", "tenants/T", &stale, "").await;
    assert_eq!(answer.status, 412, "{}", answer.body);
    let etag = put.etag();
    let answer = api
        .send("DELETE", "tenants/T", &[("If-Match", &etag)], "")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for method in ["GET", "DELETE"] {
        let answer = api.send(method, "tenants/T", &[], "").await;
        assert_eq!(
            (answer.status, answer.error()),
            (404, "no such tenant".to_owned())
        );
    }
    api.must("PUT", "tenants/T", &json!({}), 404).await;
}

#[tokio::test]
async fn an_id_is_made_up_if_none_is_given_and_a_body_may_be_left_out() {
    let api = Api::start().await;
    let answer = api.send("POST", "tenants", &[], "").await;
    assert_eq!(answer.status, 201);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    let device = api.send("POST", &format!("devices/{id}"), &[], "").await;
    assert_eq!(device.status, 201);
    let device_id = device.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        device.headers["location"],
        format!("/v1/devices/{id}/{device_id}")
    );
    let credentials = api.get(&format!("credentials/{id}/{device_id}")).await;
    assert_eq!((credentials.status, credentials.json()), (200, json!([])));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let api = Api::start().await;
    api.must("POST", "tenants/T", &json!({"alias": "other", "registration-limits": {"max-devices": 2, "max-credentials-per-device": 1}}), 201).await;
    api.must("POST", "devices/T/d", &json!({}), 201).await;
    let psk =
        |auth_id: &str| json!({"type": "psk", "auth-id": auth_id, "secrets": [{"key": "aw=="}]});
    api.must("PUT", "credentials/T/d", &json!([psk("a")]), 204)
        .await;
    api.must("POST", "devices/T/e", &json!({}), 201).await;
    let rows = [
        ("POST", "tenants/T", json!({}), 409),
        ("POST", "tenants/other", json!({}), 409),
        ("POST", "tenants/U", json!({"alias": "other"}), 409),
        ("POST", "tenants/a%20b", json!({}), 400),
        ("POST", "tenants/U", json!({"colour": "red"}), 400),
        ("POST", "tenants/U", json!({"enabled": "yes"}), 400),
        ("POST", "tenants/U", json!({"alias": "Upper"}), 400),
        ("POST", "tenants/U", json!({"adapters": []}), 400),
        (
            "POST",
            "tenants/U",
            json!({"adapters": [{"type": "a"}, {"type": "a"}]}),
            400,
        ),
        (
            "POST",
            "tenants/U",
            json!({"minimum-message-size": -1}),
            400,
        ),
        (
            "POST",
            "tenants/U",
            json!({"trusted-ca": [{"subject-dn": "CN=x"}]}),
            400,
        ),
        (
            "POST",
            "tenants/U",
            json!({"trusted-ca": [{"cert": "aGVsbG8="}]}),
            400,
        ),
        ("POST", "tenants/U", json!([]), 400),
        ("GET", "devices/X/d", json!({}), 404),
        ("POST", "devices/X/d", json!({}), 404),
        ("POST", "devices/T/d", json!({}), 409),
        ("POST", "devices/T/f", json!({}), 403),
        ("POST", "devices/T/a%2Fb", json!({}), 400),
        ("PUT", "devices/T/x", json!({}), 404),
        ("PUT", "devices/T/d", json!({"via": 1}), 400),
        (
            "PUT",
            "devices/T/d",
            json!({"via": ["g"], "memberOf": ["h"]}),
            400,
        ),
        ("PUT", "devices/T/d", json!({"authorities": ["all"]}), 400),
        ("PUT", "devices/T/d", json!({"colour": "red"}), 400),
        ("DELETE", "devices/T/x", json!({}), 404),
        ("GET", "credentials/T/x", json!({}), 404),
        ("PUT", "credentials/T/x", json!([]), 404),
        ("PUT", "credentials/T/e", json!([psk("a")]), 409),
        ("PUT", "credentials/T/e", json!([psk("b"), psk("c")]), 403),
        ("PUT", "credentials/T/e", json!({}), 400),
        ("PUT", "credentials/T/e", json!([psk("not valid")]), 400),
        (
            "PUT",
            "credentials/T/e",
            json!([{"type": "psk", "auth-id": "b", "secrets": []}]),
            400,
        ),
        (
            "PUT",
            "credentials/T/e",
            json!([{"type": "psk", "auth-id": "b", "secrets": [{}]}]),
            400,
        ),
        (
            "PUT",
            "credentials/T/e",
            json!([{"type": "psk", "auth-id": "b", "secrets": [{"key": "not Base64"}]}]),
            400,
        ),
        (
            "PUT",
            "credentials/T/e",
            json!([{"type": "psk", "auth-id": "b", "secrets": [{"id": "x", "key": "aw=="}]}]),
            400,
        ),
        (
            "PUT",
            "credentials/T/e",
            json!([{"type": "psk", "auth-id": "b", "secrets": [{"key": "aw==", "not-before": "soon"}]}]),
            400,
        ),
        (
            "PUT",
            "credentials/T/e",
            json!([{"type": "x509-cert", "auth-id": "CN=x", "secrets": [{}, {}]}]),
            400,
        ),
        ("GET", "nowhere", json!({}), 404),
        ("PATCH", "tenants/T", json!({}), 405),
    ];
    for (method, path, body, status) in rows {
        let answer = api.must(method, path, &body, status).await;
        assert!(!answer.error().is_empty(), "{method} {path}");
    }
    for (headers, body, text) in [
        ([].as_slice(), "{}", "Missing Content-Type header"),
        (
            &[("Content-Type", "text/plain")],
            "{}",
            "Unsupported Content-Type [text/plain]",
        ),
        (&[("Content-Type", "application/json")], "", "Empty body"),
        (
            &[("Content-Type", "application/json; charset=utf-8")],
            "{",
            "Invalid JSON",
        ),
    ] {
        let answer = api.send("PUT", "tenants/T", headers, body).await;
        assert_eq!((answer.status, answer.error()), (400, text.to_owned()));
    }
    let large = json!({"ext": {"a": "x".repeat(17_000)}});
    api.must("PUT", "tenants/T", &large, 413).await.error();
}

#[tokio::test]
async fn a_device_keeps_its_credentials_when_it_is_changed() {
    let api = Api::start().await;
    api.must("POST", "tenants/T", &json!({}), 201).await;
    let device = json!({"via": ["gw"], "defaults": {"ttl": 5}, "ext": {"room": "A1"}, "authorities": ["auto-provisioning-enabled"]});
    api.must("POST", "devices/T/d:1", &device, 201).await;
    let mut reported = api.get("devices/T/d:1").await.json();
    let status = reported.as_object_mut().unwrap().remove("status").unwrap();
    assert!(status["created"].is_string() && status.get("updated").is_none());
    let mut expected = device;
    expected["enabled"] = json!(true);
    assert_eq!(reported, expected);

    let psk = json!([{"type": "psk", "auth-id": "a", "secrets": [{"key": "aw=="}]}]);
    api.must("PUT", "credentials/T/d:1", &psk, 204).await;
    let mut again = api.get("devices/T/d:1").await.json();
    again["enabled"] = json!(false);
    api.must("PUT", "devices/T/d:1", &again, 204).await;
    let reported = api.get("devices/T/d:1").await.json();
    assert_eq!(reported["enabled"], false);
    assert!(reported["status"]["updated"].is_string());
    assert_eq!(
        api.get("credentials/T/d:1")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let known = |world: &World| {
        let device = &world.tenants["T"].devices["d:1"];
        (
            device.disabled,
            device.credentials[0].key().unwrap().expose().to_vec(),
        )
    };
    assert_eq!(api.sandbox.world().look(known), (true, b"k".to_vec()));
}

#[tokio::test]
async fn secrets_are_kept_by_their_id_and_never_told() {
    let api = Api::start().await;
    api.must("POST", "tenants/T", &json!({}), 201).await;
    api.must("POST", "devices/T/d", &json!({}), 201).await;
    let put = json!([
        {"type": "psk", "auth-id": "a", "comment": "first", "secrets": [{"key": "aw==", "comment": "old"}]},
        {"type": "hashed-password", "auth-id": "u", "secrets": [{"pwd-plain": "secret"}]},
    ]);
    let made = api.must("PUT", "credentials/T/d", &put, 204).await;
    let read = api.get("credentials/T/d").await;
    assert_eq!(read.etag(), made.etag());
    for hidden in ["aw==", "secret\"", "pwd-hash", "salt"] {
        assert!(!read.body.contains(hidden), "{hidden} in {}", read.body);
    }
    let mut all = read.json();
    assert_eq!(all[0]["comment"], "first");
    all[0]["secrets"][0]["comment"] = json!("new");
    all.as_array_mut().unwrap().truncate(1);
    let changed = api.must("PUT", "credentials/T/d", &all, 204).await;
    assert_ne!(changed.etag(), made.etag());
    let now = api.get("credentials/T/d").await.json();
    assert_eq!(
        now, all,
        "the other credentials are gone, the id and the comment stay"
    );
    let key = |world: &World| {
        world.tenants["T"].devices["d"].credentials[0]
            .key()
            .unwrap()
            .expose()
            .to_vec()
    };
    assert_eq!(api.sandbox.world().look(key), b"k");
    all[0]["secrets"][0]["key"] = json!("bmV3");
    let renewed = api.must("PUT", "credentials/T/d", &all, 204).await;
    assert_ne!(renewed.etag(), changed.etag());
    assert_eq!(api.sandbox.world().look(key), b"new");
}

#[tokio::test]
async fn a_certificate_tells_its_subject_key_and_validity() {
    let api = Api::start().await;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Hono");
    params.distinguished_name.push(DnType::CommonName, "CA");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = BASE64_STANDARD.encode(certificate.der());
    let tenant = json!({"trusted-ca": [{"cert": der, "auto-provisioning-enabled": true}]});
    api.must("POST", "tenants/T", &tenant, 201).await;
    let reported = api.get("tenants/T").await.json()["trusted-ca"][0].clone();
    assert_eq!(reported["subject-dn"], "CN=CA,O=Hono");
    assert_eq!(reported["algorithm"], "EC");
    assert_eq!(
        reported["public-key"],
        BASE64_STANDARD.encode(rcgen::PublicKeyData::subject_public_key_info(&key))
    );
    assert_eq!(reported["not-before"], "1975-01-01T00:00:00Z");
    assert!(reported["id"].is_string() && reported.get("cert").is_none());

    api.must("POST", "tenants/U", &tenant, 409).await;
    let grouped = json!({"trusted-ca": [reported], "trust-anchor-group": "g"});
    api.must("PUT", "tenants/T", &grouped, 204).await;
    api.must("POST", "tenants/U", &grouped, 201).await;

    api.must("POST", "devices/T/d", &json!({}), 201).await;
    let credentials = json!([{"type": "x509-cert", "secrets": [{"cert": der}]}]);
    api.must("PUT", "credentials/T/d", &credentials, 204).await;
    let reported = api.get("credentials/T/d").await.json();
    assert_eq!(reported[0]["auth-id"], "CN=CA,O=Hono");
    assert_eq!(
        reported[0]["secrets"][0]["not-before"],
        "1975-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn searches_find_tenants_devices_and_gateways() {
    let api = Api::start().await;
    for (id, enabled) in [("A", true), ("B", false), ("C", true)] {
        api.must(
            "POST",
            &format!("tenants/{id}"),
            &json!({"enabled": enabled}),
            201,
        )
        .await;
    }
    let found = api.get("tenants?filterJson=%7B%22field%22%3A%22%2Fenabled%22%2C%22value%22%3Atrue%7D&pageSize=1").await;
    assert_eq!(
        found.json(),
        json!({"total": 2, "result": [{"id": "A", "enabled": true}]})
    );
    assert_eq!(api.get("tenants?pageSize=x").await.status, 400);
    assert_eq!(api.get("devices/A").await.status, 404);
    assert_eq!(api.get("devices/X").await.status, 404);
    api.must("POST", "devices/A/gw", &json!({}), 201).await;
    api.must("POST", "devices/A/member", &json!({"memberOf": ["g"]}), 201)
        .await;
    api.must("POST", "devices/A/d", &json!({"via": ["gw"]}), 201)
        .await;
    for (query, expected) in [
        ("", "d gw member"),
        ("?isGateway=true", "gw member"),
        ("?isGateway=false", "d"),
    ] {
        let found = api.get(&format!("devices/A{query}")).await.json();
        let ids: Vec<&str> = found["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.join(" "), expected);
    }
}

#[tokio::test]
async fn every_change_is_told() {
    let api = Api::start().await;
    let addresses = [
        "notification/registry-tenant",
        "notification/registry-device",
    ];
    let peer = api.sandbox.amqp_address();
    let mut receiver = Application::attach(peer, "T", &addresses, Behaviour::Accept)
        .await
        .unwrap();
    let steps = [
        ("POST", "tenants/T", "{}", "tenant-change-v1 CREATE true"),
        (
            "PUT",
            "tenants/T",
            r#"{"enabled":false}"#,
            "tenant-change-v1 UPDATE false",
        ),
        ("POST", "devices/T/d", "{}", "device-change-v1 CREATE true"),
        ("PUT", "devices/T/d", "{}", "device-change-v1 UPDATE true"),
        ("PUT", "credentials/T/d", "[]", "credentials-change-v1  "),
        ("DELETE", "devices/T/d", "", "device-change-v1 DELETE false"),
        (
            "DELETE",
            "devices/T",
            "",
            "all-devices-of-tenant-deleted-v1  ",
        ),
        ("DELETE", "tenants/T", "", "tenant-change-v1 DELETE false"),
    ];
    for (method, path, body, expected) in steps {
        let headers = [("Content-Type", "application/json")];
        let answer = api.send(method, path, &headers, body).await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.body);
        let received = receiver.receive(SOON).await.unwrap();
        let reported: Value = serde_json::from_slice(&received.payload).unwrap();
        let enabled = reported["enabled"]
            .as_bool()
            .map(|it| it.to_string())
            .unwrap_or_default();
        let text = |name: &str| reported[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            format!("{} {} {enabled}", text("type"), text("change")),
            expected
        );
    }
    api.must("POST", "tenants/a%20b", &json!({}), 400).await;
    assert!(
        receiver.receive(Duration::from_millis(200)).await.is_none(),
        "a failure was reported as a change"
    );
}

#[tokio::test]
async fn who_has_to_log_in_is_told_so() {
    let api = Api::with(|config| config.login = Some(Login::new("admin", "pass:word"))).await;
    for sent in [
        None,
        Some("Basic eDp5"),
        Some("Bearer YWRtaW46cGFzczp3b3Jk"),
        Some("Basic "),
    ] {
        let headers: Vec<_> = sent
            .map(|sent| ("Authorization", sent))
            .into_iter()
            .collect();
        let answer = api.send("POST", "tenants/T", &headers, "").await;
        assert_eq!(answer.status, 401, "{sent:?}");
        assert!(answer.headers["www-authenticate"].starts_with("Basic"));
        answer.error();
    }
    let right = [("Authorization", "Basic YWRtaW46cGFzczp3b3Jk")];
    assert_eq!(api.send("POST", "tenants/T", &right, "").await.status, 201);
}

#[tokio::test]
async fn what_is_kept_in_a_file_outlives_the_registry_with_its_versions() {
    let name = format!("sandbox-data-{}.db", uuid::Uuid::new_v4());
    let file = env::temp_dir().join(name);
    let api = Api::on(&file).await;
    api.must("POST", "tenants/T", &json!({"ext": {"a": 1}}), 201)
        .await;
    api.must("POST", "tenants/GONE", &json!({}), 201).await;
    api.must("POST", "devices/GONE/d", &json!({}), 201).await;
    for device in ["d", "gone"] {
        api.must("POST", &format!("devices/T/{device}"), &json!({}), 201)
            .await;
    }
    api.must("PUT", "devices/T/d", &json!({"via": ["gw"]}), 204)
        .await;
    let key = BASE64_STANDARD.encode("secret");
    let credentials = json!([{"type": "psk", "auth-id": "a", "secrets": [{"key": key}]}]);
    api.must("PUT", "credentials/T/d", &credentials, 204).await;
    assert_eq!(
        api.send("DELETE", "tenants/GONE", &[], "").await.status,
        204
    );
    assert_eq!(
        api.send("DELETE", "devices/T/gone", &[], "").await.status,
        204
    );
    let resources = ["tenants/T", "devices/T/d", "credentials/T/d"];
    let mut before = Vec::new();
    for resource in resources {
        let read = api.get(resource).await;
        before.push((read.status, read.etag(), read.json()));
    }
    let world = api.sandbox.world().look(World::clone);
    api.sandbox.stop().await;

    let api = Api::on(&file).await;
    let kept = api.sandbox.world().look(World::clone);
    let key = |world: &World| world.tenants["T"].devices["d"].credentials[0].key();
    assert_eq!(key(&kept), key(&world), "adapters get the same key");
    for (resource, before) in resources.iter().zip(&before) {
        let read = api.get(resource).await;
        assert_eq!(
            &(read.status, read.etag(), read.json()),
            before,
            "{resource}"
        );
    }
    for gone in ["tenants/GONE", "devices/GONE/d", "devices/T/gone"] {
        assert_eq!(api.get(gone).await.status, 404, "{gone}");
    }
    let json_type = ("Content-Type", "application/json");
    for (etag, status) in [("another", 412), (before[1].1.as_str(), 204)] {
        let headers = [json_type, ("If-Match", etag)];
        let changed = api.send("PUT", "devices/T/d", &headers, "{}").await;
        assert_eq!(changed.status, status, "If-Match {etag}");
    }
    api.sandbox.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(suffix);
        drop(fs::remove_file(name));
    }
}
