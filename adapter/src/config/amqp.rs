//! The AMQP clients and the caches of what the registry answers (spec: configuration §2).

use std::{path::PathBuf, time::Duration};

use amqp_client::{AddressRewriteRule, ConnectionConfig};
use registry_client::CacheConfig;

use super::{Secret, chosen::Chosen, kind::Kind, properties, setting::settings, tls};

/// The client, if its host was named.
pub(super) fn client(chosen: &mut Chosen, prefix: &str) -> Option<ConnectionConfig> {
    let settings = ClientSettings::take(chosen, prefix);
    let host = settings.host?;
    if settings.reconnect_min_delay > settings.reconnect_max_delay {
        let keys = ["reconnectMinDelay", "reconnectMaxDelay"];
        chosen.refuse(
            prefix,
            &keys,
            "`reconnectMinDelay` should not be more than `reconnectMaxDelay`",
        );
    }
    let credentials = (
        settings.username,
        settings.password,
        settings.credentials_path,
    );
    let mut client = ConnectionConfig::new(host, settings.port);
    client.credentials = properties::credentials(chosen, prefix, credentials);
    client.tls = tls::tls(chosen, prefix);
    client.name = settings.name;
    client.amqp_hostname = settings.amqp_hostname;
    client.connect_timeout = settings.connect_timeout;
    client.idle_timeout = settings.idle_timeout;
    client.flow_latency = settings.flow_latency;
    client.link_establishment_timeout = settings.link_establishment_timeout;
    client.initial_credits = settings.initial_credits;
    client.send_message_timeout =
        positive(settings.send_message_timeout).map(Duration::from_millis);
    client.request_timeout = settings.request_timeout;
    client.reconnect_attempts = u32::try_from(settings.reconnect_attempts).ok();
    client.reconnect_min_delay = settings.reconnect_min_delay;
    client.reconnect_max_delay = settings.reconnect_max_delay;
    client.reconnect_delay_increment = settings.reconnect_delay_increment;
    client.address_rewrite_rule = settings
        .address_rewrite_rule
        .and_then(|rule| rewrite_rule(chosen, prefix, &rule));
    client.min_max_message_size = settings.min_max_message_size.unsigned_abs();
    client.max_message_size = positive(settings.max_message_size);
    client.max_frame_size = positive(settings.max_frame_size).and_then(|size| size.try_into().ok());
    client.max_session_frames =
        positive(settings.max_session_frames).and_then(|frames| frames.try_into().ok());
    Some(client)
}

/// Whether the trace context is written in the format of older Hono versions.
pub(super) fn uses_legacy_trace_context(chosen: &Chosen) -> bool {
    MessagingSettings::take(chosen, "hono.messaging").use_legacy_trace_context_format
}

/// The cache of a service's answers.
pub(super) fn cache(chosen: &Chosen, prefix: &str) -> CacheConfig {
    let settings = CacheSettings::take(chosen, prefix);
    CacheConfig {
        min_size: settings.response_cache_min_size,
        max_size: settings.response_cache_max_size.into(),
        default_timeout: settings
            .response_cache_default_timeout
            .min(LONGEST_CACHE_TIMEOUT),
    }
}

fn rewrite_rule(chosen: &mut Chosen, prefix: &str, rule: &str) -> Option<AddressRewriteRule> {
    let parsed = rule.parse();
    if parsed.is_err() {
        let text = format!("`{rule}` should be a regular expression, a blank and a replacement");
        chosen.refuse(prefix, &["addressRewriteRule"], text);
    }
    parsed.ok()
}

/// Zero and less stand for no limit.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
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
        /// Host name or address of the service. The connection is enabled if this is set.
        host: Option<String> = Kind::Text, "host", None;
        /// Port of the service.
        port: u16 = Kind::Number { min: 1, max: 65_535, unit: "" }, "port", Some("5671");
        /// User name for SASL PLAIN.
        username: Option<String> = Kind::Text, "username", None;
        /// Password for SASL PLAIN.
        password: Option<Secret> = Kind::Password, "password", None;
        /// Property file with `username` and `password`.
        credentials_path: Option<PathBuf> = Kind::Path, "credentialsPath", None;
        /// Prefix of the AMQP container id.
        name: String = Kind::Text, "name", Some("Hono CoAP Adapter");
        /// `hostname` in the AMQP open frame.
        amqp_hostname: Option<String> = Kind::Text, "amqpHostname", None;
        /// Time-out for establishing a connection.
        connect_timeout: Duration = Kind::Millis { min: 1 }, "connectTimeout", Some("5000");
        /// Idle time-out after which the connection is considered lost; heartbeats are sent at half of this interval. 0 disables it.
        idle_timeout: Duration = Kind::Millis { min: 0 }, "idleTimeout", Some("16000");
        /// Maximum time to wait for the initial credit of a link.
        flow_latency: Duration = Kind::Millis { min: 0 }, "flowLatency", Some("20");
        /// Maximum time to wait for the attach of a link, and for a connection that is being established.
        link_establishment_timeout: Duration = Kind::Millis { min: 1 }, "linkEstablishmentTimeout", Some("1000");
        /// Credit that a receiver link grants.
        initial_credits: u32 = Kind::Number { min: 1, max: INT_MAX, unit: "" }, "initialCredits", Some("200");
        /// Maximum time to wait for the disposition of a message; 0 or less is unlimited.
        send_message_timeout: i64 = Kind::Number { min: i32::MIN as i64, max: INT_MAX, unit: "ms" }, "sendMessageTimeout", Some("1000");
        /// Maximum time to wait for the response to a request.
        request_timeout: Duration = Kind::Millis { min: 1 }, "requestTimeout", Some("200");
        /// Maximum number of reconnect attempts; -1 is unlimited, 0 disables reconnecting.
        reconnect_attempts: i64 = Kind::Number { min: -1, max: INT_MAX, unit: "" }, "reconnectAttempts", Some("-1");
        /// Initial delay between reconnect attempts.
        reconnect_min_delay: Duration = Kind::Millis { min: 0 }, "reconnectMinDelay", Some("0");
        /// Maximum delay between reconnect attempts.
        reconnect_max_delay: Duration = Kind::Millis { min: 0 }, "reconnectMaxDelay", Some("7000");
        /// Amount by which the delay grows with each reconnect attempt.
        reconnect_delay_increment: Duration = Kind::Millis { min: 0 }, "reconnectDelayIncrement", Some("100");
        /// Regular expression and replacement, separated by a space, for rewriting addresses.
        address_rewrite_rule: Option<String> = Kind::Text, "addressRewriteRule", None;
        /// Minimum value of the peer's maximum message size.
        min_max_message_size: i64 = Kind::Number { min: 0, max: i64::MAX, unit: "bytes" }, "minMaxMessageSize", Some("0");
        /// Maximum size of received messages; -1 is unlimited.
        max_message_size: i64 = BYTES, "maxMessageSize", Some("-1");
        /// Maximum size of received frames, at least 512; -1 is unlimited.
        max_frame_size: i64 = Kind::Number { min: -1, max: INT_MAX, unit: "bytes" }, "maxFrameSize", Some("-1");
        /// Incoming window of a session, in frames; -1 is unlimited.
        max_session_frames: i64 = Kind::Number { min: -1, max: INT_MAX, unit: "" }, "maxSessionFrames", Some("-1");
    }
}

settings! {
    /// What is written for messages of devices alone.
    pub(super) struct MessagingSettings {
        /// Whether the trace context is written in the format of older Hono versions.
        use_legacy_trace_context_format: bool = Kind::Flag, "useLegacyTraceContextFormat", Some("true");
    }
}

settings! {
    /// What is written for the cache of a service's answers.
    pub(super) struct CacheSettings {
        /// Initial capacity of the cache.
        response_cache_min_size: usize = COUNT, "responseCacheMinSize", Some("20");
        /// Maximum number of cached responses; 0 disables the cache.
        response_cache_max_size: u32 = COUNT, "responseCacheMaxSize", Some("1000");
        /// Lifetime of a cached response that has no cache directive; at most 86400.
        response_cache_default_timeout: Duration = Kind::Seconds, "responseCacheDefaultTimeout", Some("600");
    }
}
