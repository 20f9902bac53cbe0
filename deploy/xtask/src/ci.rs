//! All that must be green before a change lands, fastest first.

use anyhow::Result;

use crate::{
    step::{self, cargo},
    tidy,
};

pub(crate) fn run() -> Result<()> {
    step::run(&mut cargo(["fmt", "--all", "--check"]))?;
    step::run(&mut cargo([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    tidy::run()?;
    step::run(&mut cargo([
        "test",
        "--locked",
        "--workspace",
        "--no-fail-fast",
    ]))?;
    step::run(
        cargo(["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}
