//! The AMQP clients and the caches of what the registry answers (spec: configuration §2).

use std::{path::PathBuf, time::Duration};

use super::{Secret, TlsConfig, chosen::Chosen, kind::Kind, properties, setting::settings};

/// How one AMQP client connects and how long it waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AmqpConfig {
    /// Name or address of the peer.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password for SASL PLAIN; none is EXTERNAL if there is a key, else ANONYMOUS.
    pub credentials: Option<(String, Secret)>,
    /// TLS towards the peer, if it is spoken.
    pub tls: Option<TlsConfig>,
    /// First part of the container id; none is the application's name.
    pub name: Option<String>,
    /// The `hostname` of the open frame.
    pub amqp_hostname: Option<String>,
    /// What the connection is for, in logs and in the container id; none is the usual word.
    pub server_role: Option<String>,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// After what silence the connection counts as dead; half of it passes between heartbeats.
    pub idle_timeout: Duration,
    /// How long to wait for the first credit of a link.
    pub flow_latency: Duration,
    /// How long to wait for the answer to an attach, and for a connection that is being made.
    pub link_establishment_timeout: Duration,
    /// Credit that a receiver gives.
    pub initial_credits: u32,
    /// How long to wait for a disposition.
    pub send_message_timeout: Duration,
    /// How long to wait for the answer to a request.
    pub request_timeout: Duration,
    /// How often to try to connect again; none for ever.
    pub reconnect_attempts: Option<u32>,
    /// The first pause between attempts.
    pub reconnect_min_delay: Duration,
    /// The longest pause between attempts.
    pub reconnect_max_delay: Duration,
    /// What each pause is longer than the one before.
    pub reconnect_delay_increment: Duration,
    /// Pattern and replacement that addresses are rewritten by.
    pub address_rewrite_rule: Option<(regex::Regex, String)>,
    /// What a peer must take at least as the largest message, in bytes.
    pub min_max_message_size: u64,
    /// The largest message that is taken, in bytes; none has no limit.
    pub max_message_size: Option<u64>,
    /// The largest frame that is taken, in bytes; none has no limit.
    pub max_frame_size: Option<u32>,
    /// The frames of a session that may be on their way; none has no limit.
    pub max_session_frames: Option<u32>,
    /// Whether the trace context is written as the reference's older versions do.
    pub use_legacy_trace_context_format: bool,
}

/// What is kept of the registry's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheConfig {
    /// Answers that are kept at most; 0 keeps none.
    pub max_size: u64,
    /// How long an answer holds that does not say so itself.
    pub default_timeout: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        cache(&Chosen::default(), "hono.tenant")
    }
}

/// The client, if its host was named.
pub(super) fn client(chosen: &mut Chosen, prefix: &str) -> Option<AmqpConfig> {
    let mut settings = ClientSettings::take(chosen, prefix);
    let host = settings.host.take()?;
    let address_rewrite_rule = settings.address_rewrite_rule.take().and_then(|rule| {
        let parsed = rewrite_rule(&rule);
        if parsed.is_none() {
            let text = format!(
                "is `{rule}`, but should be a regular expression, a blank and a replacement"
            );
            chosen.refuse(prefix, &["addressRewriteRule"], text);
        }
        parsed
    });
    if settings.reconnect_min_delay > settings.reconnect_max_delay {
        let keys = ["reconnectMinDelay", "reconnectMaxDelay"];
        chosen.refuse(
            prefix,
            &keys,
            "`reconnectMinDelay` should not be more than `reconnectMaxDelay`",
        );
    }
    if settings.key_path.is_some() != settings.cert_path.is_some() {
        let keys = ["keyPath", "certPath"];
        chosen.refuse(
            prefix,
            &keys,
            "one of `keyPath` and `certPath` is set; a key and its certificate are needed",
        );
    }
    let tls = settings.tls();
    let credentials = (
        settings.username,
        settings.password,
        settings.credentials_path,
    );
    Some(AmqpConfig {
        host,
        port: settings.port,
        credentials: properties::credentials(chosen, prefix, credentials),
        tls,
        name: settings.name,
        amqp_hostname: settings.amqp_hostname,
        server_role: settings.server_role,
        connect_timeout: settings.connect_timeout,
        idle_timeout: settings.idle_timeout,
        flow_latency: settings.flow_latency,
        link_establishment_timeout: settings.link_establishment_timeout,
        initial_credits: settings.initial_credits,
        send_message_timeout: settings.send_message_timeout,
        request_timeout: settings.request_timeout,
        reconnect_attempts: u32::try_from(settings.reconnect_attempts).ok(),
        reconnect_min_delay: settings.reconnect_min_delay,
        reconnect_max_delay: settings.reconnect_max_delay,
        reconnect_delay_increment: settings.reconnect_delay_increment,
        address_rewrite_rule,
        min_max_message_size: settings.min_max_message_size.unsigned_abs(),
        max_message_size: u64::try_from(settings.max_message_size)
            .ok()
            .filter(|size| *size > 0),
        max_frame_size: u32::try_from(settings.max_frame_size).ok(),
        max_session_frames: u32::try_from(settings.max_session_frames).ok(),
        use_legacy_trace_context_format: settings.use_legacy_trace_context_format,
    })
}

/// The cache of a service's answers.
pub(super) fn cache(chosen: &Chosen, prefix: &str) -> CacheConfig {
    let settings = CacheSettings::take(chosen, prefix);
    let max_size = match settings.response_cache_max_size {
        0 => 0,
        most => most.max(settings.response_cache_min_size),
    };
    CacheConfig {
        max_size: max_size.into(),
        default_timeout: settings
            .response_cache_default_timeout
            .min(LONGEST_CACHE_TIMEOUT),
    }
}

impl ClientSettings {
    /// A trust store, or a word of its own, enables TLS.
    fn tls(&mut self) -> Option<TlsConfig> {
        (self.tls_enabled || self.trust_store_path.is_some()).then(|| TlsConfig {
            trust_store: self.trust_store_path.take(),
            trust_store_password: self.trust_store_password.take(),
            trust_store_format: self.trust_store_format.take(),
            key: self.key_path.take(),
            certificate: self.cert_path.take(),
            key_store: self.key_store_path.take(),
            key_store_password: self.key_store_password.take(),
            verify_host_name: self.hostname_verification_required,
            protocols: std::mem::take(&mut self.secure_protocols),
            cipher_suites: std::mem::take(&mut self.supported_cipher_suites),
        })
    }
}

fn rewrite_rule(rule: &str) -> Option<(regex::Regex, String)> {
    let (pattern, replacement) = rule.trim().split_once(' ')?;
    Some((
        regex::Regex::new(pattern).ok()?,
        replacement.trim_start().to_owned(),
    ))
}

/// No answer is kept longer (spec: configuration §2).
const LONGEST_CACHE_TIMEOUT: Duration = Duration::from_secs(86_400);

const INT_MAX: i64 = i32::MAX as i64;
const COUNT: Kind = Kind::Number {
    min: 0,
    max: INT_MAX,
    unit: "",
};
const BYTES: Kind = Kind::Number {
    min: -1,
    max: i64::MAX,
    unit: "bytes",
};

settings! {
    /// What is written for one AMQP client.
    pub(super) struct ClientSettings {
        /// Name or address of the peer. The client exists if this is set.
        host: Option<String> = Kind::Text, "host", None;
        /// Port of the peer.
        port: u16 = Kind::Number { min: 1, max: 65_535, unit: "" }, "port", Some("5671");
        /// User name for SASL PLAIN.
        username: Option<String> = Kind::Text, "username", None;
        /// Password for SASL PLAIN.
        password: Option<Secret> = Kind::Password, "password", None;
        /// Property file with `username` and `password`.
        credentials_path: Option<PathBuf> = Kind::Path, "credentialsPath", None;
        /// The own private key, PKCS#8 PEM; SASL EXTERNAL if there is no user name.
        key_path: Option<PathBuf> = Kind::Path, "keyPath", None;
        /// The own certificate chain, PEM.
        cert_path: Option<PathBuf> = Kind::Path, "certPath", None;
        /// A store with the own key and certificate.
        key_store_path: Option<PathBuf> = Kind::Path, "keyStorePath", None;
        /// Its password.
        key_store_password: Option<Secret> = Kind::StorePassword, "keyStorePassword", None;
        /// Who is trusted; it enables TLS.
        trust_store_path: Option<PathBuf> = Kind::Path, "trustStorePath", None;
        /// Password of the trust store.
        trust_store_password: Option<Secret> = Kind::StorePassword, "trustStorePassword", None;
        /// Format of the trust store, if its name does not end in `.pem`, `.p12` or `.jks`.
        trust_store_format: Option<String> = Kind::Text, "trustStoreFormat", None;
        /// Whether to speak TLS and trust whom the platform trusts.
        tls_enabled: bool = Kind::Flag, "tlsEnabled", Some("false");
        /// Whether the peer's name must be that of its certificate.
        hostname_verification_required: bool = Kind::Flag, "hostnameVerificationRequired", Some("true");
        /// Versions of TLS that are spoken.
        secure_protocols: Vec<String> = Kind::List, "secureProtocols", Some("TLSv1.2,TLSv1.3");
        /// Cipher suites that are spoken; all safe ones if none are named.
        supported_cipher_suites: Vec<String> = Kind::List, "supportedCipherSuites", Some("");
        /// First part of the container id; the application's name if unset.
        name: Option<String> = Kind::Text, "name", None;
        /// The `hostname` of the open frame.
        amqp_hostname: Option<String> = Kind::Text, "amqpHostname", None;
        /// How long to wait for a connection.
        connect_timeout: Duration = Kind::Millis { min: 1 }, "connectTimeout", Some("5000");
        /// After what silence the connection counts as dead; half of it passes between heartbeats, 0 is never.
        idle_timeout: Duration = Kind::Millis { min: 0 }, "idleTimeout", Some("16000");
        /// How long to wait for the first credit of a link.
        flow_latency: Duration = Kind::Millis { min: 0 }, "flowLatency", Some("20");
        /// How long to wait for the answer to an attach, and for a connection that is being made.
        link_establishment_timeout: Duration = Kind::Millis { min: 1 }, "linkEstablishmentTimeout", Some("1000");
        /// Credit that a receiver gives.
        initial_credits: u32 = Kind::Number { min: 1, max: INT_MAX, unit: "" }, "initialCredits", Some("200");
        /// How long to wait for a disposition.
        send_message_timeout: Duration = Kind::Millis { min: 1 }, "sendMessageTimeout", Some("1000");
        /// How long to wait for the answer to a request.
        request_timeout: Duration = Kind::Millis { min: 1 }, "requestTimeout", Some("200");
        /// How often to try to connect again: -1 for ever, 0 never.
        reconnect_attempts: i64 = Kind::Number { min: -1, max: INT_MAX, unit: "" }, "reconnectAttempts", Some("-1");
        /// The first pause between attempts.
        reconnect_min_delay: Duration = Kind::Millis { min: 0 }, "reconnectMinDelay", Some("0");
        /// The longest pause between attempts.
        reconnect_max_delay: Duration = Kind::Millis { min: 0 }, "reconnectMaxDelay", Some("7000");
        /// What each pause is longer than the one before.
        reconnect_delay_increment: Duration = Kind::Millis { min: 0 }, "reconnectDelayIncrement", Some("100");
        /// Regular expression and replacement, parted by a blank, that addresses are rewritten by.
        address_rewrite_rule: Option<String> = Kind::Text, "addressRewriteRule", None;
        /// What the peer must take at least as the largest message.
        min_max_message_size: i64 = Kind::Number { min: 0, max: i64::MAX, unit: "bytes" }, "minMaxMessageSize", Some("0");
        /// Largest message that is taken; -1 has no limit.
        max_message_size: i64 = BYTES, "maxMessageSize", Some("-1");
        /// Largest frame that is taken, 512 at least; -1 has no limit.
        max_frame_size: i64 = Kind::Number { min: -1, max: INT_MAX, unit: "bytes" }, "maxFrameSize", Some("-1");
        /// Frames of a session that may be on their way; -1 has no limit.
        max_session_frames: i64 = Kind::Number { min: -1, max: INT_MAX, unit: "" }, "maxSessionFrames", Some("-1");
        /// Whether the trace context is written as the reference's older versions do.
        use_legacy_trace_context_format: bool = Kind::Flag, "useLegacyTraceContextFormat", Some("true");
        /// What the connection is for, in logs and in the container id; the usual word if unset.
        server_role: Option<String> = Kind::Text, "serverRole", None;
    }
}

settings! {
    /// What is written for the cache of a service's answers.
    pub(super) struct CacheSettings {
        /// Answers that room is made for at the start.
        response_cache_min_size: u32 = COUNT, "responseCacheMinSize", Some("20");
        /// Answers that are kept at most; 0 keeps none.
        response_cache_max_size: u32 = COUNT, "responseCacheMaxSize", Some("1000");
        /// How long an answer holds that does not say so itself; more than 86400 counts as that.
        response_cache_default_timeout: Duration = Kind::Seconds, "responseCacheDefaultTimeout", Some("600");
    }
}
