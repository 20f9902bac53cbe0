//! An HTTP server that answers as Prometheus does, or as badly as can be.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};

/// What the server does with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One sample with this value.
    Consumed(&'static str),
    /// 200 and this body.
    Body(&'static str),
    /// Another status.
    Status(u16),
    /// No answer at all.
    Silent,
    /// A head, and never the whole body.
    SilentInBody,
    /// A body without end.
    Endless,
    /// Not HTTP at all, and the end of the connection.
    Raw(&'static [u8]),
    /// No answer until the mode changes.
    Held,
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) authorization: Option<String>,
    pub(super) host: String,
}

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) most_at_a_time: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    mode: watch::Sender<Mode>,
    queries: AtomicUsize,
    running: AtomicUsize,
    most_at_a_time: Arc<AtomicUsize>,
    last: Mutex<Received>,
}

impl Server {
    pub(super) async fn start(mode: Mode) -> Self {
        let most_at_a_time = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            mode: watch::Sender::new(mode),
            queries: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_at_a_time: Arc::clone(&most_at_a_time),
            last: Mutex::default(),
        });
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = http.local_addr().unwrap();
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = front.local_addr().unwrap().port();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(http, router).await.unwrap() });
        tasks.spawn(accept(front, behind, Arc::clone(&shared)));
        Self {
            port,
            most_at_a_time,
            shared,
            _tasks: tasks,
        }
    }

    pub(super) fn change(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    pub(super) fn queries(&self) -> usize {
        self.shared.queries.load(Ordering::SeqCst)
    }

    pub(super) fn last_request(&self) -> Received {
        self.shared.last.lock().unwrap().clone()
    }
}

/// Talks rubbish by itself, and leaves the rest to the HTTP server.
async fn accept(front: TcpListener, behind: std::net::SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = front.accept().await.unwrap();
        let mode = *shared.mode.borrow();
        if let Mode::Raw(bytes) = mode {
            shared.queries.fetch_add(1, Ordering::SeqCst);
            connections.spawn(async move {
                assert!(client.read(&mut [0; 4096]).await.is_ok());
                client.write_all(bytes).await.ok();
            });
            continue;
        }
        connections.spawn(async move {
            let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
            tokio::io::copy_bidirectional(&mut client, &mut server)
                .await
                .ok();
        });
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    *shared.last.lock().unwrap() = received(&request);
    shared.queries.fetch_add(1, Ordering::SeqCst);
    let running = shared.running.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_at_a_time.fetch_max(running, Ordering::SeqCst);
    let mut modes = shared.mode.subscribe();
    let mode = *modes.wait_for(|mode| *mode != Mode::Held).await.unwrap();
    let response = respond(mode).await;
    shared.running.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn respond(mode: Mode) -> Response {
    match mode {
        Mode::Consumed(value) => format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1435781451.781,"{value}"]}}]}}}}"#
        )
        .into_response(),
        Mode::Body(body) => body.into_response(),
        Mode::Status(status) => (StatusCode::from_u16(status).unwrap(), "0").into_response(),
        Mode::SilentInBody => Stuck(Some(Bytes::from_static(b"{"))).into_response(),
        Mode::Endless => Drone.into_response(),
        Mode::Silent | Mode::Raw(_) | Mode::Held => std::future::pending().await,
    }
}

fn received(request: &Request) -> Received {
    let text = |headers: &HeaderMap, name| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let query = request.uri().query().unwrap_or("");
    Received {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        parameters: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        authorization: text(request.headers(), header::AUTHORIZATION),
        host: text(request.headers(), header::HOST).unwrap_or_default(),
    }
}

/// A body that stops after its first bytes, and does not end.
struct Stuck(Option<Bytes>);

/// A body that goes on for ever.
struct Drone;

macro_rules! body {
    ($name:ident, |$self:ident| $frame:expr) => {
        impl hyper::body::Body for $name {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                #[allow(unused_mut, reason = "not each body changes")] mut $self: std::pin::Pin<
                    &mut Self,
                >,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
                match $frame {
                    Some(bytes) => {
                        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes))))
                    }
                    None => std::task::Poll::Pending,
                }
            }
        }

        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                Response::new(Body::new(self))
            }
        }
    };
}

body!(Stuck, |self| self.0.take());
body!(Drone, |self| Some(Bytes::from_static(&[b' '; 4096])));
