//! What the metrics ask the parts of the adapter for, whenever they are read.

use std::sync::Arc;

use amqp_client::Connection;
use fair_semaphore::FairSemaphore;
use registry_client::notifications::Caches;
use tokio_util::task::TaskTracker;

use crate::config::{MemoryConfig, Table};
use crate::diagnostics::recent::Recent;
use crate::exchange::AdmissionControl;
use crate::monitoring::health::Health;
use crate::pipeline::Pipeline;
use crate::route::Endpoint;
use observability::metrics::{Gauge, Metrics, count_of};

/// Lets the metrics ask. The pipeline has the metrics, so these must not keep it alive.
pub(super) fn watch(
    pipeline: &Arc<Pipeline>,
    connections: Vec<(&'static str, Vec<Connection>)>,
    requests: &TaskTracker,
    registry: &Caches,
    recent: Option<&Arc<Recent>>,
    memory: &MemoryConfig,
) {
    let metrics = pipeline.observer.metrics();
    let of_requests = requests.clone();
    metrics.watch(Gauge::RequestsInProgress, "", move || {
        Some(count_of(of_requests.len()))
    });
    let weak = Arc::downgrade(pipeline);
    metrics.watch(Gauge::ParkedRequests, "", move || {
        let pipeline = weak.upgrade()?;
        Some(count_of(pipeline.commands.inboxes().len()))
    });
    for share in &memory.shares {
        metrics.observe_bound(share.table.name(), share.bound);
    }
    let requests: fn(&AdmissionControl) -> usize = AdmissionControl::requests;
    for (table, taken) in [
        (Table::Requests, requests),
        (Table::RequestBytes, AdmissionControl::bytes),
        (Table::Parked, AdmissionControl::waiting),
    ] {
        let admission = Arc::downgrade(&pipeline.admission);
        metrics.watch(Gauge::TableEntries, table.name(), move || {
            Some(count_of(taken(&*admission.upgrade()?)))
        });
    }
    let weak = Arc::downgrade(pipeline);
    metrics.watch(Gauge::TableEntries, Table::Tenants.name(), move || {
        let pipeline = weak.upgrade()?;
        Some(count_of(pipeline.observer.metrics().tenants()))
    });
    let weak = Arc::downgrade(&registry.tenants);
    metrics.watch(Gauge::TableEntries, "kept_tenants", move || {
        Some(count_of(weak.upgrade()?.kept()))
    });
    let weak = Arc::downgrade(&registry.registrations);
    metrics.watch(Gauge::TableEntries, "kept_registrations", move || {
        Some(count_of(weak.upgrade()?.kept()))
    });
    let weak = Arc::downgrade(&registry.credentials);
    metrics.watch(Gauge::TableEntries, "kept_credentials", move || {
        Some(count_of(weak.upgrade()?.kept()))
    });
    let (tenants, registrations) = (&registry.tenants, &registry.registrations);
    watch_lookups(metrics, TENANTS, tenants.lookups_of_unknown());
    watch_lookups(metrics, REGISTRATIONS, registrations.requests());
    for endpoint in [Endpoint::Telemetry, Endpoint::Event] {
        let weak = Arc::downgrade(pipeline);
        metrics.watch(Gauge::AmqpCredit, endpoint.name(), move || {
            let (credit, _) = weak.upgrade()?.uplink.links(endpoint);
            Some(count_of(usize::try_from(credit).unwrap_or(usize::MAX)))
        });
        let weak = Arc::downgrade(pipeline);
        metrics.watch(Gauge::AmqpLinks, endpoint.name(), move || {
            Some(count_of(weak.upgrade()?.uplink.links(endpoint).1))
        });
    }
    for (name, connections) in connections {
        let of = connections.clone();
        metrics.watch(Gauge::AmqpConnected, name, move || {
            let up = of.iter().all(Connection::is_connected);
            Some(f64::from(u8::from(up)))
        });
        metrics.watch(Gauge::AmqpInFlight, name, move || {
            Some(count_of(
                connections.iter().map(Connection::in_flight).sum(),
            ))
        });
    }
    if let Some(recent) = recent.cloned() {
        metrics.watch(Gauge::TableEntries, "recent_devices", move || {
            Some(count_of(recent.len()))
        });
    }
}

/// Lets the metrics ask how many lookups of a kind are in progress, and how many wait.
pub(super) fn watch_lookups(
    metrics: &Metrics,
    (kind, queue): (&'static str, &'static str),
    permits: &FairSemaphore,
) {
    let running = permits.clone();
    metrics.watch(Gauge::Lookups, kind, move || {
        Some(count_of(running.in_use()))
    });
    let waiting = permits.clone();
    metrics.watch(Gauge::QueueDepth, queue, move || {
        Some(count_of(waiting.waiting()))
    });
}

/// Lets the metrics ask how many connections an HTTP port has.
pub(super) fn watch_http(metrics: &Metrics, port: &'static str, health: &Health) {
    let connections = health.connections();
    metrics.watch(Gauge::HttpConnections, port, move || {
        Some(count_of(connections()))
    });
}

/// Labels of each kind of lookup: of those in progress, and of those that wait.
const TENANTS: (&str, &str) = ("tenant", "tenant_lookups");
const REGISTRATIONS: (&str, &str) = ("registration", "registration_lookups");
pub(super) const OCSP: (&str, &str) = ("ocsp", "ocsp_requests");
