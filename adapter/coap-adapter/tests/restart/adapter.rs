//! The binary, time after time at the same place.

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::SOON;

/// Ports and files that stay the same. The files are gone when it is dropped.
pub(crate) struct Place {
    folder: PathBuf,
    amqp: SocketAddr,
    pub(crate) coaps: SocketAddr,
    health: SocketAddr,
}

/// A running adapter. Dropping it kills it.
pub(crate) struct Adapter {
    process: Child,
    health: SocketAddr,
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

impl Place {
    pub(crate) fn new(name: &str, amqp: SocketAddr) -> Self {
        let folder = format!("coap-adapter-restart-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("key"), "5e".repeat(32)).unwrap();
        fs::write(folder.join("tickets"), "71".repeat(32)).unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let health = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            folder,
            amqp,
            coaps: free.local_addr().unwrap(),
            health: health.local_addr().unwrap(),
        }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&self) -> Adapter {
        let adapter = self.spawn();
        adapter.is_ready().await;
        adapter
    }

    /// Starts it with so many shards and waits until it is ready.
    pub(crate) async fn start_with_shards(&self, shards: usize) -> Adapter {
        let adapter = self.spawn_with(&[("HONO_COAP_SHARDS", &shards.to_string())]);
        adapter.is_ready().await;
        adapter
    }

    pub(crate) fn spawn(&self) -> Adapter {
        self.spawn_with(&[])
    }

    fn spawn_with(&self, settings: &[(&str, &str)]) -> Adapter {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coap-adapter"));
        command
            .arg("run")
            .env_clear()
            .env("HONO_COAP_PORT", self.coaps.port().to_string())
            .env("HONO_COAP_CONNECTIONIDLENGTH", "8")
            .env("HONO_COAP_SESSIONSTOREPATH", self.folder.join("sessions"))
            .env("HONO_COAP_SESSIONSTOREKEYPATH", self.folder.join("key"))
            .env("HONO_COAP_TICKETKEYPATH", self.folder.join("tickets"))
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", self.health.port().to_string())
            .env("QUARKUS_LOG_LEVEL", "WARN")
            .envs(settings.iter().copied())
            .envs(sandbox::variables(self.amqp, &PATIENCE));
        command.stdin(Stdio::null()).kill_on_drop(true);
        Adapter {
            process: command.spawn().unwrap(),
            health: self.health,
        }
    }

    pub(crate) fn sessions_are_kept(&self) -> bool {
        self.folder.join("sessions").exists()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Adapter {
    pub(crate) async fn is_ready(&self) {
        let ready = async {
            while !self.page("/readiness").await.as_deref().is_some_and(is_ok) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, ready).await.unwrap();
    }

    /// Tells it to end, and when it has.
    pub(crate) async fn end(mut self, signal: Signal) -> Instant {
        match signal {
            Signal::Kill => self.process.start_kill().unwrap(),
            Signal::Terminate => {
                let id = self.process.id().unwrap().to_string();
                let kill = Command::new("kill").args(["-TERM", &id]).status();
                assert!(kill.await.unwrap().success());
            }
        }
        let status = timeout(SOON, self.process.wait()).await.unwrap().unwrap();
        assert_eq!(status.success(), signal == Signal::Terminate, "{status}");
        Instant::now()
    }

    /// A meter of the DTLS engine, as it is now: it is written twice a second.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let name = format!("coap_adapter_dtls_{name}");
        sleep(Duration::from_secs(1)).await;
        let written = async {
            loop {
                let page = self.page("/prometheus").await.unwrap_or_default();
                let mut lines = page.lines().filter_map(|line| line.strip_prefix(&name));
                // Behind the name are labels.
                let line = lines.find(|line| line.starts_with(['{', ' ']));
                let value = line.and_then(|line| line.split(' ').next_back()?.parse::<f64>().ok());
                if let Some(value) = value {
                    return value as u64;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, written).await.unwrap()
    }

    /// What a GET request gets, head and all.
    async fn page(&self, path: &str) -> Option<String> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.health).await?;
            let request = format!("GET {path} HTTP/1.0\r\nhost: adapter\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        exchange.await.ok()
    }
}

fn is_ok(answer: &str) -> bool {
    answer.split(' ').nth(1) == Some("200")
}

const PATIENCE: [(&str, &str); 2] = [("FLOWLATENCY", "5000"), ("REQUESTTIMEOUT", "5000")];
