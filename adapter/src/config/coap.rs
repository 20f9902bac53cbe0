//! What devices meet: ports, limits and times of the CoAP endpoints (spec: configuration §1).

use std::{net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use coap_proto::{BlockSize, SuppressedResponse};
use regex::Regex;

use super::{
    bind::{BindAddress, Endpoint},
    chosen::Chosen,
    dtls::DtlsConfig,
    kind::Kind,
    ports::{self, Endpoints, Port, Wanted},
    setting::{COAP as PREFIX, settings},
};

/// What the CoAP endpoints go by.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CoapConfig {
    /// Whether every device must say who it is, so that there is no port without security.
    pub authentication_required: bool,
    /// Where the DTLS endpoint listens, if there is one; port 0 takes any free one.
    pub secure: Option<Endpoint>,
    /// Where the endpoint without security listens, if there is one; port 0 takes any free one.
    pub insecure: Option<Endpoint>,
    /// The server's private key (PKCS#8, PEM) and certificate chain (PEM); none serves pre-shared keys only.
    pub identity: Option<KeyAndCertificate>,
    /// Where a PSK identity is split into auth-id and tenant.
    pub id_split_regex: Regex,
    /// How many tasks serve each port, every one with a socket of its own.
    pub shards: usize,
    /// How long the arrival of more datagrams is awaited so that they are read together; zero reads
    /// each at once.
    pub receive_coalescing_delay: Duration,
    /// The largest body of a request, in bytes.
    pub max_payload_size: usize,
    /// Preferred size of blocks in block-wise transfers.
    pub preferred_block_size: BlockSize,
    /// How a confirmable request is acknowledged whose response its device does not want.
    pub suppressed_response: SuppressedResponse,
    /// DTLS sessions at a time; in a whole [`Config`](super::Config) never 0.
    pub max_connections: usize,
    /// When a confirmable request is acknowledged ahead of its answer, in milliseconds: 0 at once, -1 never (spec: coap-adapter §5).
    pub timeout_to_ack: i64,
    /// How long a message is remembered to recognise its duplicates (`EXCHANGE_LIFETIME`, RFC 7252 §4.8.2).
    pub exchange_lifetime: Duration,
    /// When a flight of the DTLS handshake is sent again for the first time.
    pub dtls_retransmission_timeout: Duration,
    /// What peers of the DTLS endpoint may make the adapter hold and do.
    pub dtls: DtlsConfig,
    /// Whether defaults of tenants and devices are merged into telemetry and events.
    pub defaults_enabled: bool,
    /// Whether messages carry the application properties that JMS vendors define.
    pub jms_vendor_props_enabled: bool,
    /// How long a tenant without messages keeps its links and metrics; none for ever.
    pub tenant_idle_timeout: Option<Duration>,
    /// Who may ask what happened to devices; nobody if there is none.
    pub operator: Option<OperatorConfig>,
    /// How late the adapter's tasks may answer before it counts as stuck.
    pub blocked_check_timeout: Duration,
}

/// Two PEM files that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyAndCertificate {
    /// The private key.
    pub key: PathBuf,
    /// The certificate chain, the own certificate first.
    pub certificate: PathBuf,
}

/// The defaults of the reference, and no endpoint: which one there is must be said.
/// Who may ask what happened to devices, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorConfig {
    /// Where the HTTP server listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// The file with the token.
    pub token: PathBuf,
    /// Of how many devices the last events are remembered.
    pub devices: usize,
}

impl Default for CoapConfig {
    fn default() -> Self {
        let chosen = &Chosen::default();
        Self::new(chosen, CoapSettings::take(chosen, PREFIX), (None, None))
    }
}

impl CoapConfig {
    pub(super) fn from_chosen(chosen: &mut Chosen) -> Self {
        let settings = CoapSettings::take(chosen, PREFIX);
        if settings.key_path.is_some() != settings.cert_path.is_some() {
            chosen.refuse(
                PREFIX,
                &["keyPath", "certPath"],
                "one of `keyPath` and `certPath` is set; a key and its certificate are needed",
            );
        }
        let endpoints = match ports::resolve(settings.wanted()) {
            Ok(endpoints) => endpoints,
            Err(error) => {
                chosen.refuse(PREFIX, PORT_KEYS, error.to_string());
                (None, None)
            }
        };
        Self::new(chosen, settings, endpoints)
    }

    fn new(chosen: &Chosen, settings: CoapSettings, (secure, insecure): Endpoints) -> Self {
        Self {
            authentication_required: settings.authentication_required,
            secure,
            insecure,
            identity: settings
                .key_path
                .zip(settings.cert_path)
                .map(|(key, certificate)| KeyAndCertificate { key, certificate }),
            id_split_regex: settings.id_split_regex,
            shards: match settings.shards {
                0 => cpus(),
                wanted => wanted,
            },
            receive_coalescing_delay: Duration::from_millis(
                settings.receive_coalescing_delay.into(),
            ),
            max_payload_size: settings.max_payload_size,
            preferred_block_size: BlockSize::at_most(settings.preferred_block_size)
                .unwrap_or(BlockSize::B512),
            suppressed_response: if settings.no_response_ack {
                SuppressedResponse::EmptyAck
            } else {
                SuppressedResponse::InPlaceOfAck
            },
            max_connections: settings.max_connections,
            timeout_to_ack: settings.timeout_to_ack,
            exchange_lifetime: settings.exchange_lifetime,
            dtls_retransmission_timeout: settings.dtls_retransmission_timeout,
            dtls: DtlsConfig::from_chosen(chosen),
            defaults_enabled: settings.defaults_enabled,
            jms_vendor_props_enabled: settings.jms_vendor_props_enabled,
            tenant_idle_timeout: Some(settings.tenant_idle_timeout).filter(|idle| !idle.is_zero()),
            operator: settings.operator_token_path.map(|token| OperatorConfig {
                address: SocketAddr::new(settings.operator_bind_address, settings.operator_port),
                token,
                devices: settings.operator_devices,
            }),
            blocked_check_timeout: settings.event_loop_blocked_check_timeout,
        }
    }
}

/// Whether the settings ask for an endpoint without security, which `authenticationRequired` may
/// forbid.
pub(super) fn wants_insecure_port(chosen: &Chosen) -> bool {
    CoapSettings::take(chosen, PREFIX)
        .wanted()
        .insecure
        .is_some()
}

/// Percent of the memory that is left free where nobody says how much may be taken.
pub(super) fn gc_heap_percentage(chosen: &Chosen) -> u32 {
    CoapSettings::take(chosen, PREFIX).gc_heap_percentage
}

/// As many as may run at a time here.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(MOST_SHARDS))
}

/// Each shard has a socket, buffers and mailboxes; a connection id would have room for 256.
const MOST_SHARDS: usize = 64;

impl CoapSettings {
    fn wanted(&self) -> Wanted {
        let identity = self.key_path.is_some() && self.cert_path.is_some();
        Wanted {
            secure: (identity || self.key_store_path.is_some() || self.port >= 0).then_some(Port {
                addresses: self.bind_address.clone(),
                number: self.port,
            }),
            insecure: (self.insecure_port_enabled || self.insecure_port >= 0).then_some(Port {
                addresses: self.insecure_port_bind_address.clone(),
                number: self.insecure_port,
            }),
            authentication_required: self.authentication_required,
        }
    }
}

/// What decides whether there is an endpoint.
const PORT_KEYS: &[&str] = &[
    "insecurePort",
    "insecurePortEnabled",
    "port",
    "authenticationRequired",
    "keyPath",
    "certPath",
    "keyStorePath",
];

const PORT: Kind = Kind::Number {
    min: -1,
    max: 65_535,
    unit: "",
};

settings! {
    /// `hono.coap` as it is written.
    pub(super) struct CoapSettings {
        /// Whether every device must authenticate. True: there is no endpoint without security; false: it is allowed.
        authentication_required: bool = Kind::Flag, "authenticationRequired", Some("true");
        /// Port of the DTLS endpoint; 0 takes any free one, -1 is unset. The default number is 5684.
        port: i64 = PORT, "port", Some("-1");
        /// Addresses that the DTLS endpoint listens on. `::` serves IPv4 as well, unless IPv4 addresses are named beside it.
        bind_address: Vec<BindAddress> = Kind::Addresses, "bindAddress", Some("127.0.0.1");
        /// Whether there is an endpoint without security.
        insecure_port_enabled: bool = Kind::Flag, "insecurePortEnabled", Some("false");
        /// Port of the endpoint without security, which exists if this is 0 or more; 0 takes any free one, -1 is unset. The default number is 5683.
        insecure_port: i64 = PORT, "insecurePort", Some("-1");
        /// Addresses that the endpoint without security listens on, as `bindAddress`.
        insecure_port_bind_address: Vec<BindAddress> = Kind::Addresses, "insecurePortBindAddress", Some("127.0.0.1");
        /// PKCS#8 PEM file with the server's private EC key. With `certPath` it enables the DTLS endpoint and its certificate suites.
        key_path: Option<PathBuf> = Kind::Path, "keyPath", None;
        /// PEM file with the server's certificate chain.
        cert_path: Option<PathBuf> = Kind::Path, "certPath", None;
        /// A key store; it merely enables the DTLS endpoint, whose identity comes from `keyPath` and `certPath` alone.
        key_store_path: Option<PathBuf> = Kind::Path, "keyStorePath", None;
        /// Where a PSK identity is split into auth-id and tenant.
        id_split_regex: Regex = Kind::Regex, "idSplitRegex", Some("@");
        /// Tasks that serve each port, every one with a socket of its own among which the kernel spreads devices (`SO_REUSEPORT`); 0: as many as CPUs may be used.
        shards: usize = Kind::Number { min: 0, max: MOST_SHARDS as i64, unit: "" }, "shards", Some("0");
        /// Maximum time to wait for more datagrams so that they are read with one system call, when several arrive within that time. Responses are delayed by up to this time; a busy adapter uses a half to a third of the CPU. 0 reads each datagram at once.
        receive_coalescing_delay: u32 = Kind::Number { min: 0, max: 100, unit: "ms" }, "receiveCoalescingDelay", Some("4");
        /// Largest body of a request.
        max_payload_size: usize = Kind::Number { min: 129, max: 1 << 30, unit: "bytes" }, "maxPayloadSize", Some("2048");
        /// Size of the blocks that the adapter asks for in block-wise transfers, rounded down to a power of two; a client may choose a smaller one (RFC 7959).
        preferred_block_size: usize = Kind::Number { min: 16, max: 1024, unit: "bytes" }, "preferredBlockSize", Some("512");
        /// Whether a confirmable request with a No-Response option for its response (RFC 7967) gets an empty ACK. False: it gets that response, as a confirmable message, as from Hono.
        no_response_ack: bool = Kind::Flag, "noResponseAck", Some("false");
        /// DTLS sessions at a time; 0 derives the number from `hono.app.maxMemory`, or from the memory of the machine or container.
        max_connections: usize = Kind::Number { min: 0, max: u32::MAX as i64, unit: "" }, "maxConnections", Some("0");
        /// Share of the memory that is left free when there is no `hono.app.maxMemory`.
        gc_heap_percentage: u32 = Kind::Number { min: 0, max: 100, unit: "percent" }, "gcHeapPercentage", Some("25");
        /// When a confirmable request is acknowledged ahead of its answer: 0 at once, -1 never.
        timeout_to_ack: i64 = Kind::Number { min: -1, max: i32::MAX as i64, unit: "ms" }, "timeoutToAck", Some("500");
        /// How long a message is remembered to recognise its duplicates.
        exchange_lifetime: Duration = Kind::Millis { min: 1 }, "exchangeLifetime", Some("247000");
        /// When a flight of the DTLS handshake is sent again for the first time.
        dtls_retransmission_timeout: Duration = Kind::Millis { min: 1 }, "dtlsRetransmissionTimeout", Some("2000");
        /// Whether defaults of tenants and devices are merged into telemetry and events.
        defaults_enabled: bool = Kind::Flag, "defaultsEnabled", Some("true");
        /// Whether messages carry the application properties that JMS vendors define.
        jms_vendor_props_enabled: bool = Kind::Flag, "jmsVendorPropsEnabled", Some("false");
        /// How long a tenant without messages keeps its links and metrics; 0 for ever.
        tenant_idle_timeout: Duration = Kind::Iso8601, "tenantIdleTimeout", Some("PT0S");
        /// Port on which operators ask what happened to a device lately, if there is `operatorTokenPath`; 0 takes any free one.
        operator_port: u16 = Kind::Number { min: 0, max: 65_535, unit: "" }, "operatorPort", Some("8089");
        /// Address that the port for operators listens on.
        operator_bind_address: IpAddr = Kind::Address, "operatorBindAddress", Some("127.0.0.1");
        /// File with the token that operators must show, of at least 16 bytes, read anew for each question; without it there is no port for them, and nothing is remembered.
        operator_token_path: Option<PathBuf> = Kind::Path, "operatorTokenPath", None;
        /// Of how many devices the last 100 events are remembered, up to 20 KB each; the device heard of least recently is forgotten first.
        operator_devices: usize = Kind::Number { min: 1, max: 1_000_000, unit: "" }, "operatorDevices", Some("1000");
        /// How late the adapter's tasks may answer before the liveness check fails.
        event_loop_blocked_check_timeout: Duration = Kind::Millis { min: 1 }, "eventLoopBlockedCheckTimeout", Some("5000");
    }
}
