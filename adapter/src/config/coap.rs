//! Ports, limits and times of the CoAP endpoints (spec: configuration §1).

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

/// Configuration of the CoAP endpoints.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CoapConfig {
    /// Whether every device must authenticate, which disables the port without security.
    pub authentication_required: bool,
    /// Where the DTLS endpoint listens, if there is one; port 0 takes any free one.
    pub secure: Option<Endpoint>,
    /// Where the endpoint without security listens, if there is one; port 0 takes any free one.
    pub insecure: Option<Endpoint>,
    /// The server's private key (PKCS#8, PEM) and certificate chain (PEM); none serves pre-shared keys only.
    pub identity: Option<KeyAndCertificate>,
    /// Regular expression that separates auth-id and tenant in a PSK identity.
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
    /// Time until the first retransmission of a DTLS handshake flight.
    pub dtls_retransmission_timeout: Duration,
    /// What peers of the DTLS endpoint may make the adapter hold and do.
    pub dtls: DtlsConfig,
    /// Whether the defaults of tenants and devices are added to telemetry and events.
    pub defaults_enabled: bool,
    /// Whether messages have the vendor-specific JMS application properties.
    pub jms_vendor_props_enabled: bool,
    /// How long a tenant without messages keeps its links and metrics; none for ever.
    pub tenant_idle_timeout: Option<Duration>,
    /// The operator API; disabled if `None`.
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

/// The operator API.
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

/// Hono's defaults, without any endpoint; at least one must be configured.
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

/// Number of CPUs that the process may use.
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
        /// Whether every device must authenticate. If true, the endpoint without security is disabled.
        authentication_required: bool = Kind::Flag, "authenticationRequired", Some("true");
        /// Port of the DTLS endpoint; 0 selects a free port, -1 is unset. If the endpoint is enabled, the default port is 5684.
        port: i64 = PORT, "port", Some("-1");
        /// Addresses of the DTLS endpoint. `::` also serves IPv4, unless the list has IPv4 addresses of its own.
        bind_address: Vec<BindAddress> = Kind::Addresses, "bindAddress", Some("127.0.0.1");
        /// Whether the endpoint without security is enabled.
        insecure_port_enabled: bool = Kind::Flag, "insecurePortEnabled", Some("false");
        /// Port of the endpoint without security; a value of 0 or more enables it, 0 selects a free port, -1 is unset. If the endpoint is enabled, the default port is 5683.
        insecure_port: i64 = PORT, "insecurePort", Some("-1");
        /// Addresses of the endpoint without security, as for `bindAddress`.
        insecure_port_bind_address: Vec<BindAddress> = Kind::Addresses, "insecurePortBindAddress", Some("127.0.0.1");
        /// PEM file with the server's private EC key (PKCS #8). Together with `certPath` it enables the DTLS endpoint and its certificate-based cipher suites.
        key_path: Option<PathBuf> = Kind::Path, "keyPath", None;
        /// PEM file with the server's certificate chain, the server's own certificate first.
        cert_path: Option<PathBuf> = Kind::Path, "certPath", None;
        /// A key store. It only enables the DTLS endpoint and is not read; key and certificates come from `keyPath` and `certPath`.
        key_store_path: Option<PathBuf> = Kind::Path, "keyStorePath", None;
        /// Regular expression that separates auth-id and tenant in a PSK identity.
        id_split_regex: Regex = Kind::Regex, "idSplitRegex", Some("@");
        /// Number of tasks (shards) that serve each port, each with its own socket; the kernel distributes devices over them (`SO_REUSEPORT`). 0 is the number of CPUs that the process may use.
        shards: usize = Kind::Number { min: 0, max: MOST_SHARDS as i64, unit: "" }, "shards", Some("0");
        /// Maximum time to wait for more datagrams so that they are read with one system call, when several arrive within that time. Responses are delayed by up to this time; a busy adapter uses a half to a third of the CPU. 0 reads each datagram at once.
        receive_coalescing_delay: u32 = Kind::Number { min: 0, max: 100, unit: "ms" }, "receiveCoalescingDelay", Some("4");
        /// Maximum size of a request body.
        max_payload_size: usize = Kind::Number { min: 129, max: 1 << 30, unit: "bytes" }, "maxPayloadSize", Some("2048");
        /// Block size that the adapter requests in block-wise transfers, rounded down to a power of two; a client may choose a smaller one (RFC 7959).
        preferred_block_size: usize = Kind::Number { min: 16, max: 1024, unit: "bytes" }, "preferredBlockSize", Some("512");
        /// Whether a confirmable request whose No-Response option suppresses the response (RFC 7967) gets an empty ACK. If false, it gets that response as a confirmable message, as with Hono.
        no_response_ack: bool = Kind::Flag, "noResponseAck", Some("false");
        /// Maximum number of DTLS sessions; 0 derives it from `hono.app.maxMemory`, or from the memory of the machine or container.
        max_connections: usize = Kind::Number { min: 0, max: u32::MAX as i64, unit: "" }, "maxConnections", Some("0");
        /// Share of the memory that is left free if `hono.app.maxMemory` is not set.
        gc_heap_percentage: u32 = Kind::Number { min: 0, max: 100, unit: "percent" }, "gcHeapPercentage", Some("25");
        /// Delay until a confirmable request gets an empty ACK if its response is not ready; 0 sends it at once, -1 never.
        timeout_to_ack: i64 = Kind::Number { min: -1, max: i32::MAX as i64, unit: "ms" }, "timeoutToAck", Some("500");
        /// How long a message is remembered to detect duplicates (exchange lifetime, RFC 7252 section 4.8.2).
        exchange_lifetime: Duration = Kind::Millis { min: 1 }, "exchangeLifetime", Some("247000");
        /// Time until the first retransmission of a DTLS handshake flight.
        dtls_retransmission_timeout: Duration = Kind::Millis { min: 1 }, "dtlsRetransmissionTimeout", Some("2000");
        /// Whether the defaults of tenants and devices are added to telemetry and events.
        defaults_enabled: bool = Kind::Flag, "defaultsEnabled", Some("true");
        /// Whether messages have the vendor-specific JMS application properties.
        jms_vendor_props_enabled: bool = Kind::Flag, "jmsVendorPropsEnabled", Some("false");
        /// How long a tenant without messages keeps its links and metrics; 0 is unlimited.
        tenant_idle_timeout: Duration = Kind::Iso8601, "tenantIdleTimeout", Some("PT0S");
        /// Port of the operator API, which returns the recent events of a device; needs `operatorTokenPath`. 0 selects a free port.
        operator_port: u16 = Kind::Number { min: 0, max: 65_535, unit: "" }, "operatorPort", Some("8089");
        /// Address of the operator API.
        operator_bind_address: IpAddr = Kind::Address, "operatorBindAddress", Some("127.0.0.1");
        /// File with the bearer token of the operator API, at least 16 bytes long; it is read for each request. Without it the API is disabled and no events are kept.
        operator_token_path: Option<PathBuf> = Kind::Path, "operatorTokenPath", None;
        /// Number of devices whose last 100 events are kept, up to 20 KB each; the device with the oldest last event is evicted first.
        operator_devices: usize = Kind::Number { min: 1, max: 1_000_000, unit: "" }, "operatorDevices", Some("1000");
        /// Maximum delay of the heartbeat of a port's tasks before the liveness check fails.
        event_loop_blocked_check_timeout: Duration = Kind::Millis { min: 1 }, "eventLoopBlockedCheckTimeout", Some("5000");
    }
}
