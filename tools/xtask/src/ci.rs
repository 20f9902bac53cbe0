//! All that must be green before a change lands, fastest first.

use anyhow::Result;

use crate::{
    step::{self, cargo},
    tidy,
};

pub(crate) fn run() -> Result<()> {
    cargo_step("fmt --all --check")?;
    cargo_step("clippy --locked --workspace --all-targets -- -D warnings")?;
    // The production form, without the sandbox.
    cargo_step(
        "clippy --locked --workspace --bin coap-adapter --no-default-features -- -D warnings",
    )?;
    tidy::run()?;
    cargo_step("test --locked --workspace --no-fail-fast")?;
    // Once each, to see that they work.
    cargo_step("test --locked --workspace --bench upload")?;
    let mut doc = cargo("doc --locked --workspace --no-deps".split(' '));
    step::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn cargo_step(words: &str) -> Result<()> {
    step::run(&mut cargo(words.split(' ')))
}
