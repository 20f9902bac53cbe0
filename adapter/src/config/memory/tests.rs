//! The contract, from memory to bounds.

use super::split::{Entries, PROCESS, SLACK, Want};
use super::*;

fn written(table: Table, cost: usize, entries: usize) -> Want {
    Want {
        table,
        cost,
        entries: Entries::Written(entries),
    }
}

fn within(table: Table, cost: usize, (least, most): (usize, usize), weight: u32) -> Want {
    Want {
        table,
        cost,
        entries: Entries::Within {
            least,
            most,
            weight,
        },
    }
}

/// So much memory that this many bytes are left for tables.
fn memory(usable: u64) -> u64 {
    PROCESS + usable / (100 - SLACK) * 100
}

fn bounds(shares: &[Share]) -> Vec<usize> {
    shares.iter().map(|share| share.bound).collect()
}

#[test]
fn tables_share_by_weight_what_is_written_leaves() {
    let wants = [
        written(Table::Sessions, 100, 85),
        within(Table::Requests, 10, (1, 1_000_000), 3),
        within(Table::Exchanges, 10, (1, 1_000_000), 1),
    ];
    let (shares, short) = split(memory(85_000), &wants);
    assert_eq!(short, None);
    assert_eq!(bounds(&shares), [85, 5737, 1912]);
}

#[test]
fn who_has_its_most_leaves_the_rest_to_the_others() {
    let wants = [
        within(Table::Requests, 10, (1, 100), 3),
        within(Table::Exchanges, 10, (1, 1_000_000), 1),
    ];
    let (shares, short) = split(memory(85_000), &wants);
    assert_eq!(short, None);
    assert_eq!(bounds(&shares), [100, 8400]);
}

#[test]
fn who_needs_more_than_its_part_takes_it_from_the_others() {
    let wants = [
        within(Table::Requests, 10, (5000, 1_000_000), 1),
        within(Table::Exchanges, 10, (1, 1_000_000), 9),
    ];
    let (shares, short) = split(memory(85_000), &wants);
    assert_eq!(short, None);
    assert_eq!(bounds(&shares), [5000, 3500]);
}

#[test]
fn what_does_not_fit_is_told_with_what_would() {
    let wants = [
        written(Table::Sessions, 100, 850),
        written(Table::Resumable, 10, 10),
        within(Table::Requests, 10, (85, 1_000_000), 1),
    ];
    let (shares, short) = split(memory(85_000), &wants);
    let short = short.unwrap();
    assert_eq!(
        short.largest.map(|share| share.table),
        Some(Table::Sessions)
    );
    assert_eq!(short.would_fit, 840);
    assert_eq!(bounds(&shares), [850, 10, 85]);
    let (_, enough) = split(short.needed, &wants);
    assert_eq!(enough, None);
}

/// Every kind of memory, whatever is written: the tables at their bounds, the process and the slack are no more than was said.
#[test]
fn the_bounds_keep_the_contract() {
    for mebibytes in [48, 64, 100, 512, 2048, 16_384, 1 << 20] {
        let bytes = mebibytes * MIB;
        let config = super::super::tests::with_memory(bytes, &[]).unwrap();
        let all: u64 = config.memory.shares.iter().map(Share::bytes).sum();
        let usable = (bytes - PROCESS) / 100 * (100 - SLACK);
        assert!(all <= usable, "{mebibytes} MiB: {all} > {usable}");
        let of = |table| config.memory.bound(table);
        let requests = of(Table::Requests) + of(Table::Parked);
        let exchanges = of(Table::Exchanges);
        assert!(requests <= exchanges, "{requests} {exchanges}");
    }
}

#[test]
fn more_memory_never_makes_a_bound_smaller() {
    let bounds = |mebibytes: u64| {
        let config = super::super::tests::with_memory(mebibytes * MIB, &[]).unwrap();
        bounds(&config.memory.shares)
    };
    let mut before = bounds(48);
    for mebibytes in [50, 64, 128, 300, 1000, 5000, 100_000] {
        let now = bounds(mebibytes);
        let grown = before.iter().zip(&now).all(|(before, now)| before <= now);
        assert!(grown, "{before:?} {now:?}");
        before = now;
    }
}

#[test]
fn a_million_sessions_fit_into_two_gibibytes() {
    let written = [("HONO_COAP_MAXCONNECTIONS", "1000000")];
    let config = super::super::tests::with_memory(2048 * MIB, &written).unwrap();
    assert_eq!(config.coap.max_connections, 1_000_000);
    assert!(config.memory.bound(Table::Requests) >= 20_000);
}

#[test]
fn written_bounds_that_do_not_fit_are_refused_by_name() {
    let written = [("HONO_COAP_MAXCONNECTIONS", "1000000")];
    let problems = super::super::tests::with_memory(256 * MIB, &written).unwrap_err();
    let text = problems.first().unwrap().to_string();
    assert!(
        text.starts_with("HONO_COAP_MAXCONNECTIONS: `hono.coap.maxConnections`: 1000000 of "),
        "{text}"
    );
    assert!(text.contains("do not fit into 256 MiB"), "{text}");
    let problems = super::super::tests::with_memory(20 * MIB, &[]).unwrap_err();
    let text = problems.first().unwrap().to_string();
    assert!(
        text.starts_with("HONO_APP_MAXMEMORY: `hono.app.maxMemory`: 20 MiB are too little; "),
        "{text}"
    );
}
