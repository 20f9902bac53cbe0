//! What happens to devices, told once: to the log, to the metrics and to the recent events of the device, all with the same codes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dtls_server::CipherSuite;
use fair_share::HolderHasher;
use tokio::sync::mpsc;

use super::lines::{Lines, Topic};
use super::once::OncePerDevice;
use super::recent::{Recent, Standing, What};
use crate::authn::{Authenticated, Claim, Origin, Principal, Refusal};
use crate::rejection::Rejection;
use crate::respond::Outcome;
use observability::metrics::Metrics;
use observability::reason::Reason;

/// Whom everything is told that happens to devices. Clones share it.
#[derive(Debug, Clone)]
pub struct Observer {
    metrics: Metrics,
    recent: Option<Arc<Recent>>,
    lines: Arc<Lines>,
    refusals: Option<mpsc::Sender<RefusedDevice>>,
    unsplit_queries: Arc<OncePerDevice>,
    hasher: HolderHasher,
}

/// A device that was not served, for a person who watches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedDevice {
    /// The device's address.
    pub peer: SocketAddr,
    /// The tenant, if it is known.
    pub tenant: Option<Arc<str>>,
    /// The device, or what it claims to be, if it is known.
    pub name: Option<Arc<str>>,
    /// What it asked for and the code of the response; none if its handshake failed.
    pub request: Option<(&'static str, String)>,
    /// Why it was not served.
    pub reason: Reason,
}

/// A request that was answered.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Whence it came.
    pub peer: SocketAddr,
    /// Whose session it came in, if it came in one.
    pub principal: Option<&'a Principal>,
    /// Whom it was from, if that could be told.
    pub origin: Option<&'a Origin>,
    /// What was asked: one of a few names.
    pub operation: &'static str,
    /// How many bytes its body has.
    pub bytes: usize,
    /// How long it took.
    pub duration: Duration,
    /// What became of it.
    pub result: &'a Result<Outcome, Rejection>,
}

impl Observer {
    /// Tells these metrics, and keeps what is recent if that is wanted.
    #[must_use]
    pub fn new(metrics: Metrics, recent: Option<Arc<Recent>>) -> Self {
        Self {
            metrics,
            recent,
            lines: Arc::default(),
            refusals: None,
            unsplit_queries: Arc::default(),
            hasher: HolderHasher::default(),
        }
    }

    /// Also tells `refusals` of each device that is not served, as far as there is room.
    #[must_use]
    pub fn with_refusals(mut self, refusals: Option<mpsc::Sender<RefusedDevice>>) -> Self {
        self.refusals = refusals;
        self
    }

    /// What is counted.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A handshake came to nothing.
    pub fn handshake_failed(&self, peer: SocketAddr, refusal: Refusal) {
        let Refusal {
            claim,
            reason,
            detail,
        } = refusal;
        self.metrics.handshake_failed(reason);
        let (tenant, auth_id) = (claim.tenant.as_deref(), claim.auth_id.as_deref());
        let (device, detail) = (claim.device.as_deref(), detail.as_deref());
        let source = self.hasher.source(peer.ip());
        if let Some(suppressed) = self.lines.take(Topic::Handshake, source) {
            self.tell(|| RefusedDevice {
                peer,
                tenant: claim.tenant.clone(),
                name: claim.auth_id.clone().or_else(|| claim.device.clone()),
                request: None,
                reason,
            });
            tracing::info!(
                %peer, tenant, auth_id, device, %reason, detail, suppressed = positive(suppressed),
                meaning = reason.meaning(), remedy = reason.remedy(),
                "handshake failed"
            );
        } else {
            tracing::debug!(%peer, tenant, auth_id, device, %reason, detail, "handshake failed");
        }
        // The peer has not proved to be the device, so this is none of the device's own events.
        let standing = match claim.device {
            Some(_) => Standing::Claimed,
            None => Standing::Stranger,
        };
        self.keep(&claim, standing, || What::HandshakeFailed {
            peer,
            auth_id: claim.auth_id.clone(),
            reason,
            detail: detail.map(shortened),
        });
    }

    /// A device has put several query arguments into one option, where they mean nothing. Logs this
    /// once per device.
    pub fn query_not_split(&self, origin: &Origin, query: &str) {
        let (tenant, device) = (&*origin.tenant, &*origin.device);
        if !self.unsplit_queries.is_first(tenant, device) {
            return;
        }
        let (query, reason) = (shortened(query), Reason::QueryNotSplit);
        let topic = match origin.authenticated {
            Authenticated::Yes => Topic::Session,
            Authenticated::No => Topic::Stranger,
        };
        let holder = self.hasher.holder(&origin.tenant, &origin.device);
        if let Some(suppressed) = self.lines.take(topic, holder) {
            tracing::info!(
                tenant, device, %query, %reason, suppressed = positive(suppressed),
                meaning = reason.meaning(), remedy = reason.remedy(),
                "device does not split its query into options"
            );
        }
    }

    /// A device has proved who it is.
    pub fn session_opened(&self, peer: SocketAddr, principal: &Principal, suite: CipherSuite) {
        self.keep(&principal.into(), Standing::Known, || What::SessionOpened {
            peer,
            auth_id: Arc::clone(&principal.auth_id),
            suite: suite.name(),
        });
    }

    /// A session is over.
    pub fn session_closed(&self, principal: &Principal, why: &'static str) {
        let what = || What::SessionClosed { why };
        self.keep(&principal.into(), Standing::Known, what);
    }

    /// A request was answered.
    pub fn request_ended(&self, ended: &Ended<'_>) {
        let (tenant, device) = match (ended.origin, ended.principal) {
            (Some(origin), _) => (Some(&origin.tenant), Some(&origin.device)),
            (None, Some(principal)) => (Some(&principal.tenant), Some(&principal.device)),
            (None, None) => (None, None),
        };
        let gateway = ended.origin.and_then(|origin| origin.gateway.as_ref());
        let refused = ended.result.as_ref().err().map(|rejection| {
            let reason = rejection.reason();
            self.metrics.request_refused(reason);
            (reason, rejection)
        });
        if let Some((reason, rejection)) = refused {
            tracing::Span::current().record("reason", reason.code());
            let whose = (tenant, device);
            let (tenant, device) = (tenant.map(|it| &**it), device.map(|it| &**it));
            let (gateway, operation) = (gateway.map(|it| &**it), ended.operation);
            let (peer, code) = (ended.peer, rejection.code());
            let (topic, holder) = match ended.principal {
                Some(principal) => {
                    let Principal { tenant, device, .. } = principal;
                    (Topic::Session, self.hasher.holder(tenant, device))
                }
                None => (Topic::Stranger, self.hasher.source(peer.ip())),
            };
            if let Some(suppressed) = self.lines.take(topic, holder) {
                self.tell(|| RefusedDevice {
                    peer,
                    tenant: whose.0.map(Arc::clone),
                    name: whose.1.map(Arc::clone),
                    request: Some((operation, code.to_string())),
                    reason,
                });
                tracing::info!(
                    %peer, tenant, device, gateway, operation, %code, %reason, detail = chain(rejection),
                    suppressed = positive(suppressed),
                    meaning = reason.meaning(), remedy = reason.remedy(),
                    "request refused"
                );
            } else {
                tracing::debug!(
                    %peer, tenant, device, gateway, operation, %code, %reason, detail = chain(rejection),
                    "request refused"
                );
            }
        }
        let claim = Claim {
            tenant: tenant.map(Arc::clone),
            auth_id: None,
            device: device.map(Arc::clone),
        };
        let reason = refused.map(|(reason, _)| reason);
        // What a gateway names counts for the device once the registry has said that it may.
        let is_own = ended.principal.is_some() && gateway.is_none();
        let standing = if is_own || reason.is_none() {
            Standing::Known
        } else {
            Standing::Stranger
        };
        let what = || What::Request {
            peer: ended.peer,
            operation: ended.operation,
            gateway: gateway.map(Arc::clone),
            code: match ended.result {
                Ok(Outcome::Links(_)) => coap_proto::Code::CONTENT,
                Ok(_) => coap_proto::Code::CHANGED,
                Err(rejection) => rejection.code(),
            },
            reason,
            bytes: ended.bytes,
            command: match ended.result {
                Ok(Outcome::Changed {
                    command: Some(instruction),
                    ..
                }) => Some(instruction.command.name.as_str().into()),
                _ => None,
            },
            duration: ended.duration,
        };
        self.keep(&claim, standing, what);
        if let (Standing::Stranger, Some(principal)) = (standing, ended.principal) {
            self.keep(&principal.into(), Standing::Known, what);
        }
    }

    fn tell(&self, refused: impl FnOnce() -> RefusedDevice) {
        if let Some(Err(error)) = self.refusals.as_ref().map(|it| it.try_send(refused())) {
            tracing::debug!(%error, "dropped a refusal: the display is busy");
        }
    }

    fn keep(&self, claim: &Claim, standing: Standing, what: impl FnOnce() -> What) {
        let name = claim.device.as_ref().or(claim.auth_id.as_ref());
        if let (Some(recent), Some(tenant), Some(name)) = (&self.recent, &claim.tenant, name) {
            recent.note(standing, tenant, name, what());
        }
    }
}

/// What others say may be long, and is kept a hundred times a device.
fn shortened(text: &str) -> Arc<str> {
    text.chars().take(LONGEST_DETAIL).collect::<String>().into()
}

/// The number of suppressed log lines, if there are any: a field that is `None` is not logged.
const fn positive(suppressed: u64) -> Option<u64> {
    if suppressed == 0 {
        None
    } else {
        Some(suppressed)
    }
}

/// The rejection and what caused it.
fn chain(rejection: &Rejection) -> String {
    let mut text = rejection.to_string();
    let mut source = std::error::Error::source(rejection);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Characters of a detail that are kept.
const LONGEST_DETAIL: usize = 120;
