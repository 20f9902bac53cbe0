//! Accounting periods (spec: resource-limits §5); all dates are UTC.

use std::time::{Duration, SystemTime};

use registry_client::tenant::{DataVolume, Period};
use time::{Date, OffsetDateTime, Time};

/// What a limit comes to at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounting {
    /// The bytes allowed in this period.
    pub limit: u64,
    /// How much of the period is over.
    pub elapsed: Duration,
}

impl Accounting {
    /// Looks at the calendar; `None` if nothing is limited, or at the ends of time.
    #[must_use]
    pub fn at(now: SystemTime, volume: &DataVolume) -> Option<Self> {
        let max_bytes = volume.max_bytes?;
        let Ok(effective) = now.duration_since(volume.effective_since) else {
            return (volume.period != Period::Unlimited).then_some(Self::NOT_YET);
        };
        let (limit, elapsed) = match volume.period {
            Period::Unlimited => return None,
            Period::Days(days) => (max_bytes, since_last(u64::from(days.get()), effective)),
            Period::Monthly => monthly(max_bytes, utc(volume.effective_since)?, utc(now)?)?,
        };
        Some(Self { limit, elapsed })
    }

    /// What Prometheus is to be asked for; nothing in the first minute of a period, when nothing counts as sent
    /// (spec: resource-limits §6).
    #[must_use]
    pub fn query(&self, tenant: &str) -> Option<String> {
        let minutes = self.elapsed.as_secs() / SECONDS_PER_MINUTE;
        if minutes == 0 {
            return None;
        }
        let tenant = escaped(tenant);
        let sent = |meter| {
            format!(
                r#"sum(increase({meter}{{status=~"forwarded|unprocessable", tenant="{tenant}"}} [{minutes}m]) or vector(0))"#
            )
        };
        let (telemetry, command) = (sent(TELEMETRY), sent(COMMAND));
        Some(format!("floor({telemetry} + {command})"))
    }

    /// Nothing may be sent before the limit becomes effective.
    const NOT_YET: Self = Self {
        limit: 0,
        elapsed: Duration::ZERO,
    };
}

/// The time since the last multiple of `days`; the end of the first period still belongs to it.
fn since_last(days: u64, effective: Duration) -> Duration {
    let period = Duration::from_secs(days.saturating_mul(SECONDS_PER_DAY));
    if effective <= period {
        return effective;
    }
    let whole = effective.as_secs() / SECONDS_PER_DAY;
    let over = whole.checked_rem(days).unwrap_or(0) * SECONDS_PER_DAY;
    let rest = effective.as_secs() % SECONDS_PER_DAY;
    Duration::new(over + rest, effective.subsec_nanos())
}

/// Limit and elapsed time in the month of `now`; the first month counts by the minutes that are left of it.
fn monthly(max_bytes: u64, since: OffsetDateTime, now: OffsetDateTime) -> Option<(u64, Duration)> {
    let first = now.date().replace_day(1).ok()?;
    if (since.year(), since.month()) != (now.year(), now.month()) {
        return Some((max_bytes, (now - midnight(first)).try_into().ok()?));
    }
    let days = first.month().length(first.year());
    let next = midnight(first).checked_add(time::Duration::days(days.into()))?;
    let left = u64::try_from((next - since).whole_minutes()).ok()?.max(1);
    let length = u64::from(days) * MINUTES_PER_DAY;
    Some((
        share(max_bytes, left, length),
        (now - since).try_into().ok()?,
    ))
}

/// `whole` x `part` / `of`, rounded up.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    let share = (u128::from(whole) * u128::from(part)).div_ceil(u128::from(of));
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn midnight(date: Date) -> OffsetDateTime {
    date.with_time(Time::MIDNIGHT).assume_utc()
}

/// `None` where the calendar ends.
fn utc(at: SystemTime) -> Option<OffsetDateTime> {
    let since_epoch = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => time::Duration::try_from(after).ok()?,
        Err(before) => -time::Duration::try_from(before.duration()).ok()?,
    };
    OffsetDateTime::UNIX_EPOCH.checked_add(since_epoch)
}

/// As a string of the query language is written, so that no tenant can change the query.
fn escaped(tenant: &str) -> String {
    tenant
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

const SECONDS_PER_MINUTE: u64 = 60;
const SECONDS_PER_DAY: u64 = 86_400;
const MINUTES_PER_DAY: u64 = 1440;

const TELEMETRY: &str = "hono_telemetry_payload_bytes_sum";
const COMMAND: &str = "hono_command_payload_bytes_sum";
