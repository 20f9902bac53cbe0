//! How long a message is worth anything: its requested time to live, within what the tenant allows (spec: amqp-messages §3).
//!
//! Tenants and devices tell it in seconds, AMQP in milliseconds. Below 0, and what is no number, counts as not told; 0 does count.

use std::time::Duration;

use registry_client::tenant::ResourceLimits;
use serde_json::Value;

use super::defaults::{Defaults, TTL};

/// What a message is, as far as its time to live goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Telemetry that may be lost.
    TelemetryQos0,
    /// Telemetry that the device wants to know of.
    TelemetryQos1,
    /// An event.
    Event,
    /// The answer to a command.
    CommandResponse,
}

impl Kind {
    /// The default that stands in for `ttl`, if there is one for this kind.
    const fn own_default(self) -> Option<&'static str> {
        match self {
            Self::TelemetryQos0 => Some("ttl-telemetry-qos0"),
            Self::TelemetryQos1 => Some("ttl-telemetry-qos1"),
            Self::CommandResponse => Some("ttl-command-response"),
            Self::Event => None,
        }
    }

    const fn maximum(self, limits: &ResourceLimits) -> Option<Duration> {
        match self {
            Self::TelemetryQos0 => limits.max_ttl_telemetry_qos0,
            Self::TelemetryQos1 => limits.max_ttl_telemetry_qos1,
            Self::Event => limits.max_ttl,
            Self::CommandResponse => limits.max_ttl_command_response,
        }
    }
}

/// The time to live of a message; `None` for no limit.
#[must_use]
pub fn effective(kind: Kind, defaults: &Defaults<'_>, limits: &ResourceLimits) -> Option<Duration> {
    let requested = defaults.get(TTL).and_then(seconds).or_else(|| {
        kind.own_default()
            .and_then(|name| defaults.get(name))
            .and_then(seconds)
    });
    match (kind.maximum(limits), requested) {
        (Some(maximum), Some(requested)) => Some(maximum.min(requested)),
        (maximum, requested) => requested.or(maximum),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "only numbers from 0 on are cast; fractions of a second do not count, and the cast saturates"
)]
fn seconds(value: &Value) -> Option<Duration> {
    let fraction = || {
        value
            .as_f64()
            .filter(|seconds| *seconds >= 0.0)
            .map(|seconds| seconds as u64)
    };
    value.as_u64().or_else(fraction).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ttl(kind: Kind, defaults: &Value, limits: &ResourceLimits) -> Option<u64> {
        let defaults = defaults.as_object().unwrap();
        effective(kind, &Defaults::of(&[defaults]), limits).map(|ttl| ttl.as_secs())
    }

    fn limits(limits: &Value) -> ResourceLimits {
        serde_json::from_value(limits.clone()).unwrap()
    }

    #[test]
    fn the_smaller_of_requested_and_allowed_counts() {
        let (unlimited, limited) = (limits(&json!({})), limits(&json!({"max-ttl": 20})));
        let rows = [
            (json!({}), &unlimited, None),
            (json!({"ttl": 45}), &unlimited, Some(45)),
            (json!({}), &limited, Some(20)),
            (json!({"ttl": 45}), &limited, Some(20)),
            (json!({"ttl": 5}), &limited, Some(5)),
            (json!({"ttl": 0}), &limited, Some(0)),
            (json!({"ttl": -1}), &limited, Some(20)),
            (json!({"ttl": "5"}), &limited, Some(20)),
            (json!({"ttl": 5.9}), &unlimited, Some(5)),
            (json!({"ttl": null}), &unlimited, None),
            (json!({"ttl": 1e300}), &unlimited, Some(u64::MAX)),
        ];
        for (defaults, limits, expected) in rows {
            assert_eq!(
                ttl(Kind::Event, &defaults, limits),
                expected,
                "{defaults} {limits:?}"
            );
        }
    }

    #[test]
    fn telemetry_and_responses_have_defaults_and_limits_of_their_own() {
        let limits = limits(&json!({
            "max-ttl": 1, "max-ttl-telemetry-qos0": 10, "max-ttl-telemetry-qos1": 11, "max-ttl-command-response": 12,
        }));
        let own =
            json!({"ttl-telemetry-qos0": 100, "ttl-telemetry-qos1": 3, "ttl-command-response": 4});
        let rows = [
            (Kind::TelemetryQos0, Some(10)),
            (Kind::TelemetryQos1, Some(3)),
            (Kind::CommandResponse, Some(4)),
            (Kind::Event, Some(1)),
        ];
        for (kind, expected) in rows {
            assert_eq!(ttl(kind, &own, &limits), expected, "{kind:?}");
        }
        assert_eq!(
            ttl(
                Kind::TelemetryQos1,
                &json!({"ttl": 9, "ttl-telemetry-qos1": 3}),
                &limits
            ),
            Some(9)
        );
        assert_eq!(
            ttl(
                Kind::TelemetryQos1,
                &json!({"ttl": -1, "ttl-telemetry-qos1": 3}),
                &limits
            ),
            Some(3)
        );
    }
}
