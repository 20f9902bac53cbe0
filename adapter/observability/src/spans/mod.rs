//! Spans for traces (spec: metrics-health §4): what is done with a request and how long each step takes, exported by OTLP.
//!
//! They are spans of `tracing` under a target of their own, which nobody listens to unless an OTLP receiver is configured.
//!
//! ```text
//! span!(target: TARGET) ─> tracing-opentelemetry ─> Tail: whole traces, as tenant or sampler want ─> batches ─> Exporter
//! ```

mod elapsed;
mod export;
mod sampler;
mod tail;

use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use registry_client::tenant::Sampling;
use tracing::Span;
#[doc(hidden)]
pub use tracing::info_span;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

pub use self::export::EndpointError;
pub use self::sampler::Sampler;
use self::{elapsed::Elapsed, export::Exporter, tail::Tail};
use crate::COMPONENT;

/// The target of all spans for traces.
pub const TARGET: &str = "coap_adapter::trace";

/// A span for traces: its name in traces, and fields.
#[macro_export]
macro_rules! trace_span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::spans::info_span!(
            target: $crate::spans::TARGET,
            "trace",
            otel.name = $name,
            $($($fields)*)?
        )
    };
}
pub use crate::trace_span;

/// What exports spans. Spans that wait are exported when it is [stopped](Traces::stop).
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Why no spans can be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracesError {
    /// The receiver's URL.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Traces {
    /// Exports to the configured receiver; nothing, if there is none. Needs a tokio runtime.
    ///
    /// # Errors
    /// The endpoint cannot be understood.
    pub fn start(endpoint: Option<&str>, sampler: Sampler) -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = endpoint else {
            return Ok(None);
        };
        let batches = BatchSpanProcessor::builder(Exporter::new(endpoint)?).build();
        let resource = Resource::builder_empty()
            .with_attributes([KeyValue::new("service.name", SERVICE)])
            .build();
        let provider = SdkTracerProvider::builder()
            // All are recorded; which traces are exported is known at their end. Else the SDK asks the environment.
            .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOn)
            .with_span_processor(Tail::new(batches, sampler))
            .with_resource(resource)
            .build();
        Ok(Some(Self { provider }))
    }

    /// Whether spans can be exported as configured; nothing is sent.
    ///
    /// # Errors
    /// The endpoint cannot be understood.
    pub fn check(endpoint: Option<&str>) -> Result<(), TracesError> {
        match endpoint {
            Some(endpoint) => Ok(export::check(endpoint)?),
            None => Ok(()),
        }
    }

    /// What takes the spans from `tracing`.
    #[must_use]
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        layer_of(self.provider.tracer(COMPONENT), Instant::now)
    }

    /// Exports what waits. May block for seconds.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Hands spans for traces to the tracer; `clock` measures how long they are.
fn layer_of(
    tracer: SdkTracer,
    clock: impl Fn() -> Instant + Send + Sync + 'static,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    Elapsed::new(clock)
        .and_then(spans)
        .with_filter(filter_fn(|metadata| metadata.target() == TARGET))
        .boxed()
}

/// Notes what the tenant wants to be traced; the span must be the first of its trace.
pub fn prioritise(span: &Span, sampling: Sampling) {
    match sampling {
        Sampling::All => span.record(PRIORITY, 1),
        Sampling::None => span.record(PRIORITY, 0),
        Sampling::Default => return,
    };
}

/// The attribute by which a trace is kept or dropped.
const PRIORITY: &str = "sampling.priority";

/// Hono's service name.
const SERVICE: &str = "hono-adapter-coap";
