//! Changes of the configuration file: log levels take effect at once, other settings are reported
//! to need a restart.

use adapter::{
    app::reload::{Source, Unusable},
    config::{Config, Effective},
};
use observability::metrics::Reloaded;

use super::{ConfigOptions, Error, environment, logging::Levels};

/// What is done when the file changes, if there is one. `config` is what it says now.
pub(super) fn source(options: &ConfigOptions, config: &Config, levels: Levels) -> Option<Source> {
    let file = options.config.clone()?;
    let (watched, started) = (vec![file.clone()], config.effective.clone());
    Some(Source::new(Reloaded::Configuration, watched, move || {
        let config = Config::load(Some(&file), environment()).map_err(Error::Config)?;
        levels.set(&config.log)?;
        let waiting = waiting(&started, &config.effective);
        if !waiting.is_empty() {
            tracing::warn!(
                settings = waiting.join(", "),
                "changed settings take effect at the next start"
            );
        }
        Ok::<_, Unusable>(())
    }))
}

/// The settings that differ from those of the start, but for log levels.
fn waiting<'n>(started: &[Effective], now: &'n [Effective]) -> Vec<&'n str> {
    let pairs = started.iter().zip(now);
    pairs
        .filter(|(before, after)| before.value != after.value)
        .map(|(_, after)| after.name.as_str())
        .filter(|name| !LEVELS.contains(name))
        .collect()
}

/// What takes effect at once, as do `quarkus.log.category.*`.
const LEVELS: &[&str] = &["quarkus.log.level", "quarkus.log.console.level"];
