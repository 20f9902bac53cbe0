//! The adapter among programs that others wrote: clients in the south, consumers and a broker in the north.
//!
//! A test whose program is not installed is skipped, and says loudly what to install; with `INTEROP_REQUIRED` in the
//! environment it fails instead. `cargo xtask interop` installs everything and runs them all.
#![expect(clippy::print_stdout, reason = "a test runner talks to people")]

mod tool;
mod compiled;
#[path = "../../network/dtls-server/tests/lab/mod.rs"]
mod lab;
mod process;
mod libcoap;
mod openssl;
mod gnutls;
mod mbedtls;
mod gocoap;
mod aiocoap;
mod mtu;
mod nat;
mod tap;
mod californium;
mod certificates;
mod revocation;
mod proton;
mod artemis;
mod prometheus;
mod dashboard;
mod renewal;
mod schema;

use std::{env, future::Future, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::{runtime::Runtime, time::timeout};

use self::tool::Tool;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test waits for programs of others, most of its time.
    arguments.test_threads.get_or_insert(2);
    let runner = match Runtime::new() {
        Ok(runtime) => Runner {
            runtime: Arc::new(runtime),
            required: env::var_os("INTEROP_REQUIRED").is_some(),
        },
        Err(error) => {
            println!("interop: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    libcoap::add(&runner, &mut trials);
    openssl::add(&runner, &mut trials);
    gnutls::add(&runner, &mut trials);
    mbedtls::add(&runner, &mut trials);
    gocoap::add(&runner, &mut trials);
    aiocoap::add(&runner, &mut trials);
    mtu::add(&runner, &mut trials);
    californium::add(&runner, &mut trials);
    certificates::add(&runner, &mut trials);
    revocation::add(&runner, &mut trials);
    proton::add(&runner, &mut trials);
    artemis::add(&runner, &mut trials);
    prometheus::add(&runner, &mut trials);
    dashboard::add(&runner, &mut trials);
    renewal::add(&runner, &mut trials);
    schema::add(&runner, &mut trials);
    let conclusion = libtest_mimic::run(&arguments, trials);
    for tool in Tool::ALL.iter().filter(|tool| !tool.is_there()) {
        let fate = if runner.required && tool.is_installable() {
            "FAILED"
        } else {
            "SKIPPED"
        };
        println!(
            "interop: {fate} all tests with {tool}, it is not there: {}",
            tool.how_to_get()
        );
    }
    conclusion.exit_code()
}

/// What makes tests of futures.
pub(crate) struct Runner {
    runtime: Arc<Runtime>,
    required: bool,
}

/// How a test ends: an error tells what was not as it should be.
pub(crate) type Outcome = Result<(), String>;

impl Runner {
    /// A test that needs `tool`.
    pub(crate) fn trial<F>(
        &self,
        tool: Tool,
        name: &str,
        test: impl FnOnce() -> F + Send + 'static,
    ) -> Trial
    where
        F: Future<Output = Outcome> + 'static,
    {
        let runtime = Arc::clone(&self.runtime);
        let required = self.required && tool.is_installable();
        let skipped = !tool.is_there() && !required;
        let run = move || {
            if !tool.is_there() {
                return Err(Failed::from(format!(
                    "{tool} is not there: {}",
                    tool.how_to_get()
                )));
            }
            let limited = async { timeout(tool.patience(), test()).await };
            runtime
                .block_on(limited)
                .map_err(|_| format!("not over after {:?}", tool.patience()))?
                .map_err(Failed::from)
        };
        let kind = if skipped {
            format!("SKIPPED, {tool} is not there")
        } else {
            tool.to_string()
        };
        Trial::test(name, run)
            .with_kind(kind)
            .with_ignored_flag(skipped)
    }
}
