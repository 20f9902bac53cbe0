//! What the adapter promises its users, each promise in a module, over real sockets against the sandbox.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod scene;
mod metrics;
mod coverage;
mod resources;
mod outcomes;
mod refusals;
mod order;
mod in_order;
mod ports;
mod shards;
mod probes;
mod strangers;
mod made_up_tenants;
mod certificates;
mod raw_keys;
mod slow_registry;
mod waiting;
mod idle_tenants;
mod renewal;
mod budgets;
mod waits;
mod departures;
mod responses;
mod gateways;
mod limits;
mod outage;
mod separate;
mod floods;
mod isolation;
mod garbage;
mod blocks;
mod shares;
mod bad_options;
mod amqp;
mod bad_commands;
mod bad_services;
