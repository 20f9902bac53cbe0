//! Binds the ports and starts their tasks.

use std::fmt::Debug;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coap_proto::Endpoint;
use dtls_server::{Certificate, HandshakeRate, Identity, IdentityError, Listener, UdpSocket};
use registry_client::Notifications;
use registry_client::notifications::Caches;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::reload::{Source, Unusable};
use super::{StartError, sessions};
use crate::authn::{DeviceStore, Revocation};
use crate::config::{Config, DtlsConfig, KeyAndCertificate, Table};
use crate::monitoring::checks::{DeploymentCheck, Pulse, PulseCheck};
use crate::monitoring::health::Check;
use crate::monitoring::metrics::{Metrics, Reloaded};
use crate::pipeline::Pipeline;
use crate::serve::{Plain, Port, Renewal, Serving, Stop, Transport};

/// Starts ports.
pub(super) struct Starter<'a> {
    pub(super) config: &'a Config,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) requests: &'a TaskTracker,
    pub(super) ports: &'a TaskTracker,
    pub(super) stop: &'a Stop,
    pub(super) notifications: &'a Notifications,
    pub(super) liveness: Vec<Arc<dyn Check>>,
    /// Signs of life of the ports that were started.
    pub(super) pulses: Vec<(&'static str, Arc<Pulse>)>,
    /// Files of the ports that may change.
    pub(super) sources: Vec<Source>,
}

impl Starter<'_> {
    pub(super) fn coaps(
        &mut self,
        address: SocketAddr,
        registry: &Caches,
    ) -> Result<SocketAddr, StartError> {
        let socket = bind(address)?;
        let address = local(&socket, address)?;
        let split = self.config.coap.id_split_regex.clone();
        let limits = &self.config.coap.dtls;
        let store = DeviceStore::new(
            Arc::clone(&registry.tenants),
            Arc::clone(&registry.credentials),
            split,
            Arc::clone(&self.pipeline.budgets),
            Revocation::new(limits.ocsp_timeout, limits.ocsp_cache_timeout),
        );
        let (renew, renewals) = mpsc::channel(RENEWALS);
        if let Some(files) = self.config.coap.identity.clone() {
            let metrics = self.pipeline.observer.metrics().clone();
            self.sources
                .push(identity_source(files, renew.clone(), metrics));
        }
        if let Some(path) = self.config.sessions.ticket_keys.clone() {
            self.sources.push(ticket_source(path, renew));
        }
        let dtls = dtls_config(self.config)?;
        let expires = dtls.identity.as_deref().and_then(expiry);
        let metrics = self.pipeline.observer.metrics();
        metrics.observe_certificate(expires);
        let mut listener = Listener::new(socket, dtls, random_seed()?, Arc::new(store));
        if limits.one_session_each {
            listener = listener.with_one_session_each();
        }
        let mut endpoint = self.endpoint()?;
        let kept = self.config.sessions.store.as_ref();
        let kept = kept.map(sessions::store).transpose()?;
        if let Some(kept) = &kept {
            sessions::load(kept, &mut listener, &mut endpoint)?;
        }
        self.run(
            "coaps",
            renewals,
            listener,
            endpoint,
            move |listener, endpoint| {
                if let Some(kept) = kept {
                    sessions::save(&kept, listener, &endpoint);
                }
            },
        );
        Ok(address)
    }

    pub(super) fn plain(&mut self, address: SocketAddr) -> Result<SocketAddr, StartError> {
        let socket = bind(address)?;
        let address = local(&socket, address)?;
        let endpoint = self.endpoint()?;
        let renewals = mpsc::channel(RENEWALS).1;
        self.run("coap", renewals, Plain::new(socket), endpoint, |_, _| {});
        Ok(address)
    }

    /// Whether the ports that were started are there and may be used.
    pub(super) fn deployment(&mut self, stop: &Stop) -> DeploymentCheck {
        DeploymentCheck {
            ports: std::mem::take(&mut self.pulses),
            drain: stop.drain.clone(),
        }
    }

    fn endpoint<P: Clone + Eq + Hash + Debug>(&self) -> Result<Endpoint<P>, StartError> {
        let [a, b, c, d, e, f, g, h, ..] = random_seed()?;
        let seed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Ok(Endpoint::new(coap_config(self.config), seed))
    }

    /// Serves until the adapter ends; what is left then goes to `keep`, which may take its time.
    fn run<T: Transport>(
        &mut self,
        name: &'static str,
        renewals: mpsc::Receiver<Renewal>,
        transport: T,
        endpoint: Endpoint<T::Peer>,
        keep: impl FnOnce(T, Endpoint<T::Peer>) + Send + 'static,
    ) {
        let serving = Serving {
            pipeline: Arc::clone(&self.pipeline),
            requests: self.requests.clone(),
            stop: self.stop.clone(),
            changes: self.notifications.subscribe(),
            renewals,
            grace: match self.config.sessions.store {
                Some(_) => HANDSHAKES,
                None => Duration::ZERO,
            },
        };
        let port = Port::new(transport, endpoint, serving);
        let tolerance = self.config.coap.blocked_check_timeout;
        let pulse = port.pulse();
        self.pulses.push((name, Arc::clone(&pulse)));
        self.liveness.push(Arc::new(PulseCheck {
            name,
            pulse: Arc::clone(&pulse),
            tolerance,
        }));
        self.ports.spawn(async move {
            match port.run().await {
                Ok((transport, endpoint)) => {
                    let keep = spawn_blocking(move || keep(transport, endpoint));
                    if let Err(error) = keep.await {
                        tracing::error!(%error, "sessions of {name} are not kept");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "{name} is not served any more: its socket failed");
                }
            }
            pulse.end();
        });
    }
}

fn bind(address: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortBusy { address },
        _ => StartError::Bind { address, source },
    })
}

fn local(socket: &UdpSocket, address: SocketAddr) -> Result<SocketAddr, StartError> {
    socket
        .local_address()
        .map_err(|source| StartError::Bind { address, source })
}

fn dtls_config(config: &Config) -> Result<dtls_server::Config, StartError> {
    let mut dtls = dtls_server::Config::default();
    sessions::configure(&mut dtls, &config.sessions)?;
    let config = &config.coap;
    dtls.retransmission_timeout = config.dtls_retransmission_timeout;
    dtls.max_associations = config.max_connections;
    limit(&mut dtls, &config.dtls);
    dtls.identity = match &config.identity {
        Some(files) => identity(files)?.map(Arc::new),
        None => None,
    };
    Ok(dtls)
}

fn limit(dtls: &mut dtls_server::Config, limits: &DtlsConfig) {
    dtls.max_handshakes = limits.max_handshakes;
    dtls.handshake_rate = limits.handshakes_per_neighbourhood.map(HandshakeRate::new);
    dtls.max_forgeries = limits.max_forged_records;
    dtls.inbox.messages.bytes = limits.max_handshake_bytes;
    dtls.inbox.early_records = limits.max_early_records;
    dtls.inbox.early_bytes = limits.max_early_bytes;
    dtls.return_routability = limits.return_routability;
    dtls.path_timeout = limits.path_timeout;
    dtls.raw_public_keys = limits.raw_public_keys;
}

/// The server's certificates and key; none if the key is for RSA, with which the suites for certificates cannot sign.
fn identity(files: &KeyAndCertificate) -> Result<Option<Identity>, StartError> {
    let read = |path: &Path| {
        let unreadable = |source| StartError::Identity {
            path: path.to_owned(),
            source: Box::new(source),
        };
        std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
    };
    match Identity::from_pem(&read(&files.certificate)?, &read(&files.key)?) {
        Ok(identity) => Ok(Some(identity)),
        Err(IdentityError::RsaKey) => {
            tracing::warn!(
                "the server's key is for RSA: only devices with pre-shared keys are served"
            );
            Ok(None)
        }
        Err(error) => Err(StartError::Identity {
            path: files.certificate.clone(),
            source: Box::new(error),
        }),
    }
}

/// Hands a new certificate and key to the port.
fn identity_source(
    files: KeyAndCertificate,
    renew: mpsc::Sender<Renewal>,
    metrics: Metrics,
) -> Source {
    let paths = vec![files.certificate.clone(), files.key.clone()];
    Source::new(Reloaded::ServerIdentity, paths, move || {
        let identity = identity(&files)?.ok_or(IdentityError::RsaKey)?;
        let expiry = expiry(&identity);
        let sent = renew.try_send(Renewal::Identity(Arc::new(identity)));
        sent.map_err(|_| Unusable::from("the port takes nothing new"))?;
        metrics.observe_certificate(expiry);
        Ok(())
    })
}

/// When the server's own certificate stops being valid.
fn expiry(identity: &Identity) -> Option<SystemTime> {
    let own = Certificate::from_der(identity.chain().first()?).ok()?;
    Some(own.not_after())
}

/// Hands new keys of tickets to the port.
fn ticket_source(path: PathBuf, renew: mpsc::Sender<Renewal>) -> Source {
    Source::new(Reloaded::TicketKeys, vec![path.clone()], move || {
        let keys = sessions::ticket_keys(&path)?;
        let sent = renew.try_send(Renewal::TicketKeys(keys));
        sent.map_err(|_| Unusable::from("the port takes nothing new"))
    })
}

/// The ports share what the memory contract gives to the message layer.
fn coap_config(config: &Config) -> coap_proto::Config {
    let Config { coap, memory, .. } = config;
    let ports = [coap.secure, coap.insecure].iter().flatten().count().max(1);
    coap_proto::Config {
        exchange_lifetime: coap.exchange_lifetime,
        max_body: coap.max_payload_size,
        max_exchanges: memory.bound(Table::Exchanges) / ports,
        max_block_transfers: memory.bound(Table::Transfers) / ports,
        max_block_bytes: memory.bound(Table::TransferBytes) / ports,
        ..coap_proto::Config::default()
    }
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| StartError::Random)?;
    Ok(seed)
}

/// How long handshakes under way may take to end before sessions are kept.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// What a port has not taken in use yet.
const RENEWALS: usize = 4;
