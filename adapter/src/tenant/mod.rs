//! What a tenant allows and wants: is it served, how long may a device wait, when is it told to wait
//! (spec: coap-adapter §4 steps 4 and 5, §5).

pub mod budget;
pub mod data_volume;
pub mod usage;

use std::time::Duration;

use registry_client::Tenant;

use crate::ADAPTER;

/// Refuses the devices of a tenant that is disabled, or that does not list this adapter as enabled.
///
/// # Errors
/// Which of the two it is.
pub fn admit(tenant: &Tenant) -> Result<(), TenantError> {
    if !tenant.enabled {
        return Err(TenantError::TenantDisabled);
    }
    if !tenant.is_adapter_enabled(ADAPTER) {
        return Err(TenantError::AdapterDisabled);
    }
    Ok(())
}

/// Why the devices of a tenant are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantError {
    /// The tenant is disabled.
    TenantDisabled,
    /// The tenant does not list this adapter as enabled.
    AdapterDisabled,
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

/// Seconds a device may wait if the tenant does not say.
const DEFAULT_MAX_TTD: i32 = 60;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tenant(members: &Value) -> Tenant {
        let mut tenant = json!({"tenant-id": "T"});
        tenant
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        Tenant::from_json(tenant.to_string().as_bytes()).unwrap()
    }

    /// A tenant with these extensions in its entry for this adapter.
    fn extended(ext: &Value) -> Tenant {
        tenant(&json!({"adapters": [{"type": ADAPTER, "enabled": true, "ext": ext}]}))
    }

    #[test]
    fn only_tenants_that_enable_the_adapter_are_served() {
        let entry = |entry: Value| json!({"adapters": [entry]});
        let rows = [
            (json!({}), Ok(())),
            (json!({"enabled": false}), Err(TenantError::TenantDisabled)),
            (entry(json!({"type": ADAPTER, "enabled": true})), Ok(())),
            (
                entry(json!({"type": ADAPTER, "enabled": false})),
                Err(TenantError::AdapterDisabled),
            ),
            (
                entry(json!({"type": ADAPTER})),
                Err(TenantError::AdapterDisabled),
            ),
            (
                entry(json!({"type": "hono-http", "enabled": true})),
                Err(TenantError::AdapterDisabled),
            ),
        ];
        for (members, expected) in rows {
            assert_eq!(admit(&tenant(&members)), expected, "{members}");
        }
    }

    #[test]
    fn a_device_waits_as_long_as_it_asks_and_its_tenant_allows() {
        let rows = [
            (json!({}), Some(5), Some(5)),
            (json!({}), Some(60), Some(60)),
            (json!({}), Some(i32::MAX), Some(60)),
            (json!({}), Some(0), None),
            (json!({}), Some(-1), None),
            (json!({}), None, None),
            (json!({"max-ttd": 3}), Some(5), Some(3)),
            (json!({"max-ttd": 3}), Some(2), Some(2)),
            (json!({"max-ttd": 100}), Some(90), Some(90)),
            (json!({"max-ttd": 0}), Some(5), None),
            (json!({"max-ttd": -1}), Some(90), Some(60)),
            (json!({"max-ttd": "3"}), Some(90), Some(60)),
        ];
        for (ext, asked, expected) in rows {
            let found = effective_ttd(&extended(&ext), asked);
            assert_eq!(found, expected, "{ext} {asked:?}");
        }
        assert_eq!(effective_ttd(&tenant(&json!({})), Some(90)), Some(60));
    }

    #[test]
    fn the_tenant_and_the_device_say_when_a_request_is_acknowledged() {
        use Piggy::{Asked, Unasked};
        let after = |millis| AckTimeout::After(Duration::from_millis(millis));
        let triggered = json!({"timeoutToAck": 0, "deviceTriggeredTimeoutToAck": 700});
        let rows = [
            (500, json!({}), Unasked, after(500)),
            (500, json!({}), Asked, after(500)),
            (0, json!({}), Unasked, after(0)),
            (-1, json!({}), Unasked, AckTimeout::Never),
            (500, json!({"timeoutToAck": 20}), Asked, after(20)),
            (500, json!({"timeoutToAck": 0}), Unasked, after(0)),
            (500, json!({"timeoutToAck": 0}), Asked, after(500)),
            (500, json!({"timeoutToAck": -1}), Asked, AckTimeout::Never),
            (500, json!({"timeoutToAck": "20"}), Unasked, after(500)),
            (500, triggered.clone(), Asked, after(700)),
            (500, triggered.clone(), Unasked, after(0)),
            (0, triggered.clone(), Asked, after(0)),
            (-1, triggered, Asked, after(0)),
            (
                500,
                json!({"timeoutToAck": 0, "deviceTriggeredTimeoutToAck": "x"}),
                Asked,
                after(500),
            ),
            (
                500,
                json!({"timeoutToAck": 20, "deviceTriggeredTimeoutToAck": 700}),
                Asked,
                after(20),
            ),
        ];
        for (configured, ext, piggy, expected) in rows {
            let found = AckTimeout::of(configured, &extended(&ext), piggy);
            assert_eq!(found, expected, "{configured} {ext} {piggy:?}");
        }
    }
}
