//! Handshakes and refused requests by reason. Every reason has its counter from the start, so that rates are right from the first.

use std::sync::atomic::{AtomicU64, Ordering};

use super::page::{Meter, Page};
use crate::reason::{Reason, Stage};

/// One counter for each reason, of handshakes and of requests.
#[derive(Debug)]
pub(super) struct Reasons {
    handshakes: [AtomicU64; Reason::COUNT],
    requests: [AtomicU64; Reason::COUNT],
}

/// What the DTLS engine counts of handshakes that nobody is told of one by one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Handshakes {
    pub(super) established: u64,
    /// Of these, how many resumed a session.
    pub(super) resumed: u64,
    pub(super) bad_cookies: u64,
}

impl Default for Reasons {
    fn default() -> Self {
        Self {
            handshakes: [const { AtomicU64::new(0) }; Reason::COUNT],
            requests: [const { AtomicU64::new(0) }; Reason::COUNT],
        }
    }
}

impl Reasons {
    pub(super) fn count(&self, stage: Stage, reason: Reason) {
        let counters = match stage {
            Stage::Handshake => &self.handshakes,
            Stage::Request | Stage::Both => &self.requests,
        };
        if let Some(counter) = counters.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn write(&self, page: &mut Page, handshakes: Handshakes) {
        let full = handshakes.established.saturating_sub(handshakes.resumed);
        let (name, help) = HANDSHAKES;
        for (result, value) in [("established", full), ("resumed", handshakes.resumed)] {
            let labels = [("reason", "none"), ("result", result)];
            page.counter(name, help, &labels, value);
        }
        for (reason, counter) in Reason::ALL.iter().zip(&self.handshakes) {
            let value = match reason {
                Reason::CookieInvalid => handshakes.bad_cookies,
                _ => counter.load(Ordering::Relaxed),
            };
            if reason.is_of_handshakes() {
                let labels = [("reason", reason.code()), ("result", "failed")];
                page.counter(name, help, &labels, value);
            }
        }
        let (name, help) = REFUSED;
        for (reason, counter) in Reason::ALL.iter().zip(&self.requests) {
            if reason.is_of_requests() {
                let labels = [("reason", reason.code())];
                page.counter(name, help, &labels, counter.load(Ordering::Relaxed));
            }
        }
    }
}

/// The meters with their labels.
pub(super) const HANDSHAKES_TOTAL: (Meter, &[&str]) = (HANDSHAKES, &["reason", "result"]);
pub(super) const REFUSED_TOTAL: (Meter, &[&str]) = (REFUSED, &["reason"]);

const HANDSHAKES: Meter = (
    "coap_adapter_handshakes_total",
    "DTLS handshakes by result (established, resumed, failed) and, for failed ones, reason.",
);
const REFUSED: Meter = (
    "coap_adapter_requests_refused_total",
    "Refused CoAP requests by reason.",
);
