//! Starts and stops the peer, and reads what it says.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use amqp_client::{ClientIdentity, ConnectionConfig, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

use super::PATIENCE;

/// A running peer; it ends when it is dropped.
pub(crate) struct Peer {
    process: Child,
    port: u16,
    said: Receiver<Value>,
}

impl Peer {
    /// Starts a peer on any free port. `None`, with a word about it, if there is no proton.
    pub(crate) fn start(outcome: &str, credit: u32, tls: Option<&Files>) -> Option<Self> {
        let python = python();
        let found = Command::new(&python)
            .args(["-c", "import proton"])
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            eprintln!(
                "SKIPPED: this test needs qpid-proton (pip install python-qpid-proton, then PROTON_PYTHON=<that python>)"
            );
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::at(port, outcome, credit, tls)
    }

    /// Starts a peer on this port.
    pub(crate) fn at(port: u16, outcome: &str, credit: u32, tls: Option<&Files>) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proton/peer.py");
        let mut command = Command::new(python());
        command.arg(script);
        command.args([port.to_string(), outcome.to_owned(), credit.to_string()]);
        if let Some(files) = tls {
            command
                .args(["server.pem", "server.key", "ca.pem"].map(|name| files.folder.join(name)));
        }
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut peer = Self {
            process,
            port,
            said,
        };
        peer.next("listening");
        Some(peer)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn config(&self) -> ConnectionConfig {
        ConnectionConfig::new("127.0.0.1", self.port)
    }

    /// The next event of that name; others are passed over.
    pub(crate) fn next(&mut self, event: &str) -> Value {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) if said["event"] == event => return said,
                Ok(_) => {}
                Err(_) => panic!("the peer said nothing of `{event}`"),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Certificates of a CA, a server called `localhost` and a client called `adapter`, in files that go with it.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = env::temp_dir().join(format!("amqp-client-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let write = |name: &str, pem: String| fs::write(folder.join(name), pem).unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = named("ca", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write("ca.pem", params.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(params, ca_key);
        for (name, hosts) in [("server", ["localhost"].as_slice()), ("adapter", &[])] {
            let key = KeyPair::generate().unwrap();
            let certificate = named(name, hosts).signed_by(&key, &issuer).unwrap();
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    /// The settings of the client.
    pub(crate) fn tls(&self) -> TlsConfig {
        let mut tls = TlsConfig::default();
        tls.trust_store = Some(self.folder.join("ca.pem"));
        tls.identity = Some(ClientIdentity {
            certificate: self.folder.join("adapter.pem"),
            key: self.folder.join("adapter.key"),
        });
        tls
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn python() -> String {
    env::var("PROTON_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
