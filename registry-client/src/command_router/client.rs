//! Requests to the command router. Its answers are never remembered.

use std::{sync::Arc, time::Duration};

use amqp_client::{Connection, Outcome, SendError, Value};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    batch::Update,
    reporter::{Reporter, report},
};
use crate::{
    ServiceError,
    exchange::{Exchange, Request},
};

/// Tells the command router which adapter instance a device can be reached by.
pub struct CommandRouterClient {
    pub(super) connection: Connection,
    exchange: Arc<Exchange>,
    reporter: Arc<Reporter>,
    reports: JoinHandle<()>,
}

impl CommandRouterClient {
    /// A client on a connection to the service. To be called within a runtime, where a task reports the last known gateways.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let exchange = Exchange::new(connection.clone(), "cmd_router");
        Self::over(connection, exchange)
    }

    pub(super) fn over(connection: Connection, exchange: Exchange) -> Self {
        let exchange = Arc::new(exchange);
        let reporter = Arc::new(Reporter::default());
        let send = {
            let exchange = exchange.clone();
            move |update| tell_gateways(exchange.clone(), update)
        };
        Self {
            connection,
            exchange,
            reports: tokio::spawn(report(reporter.clone(), send)),
            reporter,
        }
    }

    /// Commands for the device or gateway are to be sent to this adapter instance for `lifespan`; `None` = until further notice.
    ///
    /// # Errors
    /// [`ServiceError`] with the service's status, or 503 if it cannot be reached.
    pub async fn register_consumer(
        &self,
        tenant: &str,
        device: &str,
        adapter_instance: &str,
        lifespan: Option<Duration>,
    ) -> Result<(), ServiceError> {
        let seconds = lifespan.map_or(UNLIMITED, |lifespan| {
            i32::try_from(lifespan.as_secs()).unwrap_or(i32::MAX)
        });
        let request = Request::new("register-command-consumer")
            .with_text("device_id", device)
            .with_text("adapter_instance_id", adapter_instance)
            .with("lifespan", Value::Int(seconds))
            .with("send_event", Value::Bool(false));
        self.tell(tenant, request).await
    }

    /// No more commands for the device or gateway are to be sent to this adapter instance.
    ///
    /// # Errors
    /// [`ServiceError`] with 412 if none would have been (any more), the service's status, or 503 if it cannot be reached.
    pub async fn unregister_consumer(
        &self,
        tenant: &str,
        device: &str,
        adapter_instance: &str,
    ) -> Result<(), ServiceError> {
        let request = Request::new("unregister-command-consumer")
            .with_text("device_id", device)
            .with_text("adapter_instance_id", adapter_instance)
            .with("send_event", Value::Bool(false));
        self.tell(tenant, request).await
    }

    /// A device was last heard of by way of this gateway, or of itself. Reported soon, together with others; if that fails, the
    /// next time will do.
    pub fn set_last_known_gateway(&self, tenant: &str, device: &str, gateway: &str) {
        if !self.reporter.add(tenant, device, gateway) {
            tracing::debug!(
                tenant,
                "too many last known gateways are waiting to be reported"
            );
        }
    }

    /// Enables command routing for these tenants, whose devices wait for commands. Needed after an
    /// outage of the router:
    /// [`CommandRouterClient::keep_routing`] sees to that.
    ///
    /// # Errors
    /// The first [`ServiceError`]; the requests for the other tenants are sent nevertheless.
    pub async fn enable_command_routing(&self, tenants: &[String]) -> Result<(), ServiceError> {
        let mut first_error = Ok(());
        for chunk in tenants.chunks(MOST_TENANTS) {
            let Some(tenant) = chunk.first() else {
                continue;
            };
            let request = Request::new("enable-command-routing").with_json(&json!(chunk));
            first_error = first_error.and(self.tell(tenant, request).await);
        }
        first_error
    }

    /// Tells `observer` what becomes of each request that is sent.
    #[must_use]
    pub fn observed_by(
        self,
        observer: impl Fn(&str, Result<&Outcome, &SendError>, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.exchange.observe(Box::new(observer));
        self
    }

    /// Gives up the links of a tenant whose devices have been silent for long; they are opened again when needed.
    pub fn close_tenant(&self, tenant: &str) {
        self.exchange.close(tenant);
    }

    async fn tell(&self, tenant: &str, request: Request) -> Result<(), ServiceError> {
        self.exchange.ask(Some(tenant), request).await?.expect(204)
    }
}

impl Drop for CommandRouterClient {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

impl std::fmt::Debug for CommandRouterClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CommandRouterClient")
            .finish_non_exhaustive()
    }
}

async fn tell_gateways(exchange: Arc<Exchange>, update: Update) {
    let request = Request::new("set-last-known-gw");
    let request = match update.gateways.as_slice() {
        [(device, gateway)] => request
            .with_text("device_id", device)
            .with_text("gateway_id", gateway),
        gateways => request.with_json(&gateways.iter().cloned().collect()),
    };
    let sent = exchange.ask(Some(&update.tenant), request).await;
    if let Err(error) = sent.and_then(|response| response.expect(204)) {
        tracing::debug!(tenant = update.tenant, %error, "last known gateways were not reported");
    }
}

/// The lifespan of a registration that does not end by itself.
const UNLIMITED: i32 = -1;

/// The tenants named in one request.
const MOST_TENANTS: usize = 100;
