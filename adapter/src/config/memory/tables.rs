//! The tables of the memory budget: name, share, cost of an entry, bounds, and the setting that
//! overrides the share.

use super::split::{Entries, Want};
use crate::config::{Budget, Config, budget, chosen::Chosen, limits, setting};

/// What grows with devices, requests or tenants, and is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// DTLS sessions, with their owners.
    Sessions,
    /// DTLS handshakes under way.
    Handshakes,
    /// Sessions that may be resumed by their ids.
    Resumable,
    /// Requests in progress, except those that wait for commands.
    Requests,
    /// Requests that wait for commands.
    Parked,
    /// Bytes of the bodies of requests in progress.
    RequestBytes,
    /// Requests that are remembered to recognise their duplicates.
    Exchanges,
    /// Bodies and answers in blocks.
    Transfers,
    /// Bytes of these.
    TransferBytes,
    /// Bytes that wait for the AMQP connections to take them.
    OutgoingBytes,
    /// Answers of the tenant service.
    KeptTenants,
    /// Answers of the registration service.
    KeptRegistrations,
    /// Answers of the credentials service.
    KeptCredentials,
    /// Tenants with meters and links of their own.
    Tenants,
    /// What tenants have sent, by word of Prometheus.
    Usages,
    /// What devices and tenants have used of their budgets.
    Budgets,
    /// Devices whose last events are remembered for operators.
    RecentDevices,
}

/// One row of the contract.
struct Row {
    table: Table,
    /// As metrics and `check-config` call it.
    name: &'static str,
    /// Its part beside the others'.
    weight: u32,
    /// Bytes of the process that an entry takes.
    cost: usize,
    /// Entries that it has whatever the memory.
    least: usize,
    /// Entries beyond which no memory raises it.
    most: usize,
    /// Prefix and key of the setting that overrides the share.
    setting: Option<(&'static str, &'static str)>,
}

/// The contract. `most` of a table with a setting is that setting's value.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { table: Table::Sessions,          name: "dtls_sessions",      weight: 30, cost: 1_100,  least: 100,     most: 10_000_000, setting: Some((setting::COAP, "maxConnections")) },
    Row { table: Table::Handshakes,        name: "dtls_handshakes",    weight: 8,  cost: 4_096,  least: 16,      most: 0,          setting: Some((setting::COAP, "dtlsMaxHandshakes")) },
    Row { table: Table::Resumable,         name: "dtls_resumable",     weight: 0,  cost: 600,    least: 0,       most: 0,          setting: Some((setting::COAP, "resumptionCacheSize")) },
    Row { table: Table::Requests,          name: "requests",           weight: 12, cost: 5_888,  least: 64,      most: 1_000_000,  setting: None },
    Row { table: Table::Parked,            name: "parked_requests",    weight: 12, cost: 2_816,  least: 64,      most: 1_000_000,  setting: None },
    Row { table: Table::RequestBytes,      name: "request_bytes",      weight: 6,  cost: 2,      least: 262_144, most: 268_435_456, setting: None },
    Row { table: Table::Exchanges,         name: "coap_exchanges",     weight: 18, cost: 768,    least: 512,     most: 2_000_000,  setting: None },
    Row { table: Table::Transfers,         name: "coap_transfers",     weight: 1,  cost: 512,    least: 64,      most: 32_768,     setting: None },
    Row { table: Table::TransferBytes,     name: "coap_transfer_bytes", weight: 5, cost: 1,      least: 262_144, most: 134_217_728, setting: None },
    Row { table: Table::OutgoingBytes,     name: "amqp_outgoing_bytes", weight: 5, cost: 1,      least: 589_824, most: 37_748_736, setting: None },
    Row { table: Table::KeptTenants,       name: "kept_tenants",       weight: 1,  cost: 2_048,  least: 50,      most: 0,          setting: Some(("hono.tenant", CACHE)) },
    Row { table: Table::KeptRegistrations, name: "kept_registrations", weight: 1,  cost: 1_024,  least: 50,      most: 0,          setting: Some(("hono.registration", CACHE)) },
    Row { table: Table::KeptCredentials,   name: "kept_credentials",   weight: 1,  cost: 1_536,  least: 50,      most: 0,          setting: Some(("hono.credentials", CACHE)) },
    Row { table: Table::Tenants,           name: "tenants",            weight: 2,  cost: 16_384, least: 50,      most: 10_000,     setting: None },
    Row { table: Table::Usages,            name: "usages",             weight: 1,  cost: 256,    least: 50,      most: 0,          setting: Some((limits::PREFIX, "cacheMaxSize")) },
    Row { table: Table::Budgets,           name: "budgets",            weight: 2,  cost: 320,    least: 100,     most: 0,          setting: Some((budget::PREFIX, "maxEntries")) },
    Row { table: Table::RecentDevices,     name: "recent_devices",     weight: 2,  cost: 20_480, least: 10,      most: 0,          setting: Some((setting::COAP, "operatorDevices")) },
];

const CACHE: &str = "responseCacheMaxSize";

impl Table {
    /// Its name in metrics and pages.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// Bytes that an entry takes at least.
    #[must_use]
    pub fn cost(self) -> usize {
        self.row().map_or(0, |row| row.cost)
    }

    /// Prefix and key of the setting that overrides its share.
    pub(super) fn setting(self) -> Option<(&'static str, &'static str)> {
        self.row()?.setting
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.table == self)
    }
}

/// What every table that is used wants. A bound of 0 connections is one that nobody has decided.
pub(super) fn wants(config: &Config, chosen: &Chosen) -> Vec<Want> {
    let used = ROWS.iter().filter(|row| is_used(config, row.table));
    let want = |row: &Row| {
        let set = set(config, row.table);
        let is_written = match (row.table, row.setting) {
            (Table::Sessions, _) => config.coap.max_connections > 0,
            (_, Some((prefix, key))) => row.weight == 0 || chosen.choice(prefix, key).is_some(),
            (_, None) => false,
        };
        let entries = match set {
            Some(entries) if is_written => Entries::Written(entries),
            _ => {
                let most = set.filter(|most| *most > 0).unwrap_or(row.most);
                Entries::Within {
                    least: row.least.min(most),
                    most,
                    weight: row.weight,
                }
            }
        };
        Want {
            table: row.table,
            cost: row.cost + extra(config, row.table),
            entries,
        }
    };
    used.map(want).collect()
}

/// What an entry takes beside its row's cost.
fn extra(config: &Config, table: Table) -> usize {
    let dtls = &config.coap.dtls;
    match table {
        Table::Handshakes => dtls.max_handshake_bytes + dtls.max_early_bytes,
        _ => 0,
    }
}

fn is_used(config: &Config, table: Table) -> bool {
    match table {
        Table::Usages => config.resource_limits.is_some(),
        Table::Budgets => {
            config.budget.device != Budget::UNLIMITED || config.budget.tenant != Budget::UNLIMITED
        }
        Table::RecentDevices => config.coap.operator.is_some(),
        Table::Resumable => config.sessions.resumption_cache_size > 0,
        _ => true,
    }
}

/// What the setting of a table says, written or not.
fn set(config: &Config, table: Table) -> Option<usize> {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Some(match table {
        Table::Sessions => config.coap.max_connections,
        Table::Handshakes => config.coap.dtls.max_handshakes,
        Table::Resumable => config.sessions.resumption_cache_size,
        Table::KeptTenants => whole(config.tenant_cache.max_size),
        Table::KeptRegistrations => whole(config.registration_cache.max_size),
        Table::KeptCredentials => whole(config.credentials_cache.max_size),
        Table::Usages => whole(config.resource_limits.as_ref()?.cache_max_size),
        Table::Budgets => config.budget.max_entries,
        Table::RecentDevices => config.coap.operator.as_ref()?.devices,
        _ => return None,
    })
}

/// Writes the bounds to where their settings stand.
pub(super) fn write_back(config: &mut Config) {
    let memory = config.memory.clone();
    let bound = |table| memory.bound(table);
    let wide = |table| u64::try_from(memory.bound(table)).unwrap_or(u64::MAX);
    config.coap.max_connections = bound(Table::Sessions);
    config.coap.dtls.max_handshakes = bound(Table::Handshakes);
    config.tenant_cache.max_size = wide(Table::KeptTenants);
    config.registration_cache.max_size = wide(Table::KeptRegistrations);
    config.credentials_cache.max_size = wide(Table::KeptCredentials);
    if let Some(limits) = &mut config.resource_limits {
        limits.cache_max_size = wide(Table::Usages);
    }
    if is_used(config, Table::Budgets) {
        config.budget.max_entries = bound(Table::Budgets);
    }
    if let Some(operator) = &mut config.coap.operator {
        operator.devices = bound(Table::RecentDevices);
    }
}
