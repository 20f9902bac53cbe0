//! Binds the ports and starts their tasks.

use std::fmt::Debug;
use std::hash::Hash;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coap_proto::Endpoint;
use dtls_server::{
    BindError, Certificate, HandshakeRate, Identity, IdentityError, Shards, UdpSocket,
};
use registry_client::Notifications;
use registry_client::notifications::Caches;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::checks::{DeploymentCheck, PulseCheck};
use super::reload::{Source, Unusable};
use super::{StartError, gauges, sessions};
use crate::authn::{DeviceStore, Revocation};
use crate::config::{self, Config, DtlsConfig, KeyAndCertificate, Table};
use crate::monitoring::health::Check;
use crate::pipeline::Pipeline;
use crate::serve::{Plain, Port, Pulse, Renewal, Serving, Stop, Transport};
use observability::metrics::{Metrics, Reloaded};

/// Starts ports.
pub(super) struct Starter<'a> {
    pub(super) config: &'a Config,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) requests: &'a TaskTracker,
    pub(super) ports: &'a TaskTracker,
    pub(super) stop: &'a Stop,
    pub(super) notifications: &'a Notifications,
    pub(super) liveness: Vec<Arc<dyn Check>>,
    /// Signs of life of the tasks of the ports that were started.
    pub(super) pulses: Vec<(&'static str, Vec<Arc<Pulse>>)>,
    /// Files of the ports that may change.
    pub(super) sources: Vec<Source>,
}

impl Starter<'_> {
    pub(super) fn coaps(
        &mut self,
        endpoint: &config::Endpoint,
        registry: &Caches,
    ) -> Result<SocketAddr, StartError> {
        let (sockets, address) = self.bind("coaps", endpoint)?;
        let split = self.config.coap.id_split_regex.clone();
        let limits = &self.config.coap.dtls;
        let revocation = Revocation::new(limits.ocsp_timeout, limits.ocsp_cache_timeout);
        let metrics = self.pipeline.observer.metrics();
        gauges::watch_lookups(metrics, gauges::OCSP, revocation.requests());
        let store = DeviceStore::new(
            Arc::clone(&registry.tenants),
            Arc::clone(&registry.credentials),
            split,
            Arc::clone(&self.pipeline.budgets),
            revocation,
            limits.certificate_v1,
        );
        let (renew, renewals) = renewals(sockets.len());
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
        let mut shards = Shards::new(sockets, &dtls, random_seed()?, &Arc::new(store));
        if limits.one_session_each {
            shards = shards.with_one_session_each();
        }
        let mut endpoints = self.endpoints(renewals.len())?;
        let kept = self.config.sessions.store.as_ref();
        let kept = kept.map(sessions::store).transpose()?;
        if let Some(kept) = &kept {
            sessions::load(kept, &mut shards, &mut endpoints, &self.pipeline.admission)?;
        }
        let transports = shards.into_listeners();
        self.run("coaps", renewals, transports, endpoints, move |shards| {
            if let Some(kept) = kept {
                sessions::save(&kept, shards);
            }
        });
        Ok(address)
    }

    pub(super) fn plain(&mut self, endpoint: &config::Endpoint) -> Result<SocketAddr, StartError> {
        let (sockets, address) = self.bind("coap", endpoint)?;
        let mut endpoints = self.endpoints(sockets.len())?;
        let key = random_bytes()?;
        for endpoint in &mut endpoints {
            endpoint.require_address_validation(key);
        }
        let renewals = renewals(sockets.len()).1;
        let transports = sockets.into_iter().map(Plain::new).collect();
        self.run("coap", renewals, transports, endpoints, drop);
        Ok(address)
    }

    /// Whether the ports that were started are there and may be used.
    pub(super) fn deployment(&mut self, stop: &Stop) -> DeploymentCheck {
        DeploymentCheck {
            ports: std::mem::take(&mut self.pulses),
            drain: stop.drain.clone(),
        }
    }

    /// A socket for each shard of a port, and the first address that all of them have.
    fn bind(
        &self,
        name: &'static str,
        endpoint: &config::Endpoint,
    ) -> Result<(Vec<UdpSocket>, SocketAddr), StartError> {
        let mut addresses = Vec::with_capacity(endpoint.addresses.len());
        for address in &endpoint.addresses {
            let resolved = address.resolve(endpoint.port, interface_index);
            addresses.push(resolved.map_err(|source| StartError::NoInterface {
                address: address.clone(),
                source,
            })?);
        }
        let sockets = UdpSocket::bind_all(&addresses, self.config.coap.shards);
        let sockets = sockets.map_err(|BindError { address, source }| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortBusy { address },
            _ => StartError::Bind { address, source },
        })?;
        let gathering =
            |socket: UdpSocket| socket.gathering(self.config.coap.receive_coalescing_delay);
        let sockets: Vec<_> = sockets.into_iter().map(gathering).collect();
        let first = sockets.first();
        let all: Vec<_> = first
            .into_iter()
            .flat_map(UdpSocket::local_addresses)
            .collect();
        let buffers = first.and_then(UdpSocket::buffer_sizes);
        let (receive_buffer, send_buffer) = buffers.unwrap_or_default();
        tracing::info!(
            addresses = ?all,
            shards = sockets.len(),
            receive_buffer,
            send_buffer,
            "{name}: bound sockets"
        );
        let address = all.first().or(addresses.first()).copied();
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, endpoint.port));
        Ok((sockets, address.unwrap_or(any)))
    }

    /// One for each shard; they share what a port may hold.
    fn endpoints<P: Clone + Eq + Hash + Debug>(
        &self,
        shards: usize,
    ) -> Result<Vec<Endpoint<P>>, StartError> {
        let endpoint = |_| {
            let [a, b, c, d, e, f, g, h, ..] = random_seed()?;
            let seed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            Ok(Endpoint::new(coap_config(self.config, shards), seed))
        };
        (0..shards).map(endpoint).collect()
    }

    /// Serves a port by a task for each of its shards until the adapter ends; what is left then goes to `keep`, which may take its time.
    fn run<T: Transport>(
        &mut self,
        name: &'static str,
        renewals: Vec<mpsc::Receiver<Renewal>>,
        transports: Vec<T>,
        endpoints: Vec<Endpoint<T::Peer>>,
        keep: impl FnOnce(Vec<(T, Endpoint<T::Peer>)>) + Send + 'static,
    ) {
        let shards = transports.into_iter().zip(endpoints).zip(renewals);
        let (mut pulses, mut tasks) = (Vec::new(), Vec::new());
        for (shard, ((transport, endpoint), renewals)) in shards.enumerate() {
            let port = Port::new(transport, endpoint, self.serving(shard, renewals));
            let pulse = port.pulse();
            pulses.push(Arc::clone(&pulse));
            tasks.push(self.ports.spawn(async move {
                let ended = port.run().await;
                if let Err(error) = &ended {
                    tracing::error!(%error, shard, "{name} is no longer served: its socket failed");
                    pulse.end();
                }
                ended.ok()
            }));
        }
        self.pulses.push((name, pulses.clone()));
        self.liveness.push(Arc::new(PulseCheck {
            name,
            pulses: pulses.clone(),
            tolerance: self.config.coap.blocked_check_timeout,
        }));
        self.ports.spawn(async move {
            let mut ended = Vec::with_capacity(tasks.len());
            for task in tasks {
                // One that panicked leaves nothing, as one whose socket failed.
                ended.extend(task.await.ok().flatten());
            }
            if let Err(error) = spawn_blocking(move || keep(ended)).await {
                tracing::error!(%error, "sessions of {name} were not saved");
            }
            pulses.iter().for_each(|pulse| pulse.end());
        });
    }

    fn serving(&self, shard: usize, renewals: mpsc::Receiver<Renewal>) -> Serving {
        Serving {
            pipeline: Arc::clone(&self.pipeline),
            requests: self.requests.clone(),
            stop: self.stop.clone(),
            changes: self.notifications.subscribe(),
            renewals,
            grace: match self.config.sessions.store {
                Some(_) => HANDSHAKES,
                None => Duration::ZERO,
            },
            shard,
        }
    }
}

/// The number of a network interface.
fn interface_index(name: &str) -> io::Result<u32> {
    let any = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    Ok(rustix::net::netdevice::name_to_index(any, name)?)
}

/// The way of what is new to each shard of a port.
#[derive(Debug, Clone)]
struct Renewals(Vec<mpsc::Sender<Renewal>>);

fn renewals(shards: usize) -> (Renewals, Vec<mpsc::Receiver<Renewal>>) {
    let (senders, receivers) = (0..shards).map(|_| mpsc::channel(RENEWALS)).unzip();
    (Renewals(senders), receivers)
}

impl Renewals {
    fn send(&self, renewal: &Renewal) -> Result<(), Unusable> {
        let mut taken = true;
        for shard in &self.0 {
            taken &= shard.try_send(renewal.clone()).is_ok();
        }
        let refusal = || Unusable::from("the port takes nothing new");
        taken.then_some(()).ok_or_else(refusal)
    }
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
    dtls.handshake_rate = limits.handshakes_per_prefix.map(HandshakeRate::new);
    let agreements = limits.key_agreements_per_address;
    dtls.key_agreement_rate = agreements.map(HandshakeRate::of_one_address);
    dtls.max_forgeries = limits.max_forged_records;
    dtls.max_sessions_of_one = limits.max_sessions_per_device;
    dtls.inbox.messages.bytes = limits.max_handshake_bytes;
    dtls.inbox.early_records = limits.max_early_records;
    dtls.inbox.early_bytes = limits.max_early_bytes;
    dtls.return_routability = limits.return_routability;
    dtls.path_timeout = limits.path_timeout;
    dtls.raw_public_keys = limits.raw_public_keys;
}

/// The server's certificates and key; none if the key is for RSA, with which the suites for
/// certificates cannot sign.
fn identity(files: &KeyAndCertificate) -> Result<Option<Identity>, StartError> {
    match read_identity(files) {
        Ok(identity) => Ok(Some(identity)),
        Err(StartError::Identity { source, .. })
            if source.downcast_ref() == Some(&IdentityError::RsaKey) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The server's certificates and key.
pub(super) fn read_identity(files: &KeyAndCertificate) -> Result<Identity, StartError> {
    let read = |path: &Path| {
        let unreadable = |source| StartError::Identity {
            path: path.to_owned(),
            source: Box::new(source),
        };
        std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
    };
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    Identity::from_pem(&certificate, &key).map_err(|error| {
        let path = match error {
            IdentityError::NoKey
            | IdentityError::RsaKey
            | IdentityError::UnsupportedKey
            | IdentityError::KeyMismatch => &files.key,
            _ => &files.certificate,
        };
        StartError::Identity {
            path: path.clone(),
            source: Box::new(error),
        }
    })
}

/// Hands a new certificate and key to the port.
fn identity_source(files: KeyAndCertificate, renew: Renewals, metrics: Metrics) -> Source {
    let paths = vec![files.certificate.clone(), files.key.clone()];
    Source::new(Reloaded::ServerIdentity, paths, move || {
        let identity = identity(&files)?.ok_or(IdentityError::RsaKey)?;
        let expiry = expiry(&identity);
        renew.send(&Renewal::Identity(Arc::new(identity)))?;
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
fn ticket_source(path: PathBuf, renew: Renewals) -> Source {
    Source::new(Reloaded::TicketKeys, vec![path.clone()], move || {
        let keys = sessions::ticket_keys(&path)?;
        renew.send(&Renewal::TicketKeys(keys))
    })
}

/// What each of so many shards of a port goes by. The ports share what the memory contract gives to the message layer, and so do the
/// shards of each.
fn coap_config(config: &Config, shards: usize) -> coap_proto::Config {
    let Config { coap, memory, .. } = config;
    let ports = [&coap.secure, &coap.insecure];
    let ports = ports.into_iter().flatten().count().max(1);
    let share = |table| memory.bound(table) / ports / shards.max(1);
    coap_proto::Config {
        exchange_lifetime: coap.exchange_lifetime,
        max_body: coap.max_payload_size,
        preferred_block_size: coap.preferred_block_size,
        suppressed_response: coap.suppressed_response,
        max_exchanges: share(Table::Exchanges),
        // Admission control bounds them for all ports together; a few more are being answered.
        max_open_exchanges: memory.bound(Table::Requests)
            + memory.bound(Table::Parked)
            + BEING_ANSWERED,
        max_block_transfers: share(Table::Transfers),
        max_block_bytes: share(Table::TransferBytes),
        ..coap_proto::Config::default()
    }
}

fn random_seed() -> Result<[u8; 32], StartError> {
    random_bytes()
}

fn random_bytes<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StartError::Random)?;
    Ok(bytes)
}

/// Requests of a shard whose permits are released and that are not answered yet.
const BEING_ANSWERED: usize = 256;

/// How long handshakes under way may take to end before sessions are kept.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// What a shard has not taken in use yet.
const RENEWALS: usize = 4;
