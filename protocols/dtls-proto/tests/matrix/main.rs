//! Each client that others wrote, with each suite and each feature: what works, and why something cannot be tried.
//!
//! Not part of a plain `cargo test`: `cargo xtask interop` installs the clients and runs it, or
//! `cargo test -p dtls-proto --test matrix`, where a client that is missing is left out, loudly. The matrix is printed in the end,
//! from what has just been seen.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "here the core meets a real peer, so somebody must own a socket and a clock"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its runner talks to people"
)]

#[path = "../interop/server.rs"]
#[expect(dead_code, reason = "other tests start it otherwise")]
mod server;
#[path = "../interop/peer.rs"]
#[expect(dead_code, reason = "tests of refusals use all of it")]
mod peer;
#[path = "../interop/nat.rs"]
mod nat;
#[path = "../interop/scandium/jars.rs"]
mod jars;
mod scenario;
mod table;
mod openssl;
mod gnutls;
mod mbedtls;
mod libcoap;
mod scandium;
mod webrtc;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use self::scenario::{Scenario, Stack};
use self::table::{Cell, Table};

const STACKS: [&dyn Stack; 8] = [
    &openssl::OpenSsl,
    &gnutls::GnuTls,
    &mbedtls::MbedTls,
    &libcoap::Libcoap::OpenSsl,
    &libcoap::Libcoap::GnuTls,
    &libcoap::Libcoap::MbedTls,
    &scandium::Scandium,
    &webrtc::WebRtc,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test waits for a program to start, most of its time.
    arguments.test_threads.get_or_insert(4);
    let required = peer::is_required();
    let table = Arc::new(Table::default());
    let mut trials = Vec::new();
    let versions = STACKS.map(Stack::version);
    // One stack after the other in each scenario, so that none has to do all at once.
    for scenario in Scenario::all() {
        for (stack, version) in STACKS.into_iter().zip(&versions) {
            let place = (stack.name(), scenario);
            if let Some(reason) = scenario.pointless().or_else(|| stack.lacks(scenario)) {
                table.set(place, Cell::Lacking(reason));
                continue;
            }
            let missing = version.is_none();
            table.set(place, if missing { Cell::Missing } else { Cell::NotRun });
            let told = Arc::clone(&table);
            let run = move || {
                if missing {
                    return Err(format!("it needs {}", stack.needs()).into());
                }
                told.set(place, Cell::Failed);
                scenario.run(stack);
                told.set(place, Cell::Passed);
                Ok(())
            };
            let name = format!("{}: {scenario}", stack.name());
            trials.push(Trial::test(name, run).with_ignored_flag(missing && !required));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        for (stack, version) in STACKS.into_iter().zip(&versions) {
            if table.is_wanted(stack) {
                print!("{}", table.page(stack, version.as_deref()));
            }
        }
        println!("{}", table.summary());
    }
    conclusion.exit_code()
}
