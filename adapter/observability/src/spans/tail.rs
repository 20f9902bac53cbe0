//! Holds the spans of a trace until the first of them ends: what the tenant wants is known only when it was looked up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::{PRIORITY, Sampler, elapsed};

/// Hands whole traces on, or drops them.
#[derive(Debug)]
pub(super) struct Tail<P> {
    next: P,
    sampler: Sampler,
    waiting: Mutex<HashMap<TraceId, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    spans: Vec<SpanData>,
}

impl<P> Tail<P> {
    pub(super) fn new(next: P, sampler: Sampler) -> Self {
        Self {
            next,
            sampler,
            waiting: Mutex::default(),
        }
    }

    /// The trace of a first span, or nothing as long as others are to come.
    fn take(&self, span: SpanData) -> Vec<SpanData> {
        let trace = span.span_context.trace_id();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if span.parent_span_id == SpanId::INVALID {
            let mut spans = waiting
                .remove(&trace)
                .map_or_else(Vec::new, |held| held.spans);
            spans.push(span);
            return spans;
        }
        if waiting.len() >= MAX_TRACES {
            // Spans that ended after the first one of their trace wait for nothing.
            waiting.retain(|_, held| held.since.elapsed() < LONGEST_TRACE);
        }
        if waiting.len() < MAX_TRACES || waiting.contains_key(&trace) {
            let held = waiting.entry(trace).or_insert_with(|| Waiting {
                since: Instant::now(),
                spans: Vec::new(),
            });
            if held.spans.len() < MAX_SPANS {
                held.spans.push(span);
            }
        }
        Vec::new()
    }

    fn keeps(&self, first: &SpanData) -> bool {
        let mut attributes = first.attributes.iter();
        match attributes.find(|attribute| attribute.key.as_str() == PRIORITY) {
            Some(attribute) => attribute.value != Value::I64(0),
            None => self.sampler.keeps(first.span_context.trace_id()),
        }
    }
}

impl<P: SpanProcessor> SpanProcessor for Tail<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        elapsed::correct(&mut span);
        let spans = self.take(span);
        if spans.last().is_some_and(|first| self.keeps(first)) {
            for span in spans {
                self.next.on_end(span);
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// Traces of which the first span has not ended.
const MAX_TRACES: usize = 10_000;
/// Spans of one of them.
const MAX_SPANS: usize = 64;
const LONGEST_TRACE: Duration = Duration::from_secs(600);
