//! How a connection is made and kept (spec: configuration §2). Each default is that of the page.

use std::{path::PathBuf, time::Duration};

use crate::{Secret, address::AddressRewriteRule};

/// One connection to the messaging network or to a service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// HOST: host name or address of the peer.
    pub host: String,
    /// PORT.
    pub port: u16,
    /// USERNAME and PASSWORD (or those of the file of CREDENTIALSPATH): who we are, by SASL PLAIN.
    pub credentials: Option<UserCredentials>,
    /// TLS is spoken if this is set: TLSENABLED, a trust store or a client key.
    pub tls: Option<TlsConfig>,
    /// NAME: the first part of the container id.
    pub name: String,
    /// AMQPHOSTNAME: the `hostname` of the open frame.
    pub amqp_hostname: Option<String>,
    /// CONNECTTIMEOUT: how long TCP, TLS, SASL and open may take together.
    pub connect_timeout: Duration,
    /// IDLETIMEOUT: after how much silence the connection counts as lost. Zero: never.
    pub idle_timeout: Duration,
    /// FLOWLATENCY: how long a new sender waits for its first credit.
    pub flow_latency: Duration,
    /// LINKESTABLISHMENTTIMEOUT: how long to wait for the answer to an attach, and for a connect attempt under way.
    pub link_establishment_timeout: Duration,
    /// INITIALCREDITS: what a receiver grants.
    pub initial_credits: u32,
    /// SENDMESSAGETIMEOUT: how long to wait for a disposition. `None`: for ever (values <= 0).
    pub send_message_timeout: Option<Duration>,
    /// REQUESTTIMEOUT: how long a service may take to answer a request.
    pub request_timeout: Duration,
    /// RECONNECTATTEMPTS: how many times to try again. `None`: for ever (-1).
    pub reconnect_attempts: Option<u32>,
    /// RECONNECTMINDELAY: the shortest wait before a new attempt.
    pub reconnect_min_delay: Duration,
    /// RECONNECTMAXDELAY: the longest wait before a new attempt.
    pub reconnect_max_delay: Duration,
    /// RECONNECTDELAYINCREMENT: what the wait grows from.
    pub reconnect_delay_increment: Duration,
    /// ADDRESSREWRITERULE: what becomes of the addresses of senders.
    pub address_rewrite_rule: Option<AddressRewriteRule>,
    /// MINMAXMESSAGESIZE: the largest message a peer must take at least, in bytes.
    pub min_max_message_size: u64,
    /// MAXMESSAGESIZE: the largest message we take, in bytes. `None`: as much as we can hold (16 MiB).
    pub max_message_size: Option<u64>,
    /// MAXFRAMESIZE: the largest frame we take, in bytes. `None`: 64 KiB, larger messages come in several.
    pub max_frame_size: Option<u32>,
    /// How many bytes may wait to be written, before no message is taken any more, and nothing is read.
    pub max_outgoing: usize,
    /// How many messages may be without outcome, over all links.
    pub max_unsettled: usize,
    /// How many bytes of messages may have arrived and not been taken, before nothing is read.
    pub max_incoming: usize,
    /// Whether what arrives holds keys: the buffers that it passes through are wiped.
    pub sensitive: bool,
    /// MAXSESSIONFRAMES: how many frames may be under way to us. `None`: as many as the peer likes.
    pub max_session_frames: Option<u32>,
}

/// Hono's defaults, for `localhost`.
impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 5671,
            credentials: None,
            tls: None,
            name: "Hono CoAP Adapter".to_owned(),
            amqp_hostname: None,
            connect_timeout: Duration::from_millis(5000),
            idle_timeout: Duration::from_millis(16_000),
            flow_latency: Duration::from_millis(20),
            link_establishment_timeout: Duration::from_millis(1000),
            initial_credits: 200,
            send_message_timeout: Some(Duration::from_millis(1000)),
            request_timeout: Duration::from_millis(200),
            reconnect_attempts: None,
            reconnect_min_delay: Duration::ZERO,
            reconnect_max_delay: Duration::from_millis(7000),
            reconnect_delay_increment: Duration::from_millis(100),
            address_rewrite_rule: None,
            min_max_message_size: 0,
            max_message_size: None,
            max_frame_size: None,
            max_outgoing: 4 << 20,
            max_unsettled: 1_000_000,
            max_incoming: 16 << 20,
            sensitive: false,
            max_session_frames: None,
        }
    }
}

impl ConnectionConfig {
    /// The defaults, for one host.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            ..Self::default()
        }
    }
}

/// A user name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCredentials {
    /// USERNAME.
    pub username: String,
    /// PASSWORD.
    pub password: Secret,
}

/// How TLS is spoken. Files are PEM, and are read once, when the connection starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// TRUSTSTOREPATH: trusted certificates. `None`: those of the platform.
    pub trust_store: Option<PathBuf>,
    /// CERTPATH and KEYPATH: who we are; by SASL EXTERNAL if there is no user name.
    pub identity: Option<ClientIdentity>,
    /// HOSTNAMEVERIFICATIONREQUIRED: whether the certificate has to name the host.
    pub hostname_verification: HostnameVerification,
    /// SECUREPROTOCOLS: the versions allowed.
    pub versions: Vec<TlsVersion>,
    /// SUPPORTEDCIPHERSUITES: the suites allowed, by their IANA or OpenSSL-like names in rustls. Empty: all.
    pub cipher_suites: Vec<String>,
}

/// The platform's trust store, no client certificate, host names verified, TLS 1.2 and 1.3.
impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            trust_store: None,
            identity: None,
            hostname_verification: HostnameVerification::Required,
            versions: vec![TlsVersion::Tls12, TlsVersion::Tls13],
            cipher_suites: Vec::new(),
        }
    }
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate and those above it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Whether the certificate of a peer has to name the host that was connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostnameVerification {
    /// It has to.
    Required,
    /// Any certificate of the trust store's will do.
    Skipped,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (`TLSv1.2`).
    Tls12,
    /// TLS 1.3 (`TLSv1.3`).
    Tls13,
}
