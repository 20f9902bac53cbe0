//! What is done with a request, step by step; each step may refuse it (spec: coap-adapter §4, §7).

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use coap_proto::Request;
use registry_client::{Assertion, RegistrationClient, Tenant, TenantClient};
use tracing::Instrument;

use crate::authn::Origin;
use crate::command::consumer::{Commands, Wait};
use crate::command::inbox::Received;
use crate::command::location::{self, Naming};
use crate::command::response::{CommandResponse, Responder};
use crate::monitoring::account::{self, Account};
use crate::monitoring::observer::Observer;
use crate::monitoring::spans::{self, trace_span};
use crate::respond::{Instruction, OVER_LIMIT, Outcome, Rejection};
use crate::route::{self, Addressing, Endpoint, Operation};
use crate::serve::{Exchange, Places};
use crate::tenant::budget::Budgets;
use crate::tenant::usage::{MessageLimits, Verdict};
use crate::tenant::{self, AckTimeout};
use crate::upload::query::Query;
use crate::upload::{Uplink, Upload};

/// Everything that requests need on their way.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) tenants: Arc<TenantClient>,
    pub(crate) registrations: Arc<RegistrationClient>,
    pub(crate) observer: Observer,
    pub(crate) limits: MessageLimits,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) places: Arc<Places>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) uplink: Uplink,
    pub(crate) responder: Responder,
    /// `timeoutToAck` in milliseconds; -1 for never.
    pub(crate) timeout_to_ack: i64,
}

impl Pipeline {
    /// Serves one request.
    ///
    /// # Errors
    /// The step that refused it.
    pub async fn handle(&self, exchange: &Exchange) -> Result<Outcome, Rejection> {
        match route::operation(exchange.request())? {
            Operation::Discovery => Ok(Outcome::Links),
            Operation::Upload(endpoint, addressing) => {
                self.upload(exchange, endpoint, &addressing).await
            }
            Operation::CommandResponse(addressing, request_id) => {
                Box::pin(self.command_response(exchange, &addressing, request_id.as_deref())).await
            }
        }
    }

    async fn upload(
        &self,
        exchange: &Exchange,
        endpoint: Endpoint,
        addressing: &Addressing,
    ) -> Result<Outcome, Rejection> {
        let request = exchange.request();
        let query = Query::of(request);
        let origin = Origin::of(exchange.principal(), addressing)?;
        exchange.is_from(&origin);
        spans::about(exchange.trace(), &origin);
        self.budget(&origin, request.payload())?;
        let upload = Upload::of(endpoint, request, &query)?;
        let mut account = Account::open(self.observer.metrics(), request.payload());
        let result = self
            .forward(exchange, &upload, &query, &origin, &mut account)
            .instrument(trace_span!(match endpoint {
                Endpoint::Telemetry => "upload telemetry",
                Endpoint::Event => "upload event",
            }))
            .await;
        account.close_upload(endpoint, upload.reliability, &origin.tenant, &result);
        result
    }

    /// Futures of what is over soon are boxed, and no future is handed on by value, so that a request that waits for a command
    /// carries nothing else along.
    async fn forward(
        &self,
        exchange: &Exchange,
        upload: &Upload<'_>,
        query: &Query,
        origin: &Origin,
        account: &mut Account<'_>,
    ) -> Result<Outcome, Rejection> {
        let request = exchange.request();
        let (tenant, assertion) =
            Box::pin(self.admit(exchange, origin, request.payload(), account)).await?;
        let ttd = tenant::effective_ttd(&tenant, query.ttd);
        // Where too many wait, the message is served as if the device did not wait, and the application is told so.
        let parked = ttd.and_then(|_| self.places.park());
        let ttd = ttd.filter(|_| parked.is_some());
        exchange.trace().record("ttd", ttd);
        let mut wait = Box::pin(self.wait(origin, ttd)).await?;
        let timeout = AckTimeout::of(self.timeout_to_ack, &tenant, query.piggy);
        let received = {
            let done = pin!(async {
                Box::pin(self.uplink.send(upload, &tenant, &assertion, origin, ttd)).await?;
                match &mut wait {
                    Some(wait) => {
                        let waiting = trace_span!("create consumer and wait for command");
                        let command = pin!(wait.command().instrument(waiting));
                        Ok(exchange.unless_gone(command).await.flatten())
                    }
                    None => Ok(None),
                }
            });
            exchange.acknowledging(timeout, done).await
        };
        if let Some(wait) = wait {
            account.waited(received.as_ref().ok().and_then(Option::as_deref));
            Box::pin(wait.close()).await;
        }
        let command = received?
            .map(|received| account::watch_command(self.observer.metrics(), received, &tenant))
            .and_then(|received| self.within_limit(received, &tenant))
            .map(|received| instruction(*received, request, origin));
        Ok(Outcome::Changed {
            time: query.time,
            command,
        })
    }

    async fn command_response(
        &self,
        exchange: &Exchange,
        addressing: &Addressing,
        request_id: Option<&str>,
    ) -> Result<Outcome, Rejection> {
        let request = exchange.request();
        let query = Query::of(request);
        let origin = Origin::of(exchange.principal(), addressing)?;
        exchange.is_from(&origin);
        spans::about(exchange.trace(), &origin);
        self.budget(&origin, request.payload())?;
        CommandResponse::check_reliability(request)?;
        let mut account = Account::open(self.observer.metrics(), request.payload());
        let result = match CommandResponse::of(request, request_id, &query, &origin.device) {
            Ok(response) => {
                self.answer(exchange, &response, &origin, &mut account)
                    .instrument(trace_span!("upload Command response"))
                    .await
            }
            Err(malformed) => Err(malformed),
        };
        let result = result.map(|()| Outcome::Changed {
            time: query.time,
            command: None,
        });
        account.close_response(&origin.tenant, &result);
        result
    }

    async fn answer(
        &self,
        exchange: &Exchange,
        response: &CommandResponse<'_>,
        origin: &Origin,
        account: &mut Account<'_>,
    ) -> Result<(), Rejection> {
        let (tenant, assertion) =
            Box::pin(self.admit(exchange, origin, response.payload(), account)).await?;
        self.responder
            .send(response, &tenant, &assertion, origin)
            .await
    }

    /// What is over the budget costs no look-up and counts nowhere else.
    fn budget(&self, origin: &Origin, payload: &[u8]) -> Result<(), Rejection> {
        let (tenant, device) = (&origin.tenant, &origin.device);
        let spent = self
            .budgets
            .message(Instant::now(), tenant, device, payload.len());
        spent.map_err(Rejection::OverBudget)
    }

    /// Asks for the tenant and for the device's registration at once; the tenant's word comes first.
    async fn admit(
        &self,
        exchange: &Exchange,
        origin: &Origin,
        payload: &[u8],
        account: &mut Account<'_>,
    ) -> Result<(Arc<Tenant>, Arc<Assertion>), Rejection> {
        let (tenant, assertion) = tokio::join!(
            self.tenants
                .by_id(&origin.tenant)
                .instrument(trace_span!("get Tenant by ID")),
            self.registrations
                .assert(&origin.tenant, &origin.device, origin.gateway.as_deref())
                .instrument(trace_span!("assert Device Registration")),
        );
        let tenant = tenant.map_err(Rejection::Tenant)?;
        let sampling = tenant.tracing.sampling_of(origin.auth_id.as_deref());
        spans::prioritise(exchange.trace(), sampling);
        account.weigh(&tenant);
        tenant::admit(&tenant)?;
        if self.limits.check(&tenant, payload.len()) == Verdict::Exceeded {
            return Err(Rejection::MessageLimit);
        }
        let assertion = assertion.map_err(Rejection::Registration)?;
        self.commands.heard_of(origin, &assertion);
        Ok((tenant, assertion))
    }

    async fn wait(&self, origin: &Origin, ttd: Option<i32>) -> Result<Option<Wait>, Rejection> {
        match ttd {
            Some(ttd) => self.commands.open(origin, ttd).await.map(Some),
            None => Ok(None),
        }
    }

    /// A command counts towards the tenant's data volume, too; over the limit it is refused, and the device gets none.
    fn within_limit(&self, received: Box<Received>, tenant: &Tenant) -> Option<Box<Received>> {
        if self.limits.check(tenant, received.command.payload.0.len()) == Verdict::Exceeded {
            received.delivery.reject(OVER_LIMIT);
            return None;
        }
        Some(received)
    }
}

fn instruction(received: Received, request: &Request, origin: &Origin) -> Box<Instruction> {
    let Received {
        command,
        device,
        via,
        delivery,
        ..
    } = received;
    let naming = Naming::of(request.uri_path());
    let location = location::path(naming, origin, &device, via.as_deref(), &command);
    Box::new(Instruction {
        command,
        location,
        delivery,
    })
}
