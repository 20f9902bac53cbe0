//! Devices prove who they are with certificates; which tenant they belong to, and under which name, follows from the certificate
//! (spec: coap-adapter §9).

use std::{sync::Arc, time::Duration, time::SystemTime};

use acceptance::{
    pki::{Authority, Folder, Issued},
    stand::{Stand, page},
};
use dtls_client::{CipherSuite, Config, Identity, Mischief, Psk, SignatureScheme};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use sandbox::{
    device::{CoapRequest, Device as Client, Error},
    northbound::Behaviour,
    world::{Device, Tenant, World},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::scene::{POLL, SOON, application, session, told, workspace};

/// Who issues what to whom.
struct Cast {
    /// Trusted by `PLAIN`.
    plain: Authority,
    /// Trusted by `NAMED`, which makes auth-ids by a template.
    named: Authority,
    /// Trusted by `PICKY`, whose template wants what no subject has.
    picky: Authority,
    /// Trusted by `ONE` and `TWO`.
    shared: Authority,
    /// Trusted by `OPEN`, which takes in devices that it does not know.
    open: Authority,
    /// Trusted by `OFF`, which is disabled.
    off: Authority,
    /// Trusted by nobody.
    nobody: Authority,
}

impl Cast {
    fn new() -> Self {
        Self {
            plain: Authority::new("Plain"),
            named: Authority::new("Named"),
            picky: Authority::new("Picky"),
            shared: Authority::new("Shared"),
            open: Authority::new("Open"),
            off: Authority::new("Off"),
            nobody: Authority::new("Nobody"),
        }
    }

    fn world(&self) -> World {
        let known = || Device::default().with_certificate(DEVICE);
        let mut disabled = Device::default().with_certificate("CN=Disabled,OU=Works,O=ACME");
        disabled.credentials[0].disabled = true;
        let mut text_only = self.plain.trusted(&json!({}));
        text_only
            .as_object_mut()
            .unwrap()
            .remove("subject-dn-bytes");
        // A registry that knows another certificate than the one that the device shows; it is asked about it only where devices are
        // taken in.
        let another = |auth_id: &str| {
            let mut device = Device::default().with_certificate(auth_id);
            let ext = &mut device.credentials[0].ext;
            ext.insert("client-certificate".to_owned(), json!("another"));
            device
        };
        let template = json!({"auth-id-template": "{{subject-cn}} of {{subject-ou}}"});
        let mut world = World::empty();
        let mut add = |id: &str, members: Value, devices: Vec<(&str, Device)>| {
            let tenant = devices
                .into_iter()
                .fold(Tenant::from_json(members), |tenant, (id, device)| {
                    tenant.with_device(id, device)
                });
            world.tenants.insert(id.to_owned(), tenant);
        };
        let trusting = |entry: Value| json!({"trusted-ca": [entry]});
        add(
            "PLAIN",
            trusting(text_only),
            vec![
                ("d", another(DEVICE).with_psk("sensor", "k")),
                ("disabled", disabled),
            ],
        );
        add(
            "NAMED",
            trusting(self.named.trusted(&template)),
            vec![("d", Device::default().with_certificate("Device 1 of Works"))],
        );
        let impossible = json!({"auth-id-template": "{{serial-number}}"});
        add(
            "PICKY",
            trusting(self.picky.trusted(&impossible)),
            vec![("d", known())],
        );
        for (id, alias) in [("ONE", "first"), ("TWO", "second")] {
            let anchor = self.shared.trusted(&json!({}));
            add(
                id,
                json!({"trusted-ca": [anchor], "trust-anchor-group": "g", "alias": alias}),
                vec![("d", known())],
            );
        }
        let takes_in = json!({"auto-provisioning-enabled": true});
        add(
            "OPEN",
            trusting(self.open.trusted(&takes_in)),
            vec![
                ("d", known()),
                ("other", another("CN=Other,OU=Works,O=ACME")),
            ],
        );
        add(
            "OFF",
            json!({"enabled": false, "trusted-ca": [self.off.trusted(&json!({}))]}),
            vec![("d", known())],
        );
        world
    }

    async fn stand(&self, folder: &Folder) -> Stand {
        stand_with(self.world(), &self.nobody.issue("server"), folder, &[]).await
    }
}

/// An adapter with this certificate and key, and further settings.
async fn stand_with(
    world: World,
    server: &Issued,
    folder: &Folder,
    further: &[(&str, &str)],
) -> Stand {
    let key = folder.file("server.key", &server.key).unwrap();
    let certificate = folder.file("server.pem", &server.certificate).unwrap();
    let settings = [
        ("HONO_COAP_KEYPATH", key.as_str()),
        ("HONO_COAP_CERTPATH", &certificate),
    ];
    let settings = [&settings[..], further].concat();
    Stand::start(world, &settings).await.unwrap()
}

/// Waits until the adapter has counted a handshake that failed for this reason, which may be a moment
/// after the device got its alert.
async fn wait_until_counted(stand: &Stand, reason: &str) {
    let counted = async {
        while !counts(stand, reason).await {
            sleep(POLL).await;
        }
    };
    let counted = timeout(SOON, counted).await;
    assert!(counted.is_ok(), "no failure is counted as {reason}");
}

/// Whether the adapter has counted a handshake that failed for this reason.
async fn counts(stand: &Stand, reason: &str) -> bool {
    let (_, page) = page(stand.app().health_address(), "/prometheus")
        .await
        .unwrap();
    let label = format!("reason=\"{reason}\"");
    let mut lines = page.lines().filter(|line| line.contains(&label));
    lines.any(|line| !line.ends_with(" 0"))
}

fn config(issued: &Issued) -> Config {
    let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes());
    Config::with_certificate(Arc::new(identity.unwrap()))
}

fn naming(issued: &Issued, host: &str) -> Config {
    let mut config = config(issued);
    config.server_name = Some(host.to_owned());
    config
}

/// Who the application says the message is from.
async fn sends(stand: &Stand, config: Config, tenant: &str) -> (String, String) {
    let mut application = application(stand, tenant, Behaviour::Accept).await;
    let mut client = Client::connect_with(stand.coaps(), config, SOON)
        .await
        .unwrap();
    let request = CoapRequest::post("t").body(0, "x");
    let response = client.request(&request, SOON).await.unwrap();
    assert_eq!(told(&response), ("2.04".to_owned(), String::new()));
    let sections = application.receive(SOON).await.unwrap().sections;
    let annotation = |name: &str| {
        let value = &sections["message-annotations"][name]["string"];
        value.as_str().unwrap().to_owned()
    };
    client.close().await;
    (annotation("tenant_id"), annotation("device_id"))
}

/// Shakes hands and tells the suite.
async fn suite_of(stand: &Stand, config: Config) -> String {
    let client = Client::connect_with(stand.coaps(), config, SOON)
        .await
        .unwrap();
    let suite = client.suite().unwrap().to_owned();
    client.close().await;
    suite
}

/// How the server refuses to shake hands.
pub(crate) async fn refusal(stand: &Stand, config: Config) -> String {
    match Client::connect_with(stand.coaps(), config, SOON).await {
        Err(Error::Handshake { reason, .. }) => reason,
        other => panic!("it is not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuer_or_else_the_host_name_tells_the_tenant() {
    let (cast, folder) = (Cast::new(), Folder::new("issuers").unwrap());
    let stand = cast.stand(&folder).await;
    let issued =
        [&cast.plain, &cast.named, &cast.shared, &cast.open].map(|it| it.issue("Device 1"));
    let [plain, named, shared, open] = &issued;
    let rows = [
        ("PLAIN", config(plain)),
        // The issuer counts, whatever host is named.
        ("PLAIN", naming(plain, "ONE.example.org")),
        ("NAMED", config(named)),
        ("ONE", naming(shared, "ONE.example.org")),
        ("TWO", naming(shared, "TWO.example.org")),
        ("TWO", naming(shared, "second.example.org")),
        ("OPEN", config(open)),
    ];
    for (tenant, config) in rows {
        let from = sends(&stand, config, tenant).await;
        assert_eq!(from, (tenant.to_owned(), "d".to_owned()));
    }
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_suite_with_certificates_is_served() {
    let (cast, folder) = (Cast::new(), Folder::new("suites").unwrap());
    let stand = cast.stand(&folder).await;
    let config = config(&cast.plain.issue("Device 1"));
    for suite in config.suites.clone() {
        let mut only = config.clone();
        only.suites = vec![suite];
        assert_eq!(suite_of(&stand, only).await, suite.to_string());
    }
    stand.stop().await;
}

/// Hono accepts what `openssl x509 -req` makes without `-extfile`, and so do we; it was refused as unreadable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_version_1_are_accepted_unless_switched_off() {
    let (cast, folder) = (Cast::new(), Folder::new("version-1").unwrap());
    let server = cast.nobody.issue("server");
    let known = config(&cast.plain.issue_v1("Device 1"));
    let forged = config(&Authority::new("Plain").issue_v1("Device 1"));
    let refused = "PeerAlert(bad_certificate(42))";

    let stand = stand_with(cast.world(), &server, &folder, &[]).await;
    let from = sends(&stand, known.clone(), "PLAIN").await;
    assert_eq!(from, ("PLAIN".to_owned(), "d".to_owned()));
    assert_eq!(refusal(&stand, forged).await, refused);
    wait_until_counted(&stand, "certificate-bad-signature").await;
    stand.stop().await;

    let off = [("HONO_COAP_DTLSCERTIFICATEV1", "false")];
    let stand = stand_with(cast.world(), &server, &folder, &off).await;
    assert_eq!(refusal(&stand, known).await, refused);
    wait_until_counted(&stand, "certificate-version").await;
    stand.stop().await;
}

/// An OCSP responder cannot be named by a certificate without extensions, so where the tenant demands the check it stays closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_version_1_does_not_escape_ocsp() {
    let (cast, folder) = (Cast::new(), Folder::new("version-1-ocsp").unwrap());
    let mut world = World::empty();
    let entry = cast
        .plain
        .trusted(&json!({"ocsp-revocation-enabled": true}));
    let tenant = Tenant::from_json(json!({"trusted-ca": [entry]}))
        .with_device("d", Device::default().with_certificate(DEVICE));
    world.tenants.insert("PLAIN".to_owned(), tenant);
    let stand = stand_with(world, &cast.nobody.issue("server"), &folder, &[]).await;
    let told = refusal(&stand, config(&cast.plain.issue_v1("Device 1"))).await;
    assert_eq!(told, "PeerAlert(bad_certificate(42))");
    wait_until_counted(&stand, "revocation-unknown").await;
    stand.stop().await;
}

/// A key on P-384, as Hono's demo certificates have, locked out all devices that accept SHA-256 only, and a device key on P-521
/// was never accepted. The reason named a cipher suite for pre-shared keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_on_large_curves_are_served_and_a_missing_signature_is_named() {
    let stored = |pem: &str| Issued {
        certificate: pem.to_owned(),
        key: pem.to_owned(),
    };
    let large = stored(include_str!(
        "../../protocols/dtls-proto/tests/identities/p521.pem"
    ));
    let (_, own) = x509_parser::pem::parse_x509_pem(large.certificate.as_bytes()).unwrap();
    // It is signed by itself, by ECDSA with SHA-512.
    let entry = acceptance::pki::trusted("CN=p521", &own.contents, "EC", &json!({}));
    let mut world = World::empty();
    let tenant = Tenant::from_json(json!({"trusted-ca": [entry]}))
        .with_device("d", Device::default().with_certificate("CN=p521"));
    world.tenants.insert("LARGE".to_owned(), tenant);
    let folder = Folder::new("large").unwrap();
    let server = stored(include_str!(
        "../../protocols/dtls-proto/tests/identities/p384.pem"
    ));
    let stand = stand_with(world, &server, &folder, &[]).await;

    let mut device = config(&large);
    // Californium's: ECDSA and RSA with SHA-256.
    device.signature_schemes = vec![SignatureScheme::ECDSA_SHA256, SignatureScheme(0x0401)];
    let from = sends(&stand, device.clone(), "LARGE").await;
    assert_eq!(from, ("LARGE".to_owned(), "d".to_owned()));
    device.signature_schemes = vec![SignatureScheme(0x0401)];
    let told = refusal(&stand, device).await;
    assert_eq!(told, "PeerAlert(handshake_failure(40))");
    wait_until_counted(&stand, "no-shared-signature").await;
    assert!(!counts(&stand, "no-shared-suite").await);
    stand.stop().await;
}

/// Keys and certificates are served on one port, and the client's order decides between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_key_and_certificate_chooses_what_it_proves_itself_with() {
    let (cast, folder) = (Cast::new(), Folder::new("both").unwrap());
    let stand = cast.stand(&folder).await;
    let mut config = config(&cast.plain.issue("Device 1"));
    config.identity = b"sensor@PLAIN".to_vec();
    config.key = Psk::from(&b"k"[..]);
    config.suites = vec![
        CipherSuite::PskAes128Ccm8,
        CipherSuite::EcdheEcdsaAes128Ccm8,
    ];
    for _ in 0..2 {
        let favourite = config.suites[0].to_string();
        assert_eq!(suite_of(&stand, config.clone()).await, favourite);
        config.suites.reverse();
    }
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_be_trusted_is_told_bad_certificate() {
    let (cast, folder) = (Cast::new(), Folder::new("refused").unwrap());
    let stand = cast.stand(&folder).await;
    let day = Duration::from_secs(24 * 3600);
    let plain = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        config(&cast.plain.issue_with("Device 1", |params| change(params)))
    };
    let mut no_certificate = config(&cast.plain.issue("Device 1"));
    no_certificate.mischief = Mischief::EmptyChain;
    let shared = cast.shared.issue("Device 1");
    let rows = [
        ("no certificate", no_certificate),
        ("issuer of nobody's", config(&cast.nobody.issue("Device 1"))),
        (
            "same issuer name, another key",
            config(&Authority::new("Plain").issue("Device 1")),
        ),
        ("issuer of two tenants, no host", config(&shared)),
        ("host without a dot", naming(&shared, "ONE")),
        ("host of no tenant", naming(&shared, "THREE.example.org")),
        (
            "host of a tenant that does not trust it",
            naming(&shared, "PLAIN.example.org"),
        ),
        (
            "expired",
            plain(&|it| it.not_after = (SystemTime::now() - day / 2).into()),
        ),
        (
            "not valid yet",
            plain(&|it| it.not_before = (SystemTime::now() + day).into()),
        ),
        (
            "may not sign",
            plain(&|it| it.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        ),
        (
            "for servers only",
            plain(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("no credentials", config(&cast.plain.issue("Device 2"))),
        (
            "disabled credentials",
            config(&cast.plain.issue("Disabled")),
        ),
        (
            "credentials of another name by template",
            config(&cast.named.issue("Device 2")),
        ),
        (
            "template that cannot be filled",
            config(&cast.picky.issue("Device 1")),
        ),
        (
            "the registry knows another certificate",
            config(&cast.open.issue("Other")),
        ),
    ];
    for (what, config) in rows {
        // RFC 5246 §7.4.6.
        let alert = match what {
            "no certificate" => "PeerAlert(handshake_failure(40))",
            _ => "PeerAlert(bad_certificate(42))",
        };
        let told = refusal(&stand, config).await;
        assert_eq!(told, alert, "{what}");
    }
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_certificate_is_of_no_use() {
    let (cast, folder) = (Cast::new(), Folder::new("stolen").unwrap());
    let stand = cast.stand(&folder).await;
    let mut config = config(&cast.plain.issue("Device 1"));
    config.mischief = Mischief::WrongCertificateVerify;
    let told = refusal(&stand, config).await;
    assert_eq!(told, "PeerAlert(decrypt_error(51))");
    stand.stop().await;
}

/// As with keys, the handshake asks only who it is; each request asks the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_tenant_is_told_so_by_the_answer_to_a_request() {
    let (cast, folder) = (Cast::new(), Folder::new("disabled").unwrap());
    let stand = cast.stand(&folder).await;
    let config = config(&cast.off.issue("Device 1"));
    let mut client = Client::connect_with(stand.coaps(), config, SOON)
        .await
        .unwrap();
    let request = CoapRequest::post("t").body(0, "x");
    let response = client.request(&request, SOON).await.unwrap();
    let text = "tenant is disabled or not registered";
    assert_eq!(told(&response), ("4.03".to_owned(), text.to_owned()));
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_rsa_key_the_server_serves_keys_only() {
    let cast = Cast::new();
    let files = workspace().join("protocols/dtls-proto/tests/identities");
    let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("rsa.key"), path("rsa.crt"));
    let settings = [
        ("HONO_COAP_KEYPATH", key.as_str()),
        ("HONO_COAP_CERTPATH", &certificate),
    ];
    let stand = Stand::start(cast.world(), &settings).await.unwrap();
    let config = config(&cast.plain.issue("Device 1"));
    let told = refusal(&stand, config).await;
    assert_eq!(told, "PeerAlert(handshake_failure(40))");
    session(&stand, "sensor@PLAIN").await.close().await;
    stand.stop().await;
}

const DEVICE: &str = "CN=Device 1,OU=Works,O=ACME";
