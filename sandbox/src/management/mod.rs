//! The device registry's HTTP management API, version 1 (spec: registry-apis part C): tenants, devices and credentials, in memory
//! or in a file.
//!
//! Every change is effective from the next request to the registry, and is sent to the receivers of
//! notifications.

mod credentials;
mod devices;
mod failure;
mod origin;
mod request;
mod search;
mod secrets;
mod subject;
mod tenants;
mod trust;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{hmac, rand::SystemRandom};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use self::failure::Failure;
use crate::world::{Change, SharedWorld, World};

/// Where the management API listens and who may use it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManagementConfig {
    /// Its address; port 0 takes any free one.
    pub address: SocketAddr,
    /// Who may use it; none lets everybody who reaches the address.
    pub login: Option<Login>,
}

impl ManagementConfig {
    /// An API that everybody who reaches `address` may use.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            login: None,
        }
    }
}

/// A user name and a password, sent with Basic authentication. `Debug` does not tell the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// A user with a password.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }

    fn is_sent(&self, headers: &HeaderMap) -> bool {
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, login)| BASE64_STANDARD.decode(login.trim()).ok());
        let expected = format!("{}:{}", self.user, self.password);
        sent.is_some_and(|sent| is_same(&sent, expected.as_bytes()))
    }
}

/// Compares in a time that does not depend on where the two differ: not they are compared, but
/// their authentication codes under a random key.
fn is_same(sent: &[u8], expected: &[u8]) -> bool {
    let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()) else {
        return false;
    };
    hmac::verify(&key, sent, hmac::sign(&key, expected).as_ref()).is_ok()
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A listening API. Dropping it ends it.
pub(crate) struct Management {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Management {
    pub(crate) async fn start(config: ManagementConfig, world: SharedWorld) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let router = routes(
            world,
            Gate {
                bound: address,
                login: config.login,
            },
        );
        let serving = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::warn!(%error, "the management API ended");
            }
        });
        Ok(Self {
            address,
            stop,
            serving,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if timeout(STOP_WITHIN, &mut self.serving).await.is_err() {
            tracing::warn!("requests to the management API did not end in time");
        }
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.abort();
    }
}

fn routes(world: SharedWorld, gate: Gate) -> Router {
    let tenant = get(tenants::read)
        .post(tenants::create_named)
        .put(tenants::update)
        .delete(tenants::delete);
    let devices = get(devices::search)
        .post(devices::create)
        .delete(devices::delete_all);
    let device = get(devices::read)
        .post(devices::create_named)
        .put(devices::update)
        .delete(devices::delete);
    Router::new()
        .route("/v1/tenants", get(tenants::search).post(tenants::create))
        .route("/v1/tenants/{tenant}", tenant)
        .route("/v1/devices/{tenant}", devices)
        .route("/v1/devices/{tenant}/{device}", device)
        .route(
            "/v1/credentials/{tenant}/{device}",
            get(credentials::read).put(credentials::update),
        )
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "no such resource"))
        .method_not_allowed_fallback(async || {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::new(gate), check))
        .with_state(world)
}

/// What a request needs to come in.
#[derive(Debug)]
struct Gate {
    bound: SocketAddr,
    login: Option<Login>,
}

/// Refuses requests that are not meant for this API, or lack the login that it wants.
async fn check(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if let Err(failure) = origin::check(request.headers(), gate.bound) {
        return failure.into_response();
    }
    match &gate.login {
        Some(login) if !login.is_sent(request.headers()) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"Hono\"")];
            let failure = Failure::new(StatusCode::UNAUTHORIZED, "unauthorized");
            (challenge, failure).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Changes the world, if it can be.
fn attempt<R>(
    world: &SharedWorld,
    change: impl FnOnce(&mut World) -> Result<(R, Vec<Change>), Failure>,
) -> Result<R, Failure> {
    let applied = world.apply(|world| match change(world) {
        Ok((result, changes)) => (Ok(result), changes),
        Err(failure) => (Err(failure), Vec::new()),
    });
    applied.unwrap_or_else(|_logged| {
        let text = "the change cannot be stored";
        Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text))
    })
}

/// Hono's `maxPayloadSize`.
const MAX_BODY: usize = 16_000;
const STOP_WITHIN: Duration = Duration::from_secs(2);
