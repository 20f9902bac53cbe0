//! How much a tenant may send, and for how long its messages may live (spec: resource-limits §1).

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, de::Error};

use crate::timestamp;

/// The limits of a tenant; the default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceLimits {
    /// How many payload bytes may be sent in a period.
    pub data_volume: Option<DataVolume>,
    /// The longest time to live of any message, unless the kind of message has its own.
    pub max_ttl: Option<Duration>,
    /// The longest time to live of telemetry sent without waiting for the consumer.
    pub max_ttl_telemetry_qos0: Option<Duration>,
    /// The longest time to live of telemetry that waits for the consumer.
    pub max_ttl_telemetry_qos1: Option<Duration>,
    /// The longest time to live of command responses.
    pub max_ttl_command_response: Option<Duration>,
}

/// A data volume limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataVolume {
    /// When accounting started.
    pub effective_since: SystemTime,
    /// The bytes allowed in one period; `None` = unlimited.
    pub max_bytes: Option<u64>,
    /// Over which time the bytes are counted.
    pub period: Period,
}

/// The period after which a count restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Period {
    /// From the first of each month (UTC).
    #[default]
    Monthly,
    /// Each time so many days have passed since the limit became effective.
    Days(NonZeroU32),
    /// Not limited: the mode is `unknown` or one that is not understood.
    Unlimited,
}

impl<'de> Deserialize<'de> for ResourceLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limits = LimitsMembers::deserialize(deserializer)?;
        if let Some(duration) = limits.connection_duration {
            bounded::<D::Error>(duration.max_minutes, "max-minutes")?;
            since::<D::Error>(&duration.effective_since)?;
        }
        let ttl = |seconds| bounded(seconds, "max-ttl").map(|ttl| ttl.map(Duration::from_secs));
        Ok(Self {
            data_volume: limits.data_volume.as_ref().map(data_volume).transpose()?,
            max_ttl: ttl(limits.max_ttl)?,
            max_ttl_telemetry_qos0: ttl(limits.max_ttl_telemetry_qos0)?,
            max_ttl_telemetry_qos1: ttl(limits.max_ttl_telemetry_qos1)?,
            max_ttl_command_response: ttl(limits.max_ttl_command_response)?,
        })
    }
}

fn data_volume<E: Error>(members: &VolumeMembers) -> Result<DataVolume, E> {
    Ok(DataVolume {
        effective_since: since(&members.effective_since)?,
        max_bytes: bounded(members.max_bytes, "max-bytes")?,
        period: members
            .period
            .as_ref()
            .map_or(Ok(Period::Monthly), period)?,
    })
}

fn period<E: Error>(members: &PeriodMembers) -> Result<Period, E> {
    match (members.mode.as_str(), members.no_of_days) {
        ("monthly", _) => Ok(Period::Monthly),
        ("days", Some(days)) => Ok(Period::Days(days)),
        ("days", None) => Err(E::custom("no-of-days is missing")),
        _ => Ok(Period::Unlimited),
    }
}

/// -1 or nothing is no bound; anything below is an error.
fn bounded<E: Error>(bound: Option<i64>, name: &'static str) -> Result<Option<u64>, E> {
    match bound {
        None | Some(-1) => Ok(None),
        Some(bound) => u64::try_from(bound).map(Some).map_err(|_| E::custom(name)),
    }
}

fn since<E: Error>(text: &str) -> Result<SystemTime, E> {
    timestamp::parse(text).ok_or_else(|| E::custom("effective-since is no time"))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LimitsMembers {
    data_volume: Option<VolumeMembers>,
    connection_duration: Option<DurationMembers>,
    max_ttl: Option<i64>,
    max_ttl_telemetry_qos0: Option<i64>,
    max_ttl_telemetry_qos1: Option<i64>,
    max_ttl_command_response: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct VolumeMembers {
    effective_since: String,
    max_bytes: Option<i64>,
    period: Option<PeriodMembers>,
}

/// Not evaluated by this adapter, but as any nested object it has to be well-formed.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DurationMembers {
    effective_since: String,
    max_minutes: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PeriodMembers {
    mode: String,
    no_of_days: Option<NonZeroU32>,
}
