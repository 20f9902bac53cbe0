//! The data volume limit: how much a tenant may send by now, and what Prometheus is asked to learn how much it sent
//! (spec: resource-limits §3-§6). Pure: the time comes in, and nobody is asked here.

mod answer;
mod period;
#[cfg(test)]
mod tests;

pub use self::{
    answer::{Rubbish, consumed},
    period::Accounting,
};

/// What counts for a payload: its bytes, rounded up to a multiple of the tenant's `minimum-message-size` if that is not 0
/// (spec: resource-limits §3). Limits and metrics go by the same size.
#[must_use]
pub fn payload_size(payload_bytes: usize, minimum_message_size: u32) -> u64 {
    let bytes = u64::try_from(payload_bytes).unwrap_or(u64::MAX);
    match u64::from(minimum_message_size) {
        0 => bytes,
        minimum => bytes.div_ceil(minimum).saturating_mul(minimum),
    }
}

/// How much a tenant has sent in a period, and how much it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes sent so far, as Prometheus counts them.
    pub consumed: i64,
    /// Bytes allowed.
    pub limit: u64,
}

impl Usage {
    /// Whether `size` more bytes are more than allowed (spec: resource-limits §4).
    #[must_use]
    pub fn is_exceeded_by(self, size: u64) -> bool {
        i128::from(self.consumed).saturating_add(i128::from(size)) > i128::from(self.limit)
    }
}
