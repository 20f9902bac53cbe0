//! Logs to standard error: how much, and in which form.

use std::{env, io};

use adapter::config::LogConfig;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

use super::Error;

/// Starts to log; `RUST_LOG` outdoes the configured levels.
pub(super) fn start(config: &LogConfig) -> Result<(), Error> {
    let filter = filter(
        config,
        env::var("RUST_LOG")
            .ok()
            .filter(|text| !text.trim().is_empty()),
    )?;
    let lines = registry().with(filter);
    if config.json {
        let json = fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr);
        lines.with(json).init();
    } else {
        let colour =
            io::IsTerminal::is_terminal(&io::stderr()) && env::var_os("NO_COLOR").is_none();
        lines
            .with(fmt::layer().with_ansi(colour).with_writer(io::stderr))
            .init();
    }
    Ok(())
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
        let told = filter(&LogConfig::default(), Some("adapter=loud".to_owned())).unwrap_err();
        assert!(
            told.to_string()
                .starts_with("RUST_LOG is `adapter=loud`, but should be like"),
            "{told}"
        );
    }
}
