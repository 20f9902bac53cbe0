//! Where a message stands in a distributed trace (W3C Trace Context §3.2).

use std::fmt;

use opentelemetry::trace::{TraceContextExt, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use registry_client::tenant::Sampling;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::spans::Sampler;

/// Names a trace and a span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    /// Whether it is recorded.
    sampled: bool,
}

impl TraceContext {
    /// The current span, if spans are exported; else the start of a trace that nobody records.
    #[must_use]
    pub fn current() -> Self {
        let context = Span::current().context();
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return Self::random();
        }
        Self {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            parent_id: u64::from_be_bytes(span.span_id().to_bytes()),
            sampled: false,
        }
    }

    /// Says whether it is recorded, which `sampler` does if there is one and the tenant does not decide.
    #[must_use]
    pub fn sampled(mut self, sampler: Option<Sampler>, sampling: Sampling) -> Self {
        self.sampled = match (sampler, sampling) {
            (None, _) | (_, Sampling::None) => false,
            (_, Sampling::All) => true,
            (Some(sampler), Sampling::Default) => sampler.keeps(TraceId::from(self.trace_id)),
        };
        self
    }

    /// The start of a trace that nobody records: applications can tell messages by it all the same.
    #[must_use]
    pub fn random() -> Self {
        // The generator asks the kernel for a seed once, not for each number.
        let ids = RandomIdGenerator::default();
        // The standard forbids both to be zero.
        Self {
            trace_id: u128::from_be_bytes(ids.new_trace_id().to_bytes()).max(1),
            parent_id: u64::from_be_bytes(ids.new_span_id().to_bytes()).max(1),
            sampled: false,
        }
    }
}

/// The form of the header `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.parent_id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_the_standard_does() {
        let context = TraceContext {
            trace_id: 0xa4,
            parent_id: 0x37,
            sampled: false,
        };
        assert_eq!(
            context.to_string(),
            "00-000000000000000000000000000000a4-0000000000000037-00"
        );
        assert_ne!(TraceContext::random(), TraceContext::random());
    }
}
