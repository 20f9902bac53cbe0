//! The registry and the command router as a test sees them: what they are asked, and what goes wrong with it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;

pub use crate::fault::{Fault, Garbage};

/// What adapters ask for (spec: registry-apis A.3 to A.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A tenant by its id or by the subject of its CA.
    Tenant,
    /// Whether a device may speak.
    Assertion,
    /// What a device proves itself with.
    Credentials,
    /// Commands for a device are to go to an adapter instance.
    RegisterConsumer,
    /// They are to go there no longer.
    UnregisterConsumer,
    /// Through which gateways devices were heard last.
    LastKnownGateway,
    /// For which tenants the router is to listen.
    EnableRouting,
}

/// A request that came to a service.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Asked {
    /// What was asked for.
    pub operation: Operation,
    /// The address it was sent to, such as `registration/<tenant>`.
    pub address: String,
    /// The sections of the message, as [`Received::sections`](crate::northbound::Received::sections) has them.
    pub sections: serde_json::Value,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The status of the answer; 0 if there is none.
    pub status: i32,
}

impl Asked {
    /// An application property that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.sections["application-properties"][name]["string"].as_str()
    }
}

/// A handle to the services of a running sandbox. Clones are the same.
#[derive(Clone)]
pub struct Services(Arc<Shared>);

struct Shared {
    faults: Mutex<HashMap<Operation, Fault>>,
    asked: broadcast::Sender<Asked>,
}

impl Default for Services {
    fn default() -> Self {
        Self(Arc::new(Shared {
            faults: Mutex::default(),
            asked: broadcast::Sender::new(REMEMBERED),
        }))
    }
}

impl Services {
    /// From now on, each request for `operation` meets this fault.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        self.faults().insert(operation, fault);
    }

    /// From now on, `operation` is served as it should be.
    pub fn recover(&self, operation: Operation) {
        self.faults().remove(&operation);
    }

    /// All requests from now on. A receiver that does not keep up loses the oldest of some
    /// thousands, and
    /// gets an error for that.
    #[must_use]
    pub fn asked(&self) -> broadcast::Receiver<Asked> {
        self.0.asked.subscribe()
    }

    pub(crate) fn fault(&self, operation: Operation) -> Option<Fault> {
        self.faults().get(&operation).cloned()
    }

    /// Tells of a request, if anybody wants to know.
    pub(crate) fn tell(&self, asked: impl FnOnce() -> Asked) {
        if self.0.asked.receiver_count() > 0 && self.0.asked.send(asked()).is_err() {
            tracing::debug!("the receiver of requests is gone");
        }
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<Operation, Fault>> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Services")
            .field("faults", &*self.faults())
            .finish_non_exhaustive()
    }
}

const REMEMBERED: usize = 4096;
