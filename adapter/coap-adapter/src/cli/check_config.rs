//! `check-config`: what holds, who wrote it, and everything that is wrong with it. Nothing is started.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Write},
    time::SystemTime,
};

use adapter::app::preflight;
use adapter::config::{Config, Effective, MemoryConfig, Problem};

use super::{ConfigOptions, Error, environment};

pub(crate) fn execute(options: &ConfigOptions) -> Result<(), Error> {
    let (config, problems) = inspect(options);
    match io::stdout().write_all(page(&config).as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(Error::Io(
                "cannot write the configuration".to_owned(),
                error,
            ));
        }
        _ => {}
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Config(problems))
    }
}

/// Reads the configuration and loads every file that it names.
pub(super) fn inspect(options: &ConfigOptions) -> (Config, Vec<Problem>) {
    let (mut config, problems) = Config::inspect(options.config.as_deref(), environment());
    if config.effective.is_empty() {
        // The configuration file itself cannot be read.
        return (config, problems);
    }
    let findings = preflight::check(&config, problems, SystemTime::now());
    config.warnings.extend(findings.warnings);
    (config, findings.problems)
}

fn page(config: &Config) -> String {
    if config.effective.is_empty() {
        return String::new();
    }
    let unused = unused(&config.effective);
    let shown: Vec<&Effective> = config
        .effective
        .iter()
        .filter(|effective| effective.value.is_some())
        .filter(|effective| {
            !unused
                .iter()
                .any(|prefix| effective.name.starts_with(prefix))
        })
        .collect();
    let width = |of: fn(&Effective) -> usize| {
        shown
            .iter()
            .map(|effective| of(effective))
            .max()
            .unwrap_or(0)
    };
    let names = width(|effective| effective.name.len());
    let values = width(value_width).min(WIDEST_VALUE);
    let mut page = String::new();
    for effective in shown {
        let value = effective.value.as_deref().unwrap_or_default();
        page += &format!(
            "{:names$} = {value:values$}  # {}\n",
            effective.name, effective.origin
        );
    }
    for prefix in unused {
        page += &format!("{prefix}host is not set; nothing of {prefix}* is used\n");
    }
    for ignored in &config.ignored {
        page += &format!("no effect: {ignored}\n");
    }
    for warning in &config.warnings {
        page += &format!("warning: {warning}\n");
    }
    page + &memory(&config.memory)
}

/// The memory contract, a line for each table.
fn memory(memory: &MemoryConfig) -> String {
    let mebibytes = |bytes: u64| bytes / (1 << 20);
    let mut page = format!("memory: {} MiB\n", mebibytes(memory.bytes));
    for share in &memory.shares {
        let (name, bound, cost) = (share.table.name(), share.bound, share.cost);
        let kibibytes = share.bytes().div_ceil(1024);
        page += &format!("memory: {name:20} {bound:>10} x {cost:>6} bytes = {kibibytes:>8} KiB\n");
    }
    page
}

fn value_width(effective: &Effective) -> usize {
    effective.value.as_ref().map_or(0, String::len)
}

/// How the names of clients begin that are not used, for nobody named their host.
fn unused(effective: &[Effective]) -> BTreeSet<&str> {
    let without = effective
        .iter()
        .filter(|effective| effective.value.is_none());
    without
        .filter_map(|effective| effective.name.strip_suffix("host"))
        .filter(|prefix| prefix.ends_with('.'))
        .collect()
}

const WIDEST_VALUE: usize = 32;
