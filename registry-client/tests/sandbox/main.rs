//! The clients against the sandbox's registry and command router, over AMQP on the loopback interface.

#![expect(clippy::expect_used, reason = "a test that cannot start has failed")]

mod network;
mod lookups;
mod keeping;
mod outages;
mod routing;
mod changes;
