//! Logs to standard error: how much, and in which form.

use std::{env, io};

use adapter::config::LogConfig;
use observability::spans::{self, Traces};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    registry, reload,
    util::SubscriberInitExt,
};

use super::Error;

/// Starts logging and tracing; `RUST_LOG` overrides the configured levels.
pub(super) fn start(config: &LogConfig, traces: Option<&Traces>) -> Result<Levels, Error> {
    let (filter, handle) = reload::Layer::new(filter(config, variable())?);
    let filter = filter_fn(|metadata| metadata.target() != spans::TARGET).and(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if config.json {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        let colour =
            io::IsTerminal::is_terminal(&io::stderr()) && env::var_os("NO_COLOR").is_none();
        lines.with_ansi(colour).with_filter(filter).boxed()
    };
    let layers: Vec<_> = [lines]
        .into_iter()
        .chain(traces.map(Traces::layer))
        .collect();
    registry().with(layers).init();
    Ok(Levels(handle))
}

/// How much is logged, which may change.
#[derive(Debug, Clone)]
pub(super) struct Levels(reload::Handle<EnvFilter, Registry>);

impl Levels {
    /// Logs as much as `config` says from now on, unless `RUST_LOG` says it.
    pub(super) fn set(&self, config: &LogConfig) -> Result<(), Error> {
        let filter = filter(config, variable())?;
        let set = self.0.reload(filter);
        set.map_err(|error| Error::Failed(error.to_string()))
    }
}

fn variable() -> Option<String> {
    let text = env::var("RUST_LOG").ok();
    text.filter(|text| !text.trim().is_empty())
}

fn filter(config: &LogConfig, variable: Option<String>) -> Result<EnvFilter, Error> {
    let text = match variable {
        Some(text) => text,
        None => directives(config),
    };
    EnvFilter::builder().parse(&text).map_err(|error| {
        Error::Wrong(format!(
            "RUST_LOG is `{text}`, but should be like `info,adapter=debug`: {error}"
        ))
    })
}

/// The configured levels in the language of filters.
fn directives(config: &LogConfig) -> String {
    let categories = config
        .categories
        .iter()
        .map(|(name, level)| format!(",{name}={}", level.as_str()));
    config.level.as_str().to_owned() + &categories.collect::<String>()
}

#[cfg(test)]
mod tests {
    use adapter::config::Level;

    use super::*;

    #[test]
    fn levels_of_crates_stand_beside_the_common_one() {
        let mut config = LogConfig::default();
        config
            .categories
            .insert("dtls_server".to_owned(), Level::Debug);
        assert_eq!(directives(&config), "info,dtls_server=debug");
    }

    #[test]
    fn a_wrong_variable_is_told() {
        let error = filter(&LogConfig::default(), Some("adapter=loud".to_owned())).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("RUST_LOG is `adapter=loud`, but should be like"),
            "{error}"
        );
    }
}
