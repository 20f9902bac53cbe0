//! Budgets of devices and tenants per minute. Hono has no such settings.

use super::{chosen::Chosen, kind::Kind, setting::settings};

/// The budgets of everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// Of each device.
    pub device: Budget,
    /// Of each tenant.
    pub tenant: Budget,
    /// Of how many devices and tenants it is remembered what they used.
    pub max_entries: usize,
}

/// What may be used in a minute; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Telemetry, events and command responses.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// DTLS handshakes.
    pub handshakes: u64,
}

impl Budget {
    /// As much as anybody likes.
    pub const UNLIMITED: Self = Self {
        messages: 0,
        bytes: 0,
        handshakes: 0,
    };
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self::from_chosen(&Chosen::default())
    }
}

impl BudgetConfig {
    pub(super) fn from_chosen(chosen: &Chosen) -> Self {
        let settings = BudgetSettings::take(chosen, PREFIX);
        Self {
            device: Budget {
                messages: settings.device_messages.into(),
                bytes: settings.device_bytes.into(),
                handshakes: settings.device_handshakes.into(),
            },
            tenant: Budget {
                messages: settings.tenant_messages.into(),
                bytes: settings.tenant_bytes.into(),
                handshakes: settings.tenant_handshakes.into(),
            },
            max_entries: settings.max_entries,
        }
    }
}

pub(super) const PREFIX: &str = "hono.budget";

const COUNT: Kind = Kind::Number {
    min: 0,
    max: u32::MAX as i64,
    unit: "",
};

const BYTES: Kind = Kind::Number {
    min: 0,
    max: u32::MAX as i64,
    unit: "bytes",
};

settings! {
    /// `hono.budget` as it is written.
    pub(super) struct BudgetSettings {
        /// Messages per minute that a device may send; 0 is unlimited.
        device_messages: u32 = COUNT, "device.messages", Some("0");
        /// Payload bytes per minute that a device may send; 0 is unlimited.
        device_bytes: u32 = BYTES, "device.bytes", Some("0");
        /// DTLS handshakes per minute that a device may make; 0 is unlimited.
        device_handshakes: u32 = COUNT, "device.handshakes", Some("0");
        /// Messages per minute that all devices of a tenant together may send to one replica; 0 is unlimited.
        tenant_messages: u32 = COUNT, "tenant.messages", Some("0");
        /// Payload bytes per minute that all devices of a tenant together may send to one replica; 0 is unlimited.
        tenant_bytes: u32 = BYTES, "tenant.bytes", Some("0");
        /// DTLS handshakes per minute that all devices of a tenant together may make with one replica; 0 is unlimited.
        tenant_handshakes: u32 = COUNT, "tenant.handshakes", Some("0");
        /// Maximum number of devices and tenants whose budgets are tracked; an evicted one starts again with a full budget.
        max_entries: usize = Kind::Number { min: 2, max: u32::MAX as i64, unit: "" }, "maxEntries", Some("100000");
    }
}
