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

/// Whether the trace context is written as the reference's older versions do.
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
        /// First part of the container id.
        name: String = Kind::Text, "name", Some("Hono CoAP Adapter");
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
        /// How long to wait for a disposition; 0 or less for ever.
        send_message_timeout: i64 = Kind::Number { min: i32::MIN as i64, max: INT_MAX, unit: "ms" }, "sendMessageTimeout", Some("1000");
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
    }
}

settings! {
    /// What is written for messages of devices alone.
    pub(super) struct MessagingSettings {
        /// Whether the trace context is written as the reference's older versions do.
        use_legacy_trace_context_format: bool = Kind::Flag, "useLegacyTraceContextFormat", Some("true");
    }
}

settings! {
    /// What is written for the cache of a service's answers.
    pub(super) struct CacheSettings {
        /// Answers that room is made for at the start.
        response_cache_min_size: usize = COUNT, "responseCacheMinSize", Some("20");
        /// Answers that are kept at most; 0 keeps none.
        response_cache_max_size: u32 = COUNT, "responseCacheMaxSize", Some("1000");
        /// How long an answer holds that does not say so itself; more than 86400 counts as that.
        response_cache_default_timeout: Duration = Kind::Seconds, "responseCacheDefaultTimeout", Some("600");
    }
}
