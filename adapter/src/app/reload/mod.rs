//! Files that may change while the adapter runs: certificates, keys, trust stores, the configuration with its log levels.
//!
//! Their content is compared every few seconds and on request. That works wherever files come from: Kubernetes swaps the
//! symbolic links above a Secret's files, which leaves a watch of the files themselves without a word. A new content that
//! cannot be used changes nothing, and is told.

use std::path::PathBuf;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use zeroize::Zeroizing;

use observability::metrics::{Metrics, Reloaded};

/// Why a new content cannot be used.
pub type Unusable = Box<dyn std::error::Error + Send + Sync>;

/// Files that belong together, and what is done when one of them changes.
pub struct Source {
    what: Reloaded,
    files: Vec<PathBuf>,
    seen: Vec<Option<[u8; 32]>>,
    is_good: bool,
    apply: Box<dyn FnMut() -> Result<(), Unusable> + Send>,
}

impl Source {
    /// Takes the present content of `files` as known. When it is another, `apply` reads and uses it, or leaves all as it was.
    pub fn new(
        what: Reloaded,
        files: Vec<PathBuf>,
        apply: impl FnMut() -> Result<(), Unusable> + Send + 'static,
    ) -> Self {
        let seen = fingerprints(&files);
        Self {
            what,
            files,
            seen,
            is_good: true,
            apply: Box::new(apply),
        }
    }

    /// What was done; `None` if nothing had to be.
    fn look(&mut self, why: Why) -> Option<Result<(), Unusable>> {
        let now = fingerprints(&self.files);
        let retry = why == Why::Asked && !self.is_good;
        if now == self.seen && !retry {
            return None;
        }
        self.seen = now;
        let result = (self.apply)();
        self.is_good = result.is_ok();
        Some(result)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Source")
            .field("what", &self.what)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Has files looked at; clones speak to the same task.
#[derive(Debug, Clone)]
pub struct Reload {
    orders: mpsc::Sender<Order>,
}

impl Reload {
    /// What looks at `sources` every `period`, or only when asked to, and the handle to ask it. It runs until it is dropped.
    pub(super) fn new(
        mut sources: Vec<Source>,
        period: Option<Duration>,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (orders, mut received) = mpsc::channel(ORDERS);
        let task = async move {
            let mut ticks = interval(period.unwrap_or(Duration::MAX / 2).max(SHORTEST));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                let order = tokio::select! {
                    order = received.recv() => order,
                    _ = ticks.tick(), if period.is_some() => Some(Order::Look(None)),
                };
                match order {
                    Some(Order::Watch(source)) => sources.push(source),
                    Some(Order::Look(asked)) => {
                        let why = if asked.is_some() {
                            Why::Asked
                        } else {
                            Why::Time
                        };
                        sources = look(sources, why, metrics.clone()).await;
                        if let Some(Err(())) = asked.map(|asked| asked.send(())) {
                            tracing::debug!("the caller of a reload no longer waits for it");
                        }
                    }
                    None => std::future::pending().await,
                }
            }
        };
        (Self { orders }, task)
    }

    /// Looks at one more source from now on.
    pub async fn watch(&self, source: Source) {
        self.order(Order::Watch(source)).await;
    }

    /// Looks at all files now, and once more at what could not be used before. Returns when that is done.
    pub async fn now(&self) {
        let (asked, done) = oneshot::channel();
        self.order(Order::Look(Some(asked))).await;
        if done.await.is_err() {
            tracing::debug!("skipped a reload: the adapter is shutting down");
        }
    }

    async fn order(&self, order: Order) {
        if self.orders.send(order).await.is_err() {
            tracing::debug!("reloading ended: the adapter is shutting down");
        }
    }
}

#[derive(Debug)]
enum Order {
    Look(Option<oneshot::Sender<()>>),
    Watch(Source),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Asked,
    Time,
}

/// Reads and uses what is new, where it may block.
async fn look(mut sources: Vec<Source>, why: Why, metrics: Metrics) -> Vec<Source> {
    let work = tokio::task::spawn_blocking(move || {
        for source in &mut sources {
            let files = &source.files;
            let named: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let named = named.join(", ");
            match source.look(why) {
                None => {}
                Some(Ok(())) => {
                    metrics.reloaded(source.what, true);
                    tracing::info!(what = source.what.as_str(), files = named, "reloaded");
                }
                Some(Err(error)) => {
                    metrics.reloaded(source.what, false);
                    tracing::error!(
                        what = source.what.as_str(),
                        files = named,
                        %error,
                        "reload failed; keeping the previous version"
                    );
                }
            }
        }
        sources
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the task that reloads files failed; changed files need a restart");
        Vec::new()
    })
}

/// What tells contents apart; `None` for a file that cannot be read.
fn fingerprints(files: &[PathBuf]) -> Vec<Option<[u8; 32]>> {
    let one = |file: &PathBuf| {
        let content = Zeroizing::new(std::fs::read(file).ok()?);
        digest(&SHA256, &content).as_ref().try_into().ok()
    };
    files.iter().map(one).collect()
}

const ORDERS: usize = 4;
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
