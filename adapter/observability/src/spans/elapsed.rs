//! Lengths of spans by the monotonic clock. Spans begin and end by the wall clock in
//! `tracing-opentelemetry`, so that one that is open while the clock is set would have a negative
//! length, or one of days.
//!
//! ```text
//! close ─> Elapsed (notes the length in this thread) ─> OpenTelemetryLayer ─> Tail: end = start + length
//! ```

use std::cell::Cell;
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Measures spans; stands before the layer that hands them to OpenTelemetry.
#[derive(Debug)]
pub(super) struct Elapsed<C> {
    clock: C,
}

/// When a span began, and how long it took until it was left for the last time.
#[derive(Debug)]
struct Measured {
    began: Instant,
    left_after: Option<Duration>,
}

thread_local! {
    /// Length of the span that is being closed in this thread.
    static CLOSING: Cell<Option<Duration>> = const { Cell::new(None) };
}

impl<C: Fn() -> Instant> Elapsed<C> {
    pub(super) const fn new(clock: C) -> Self {
        Self { clock }
    }
}

impl<S, C> Layer<S> for Elapsed<C>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    C: Fn() -> Instant + 'static,
{
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Measured {
                began: (self.clock)(),
                left_after: None,
            });
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(measured) = span.extensions_mut().get_mut::<Measured>()
        {
            let now = (self.clock)();
            measured.left_after = Some(now.saturating_duration_since(measured.began));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id);
        let measured = span.and_then(|span| span.extensions_mut().remove::<Measured>());
        CLOSING.set(measured.map(|measured| {
            let until_now = || (self.clock)().saturating_duration_since(measured.began);
            measured.left_after.unwrap_or_else(until_now)
        }));
    }
}

/// Lets the span end as long after its start as was measured.
pub(super) fn correct(span: &mut SpanData) {
    if let Some(elapsed) = CLOSING.take() {
        span.end_time = span.start_time + elapsed;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanProcessor};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::spans::{Sampler, TARGET, Tail, layer_of};

    /// Keeps names and lengths.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<(String, Duration)>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

        fn on_end(&self, span: SpanData) {
            let length = span.end_time.duration_since(span.start_time).unwrap();
            self.0
                .lock()
                .unwrap()
                .push((span.name.into_owned(), length));
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// Symptom: a request of three seconds had a span of minus one hour, or of a day, when the
    /// clock was set meanwhile. Cause: the end was read from the wall clock too.
    #[test]
    fn a_span_is_as_long_as_the_monotonic_clock_says() {
        let kept = Kept::default();
        let tail = Tail::new(kept.clone(), Sampler::AlwaysOn);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(tail)
            .build();
        let clock = Arc::new(Mutex::new(Instant::now()));
        let now = Arc::clone(&clock);
        let layer = layer_of(provider.tracer("test"), move || *now.lock().unwrap());
        let pass = |seconds| *clock.lock().unwrap() += Duration::from_secs(seconds);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let first = tracing::info_span!(target: TARGET, "first");
            let inner = first.in_scope(|| tracing::info_span!(target: TARGET, "inner"));
            pass(3);
            inner.in_scope(|| pass(4));
            // Nothing happens in it any more, but it is kept.
            pass(5);
            drop(inner);
            first.in_scope(|| ());
        });
        let expected = [
            ("inner".to_owned(), Duration::from_secs(7)),
            ("first".to_owned(), Duration::from_secs(12)),
        ];
        assert_eq!(*kept.0.lock().unwrap(), expected);
    }
}
