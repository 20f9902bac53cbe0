//! A minimal Prometheus: it answers each query as configured, and records the queries.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

/// Ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    status: u16,
    consumed: u64,
    queries: Vec<String>,
}

impl Prometheus {
    /// Reports this number of consumed bytes for every tenant.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn of(consumed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            status: 200,
            consumed,
            queries: Vec::new(),
        }));
        let state = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            loop {
                // A client that goes away early is no concern of ours.
                if let Ok((stream, _)) = listener.accept().await {
                    drop(answer(stream, &state).await);
                }
            }
        });
        Ok(Self {
            address,
            shared,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// From now on it answers with this status.
    pub fn fail(&self, status: u16) {
        lock(&self.shared).status = status;
    }

    /// The queries so far.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        lock(&self.shared).queries.clone()
    }

    /// Settings of an adapter that uses it.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        settings(self.address.port())
    }
}

/// The settings for a Prometheus at this port of this machine.
#[must_use]
pub fn settings(port: u16) -> Vec<(&'static str, String)> {
    vec![
        (
            "HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST",
            "127.0.0.1".to_owned(),
        ),
        ("HONO_RESOURCELIMITS_PROMETHEUSBASED_PORT", port.to_string()),
        // A busy machine is late.
        (
            "HONO_RESOURCELIMITS_PROMETHEUSBASED_QUERYTIMEOUT",
            "5000".to_owned(),
        ),
    ]
}

async fn answer(mut stream: TcpStream, state: &Mutex<Shared>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let parameters = target.split_once('?').unwrap_or_default().1;
    let query = url::form_urlencoded::parse(parameters.as_bytes())
        .find(|(name, _)| name == "query")
        .map(|(_, query)| query.into_owned());
    let (status, consumed) = {
        let mut state = lock(state);
        state.queries.extend(query);
        (state.status, state.consumed)
    };
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{consumed}"]}}]}}}}"#
    );
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await
}

fn lock(state: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
