//! What a tenant allows and wants: is it served, how long may a device wait, when is it told to wait
//! (spec: coap-adapter §4 steps 4 and 5, §5).

pub mod data_volume;
pub mod usage;

use std::time::Duration;

use registry_client::Tenant;

use crate::respond::Rejection;

/// Refuses the devices of a tenant that is disabled, or that does not list this adapter as enabled.
///
/// # Errors
/// [`Rejection::TenantDisabled`], [`Rejection::AdapterDisabled`].
pub fn admit(tenant: &Tenant) -> Result<(), Rejection> {
    if !tenant.enabled {
        return Err(Rejection::TenantDisabled);
    }
    match (&tenant.adapters, tenant.adapter(ADAPTER)) {
        (None, _) => Ok(()),
        (Some(_), Some(adapter)) if adapter.enabled => Ok(()),
        (Some(_), _) => Err(Rejection::AdapterDisabled),
    }
}

/// How many seconds a device is waited with for a command: what it asks for, at most what the tenant allows; `None` for not at all.
#[must_use]
pub fn effective_ttd(tenant: &Tenant, asked: Option<i32>) -> Option<i32> {
    let allowed = extension(tenant, "max-ttd")
        .and_then(serde_json::Value::as_i64)
        .and_then(|seconds| i32::try_from(seconds).ok())
        .filter(|seconds| *seconds >= 0)
        .unwrap_or(DEFAULT_MAX_TTD);
    asked.map(|asked| asked.min(allowed)).filter(|ttd| *ttd > 0)
}

/// When a confirmable request is acknowledged ahead of its answer (RFC 7252 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckTimeout {
    /// The answer is always the acknowledgement.
    Never,
    /// At once; 500 ms by default.
    After(Duration),
}

impl AckTimeout {
    /// From `configured` (`timeoutToAck`, milliseconds, -1 for never), what the tenant says instead, and whether the device said
    /// that it copes with piggy-backed answers (`piggy`).
    #[must_use]
    pub fn of(configured: i64, tenant: &Tenant, piggy: Piggy) -> Self {
        let number = |name| extension(tenant, name).and_then(milliseconds);
        let timeout = match number("timeoutToAck") {
            Some(0) if configured > 0 && piggy == Piggy::Asked => {
                number("deviceTriggeredTimeoutToAck").unwrap_or(configured)
            }
            Some(timeout) => timeout,
            None => configured,
        };
        u64::try_from(timeout).map_or(Self::Never, |timeout| {
            Self::After(Duration::from_millis(timeout))
        })
    }
}

/// Whether the query `piggy` was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piggy {
    /// The device copes with piggy-backed answers.
    Asked,
    /// It did not say.
    Unasked,
}

fn extension<'a>(tenant: &'a Tenant, name: &str) -> Option<&'a serde_json::Value> {
    tenant.adapter(ADAPTER)?.ext.get(name)
}

/// A JSON number as whole milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a fraction of a millisecond does not matter; the cast saturates"
)]
fn milliseconds(value: &serde_json::Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

/// The type by which tenants and messages name this adapter.
pub const ADAPTER: &str = "hono-coap";

/// Seconds a device may wait if the tenant does not say.
const DEFAULT_MAX_TTD: i32 = 60;
