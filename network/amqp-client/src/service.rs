//! The state of a service as all its connections see it: logged once for each change, not for each connection or attempt.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// A service that one or more connections lead to. Clones are the same.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    name: String,
    state: Mutex<State>,
    /// A connection is up: attempts of the others are worth while now.
    connected: Notify,
}

#[derive(Default)]
struct State {
    /// Connections that are to be up.
    connections: usize,
    /// Connections that are up.
    up: usize,
    logged: Logged,
}

/// What the log says last.
#[derive(Default)]
enum Logged {
    #[default]
    Nothing,
    Available,
    Unavailable {
        reason: String,
        since: Instant,
        at: Instant,
    },
}

/// Whether a connection had been up before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Up,
    Down,
}

impl Service {
    /// A service under this name in the log.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Shared {
            name: name.into(),
            state: Mutex::default(),
            connected: Notify::new(),
        }))
    }

    /// Adds a connection that is to be up.
    pub(crate) fn join(&self) {
        let mut state = self.lock();
        state.connections = state.connections.saturating_add(1);
    }

    /// Removes a connection that was ended by us.
    pub(crate) fn leave(&self, before: Before) {
        let mut state = self.lock();
        state.connections = state.connections.saturating_sub(1);
        if before == Before::Up {
            state.up = state.up.saturating_sub(1);
        }
    }

    /// A connection is up.
    pub(crate) fn connected(&self) {
        let mut state = self.lock();
        state.up = state.up.saturating_add(1);
        let is_available = state.up >= state.connections;
        if is_available {
            let service = self.0.name.as_str();
            match std::mem::replace(&mut state.logged, Logged::Available) {
                Logged::Nothing => tracing::info!(service, "connected"),
                Logged::Unavailable { since, .. } => {
                    let seconds = since.elapsed().as_secs();
                    tracing::info!(service, unavailable_seconds = seconds, "connected again");
                }
                Logged::Available => {}
            }
        }
        drop(state);
        self.0.connected.notify_waiters();
    }

    /// A connection was lost, or an attempt to connect failed.
    pub(crate) fn failed(&self, before: Before, reason: &str) {
        let service = self.0.name.as_str();
        let now = Instant::now();
        let mut state = self.lock();
        if before == Before::Up {
            state.up = state.up.saturating_sub(1);
        }
        let since = match &state.logged {
            Logged::Unavailable { reason: logged, .. } if logged == reason => None,
            // Another reason is news, but one that alternates must not fill the log.
            Logged::Unavailable { at, .. } if now.duration_since(*at) < REPEAT => None,
            Logged::Unavailable { since, .. } => Some(*since),
            Logged::Nothing | Logged::Available => Some(now),
        };
        let Some(since) = since else {
            tracing::debug!(service, reason, "still unavailable");
            return;
        };
        tracing::warn!(service, reason, "unavailable; reconnecting");
        state.logged = Logged::Unavailable {
            reason: reason.to_owned(),
            since,
            at: now,
        };
    }

    /// Waits until another connection of the service is up.
    pub(crate) async fn another_connected(&self) {
        self.0.connected.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Service")
            .field(&self.0.name)
            .finish()
    }
}

/// How long no other reason is logged for a service that stays unavailable.
const REPEAT: Duration = Duration::from_secs(60);
