//! A row for each line of resource-limits §3-§6.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use registry_client::{
    Tenant,
    tenant::{DataVolume, Period},
};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::*;

#[test]
fn payloads_are_rounded_up_to_the_minimum_message_size() {
    for (bytes, minimum, size) in [
        (0, 0, 0),
        (0, 4096, 0),
        (1, 0, 1),
        (1, 4096, 4096),
        (4095, 4096, 4096),
        (4096, 4096, 4096),
        (4097, 4096, 8192),
        (10_240, 4096, 12_288),
        (7, 1, 7),
        (usize::MAX, u32::MAX, u64::MAX),
    ] {
        assert_eq!(payload_size(bytes, minimum), size, "{bytes} by {minimum}");
    }
}

#[test]
fn a_limit_is_exceeded_by_strictly_more_only() {
    for (consumed, limit, size, exceeded) in [
        (0, 0, 0, false),
        (0, 0, 1, true),
        (90, 100, 10, false),
        (90, 100, 11, true),
        (100, 100, 1, true),
        (200, 100, 0, true),
        (-5, 0, 5, false),
        (i64::MAX, u64::MAX, 1, false),
        (i64::MAX, 5, u64::MAX, true),
    ] {
        let usage = Usage { consumed, limit };
        assert_eq!(usage.is_exceeded_by(size), exceeded, "{usage:?} + {size}");
    }
}

/// Name, mode, since, now, limit of 1000 bytes, elapsed seconds.
const PERIODS: &[(&str, Mode, &str, &str, u64, u64)] = &[
    (
        "before since, monthly",
        Monthly,
        "2025-03-10T12:00:00Z",
        "2025-03-10T11:59:59Z",
        0,
        0,
    ),
    (
        "before since, days",
        Days(3),
        "2025-03-10T12:00:00Z",
        "2024-01-01T00:00:00Z",
        0,
        0,
    ),
    (
        "at since, monthly",
        Monthly,
        "2025-03-01T00:00:00Z",
        "2025-03-01T00:00:00Z",
        1000,
        0,
    ),
    (
        "at since, days",
        Days(3),
        "2025-03-01T00:00:00Z",
        "2025-03-01T00:00:00Z",
        1000,
        0,
    ),
    // 1000 x 30 960 min / 44 640 min = 693.5..
    (
        "first month",
        Monthly,
        "2025-03-10T12:00:00Z",
        "2025-03-10T12:01:01Z",
        694,
        61,
    ),
    (
        "first month, its last second",
        Monthly,
        "2025-03-10T12:00:00Z",
        "2025-03-31T23:59:59Z",
        694,
        1_857_599,
    ),
    (
        "first month, half of February",
        Monthly,
        "2025-02-15T00:00:00Z",
        "2025-02-16T00:00:00Z",
        500,
        86_400,
    ),
    // 1000 x 21 600 / 41 760 = 517.2..: 29 days
    (
        "first month, leap year",
        Monthly,
        "2024-02-15T00:00:00Z",
        "2024-02-16T00:00:00Z",
        518,
        86_400,
    ),
    (
        "first month, less than a minute left of it",
        Monthly,
        "2025-03-31T23:59:30Z",
        "2025-03-31T23:59:59Z",
        1,
        29,
    ),
    (
        "first month, seconds do not count",
        Monthly,
        "2025-03-31T23:57:30Z",
        "2025-03-31T23:59:59Z",
        1,
        149,
    ),
    (
        "first month, December",
        Monthly,
        "2025-12-31T00:00:00Z",
        "2025-12-31T12:00:00Z",
        33,
        43_200,
    ),
    (
        "later month",
        Monthly,
        "2025-03-10T12:00:00Z",
        "2025-04-01T00:00:00Z",
        1000,
        0,
    ),
    (
        "later month, some days on",
        Monthly,
        "2025-03-10T12:00:00Z",
        "2025-04-03T00:00:01Z",
        1000,
        172_801,
    ),
    (
        "same month of another year",
        Monthly,
        "2024-03-10T12:00:00Z",
        "2025-03-11T00:00:00Z",
        1000,
        864_000,
    ),
    (
        "months are those of UTC",
        Monthly,
        "2025-04-01T01:00:00+02:00",
        "2025-04-01T00:00:10Z",
        1000,
        10,
    ),
    (
        "now in UTC, too",
        Monthly,
        "2025-03-10T12:00:00Z",
        "2025-04-01T00:30:00+01:00",
        694,
        1_855_800,
    ),
    (
        "days, first period",
        Days(3),
        "2025-03-10T12:00:00Z",
        "2025-03-12T12:00:00Z",
        1000,
        172_800,
    ),
    (
        "days, the very end of the first period",
        Days(3),
        "2025-03-10T12:00:00Z",
        "2025-03-13T12:00:00Z",
        1000,
        259_200,
    ),
    (
        "days, second period",
        Days(3),
        "2025-03-10T12:00:00Z",
        "2025-03-13T12:00:01Z",
        1000,
        1,
    ),
    (
        "days, the start of the third period",
        Days(3),
        "2025-03-10T12:00:00Z",
        "2025-03-16T12:00:00Z",
        1000,
        0,
    ),
    (
        "days, third period",
        Days(3),
        "2025-03-10T12:00:00Z",
        "2025-03-19T11:59:59Z",
        1000,
        259_199,
    ),
    (
        "days, one of them",
        Days(1),
        "2024-12-31T00:00:00Z",
        "2025-03-01T06:00:00Z",
        1000,
        21_600,
    ),
    (
        "days, as many as can be",
        Days(u32::MAX),
        "1970-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z",
        1000,
        1_735_689_600,
    ),
];

use Mode::{Days, Monthly};

#[derive(Clone, Copy)]
enum Mode {
    Monthly,
    Days(u32),
}

impl From<Mode> for Period {
    fn from(mode: Mode) -> Self {
        match mode {
            Monthly => Self::Monthly,
            Days(days) => Self::Days(NonZeroU32::new(days).unwrap()),
        }
    }
}

#[test]
fn limit_and_elapsed_time_follow_the_calendar() {
    for &(name, mode, since, now, limit, elapsed) in PERIODS {
        let volume = volume(since, 1000, mode.into());
        let elapsed = Duration::from_secs(elapsed);
        let expected = Some(Accounting { limit, elapsed });
        assert_eq!(Accounting::at(at(now), &volume), expected, "{name}");
    }
}

#[test]
fn nothing_allowed_stays_nothing_and_much_does_not_overflow() {
    let (since, now) = ("2025-03-10T12:00:00Z", at("2025-03-20T00:00:00Z"));
    let limit =
        |max| Accounting::at(now, &volume(since, max, Period::Monthly)).map(|now| now.limit);
    assert_eq!(limit(0), Some(0));
    assert_eq!(limit(1), Some(1));
    assert_eq!(limit(i64::MAX), Some(6_396_854_799_754_118_705));
}

#[test]
fn unlimited_is_unlimited_before_and_after_since() {
    for now in ["2025-03-09T00:00:00Z", "2025-03-20T00:00:00Z"].map(at) {
        for period in [Period::Monthly, Period::Days(NonZeroU32::MIN)] {
            let volume = volume("2025-03-10T12:00:00Z", -1, period);
            assert_eq!(Accounting::at(now, &volume), None);
        }
        let volume = volume("2025-03-10T12:00:00Z", 0, Period::Unlimited);
        assert_eq!(Accounting::at(now, &volume), None);
    }
}

/// A tenant of year 9999 in a western zone is beyond what the calendar can tell; that used to be a panic in the making.
#[test]
fn the_ends_of_time_limit_nothing_and_panic_nobody() {
    let last = volume("9999-12-31T23:59:59-12:00", 1, Period::Monthly);
    let beyond = last.effective_since + Duration::from_secs(1);
    assert_eq!(Accounting::at(beyond, &last), None);
    let now = at("2025-03-20T00:00:00Z");
    assert_eq!(Accounting::at(now, &last).map(|now| now.limit), Some(0));
    let first = volume("0000-01-01T00:00:00Z", 1, Period::Monthly);
    assert_eq!(Accounting::at(now, &first).map(|now| now.limit), Some(1));
}

#[test]
fn the_query_is_the_reference_s() {
    let query = |tenant, seconds| {
        let elapsed = Duration::from_secs(seconds);
        Accounting { limit: 1, elapsed }.query(tenant)
    };
    assert_eq!(query("T", 0), None);
    assert_eq!(query("T", 59), None);
    let text = |tenant, minutes| {
        format!(
            "floor(sum(increase(hono_telemetry_payload_bytes_sum{{status=~\"forwarded|unprocessable\", tenant=\"{tenant}\"}} [{minutes}m]) or vector(0)) \
             + sum(increase(hono_command_payload_bytes_sum{{status=~\"forwarded|unprocessable\", tenant=\"{tenant}\"}} [{minutes}m]) or vector(0)))"
        )
    };
    assert_eq!(query("T", 60), Some(text("T", 1)));
    assert_eq!(
        query("DEFAULT_TENANT", 86_459),
        Some(text("DEFAULT_TENANT", 1440))
    );
    assert_eq!(query("a\"b\\c\nd", 60), Some(text(r#"a\"b\\c\nd"#, 1)));
}

#[test]
fn answers_of_prometheus_are_read_as_the_reference_does() {
    let one = |value: serde_json::Value| json!({"data": {"result": [{"value": value}]}});
    let refused = |text: &str| Err(Rubbish::Refused(text.to_owned()));
    for (answer, expected) in [
        (one(json!([1_435_781_451.781, "3072"])), Ok(3072)),
        (one(json!([1, "0"])), Ok(0)),
        (one(json!([1, "-4"])), Ok(-4)),
        (
            json!({"status": "success", "data": {"resultType": "vector", "result": []}}),
            Ok(0),
        ),
        (
            json!({"status": "error", "errorType": "timeout", "error": "slow"}),
            refused("slow"),
        ),
        (json!({"status": "error"}), refused("")),
        (one(json!([1, "1.5"])), Err(Rubbish::NoInteger)),
        (one(json!([1, "1e6"])), Err(Rubbish::NoInteger)),
        (one(json!([1, "NaN"])), Err(Rubbish::NoInteger)),
        (one(json!([1, ""])), Err(Rubbish::NoInteger)),
        (
            one(json!([1, "99999999999999999999"])),
            Err(Rubbish::NoInteger),
        ),
        (one(json!([1, 3072])), Err(Rubbish::NoInteger)),
        (one(json!(["3072"])), Err(Rubbish::NoInteger)),
        (one(json!([1, "3072", 2])), Err(Rubbish::NoInteger)),
        (one(json!("3072")), Err(Rubbish::NoInteger)),
        (json!({"data": {"result": [{}]}}), Err(Rubbish::NoInteger)),
        (
            json!({"data": {"result": [{"value": [1, "1"]}, {"value": [1, "2"]}]}}),
            Err(Rubbish::NoSingleResult),
        ),
        (
            json!({"data": {"result": "3072"}}),
            Err(Rubbish::NoSingleResult),
        ),
        (json!({"data": {}}), Err(Rubbish::NoSingleResult)),
        (json!({}), Err(Rubbish::NoSingleResult)),
        (json!([]), Err(Rubbish::NoSingleResult)),
    ] {
        assert_eq!(
            consumed(answer.to_string().as_bytes()),
            expected,
            "{answer}"
        );
    }
    for answer in [&b""[..], b"<html>", b"{", &[0xff; 9], &[b'['; 60_000]] {
        assert_eq!(consumed(answer), Err(Rubbish::NoJson));
    }
}

#[test]
fn long_errors_are_cut() {
    let answer = json!({"status": "error", "error": "é".repeat(9000)}).to_string();
    assert_eq!(
        consumed(answer.as_bytes()),
        Err(Rubbish::Refused("é".repeat(200)))
    );
}

fn at(text: &str) -> SystemTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap().into()
}

/// As the registry delivers it; -1 is no limit.
fn volume(since: &str, max_bytes: i64, period: Period) -> DataVolume {
    let period = match period {
        Period::Monthly => json!({"mode": "monthly"}),
        Period::Days(days) => json!({"mode": "days", "no-of-days": days}),
        Period::Unlimited => json!({"mode": "unknown"}),
    };
    let volume = json!({"effective-since": since, "max-bytes": max_bytes, "period": period});
    let tenant = json!({"tenant-id": "T", "resource-limits": {"data-volume": volume}});
    let tenant = Tenant::from_json(tenant.to_string().as_bytes()).unwrap();
    tenant.resource_limits.data_volume.unwrap()
}
