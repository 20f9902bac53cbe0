//! What is done with a request, step by step; each step may refuse it (spec: coap-adapter §4, §7).

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use coap_proto::{Reliability, Request};
use registry_client::{Assertion, RegistrationClient, ServiceError, Tenant, TenantClient};
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::authn::{Authenticated, Origin};
use crate::command::consumer::{Commands, Wait, Waited};
use crate::command::count;
use crate::command::inbox::Received;
use crate::command::location;
use crate::command::response::{CommandResponse, Responder};
use crate::diagnostics::account::Account;
use crate::diagnostics::observer::Observer;
use crate::diagnostics::request_span;
use crate::exchange::{AckDue, AdmissionControl, Exchange, RequestPermit, WaitPermit};
use crate::rejection::Rejection;
use crate::respond::{Instruction, OVER_LIMIT, Outcome};
use crate::route::{self, Addressing, Endpoint, Operation, PathStyle};
use crate::tenant::budget::{Budgets, Payer};
use crate::tenant::usage::{MessageLimits, Verdict};
use crate::tenant::{self, AckTimeout};
use crate::upload::order::{Ticket, TransferOrder};
use crate::upload::query::{self, Query, TimeRequest};
use crate::upload::{Uplink, Upload};
use observability::metrics::Ttd;
use observability::spans::{self, trace_span};

/// A request with its position among those of its device, for both of which one place in memory is enough.
#[derive(Debug)]
pub struct Arrived {
    /// The request.
    pub request: Request,
    /// When it may be transferred.
    pub ticket: Ticket,
}

/// Everything that requests need on their way.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) tenants: Arc<TenantClient>,
    pub(crate) registrations: Arc<RegistrationClient>,
    pub(crate) observer: Observer,
    pub(crate) limits: MessageLimits,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) admission: Arc<AdmissionControl>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) uplink: Uplink,
    pub(crate) order: Arc<TransferOrder>,
    pub(crate) responder: Responder,
    /// `timeoutToAck` in milliseconds; -1 for never.
    pub(crate) timeout_to_ack: i64,
}

impl Pipeline {
    /// Serves one request, which has this permit. What is done before a request waits for a command, the wait, and what is done after it
    /// are futures of their own, boxed and dropped when they are done: thousands wait at a time, and most never do.
    ///
    /// # Errors
    /// The step that refused it.
    pub fn handle(
        &self,
        exchange: &Exchange,
        arrived: Box<Arrived>,
        permit: &mut RequestPermit,
    ) -> impl Future<Output = Result<Outcome, Rejection>> + Send {
        // An async fn keeps its arguments twice.
        let taking = Box::pin(self.take(exchange, arrived));
        async move {
            let mut parked = match taking.await? {
                Taken::Done(outcome) => return Ok(outcome),
                Taken::Parked(parked, wait) => {
                    permit.wait(wait);
                    parked
                }
            };
            let received = Box::pin(parked.command(exchange, permit.displaced())).await;
            if permit.is_displaced() {
                self.observer.metrics().wait_displaced();
            }
            Box::pin(self.told(*parked, exchange, received)).await
        }
    }

    /// Does all that a request wants at once.
    async fn take(
        &self,
        exchange: &Exchange,
        mut arrived: Box<Arrived>,
    ) -> Result<Taken<'_>, Rejection> {
        let ticket = std::mem::replace(&mut arrived.ticket, Ticket::unordered());
        let request = &arrived.request;
        match route::operation(request)? {
            Operation::Discovery(filter) => Ok(Taken::Done(Outcome::Links(filter))),
            Operation::Upload(endpoint, addressing) => {
                let to = (endpoint, &addressing);
                self.upload(exchange, request, to, ticket).await
            }
            Operation::CommandResponse(addressing, request_id) => {
                let to = (&addressing, request_id.as_deref());
                let answered = self.command_response(exchange, request, to, ticket);
                answered.await.map(Taken::Done)
            }
        }
    }

    async fn upload(
        &self,
        exchange: &Exchange,
        request: &Request,
        (endpoint, addressing): (Endpoint, &Addressing),
        ticket: Ticket,
    ) -> Result<Taken<'_>, Rejection> {
        let query = Query::of(request);
        let origin = exchange.is_from(Origin::of(exchange.principal(), addressing)?);
        request_span::about(exchange.trace(), origin);
        if let Some(unsplit) = query::unsplit(request) {
            self.observer.query_not_split(origin, unsplit);
        }
        self.budget(origin, request.payload())?;
        let upload = Upload::of(endpoint, request, &query, exchange.source().holder())?;
        let mut account = Account::open(self.observer.metrics(), request.payload());
        let span = trace_span!(match endpoint {
            Endpoint::Telemetry => "upload telemetry",
            Endpoint::Event => "upload event",
        });
        let result = self
            .forward(exchange, &upload, &query, origin, &mut account, ticket)
            .instrument(span.clone())
            .await;
        let time = query.time;
        let result = match result {
            Ok(Some((forwarded, place))) => {
                let parked = Parked {
                    forwarded,
                    style: PathStyle::from_path(request.uri_path()),
                    time,
                    endpoint,
                    reliability: upload.reliability,
                    account,
                    span,
                };
                return Ok(Taken::Parked(Box::new(parked), place));
            }
            Ok(None) => Ok(Outcome::Changed {
                time,
                command: None,
            }),
            Err(rejection) => Err(rejection),
        };
        account.close_upload(endpoint, upload.reliability, &origin.tenant, &result);
        result.map(Taken::Done)
    }

    /// Gives a message to the application. What is left to wait for is returned with its place, if the device waits.
    async fn forward(
        &self,
        exchange: &Exchange,
        upload: &Upload<'_>,
        query: &Query,
        origin: &Origin,
        account: &mut Account<'_>,
        ticket: Ticket,
    ) -> Result<Option<(Forwarded, WaitPermit)>, Rejection> {
        let (tenant, assertion) = self
            .admit(exchange, origin, upload.payload, account)
            .await?;
        let ttd = tenant::effective_ttd(&tenant, query.ttd);
        // Where too many wait, the message is served as if the device did not wait.
        let source = exchange.source();
        let place = ttd.and_then(|ttd| Some((ttd, self.admission.try_wait(source)?)));
        let ttd = place.as_ref().map(|(ttd, _)| *ttd);
        exchange.trace().record("ttd", ttd);
        let wait = match place {
            Some((ttd, place)) => {
                let opened = Box::pin(self.commands.open(origin, ttd)).await;
                Some((opened?, place))
            }
            None => None,
        };
        let mut due = AckDue::after(AckTimeout::of(self.timeout_to_ack, &tenant, query.piggy));
        let sent = {
            let sending = self
                .uplink
                .send(upload, &tenant, &assertion, origin, ttd, ticket);
            let sending = pin!(sending);
            exchange.acknowledging(&mut due, sending).await
        };
        match (sent, wait) {
            (Ok(()), Some((wait, place))) => Ok(Some((Forwarded { tenant, wait, due }, place))),
            (sent, None) => sent.map(|()| None),
            (Err(rejection), Some((wait, _))) => {
                account.set_ttd(Ttd::Expired);
                wait.close().await;
                Err(rejection)
            }
        }
    }

    /// Ends a wait.
    async fn told(
        &self,
        parked: Parked<'_>,
        exchange: &Exchange,
        received: Option<Box<Received>>,
    ) -> Result<Outcome, Rejection> {
        let Parked {
            forwarded: Forwarded { tenant, wait, .. },
            style,
            time,
            endpoint,
            reliability,
            mut account,
            span,
        } = parked;
        account.set_ttd(match received {
            Some(_) => Ttd::Command,
            None => Ttd::Expired,
        });
        wait.close().instrument(span).await;
        let command = received
            .map(|received| count::count_when_settled(self.observer.metrics(), received, &tenant))
            .and_then(|received| self.within_limit(received, &tenant))
            .zip(exchange.origin())
            .map(|(received, origin)| instruction(*received, style, origin));
        let result = Ok(Outcome::Changed { time, command });
        account.close_upload(endpoint, reliability, &tenant.id, &result);
        result
    }

    async fn command_response(
        &self,
        exchange: &Exchange,
        request: &Request,
        (addressing, request_id): (&Addressing, Option<&str>),
        ticket: Ticket,
    ) -> Result<Outcome, Rejection> {
        let query = Query::of(request);
        let origin = exchange.is_from(Origin::of(exchange.principal(), addressing)?);
        request_span::about(exchange.trace(), origin);
        if let Some(unsplit) = query::unsplit(request) {
            self.observer.query_not_split(origin, unsplit);
        }
        self.budget(origin, request.payload())?;
        CommandResponse::check_reliability(request)?;
        let mut account = Account::open(self.observer.metrics(), request.payload());
        let result = match CommandResponse::of(request, request_id, &query, &origin.device) {
            Ok(response) => {
                self.answer(exchange, &response, origin, &mut account, ticket)
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
        ticket: Ticket,
    ) -> Result<(), Rejection> {
        let (tenant, assertion) = self
            .admit(exchange, origin, response.payload(), account)
            .await?;
        self.responder
            .send(response, &tenant, &assertion, origin, ticket)
            .await
    }

    /// Charges the device whose session a message came in. What is over the budget costs no look-up
    /// and counts nowhere else. Without a session nobody is charged yet.
    fn budget(&self, origin: &Origin, payload: &[u8]) -> Result<(), Rejection> {
        let payer = Payer {
            tenant: &origin.tenant,
            device: origin.gateway.as_ref().unwrap_or(&origin.device),
            gateway: None,
        };
        let (now, bytes) = (Instant::now(), payload.len());
        let result = match origin.authenticated {
            Authenticated::Yes => self.budgets.charge_message(now, payer, bytes),
            Authenticated::No => self.budgets.check_message(now, payer, bytes),
        };
        result.map_err(Rejection::OverBudget)
    }

    /// Charges the device that a message is from: the registry says that it may be.
    fn charge_device(&self, origin: &Origin, payload: &[u8]) -> Result<(), Rejection> {
        let payer = Payer {
            tenant: &origin.tenant,
            device: &origin.device,
            gateway: origin.gateway.as_ref(),
        };
        if origin.authenticated == Authenticated::Yes && origin.gateway.is_none() {
            // It sent the message itself, and is charged already.
            return Ok(());
        }
        let (now, bytes) = (Instant::now(), payload.len());
        let result = match origin.authenticated {
            Authenticated::Yes => self.budgets.pass_charge(now, payer, bytes),
            Authenticated::No => self.budgets.charge_message(now, payer, bytes),
        };
        result.map_err(Rejection::OverBudget)
    }

    /// Asks for the tenant, and then for the device's registration: on the port without security
    /// anybody may name a tenant, and registrations are asked for over links of each tenant.
    async fn admit(
        &self,
        exchange: &Exchange,
        origin: &Origin,
        payload: &[u8],
        account: &mut Account<'_>,
    ) -> Result<(Arc<Tenant>, Arc<Assertion>), Rejection> {
        let tenant = self
            .tenant(exchange, origin)
            .instrument(trace_span!("get Tenant by ID"))
            .await
            .map_err(Rejection::Tenant)?;
        let sampling = tenant.tracing.sampling_of(origin.auth_id.as_deref());
        spans::prioritise(exchange.trace(), sampling);
        account.weigh(&tenant);
        tenant::admit(&tenant)?;
        if self.limits.check(&tenant, payload.len()) == Verdict::Exceeded {
            return Err(Rejection::MessageLimit);
        }
        let assertion = self
            .registrations
            .assert(&origin.tenant, &origin.device, origin.gateway.as_deref())
            .instrument(trace_span!("assert Device Registration"))
            .await
            .map_err(Rejection::Registration)?;
        self.charge_device(origin, payload)?;
        self.commands.heard_of(origin, &assertion);
        Ok((tenant, assertion))
    }

    async fn tenant(
        &self,
        exchange: &Exchange,
        origin: &Origin,
    ) -> Result<Arc<Tenant>, ServiceError> {
        match origin.authenticated {
            Authenticated::Yes => self.tenants.by_id(&origin.tenant).await,
            Authenticated::No => {
                let source = exchange.source().holder();
                self.tenants.by_id_from(source, &origin.tenant).await
            }
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

/// What the first half of a request came to.
enum Taken<'a> {
    /// It is done.
    Done(Outcome),
    /// The device waits for a command, with this permit.
    Parked(Box<Parked<'a>>, WaitPermit),
}

/// A message that the application has, of a device that waits.
struct Forwarded {
    tenant: Arc<Tenant>,
    wait: Wait,
    due: AckDue,
}

/// A request that waits for a command: all that is kept of it, as thousands do.
struct Parked<'a> {
    forwarded: Forwarded,
    style: PathStyle,
    time: TimeRequest,
    endpoint: Endpoint,
    reliability: Reliability,
    account: Account<'a>,
    span: Span,
}

impl Parked<'_> {
    /// Waits for a command until the wait ends or is displaced by that of another device, and
    /// acknowledges the request meanwhile when that is due.
    fn command(
        &mut self,
        exchange: &Exchange,
        displaced: Option<&mut oneshot::Receiver<Infallible>>,
    ) -> impl Future<Output = Option<Box<Received>>> + Send {
        let waiting = (self.span).in_scope(|| trace_span!("create consumer and wait for command"));
        let forwarded = &mut self.forwarded;
        async move {
            let mut gone = exchange.gone().await;
            let mut displaced = pin!(async {
                match displaced {
                    Some(displaced) => drop(displaced.await),
                    None => std::future::pending().await,
                }
            });
            loop {
                let at_most = forwarded.due.at();
                let waited = tokio::select! {
                    biased;
                    waited = forwarded.wait.command(&mut gone, at_most) => waited,
                    () = &mut displaced => Waited::Over,
                };
                match waited {
                    Waited::For(received) => return Some(received),
                    Waited::Over => return None,
                    Waited::NotYet => exchange.acknowledge(&mut forwarded.due).await,
                }
            }
        }
        .instrument(waiting)
    }
}

fn instruction(received: Received, style: PathStyle, origin: &Origin) -> Box<Instruction> {
    let Received {
        command,
        device,
        via,
        delivery,
        ..
    } = received;
    let location = location::path(style, origin, &device, via.as_deref(), &command);
    Box::new(Instruction {
        command,
        location,
        delivery,
    })
}
