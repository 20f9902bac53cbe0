//! Queries to a Prometheus server over HTTP (spec: resource-limits §6): a connection for each, and a deadline for each step.

use std::{fmt, io, net::Ipv6Addr, time::Duration};

use amqp_client::{ConfigError, Connector, UserCredentials};
use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::Serializer;
use http_body_util::Empty;
use hyper::{
    Request,
    body::Bytes,
    header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue},
};
use tokio::time::timeout;

use crate::{
    config::ResourceLimitsConfig,
    http::{ExchangeError, exchange},
};

/// A Prometheus server.
pub(super) struct Prometheus {
    authority: String,
    connector: Connector,
    authorization: Option<HeaderValue>,
    connect_timeout: Duration,
    query_timeout: Option<Duration>,
}

impl Prometheus {
    /// The server of `config`; nothing is connected yet.
    pub(super) fn new(config: &ResourceLimitsConfig) -> Result<Self, ConfigError> {
        let (host, port) = (&config.host, config.port);
        Ok(Self {
            authority: authority(host, port),
            connector: Connector::new(host, port, config.tls.as_ref())?,
            authorization: config.credentials.as_ref().and_then(basic),
            connect_timeout: config.connect_timeout,
            query_timeout: config.query_timeout,
        })
    }

    /// The body of the answer to a query.
    pub(super) async fn query(&self, query: &str) -> Result<Bytes, QueryError> {
        let stream = timeout(self.connect_timeout, self.connector.connect())
            .await
            .map_err(|_| QueryError::ConnectTimedOut)?
            .map_err(QueryError::Connect)?;
        let within = self
            .query_timeout
            .map_or(LONGEST_QUERY, |within| within.saturating_add(GRACE));
        let body = timeout(within, exchange(stream, self.request(query)?))
            .await
            .map_err(|_| QueryError::TimedOut)??;
        Ok(body)
    }

    fn request(&self, query: &str) -> Result<Request<Empty<Bytes>>, QueryError> {
        let mut parameters = Serializer::new(String::new());
        parameters.append_pair("query", query);
        if let Some(timeout) = self.query_timeout {
            parameters.append_pair("timeout", &format!("{}ms", timeout.as_millis()));
        }
        let mut request = Request::post(format!("/api/v1/query?{}", parameters.finish()))
            .header(HOST, &self.authority)
            .header(CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Empty::new()).map_err(QueryError::Request)
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Prometheus")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

/// Why a query gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    /// Nobody is there, or not with the right certificate.
    #[error("cannot connect to Prometheus")]
    Connect(#[source] io::Error),
    /// Nobody answered the connection in time.
    #[error("Prometheus does not answer the connection in time")]
    ConnectTimedOut,
    /// The query cannot be written as a request: the host is no host name.
    #[error("the query is no HTTP request")]
    Request(#[source] hyper::http::Error),
    /// The connection broke, or HTTP is not spoken there.
    #[error("the exchange with Prometheus failed")]
    Exchange(#[source] hyper::Error),
    /// The answer is cut off or far too large.
    #[error("the answer of Prometheus cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer took too long.
    #[error("Prometheus does not answer in time")]
    TimedOut,
    /// The answer is not 200.
    #[error("Prometheus answers {0}")]
    Status(u16),
}

impl From<ExchangeError> for QueryError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Broken(error) => Self::Exchange(error),
            ExchangeError::Status(status) => Self::Status(status.as_u16()),
            ExchangeError::Body(error) => Self::Body(error),
        }
    }
}

/// Host and port as a URI has them.
fn authority(host: &str, port: u16) -> String {
    if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// `None` never happens: base64 is always a header's value.
fn basic(credentials: &UserCredentials) -> Option<HeaderValue> {
    let (user, password) = (&credentials.username, credentials.password.reveal());
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How much longer is waited than Prometheus may take (spec: resource-limits §6).
const GRACE: Duration = Duration::from_millis(100);

/// The deadline where none is configured; Prometheus itself gives up after two minutes.
const LONGEST_QUERY: Duration = Duration::from_secs(130);
