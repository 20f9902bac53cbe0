//! Routing goes on after an outage: the command router may have restarted, and then no longer listens for the tenants whose
//! devices wait for commands (spec: registry-apis A.6).

use std::time::Duration;

use tokio::time::sleep;

use super::CommandRouterClient;

impl CommandRouterClient {
    /// Each time the connection is there again after it was lost, tells the router to receive commands for the `tenants` whose
    /// devices wait for some then. Never ends; to be run in a task of its own.
    pub async fn keep_routing(&self, tenants: impl Fn() -> Vec<String> + Send + Sync) {
        let mut lost = false;
        loop {
            if !self.connection.connected(PAUSE).await {
                sleep(PAUSE).await;
                continue;
            }
            if lost {
                self.enable(&tenants()).await;
            }
            self.connection.disconnected().await;
            lost = true;
        }
    }

    /// Tries a few times, as long as it is the service that fails.
    async fn enable(&self, tenants: &[String]) {
        for _ in 0..ATTEMPTS {
            match self.enable_command_routing(tenants).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, tenants = tenants.len(), "command routing was not enabled");
                    if !error.is_server_error() || !self.connection.is_connected() {
                        return;
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// Maximum number of failed attempts.
const ATTEMPTS: u32 = 5;

/// The time between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
