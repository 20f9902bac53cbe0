//! When the last known gateways are reported: all that came within a short time of the first, then the rest in further rounds
//! (spec: registry-apis A.6).

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet, time::sleep};

use super::batch::{Batch, Update};

/// What waits, and the way to wake who reports it.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    batch: Mutex<Batch>,
    added: Notify,
}

impl Reporter {
    /// Adds the gateway of a device; false if too many are waiting.
    pub(super) fn add(&self, tenant: &str, device: &str, gateway: &str) -> bool {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let added = batch.add(tenant, device, gateway);
        self.added.notify_one();
        added
    }

    fn take_round(&self) -> Vec<Update> {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        batch.take_round()
    }
}

/// Reports updates until dropped. `send` ends when an update is reported, or in bounded time.
pub(super) async fn report<F>(reporter: std::sync::Arc<Reporter>, send: impl Fn(Update) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        reporter.added.notified().await;
        sleep(COLLECTING).await;
        loop {
            let round = reporter.take_round();
            if round.is_empty() {
                break;
            }
            let mut sending: JoinSet<()> = round.into_iter().map(&send).collect();
            while sending.join_next().await.is_some() {}
        }
    }
}

/// How long updates are collected, counted from the first.
const COLLECTING: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::{
        sync::mpsc,
        time::{Instant, sleep},
    };

    use super::{Reporter, Update, report};

    /// Runs a reporter on a virtual clock, and tells when it sends what.
    fn start() -> (Arc<Reporter>, mpsc::UnboundedReceiver<(Duration, Update)>) {
        let reporter = Arc::new(Reporter::default());
        let (sent, updates) = mpsc::unbounded_channel();
        let begin = Instant::now();
        let send = move |update| {
            let sent = sent.clone();
            async move {
                sent.send((begin.elapsed(), update)).unwrap();
            }
        };
        tokio::spawn(report(reporter.clone(), send));
        (reporter, updates)
    }

    #[tokio::test(start_paused = true)]
    async fn updates_are_told_together_400_ms_after_the_first() {
        let (reporter, mut updates) = start();
        sleep(Duration::from_millis(1_000)).await;
        for device in ["a", "b", "c", "c"] {
            assert!(reporter.add("T", device, "gw"));
            sleep(Duration::from_millis(90)).await;
        }
        let (at, update) = updates.recv().await.unwrap();
        assert_eq!(at.as_millis(), 1_400);
        assert_eq!(update.gateways.len(), 3);
        assert!(reporter.add("T", "d", "gw"));
        let (at, update) = updates.recv().await.unwrap();
        assert_eq!((at.as_millis(), update.gateways.len()), (1_800, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_remainder_follows_at_once() {
        let (reporter, mut updates) = start();
        for device in 0..250 {
            assert!(reporter.add("T", &device.to_string(), "gw"));
        }
        for devices in [100, 100, 50] {
            let (at, update) = updates.recv().await.unwrap();
            assert_eq!((at.as_millis(), update.gateways.len()), (400, devices));
        }
    }
}
