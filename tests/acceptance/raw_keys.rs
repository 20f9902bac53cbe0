//! Devices prove who they are with bare keys (RFC 7250), where the operator lets them.

use std::sync::Arc;

use acceptance::{
    pki::{Authority, Folder},
    stand::Stand,
};
use dtls_client::{CertificateKind, Config, Identity};
use sandbox::{
    device::{CoapRequest, Device as Client},
    northbound::Behaviour,
    world::{Credentials, Device, Tenant, World},
};

use crate::{
    certificates::refusal,
    scene::{SOON, application, told},
};

fn identity() -> Arc<Identity> {
    let issued = Authority::new("Nobody").issue("Device");
    let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes());
    Arc::new(identity.unwrap())
}

/// A device that is known by one key and has another, or the same.
fn device(called: &Identity, key: &Identity) -> Device {
    let digest = ring::digest::digest(&ring::digest::SHA256, called.public_key());
    let auth_id: String = digest
        .as_ref()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    // The key is told as that of a pre-shared one is.
    let mut credentials = Credentials::psk(auth_id, key.public_key());
    credentials.kind = "rpk".to_owned();
    let mut device = Device::default();
    device.credentials.push(credentials);
    device
}

async fn stand(world: World, enabled: bool, folder: &Folder) -> Stand {
    let server = Authority::new("Servers").issue("adapter");
    let key = folder.file("server.key", &server.key).unwrap();
    let chain = folder.file("server.pem", &server.certificate).unwrap();
    let settings = [
        ("HONO_COAP_KEYPATH", key.as_str()),
        ("HONO_COAP_CERTPATH", &chain),
        (
            "HONO_COAP_DTLSRAWPUBLICKEYS",
            if enabled { "true" } else { "false" },
        ),
    ];
    Stand::start(world, &settings).await.unwrap()
}

fn config(identity: &Arc<Identity>, host: Option<&str>) -> Config {
    let mut config = Config::with_certificate(Arc::clone(identity));
    config.certificate_kind = CertificateKind::RawPublicKey;
    config.server_name = host.map(str::to_owned);
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_key_that_the_registry_knows_is_a_device_of_the_tenant_that_it_names() {
    let [known, changed, stranger] = [(); 3].map(|()| identity());
    let tenant = Tenant::default()
        .with_device("d", device(&known, &known))
        .with_device("changed", device(&changed, &stranger));
    let mut world = World::empty();
    world.tenants.insert("T".to_owned(), tenant);
    world.tenants.insert("OTHER".to_owned(), Tenant::default());
    let folder = Folder::new("raw-keys").unwrap();
    let stand = stand(world, true, &folder).await;

    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let host = Some("T.example.org");
    let mut client = Client::connect_with(stand.coaps(), config(&known, host), SOON)
        .await
        .unwrap();
    let request = CoapRequest::post("t").body(0, "x");
    let response = client.request(&request, SOON).await.unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    let sections = application.receive(SOON).await.unwrap().sections;
    assert_eq!(sections["message-annotations"]["device_id"]["string"], "d");

    let rows = [
        ("a key that nobody knows", config(&stranger, host)),
        ("another key under that name", config(&changed, host)),
        ("no host", config(&known, None)),
        ("a host without a dot", config(&known, Some("T"))),
        ("another tenant", config(&known, Some("OTHER.example.org"))),
        ("no tenant", config(&known, Some("NONE.example.org"))),
    ];
    for (what, config) in rows {
        let told = refusal(&stand, config).await;
        assert_eq!(told, "PeerAlert(bad_certificate(42))", "{what}");
    }
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_bare_keys_find_no_suite() {
    let known = identity();
    let tenant = Tenant::default().with_device("d", device(&known, &known));
    let mut world = World::empty();
    world.tenants.insert("T".to_owned(), tenant);
    let folder = Folder::new("no-raw-keys").unwrap();
    let stand = stand(world, false, &folder).await;
    let told = refusal(&stand, config(&known, Some("T.example.org"))).await;
    assert_eq!(told, "PeerAlert(handshake_failure(40))");
    stand.stop().await;
}
