//! All recognised settings by group, and Hono settings that have no effect here.

use super::{
    Setting,
    amqp::{CacheSettings, ClientSettings, MessagingSettings},
    budget::{self, BudgetSettings},
    chosen::full_name,
    coap::CoapSettings,
    dtls::DtlsSettings,
    limits::{self, LimitSettings},
    service::{
        AppSettings, HealthSettings, HttpSettings, LogSettings, OtlpSettings, SamplerSettings,
    },
    sessions::SessionSettings,
    setting,
    tls::TlsSettings,
};

/// Settings on one topic with the same prefix.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Group {
    /// Heading in the documentation.
    pub topic: &'static str,
    /// Common prefix of their names.
    pub prefix: &'static str,
    /// The settings, by the rest of their names.
    pub settings: &'static [Setting],
}

/// All settings, in display order.
pub const GROUPS: &[Group] = &[
    group("Endpoints", setting::COAP, CoapSettings::TABLE),
    group(
        "DTLS limits and features",
        setting::COAP,
        DtlsSettings::TABLE,
    ),
    group(
        "Sessions across restarts and address changes",
        setting::COAP,
        SessionSettings::TABLE,
    ),
    group(
        "Connections to services",
        "hono.messaging",
        ClientSettings::TABLE,
    ),
    group("TLS of connections", "hono.messaging", TlsSettings::TABLE),
    group(
        "Trace context of messages",
        "hono.messaging",
        MessagingSettings::TABLE,
    ),
    group(
        "Connections to services",
        "hono.command",
        ClientSettings::TABLE,
    ),
    group("TLS of connections", "hono.command", TlsSettings::TABLE),
    group(
        "Connections to services",
        "hono.tenant",
        ClientSettings::TABLE,
    ),
    group("TLS of connections", "hono.tenant", TlsSettings::TABLE),
    group(
        "Caches of service responses",
        "hono.tenant",
        CacheSettings::TABLE,
    ),
    group(
        "Connections to services",
        "hono.registration",
        ClientSettings::TABLE,
    ),
    group(
        "TLS of connections",
        "hono.registration",
        TlsSettings::TABLE,
    ),
    group(
        "Caches of service responses",
        "hono.registration",
        CacheSettings::TABLE,
    ),
    group(
        "Connections to services",
        "hono.credentials",
        ClientSettings::TABLE,
    ),
    group("TLS of connections", "hono.credentials", TlsSettings::TABLE),
    group(
        "Caches of service responses",
        "hono.credentials",
        CacheSettings::TABLE,
    ),
    group(
        "Connections to services",
        "hono.commandRouter",
        ClientSettings::TABLE,
    ),
    group(
        "TLS of connections",
        "hono.commandRouter",
        TlsSettings::TABLE,
    ),
    group("Data volume limits", limits::PREFIX, LimitSettings::TABLE),
    group("TLS of connections", limits::PREFIX, TlsSettings::TABLE),
    group("Budgets", budget::PREFIX, BudgetSettings::TABLE),
    group("Process", "hono.app", AppSettings::TABLE),
    group("HTTP port", "quarkus.http", HttpSettings::TABLE),
    group("Probes", "quarkus.smallrye-health", HealthSettings::TABLE),
    group("Log", "quarkus.log", LogSettings::TABLE),
    group(
        "Export of traces",
        "quarkus.otel.exporter.otlp",
        OtlpSettings::TABLE,
    ),
    group("Sampling of traces", "otel.traces", SamplerSettings::TABLE),
];

const fn group(topic: &'static str, prefix: &'static str, settings: &'static [Setting]) -> Group {
    Group {
        topic,
        prefix,
        settings,
    }
}

/// Every setting with its full name.
pub(super) fn all() -> impl Iterator<Item = (String, &'static Setting)> {
    GROUPS.iter().flat_map(|group| {
        let named = |setting: &'static Setting| (full_name(group.prefix, setting.key), setting);
        group.settings.iter().map(named)
    })
}

/// The environment variable of a property: upper case, with underscores for all other characters.
#[must_use]
pub fn variable(name: &str) -> String {
    underscored(name).to_ascii_uppercase()
}

pub(super) fn underscored(name: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    name.chars().map(letter).collect()
}

/// Why a setting of Hono has no effect here; `None` if it is not such a setting.
pub(super) fn without_effect(name: &str) -> Option<&'static str> {
    let fits = |known: &str| match known.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => name == known,
    };
    all_without_effect()
        .find(|(known, _)| fits(known))
        .map(|(_, why)| why)
}

/// As [`without_effect`], by the environment variable.
pub(super) fn without_effect_variable(name: &str) -> Option<&'static str> {
    let fits = |known: &str| match known.strip_suffix('*') {
        Some(family) => name.starts_with(&variable(family)),
        None => name == variable(known),
    };
    all_without_effect()
        .find(|(known, _)| fits(known))
        .map(|(_, why)| why)
}

/// The settings without effect, without the patterns.
pub(super) fn names_without_effect() -> impl Iterator<Item = String> {
    all_without_effect()
        .map(|(name, _)| name)
        .filter(|name| !name.ends_with('*'))
}

/// Every setting without effect and the reason; `*` matches any suffix.
pub(super) fn all_without_effect() -> impl Iterator<Item = (String, &'static str)> {
    let clients = GROUPS.iter().map(|group| group.prefix).filter(|prefix| {
        prefix.starts_with("hono.") && ![setting::COAP, budget::PREFIX, "hono.app"].contains(prefix)
    });
    let of_clients = clients.flat_map(|prefix| {
        CLIENT_WITHOUT_EFFECT
            .iter()
            .map(move |(key, why)| (full_name(prefix, key), *why))
    });
    of_clients.chain(
        WITHOUT_EFFECT
            .iter()
            .map(|(name, why)| ((*name).to_owned(), *why)),
    )
}

/// The present name of a setting that was renamed, by its former name in any case.
pub(super) fn renamed(name: &str) -> Option<&'static str> {
    RENAMED
        .iter()
        .find(|(former, _)| former.eq_ignore_ascii_case(name))
        .map(|(_, present)| *present)
}

/// As [`renamed`], by the environment variable; returns the present variable.
pub(super) fn renamed_variable(name: &str) -> Option<String> {
    RENAMED
        .iter()
        .find(|(former, _)| variable(former).eq_ignore_ascii_case(name))
        .map(|(_, present)| variable(present))
}

/// Former and present names of settings.
const RENAMED: &[(&str, &str)] = &[
    ("hono.coap.gatherTime", "hono.coap.receiveCoalescingDelay"),
    (
        "hono.coap.dtlsHandshakesPerNeighbourhood",
        "hono.coap.dtlsHandshakesPerPrefix",
    ),
];

const THREADS: &str = "each request is a task; the number of threads is that of the CPUs";
const CALIFORNIUM: &str =
    "Californium property files are not read; each limit has a setting of its own";
const DTLS_ONLY: &str = "has no effect on DTLS, as with Hono";
const NOT_USED: &str = "has no effect in Hono's CoAP adapter either";
const PEM_ONLY: &str = "keys and certificates are PEM files without passwords";
const LEGACY: &str = "applies to `hono.messaging` only: other messages have no trace context";
const AMQP_ONLY: &str = "messages travel by AMQP 1.0 only";

/// Settings without effect of each AMQP client and of Prometheus.
const CLIENT_WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("keyStorePassword", PEM_ONLY),
    ("trustStorePassword", PEM_ONLY),
    (
        "serverRole",
        "connections are named after their purpose, which is the default",
    ),
];

/// `*` matches any suffix.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "hono.coap.blockwiseStatusLifetime",
        "is always 300000 ms, as with Hono",
    ),
    ("hono.coap.connectorThreads", THREADS),
    ("hono.coap.coapThreads", THREADS),
    ("hono.coap.dtlsThreads", THREADS),
    (
        "hono.coap.messageOffloadingEnabled",
        "there are no messages to off-load",
    ),
    ("hono.coap.networkConfig", CALIFORNIUM),
    ("hono.coap.secureNetworkConfig", CALIFORNIUM),
    ("hono.coap.insecureNetworkConfig", CALIFORNIUM),
    (
        "hono.coap.securePortEnabled",
        "a key, a key store or `port` enables the DTLS endpoint, as with Hono",
    ),
    (
        "hono.coap.keyStorePassword",
        "key and certificates are read from `keyPath` and `certPath` only, as with Hono",
    ),
    ("hono.coap.deviceIdPattern", NOT_USED),
    ("hono.coap.tenantIdPattern", NOT_USED),
    ("hono.coap.secureProtocols", DTLS_ONLY),
    ("hono.coap.supportedCipherSuites", DTLS_ONLY),
    ("hono.coap.trustStorePath", DTLS_ONLY),
    ("hono.coap.trustStorePassword", DTLS_ONLY),
    ("hono.coap.trustStoreFormat", DTLS_ONLY),
    ("hono.coap.sni", DTLS_ONLY),
    ("hono.coap.nativeTlsRequired", DTLS_ONLY),
    ("hono.coap.corsAllowedOrigin", NOT_USED),
    ("hono.coap.receiverLinkCredit", NOT_USED),
    ("hono.coap.sendTimeout", NOT_USED),
    ("hono.coap.mapperEndpoints.*", NOT_USED),
    ("hono.command.useLegacyTraceContextFormat", LEGACY),
    ("hono.tenant.useLegacyTraceContextFormat", LEGACY),
    ("hono.registration.useLegacyTraceContextFormat", LEGACY),
    ("hono.credentials.useLegacyTraceContextFormat", LEGACY),
    ("hono.commandRouter.useLegacyTraceContextFormat", LEGACY),
    ("hono.app.kafkaMessagingDisabled", AMQP_ONLY),
    ("hono.app.pubsubMessagingDisabled", AMQP_ONLY),
    ("hono.app.startupTimeout", NOT_USED),
    (
        "hono.connectionEvents.producer",
        "CoAP devices have no connections to report, as with Hono",
    ),
    ("hono.kafka.*", AMQP_ONLY),
    ("hono.pubsub.*", AMQP_ONLY),
    (
        "quarkus.opentelemetry.*",
        "spans are exported by `quarkus.otel.exporter.otlp.endpoint` only",
    ),
    ("quarkus.*", "concerns Hono's framework"),
    (
        "otel.*",
        "spans are exported by `quarkus.otel.exporter.otlp.endpoint` and `otel.traces.sampler` only",
    ),
];
