//! `run`: serves devices until a signal.

use std::time::Duration;

use adapter::{app::App, config::Config};
use observability::spans::Traces;
use tokio::time::timeout;

use super::{
    ConfigOptions, Error, check_config, logging, process, reconfigure,
    signals::{Action, Signals},
};

pub(crate) async fn execute(options: &ConfigOptions) -> Result<(), Error> {
    let (config, problems) = check_config::inspect(options);
    if !problems.is_empty() {
        return Err(Error::Config(problems));
    }
    let traces = Traces::start(config.tracing.endpoint.as_deref(), config.tracing.sampler)
        .map_err(|error| Error::Wrong(error.to_string()))?;
    let levels = logging::start(&config.log, traces.as_ref())?;
    remark(&config);
    process::prepare();
    let mut signals =
        Signals::new().map_err(|error| Error::Io("cannot listen for signals".to_owned(), error))?;
    let file = reconfigure::source(options, &config, levels);
    let app = App::start(config).await?;
    if let Some(file) = file {
        app.reload().watch(file).await;
    }
    while signals.next().await == Action::Reload {
        tracing::info!("received SIGHUP: checking files for changes");
        app.reload().now().await;
    }
    tracing::info!("shutting down; a second signal exits at once");
    tokio::select! {
        () = app.stop() => tracing::info!("ended"),
        () = signals.end() => tracing::warn!("forced shutdown: in-flight requests were aborted"),
    }
    if let Some(traces) = traces {
        let stopping = tokio::task::spawn_blocking(move || traces.stop());
        drop(timeout(FAREWELL, stopping).await);
    }
    Ok(())
}

/// Maximum time to export the last spans.
const FAREWELL: Duration = Duration::from_secs(2);

/// Logs warnings about the configuration.
fn remark(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if !config.ignored.is_empty() {
        let ignored: Vec<_> = config.ignored.iter().map(ToString::to_string).collect();
        tracing::info!(
            settings = ignored.join("; "),
            "some settings of Hono have no effect here"
        );
    }
}
