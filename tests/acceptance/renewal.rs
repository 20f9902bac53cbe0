//! A certificate is replaced on disk while devices are served.

use std::{fs, sync::Arc, time::Duration};

use acceptance::{
    pki::{Authority, Folder, Issued},
    stand::{Stand, page},
};
use dtls_client::{Config, Identity};
use sandbox::{
    device::Device as Client,
    northbound::Behaviour,
    world::{Device, Tenant, World},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::scene::{SOON, application, is_served};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_handshake_gets_the_new_certificate_and_sessions_stay() {
    let scene = Scene::start("renewed", "60000").await;
    let mut application = application(&scene.stand, "T", Behaviour::Accept).await;
    let mut old = scene.connect(&scene.first).await.unwrap();
    assert!(scene.connect(&scene.second).await.is_err());
    scene.publish(&scene.second);
    scene.stand.app().reload().now().await;
    scene.is_shown(&scene.second).await;
    assert!(scene.connect(&scene.first).await.is_err());
    is_served(&mut old, &mut application, "from a session that stays").await;
    scene.counted("used").await;
    scene.stand.stop().await;
}

/// The adapter looks by itself, and a certificate with the key of another changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one() {
    let scene = Scene::start("unusable", "20").await;
    let mut application = application(&scene.stand, "T", Behaviour::Accept).await;
    let torn = Issued {
        key: scene.first.key.clone(),
        ..scene.second.clone()
    };
    scene.publish(&torn);
    scene.counted("failed").await;
    let mut device = scene.connect(&scene.first).await.unwrap();
    is_served(&mut device, &mut application, "as ever").await;
    scene.publish(&scene.second);
    scene.is_shown(&scene.second).await;
    scene.stand.stop().await;
}

/// An adapter with the first of two certificates, and a device that knows which one it wants to see.
struct Scene {
    folder: Folder,
    stand: Stand,
    first: Issued,
    second: Issued,
    device: Issued,
}

impl Scene {
    async fn start(name: &str, interval: &str) -> Self {
        let (servers, devices) = (Authority::new("Servers"), Authority::new("Devices"));
        let trusted = json!({"trusted-ca": [devices.trusted(&json!({}))]});
        let device = Device::default().with_certificate("CN=Device,OU=Works,O=ACME");
        let mut world = World::empty();
        world.tenants.insert(
            "T".to_owned(),
            Tenant::from_json(trusted).with_device("d", device),
        );
        let first = servers.issue("server");
        let folder = Folder::new(name).unwrap();
        let files = [
            ("server.pem", &first.certificate),
            ("server.key", &first.key),
        ];
        let [certificate, key] = files.map(|(name, text)| folder.file(name, text).unwrap());
        let settings = [
            ("HONO_COAP_KEYPATH", key.as_str()),
            ("HONO_COAP_CERTPATH", &certificate),
            ("HONO_APP_RELOADINTERVAL", interval),
        ];
        Self {
            stand: Stand::start(world, &settings).await.unwrap(),
            folder,
            first,
            second: servers.issue("server"),
            device: devices.issue("Device"),
        }
    }

    /// Each file is replaced as a whole; between the two, key and certificate may not belong together.
    fn publish(&self, issued: &Issued) {
        for (name, text) in [
            ("server.key", &issued.key),
            ("server.pem", &issued.certificate),
        ] {
            let new = self.folder.file("new", text).unwrap();
            fs::rename(new, self.folder.path().join(name)).unwrap();
        }
    }

    /// A session, if the server shows this certificate.
    async fn connect(&self, shown: &Issued) -> Result<Client, sandbox::device::Error> {
        let identity = |issued: &Issued| {
            Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap()
        };
        let mut config = Config::with_certificate(Arc::new(identity(&self.device)));
        config.server_certificate = identity(shown).chain().first().cloned();
        Client::connect_with(self.stand.coaps(), config, SOON).await
    }

    async fn is_shown(&self, issued: &Issued) {
        let shown = async { while self.connect(issued).await.is_err() {} };
        timeout(SOON, shown).await.unwrap();
    }

    /// Waits until a reload of the certificate has ended so.
    async fn counted(&self, result: &str) {
        let none = format!(r#"result="{result}",what="server_identity"}} 0"#);
        let waiting = async {
            while self.metrics().await.contains(&none) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, waiting).await.unwrap();
    }

    async fn metrics(&self) -> String {
        let server = self.stand.app().health_address();
        page(server, "/prometheus").await.unwrap().1
    }
}
