//! TLS towards Prometheus: who is trusted, and what is refused at the start.

use std::{fs, path::PathBuf};

use amqp_client::{ClientIdentity, HostnameVerification, TlsConfig, TlsVersion};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::*;

#[tokio::test]
async fn the_trust_store_s_servers_are_believed_and_no_others() {
    use HostnameVerification::{Required, Skipped};

    let (ours, theirs) = (Authority::new(), Authority::new());
    for (name, authority, verification, verdict) in [
        ("127.0.0.1", &ours, Required, Verdict::Exceeded),
        ("127.0.0.1", &theirs, Required, Verdict::Passes),
        ("127.0.0.1", &theirs, Skipped, Verdict::Passes),
        ("other.example", &ours, Required, Verdict::Passes),
        ("other.example", &ours, Skipped, Verdict::Exceeded),
    ] {
        let (port, _server) = serve(authority, name, None).await;
        let mut tls = TlsConfig::default();
        tls.trust_store = Some(ours.certificate());
        tls.hostname_verification = verification;
        assert_eq!(learnt(port, tls).await, verdict, "{name} {verification:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let authority = Authority::new();
    let (port, _server) = serve(&authority, "127.0.0.1", Some(&authority)).await;
    let mut tls = TlsConfig::default();
    tls.trust_store = Some(authority.certificate());
    tls.versions = vec![TlsVersion::Tls12];
    assert_eq!(learnt(port, tls.clone()).await, Verdict::Passes);
    let (chain, key) = authority.issue("adapter");
    tls.identity = Some(ClientIdentity {
        certificate: authority.file("adapter.pem", &chain),
        key: authority.file("adapter.key", &key.serialize_pem()),
    });
    assert_eq!(learnt(port, tls).await, Verdict::Exceeded);
}

/// Who takes the connection and never shakes hands is given up, and asked again.
#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(silent.local_addr().unwrap().port());
    config.connect_timeout = Duration::from_millis(100);
    config.tls = Some(TlsConfig::default());
    let limits = MessageLimits::start(Some(&config)).unwrap();
    let tenant = tenant("T", 0, 0);
    let mut connections = Vec::new();
    for _ in 0..2 {
        assert_eq!(limits.check(&tenant, 1), Verdict::Passes);
        connections.push(
            timeout(Duration::from_secs(30), silent.accept())
                .await
                .unwrap()
                .unwrap(),
        );
        settle(&limits).await;
    }
}

#[tokio::test]
async fn unusable_settings_stop_the_start() {
    let authority = Authority::new();
    for (host, trust_store, expected) in [
        ("localhost", "none.pem".into(), "cannot read none.pem"),
        (
            "localhost",
            authority.file("empty.pem", ""),
            "no certificate in PEM",
        ),
        (
            "no host",
            authority.certificate(),
            "not a host name: no host",
        ),
    ] {
        let mut tls = TlsConfig::default();
        tls.trust_store = Some(trust_store);
        let mut config = config(1);
        (config.tls, config.host) = (Some(tls), host.to_owned());
        let error = MessageLimits::start(Some(&config)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// What becomes known about a tenant without any volume.
async fn learnt(port: u16, tls: TlsConfig) -> Verdict {
    let mut config = config(port);
    config.tls = Some(tls);
    let limits = MessageLimits::start(Some(&config)).unwrap();
    let tenant = tenant("T", 0, 0);
    assert_eq!(limits.check(&tenant, 1), Verdict::Passes);
    settle(&limits).await;
    limits.check(&tenant, 1)
}

/// Who signs, and where its files are.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        fs::create_dir(&folder).unwrap();
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder }
    }

    fn certificate(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem())
    }

    fn issue(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Answers each request with a consumption of 0, over TLS.
async fn serve(
    authority: &Authority,
    name: &str,
    clients: Option<&Authority>,
) -> (u16, JoinSet<()>) {
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    let (chain, key) = authority.issue(name);
    let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_single_cert(vec![chain], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut client) = acceptor.accept(tcp).await else {
                continue;
            };
            if client.read(&mut [0; 4096]).await.is_err() {
                continue;
            }
            let body = r#"{"data":{"result":[{"value":[1,"0"]}]}}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(answer.as_bytes()).await.ok();
            client.shutdown().await.ok();
        }
    });
    (port, tasks)
}
