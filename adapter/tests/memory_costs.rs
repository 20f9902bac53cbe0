//! What an entry of a table takes of the heap is no more than the memory contract says (`adapter/src/config/memory/tables.rs`).
//!
//! The allocator counts what is asked for and given back; the contract adds its slack for what it cannot use.

use std::alloc::System;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adapter::config::{BudgetConfig, Table};
use adapter::tenant::budget::{Budgets, Payer};
use coap_proto::{Code, Endpoint, Event, Response};
use observability::metrics::{Metrics, Qos, Status, Ttd, Upload, UploadKind};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Tests must not count what others ask for.
static ALONE: Mutex<()> = Mutex::new(());

/// Asserts that entries cost no more than the contract says. `fill` makes so many entries and gives back what holds them.
fn costs<T>(table: Table, entries: usize, fill: impl FnOnce() -> T) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = live();
    let filled = fill();
    let each = (live() - before) / entries;
    drop(filled);
    let cost = table.cost();
    assert!(
        each > 0 && each <= cost,
        "{table:?}: {each} of {cost} bytes"
    );
}

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Each of another peer, as many devices with a message each have it.
#[test]
fn a_remembered_request() {
    let entries = 30_000;
    costs(Table::Exchanges, entries, || {
        let mut endpoint: Endpoint<usize> = Endpoint::new(coap_proto::Config::default(), 0);
        let now = Instant::now();
        for peer in 0..entries {
            let post = [0x44, 2, 0, 1, 1, 2, 3, 4, 0xb1, b't'];
            endpoint.handle_datagram(now, &peer, &post);
            let Some(Event::Request { exchange, .. }) = endpoint.poll_event() else {
                panic!("that is a request");
            };
            endpoint.respond(now, exchange, Response::new(Code::CHANGED));
            while endpoint.poll_transmit().is_some() {}
        }
        assert_eq!(endpoint.exchanges(), entries);
        endpoint
    });
}

#[test]
fn a_tenant() {
    let entries = 500;
    costs(Table::Tenants, entries, || {
        let metrics = Metrics::new("h");
        for number in 0..entries {
            let tenant = format!("a-tenant-with-some-name-{number}");
            for kind in [UploadKind::Telemetry, UploadKind::Event] {
                metrics.upload(&Upload {
                    kind,
                    tenant: &tenant,
                    status: Status::Forwarded,
                    qos: Qos::AtLeastOnce,
                    ttd: Ttd::None,
                    payload: 20,
                    duration: Duration::from_millis(1),
                });
            }
        }
        assert_eq!(metrics.tenants(), entries);
        metrics
    });
}

#[test]
fn a_budget() {
    let entries = 20_000;
    costs(Table::Budgets, entries, || {
        let mut config = BudgetConfig::default();
        config.device.messages = 10;
        config.max_entries = entries * 2;
        let budgets = Budgets::new(&config, Metrics::new("h"));
        let tenant: Arc<str> = "a-tenant".into();
        for number in 0..entries {
            let device: Arc<str> = format!("a-device-{number}").into();
            let payer = Payer {
                tenant: &tenant,
                device: &device,
                gateway: None,
            };
            budgets.charge_message(Instant::now(), payer, 20).unwrap();
        }
        budgets
    });
}
