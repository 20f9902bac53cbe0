//! The memory contract: what the process may take, split over every table that grows with devices, requests or tenants.
//!
//! ```text
//! maxMemory, or what there is ── the process itself ── slack of the allocator ── bounds that were written ──> by weight to the others
//! ```
//!
//! A table is full at its bound, whatever else is free; `docs/running.md` tells what happens then. What an entry costs was measured,
//! and a test holds it (`adapter/tests/memory_costs.rs`).

mod available;
mod split;
mod tables;

pub use self::split::Share;
use self::split::{Short, split};
pub use self::tables::Table;
use super::{Config, chosen::Chosen, coap::gc_heap_percentage};

/// How much memory the adapter may take, and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// Bytes of the process that may be in RAM.
    pub bytes: u64,
    /// Every table that is used, with its bound.
    pub shares: Vec<Share>,
}

impl MemoryConfig {
    /// The most entries (or bytes, where these are counted) that a table may have; none if it is not used.
    #[must_use]
    pub fn bound(&self, table: Table) -> usize {
        let share = self.shares.iter().find(|share| share.table == table);
        share.map_or(0, |share| share.bound)
    }
}

/// Splits `max_memory`, or what there is if it is 0, and writes the bounds into the other parts of the configuration.
pub(super) fn settle(config: &mut Config, chosen: &mut Chosen, max_memory: i64) {
    let usable = available::bytes(gc_heap_percentage(chosen));
    let said = u64::try_from(max_memory).ok().filter(|bytes| *bytes > 0);
    if said.is_none() && config.coap.max_connections == 0 {
        config.coap.max_connections = available::connections(usable);
    }
    let bytes = said.or(usable).unwrap_or(UNKNOWN);
    let (shares, short) = split(bytes, &tables::wants(config, chosen));
    if let Some(short) = short {
        let (prefix, key, text) = report(bytes, &short);
        match said {
            Some(_) => chosen.refuse(prefix, &[key], text),
            // Without a configured limit, the adapter starts, as Hono does.
            None => config.warnings.push(format!("`{prefix}.{key}`: {text}")),
        }
    }
    config.memory = MemoryConfig { bytes, shares };
    tables::write_back(config);
}

/// What does not fit, and what would.
fn report(bytes: u64, short: &Short) -> (&'static str, &'static str, String) {
    let (there, needed) = (bytes / MIB, short.needed.div_ceil(MIB));
    let written = short
        .largest
        .and_then(|share| Some((share, share.table.setting()?)));
    match written {
        Some((Share { bound, cost, .. }, (prefix, key))) => {
            let fits = short.would_fit;
            let text = format!(
                "{bound} of {cost} bytes each do not fit into {there} MiB of memory with all else; {fits} do, or `hono.app.maxMemory` of {needed} MiB"
            );
            (prefix, key, text)
        }
        None => {
            let text = format!("{there} MiB are too little; {needed} MiB are the least");
            ("hono.app", "maxMemory", text)
        }
    }
}

/// Assumed memory where it is unknown.
const UNKNOWN: u64 = 512 * MIB;

const MIB: u64 = 1 << 20;

#[cfg(test)]
mod tests;
