//! Requests and their responses over pairs of links: one pair for each tenant, or one in all where the API knows no tenants
//! (spec: registry-apis A.1).
//!
//! Pairs are opened when first needed and again after they were lost. Whatever is wrong with the way there ends in a 503.

mod pairs;
mod pair;
mod pending;
mod reply;
mod request;
#[cfg(test)]
pub(crate) mod service;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use amqp_client::{Connection, Outcome, SendError};

use self::pairs::Pairs;
pub(crate) use self::request::Request;
use crate::{ServiceError, response::Response};

/// The way to one service.
pub(crate) struct Exchange {
    endpoint: &'static str,
    /// By the address that requests go to.
    pairs: Arc<Pairs>,
    /// Who wants to know what becomes of requests.
    observer: OnceLock<Box<DeliveryObserver>>,
}

/// Callback for each request that was sent or could not be sent: its tenant (empty if none), the
/// outcome of the message, and how
/// long that took.
pub type DeliveryObserver =
    dyn Fn(&str, Result<&Outcome, &SendError>, Duration) + Send + Sync + 'static;

impl Exchange {
    pub(crate) fn new(connection: Connection, endpoint: &'static str) -> Self {
        Self {
            endpoint,
            pairs: Pairs::new(connection, endpoint),
            observer: OnceLock::new(),
        }
    }

    /// Time in which a request is answered or fails.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.pairs.connection().config().request_timeout
    }

    /// Asks the service of a tenant that exists, or that for all tenants.
    pub(crate) async fn ask(
        &self,
        tenant: Option<&str>,
        request: Request,
    ) -> Result<Response, ServiceError> {
        let address = self.address(tenant);
        let pair = self.pairs.get(&address).await?;
        let timeout = self.request_timeout();
        let started = Instant::now();
        let tell = |result: Result<&Outcome, &SendError>| {
            if let Some(observer) = self.observer.get() {
                observer(tenant.unwrap_or_default(), result, started.elapsed());
            }
        };
        // A request is rare beside what is found in caches, whose futures are not to hold its state.
        let answer = Box::pin(pair.ask(request, timeout, tell)).await;
        if let Ok(response) = &answer {
            self.pairs.answered(&address, &pair, response.status);
        }
        answer
    }

    /// Sets the callback for the outcomes of request messages; only the first call has an effect.
    pub(crate) fn observe(&self, observer: Box<DeliveryObserver>) {
        // Later callbacks are ignored, as documented.
        drop(self.observer.set(observer));
    }

    /// Gives up the links of a tenant; they are opened again when needed.
    pub(crate) fn close(&self, tenant: &str) {
        self.pairs.close(&self.address(Some(tenant)));
    }

    fn address(&self, tenant: Option<&str>) -> String {
        let endpoint = self.endpoint;
        tenant.map_or_else(
            || endpoint.to_owned(),
            |tenant| format!("{endpoint}/{tenant}"),
        )
    }
}
