//! Sends spans to an OTLP receiver: protobuf over HTTP/1.1 (OTLP 1.x, "OTLP/HTTP"), which needs nothing but the HTTP client that
//! is there anyway; gRPC would drag in HTTP/2.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use amqp_client::{ConfigError, Connector, TlsConfig};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// An OTLP receiver.
#[derive(Debug)]
pub(super) struct Exporter {
    target: std::sync::Arc<Target>,
    resource: Mutex<ResourceAttributesWithSchema>,
    /// The SDK exports from a thread of its own.
    runtime: Handle,
}

#[derive(Debug)]
struct Target {
    connector: Connector,
    authority: String,
    path: String,
}

/// Spans cannot be sent there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is no URL.
    #[error(
        "`quarkus.otel.exporter.otlp.endpoint` is `{0}`, but should be the URL of an OTLP/HTTP receiver such as `http://collector:4318`"
    )]
    Url(String),
    /// TLS cannot be spoken.
    #[error("the OTLP receiver cannot be reached by TLS")]
    Tls(#[from] ConfigError),
}

/// Whether spans can be exported to this endpoint.
pub(super) fn check(endpoint: &str) -> Result<(), EndpointError> {
    Target::of(endpoint).map(drop)
}

impl Exporter {
    pub(super) fn new(endpoint: &str) -> Result<Self, EndpointError> {
        let target = std::sync::Arc::new(Target::of(endpoint)?);
        Ok(Self {
            target,
            resource: Mutex::default(),
            runtime: Handle::current(),
        })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let request = {
            let resource = self.resource.lock().unwrap_or_else(PoisonError::into_inner);
            ExportTraceServiceRequest {
                resource_spans: group_spans_by_resource_and_scope(batch, &resource),
            }
        };
        let target = std::sync::Arc::clone(&self.target);
        let sending = async move {
            let sending = target.post(request.encode_to_vec());
            timeout(DEADLINE, sending)
                .await
                .unwrap_or(Err("no answer in time".into()))
        };
        let sent = self.runtime.spawn(sending).await;
        sent.unwrap_or_else(|error| Err(error.into())).map_err(|error| {
            tracing::warn!(%error, spans, "dropped spans: the OTLP receiver did not accept them");
            OTelSdkError::InternalFailure(error.to_string())
        })
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = Mutex::new(resource.into());
    }
}

impl Target {
    fn of(endpoint: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url(endpoint.to_owned());
        let uri: Uri = endpoint.trim().parse().map_err(|_| wrong())?;
        let (host, authority) = (
            uri.host().ok_or_else(wrong)?,
            uri.authority().ok_or_else(wrong)?,
        );
        let (tls, standard) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(TlsConfig::default()), 443),
            _ => return Err(wrong()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(standard);
        Ok(Self {
            connector: Connector::new(host, port, tls.as_ref())?,
            authority: authority.to_string(),
            path: format!("{}/v1/traces", uri.path().trim_end_matches('/')),
        })
    }

    /// A connection for each batch: they are seconds apart.
    async fn post(&self, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(body)))?;
        let stream = self.connector.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let response = tokio::select! {
            biased;
            response = &mut answer => response?,
            _ = connection => answer.await?,
        };
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answers {status}").into()),
        }
    }
}

/// How long a batch may take.
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_to_which_the_path_is_added() {
        let rows = [
            ("http://collector:4318", "collector:4318", "/v1/traces"),
            ("http://[::1]:4318/otlp/", "[::1]:4318", "/otlp/v1/traces"),
            ("https://collector", "collector", "/v1/traces"),
        ];
        for (endpoint, authority, path) in rows {
            let target = Target::of(endpoint).unwrap();
            assert_eq!(
                (target.authority.as_str(), target.path.as_str()),
                (authority, path)
            );
        }
        for wrong in ["collector", "/v1", "ftp://collector", ""] {
            let told = Target::of(wrong).unwrap_err().to_string();
            assert!(told.contains("OTLP/HTTP receiver such as"), "{told}");
        }
    }
}
