//! Every name that is known: the settings by group, and what the reference has beside them that means nothing here.

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

/// Settings whose names begin alike.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Group {
    /// How their names begin.
    pub prefix: &'static str,
    /// The rest of their names, and what they mean.
    pub settings: &'static [Setting],
}

/// All settings, in the order in which they are shown.
pub const GROUPS: &[Group] = &[
    group(setting::COAP, CoapSettings::TABLE),
    group(setting::COAP, DtlsSettings::TABLE),
    group(setting::COAP, SessionSettings::TABLE),
    group("hono.messaging", ClientSettings::TABLE),
    group("hono.messaging", TlsSettings::TABLE),
    group("hono.messaging", MessagingSettings::TABLE),
    group("hono.command", ClientSettings::TABLE),
    group("hono.command", TlsSettings::TABLE),
    group("hono.tenant", ClientSettings::TABLE),
    group("hono.tenant", TlsSettings::TABLE),
    group("hono.tenant", CacheSettings::TABLE),
    group("hono.registration", ClientSettings::TABLE),
    group("hono.registration", TlsSettings::TABLE),
    group("hono.registration", CacheSettings::TABLE),
    group("hono.credentials", ClientSettings::TABLE),
    group("hono.credentials", TlsSettings::TABLE),
    group("hono.credentials", CacheSettings::TABLE),
    group("hono.commandRouter", ClientSettings::TABLE),
    group("hono.commandRouter", TlsSettings::TABLE),
    group(limits::PREFIX, LimitSettings::TABLE),
    group(limits::PREFIX, TlsSettings::TABLE),
    group(budget::PREFIX, BudgetSettings::TABLE),
    group("hono.app", AppSettings::TABLE),
    group("quarkus.http", HttpSettings::TABLE),
    group("quarkus.smallrye-health", HealthSettings::TABLE),
    group("quarkus.log", LogSettings::TABLE),
    group("quarkus.otel.exporter.otlp", OtlpSettings::TABLE),
    group("otel.traces", SamplerSettings::TABLE),
];

const fn group(prefix: &'static str, settings: &'static [Setting]) -> Group {
    Group { prefix, settings }
}

/// Every setting with its full name.
pub(super) fn all() -> impl Iterator<Item = (String, &'static Setting)> {
    GROUPS.iter().flat_map(|group| {
        let named = |setting: &'static Setting| (full_name(group.prefix, setting.key), setting);
        group.settings.iter().map(named)
    })
}

/// The environment variable of a property: what is neither letter nor digit becomes an underscore, in upper case.
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

/// Why a setting of the reference means nothing here; none if it is no such setting.
pub(super) fn meaningless(name: &str) -> Option<&'static str> {
    let fits = |known: &str| match known.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => name == known,
    };
    every_meaningless()
        .find(|(known, _)| fits(known))
        .map(|(_, why)| why)
}

/// As [`meaningless`], by the environment variable.
pub(super) fn meaningless_variable(name: &str) -> Option<&'static str> {
    let fits = |known: &str| match known.strip_suffix('*') {
        Some(family) => name.starts_with(&variable(family)),
        None => name == variable(known),
    };
    every_meaningless()
        .find(|(known, _)| fits(known))
        .map(|(_, why)| why)
}

/// The settings without meaning that do not stand for a family.
pub(super) fn meaningless_names() -> impl Iterator<Item = String> {
    every_meaningless()
        .map(|(name, _)| name)
        .filter(|name| !name.ends_with('*'))
}

/// Every setting without meaning and why; a star stands for anything.
pub(super) fn every_meaningless() -> impl Iterator<Item = (String, &'static str)> {
    let clients = GROUPS.iter().map(|group| group.prefix).filter(|prefix| {
        prefix.starts_with("hono.") && ![setting::COAP, budget::PREFIX, "hono.app"].contains(prefix)
    });
    let of_clients = clients.flat_map(|prefix| {
        MEANINGLESS_OF_CLIENTS
            .iter()
            .map(move |(key, why)| (full_name(prefix, key), *why))
    });
    of_clients.chain(
        MEANINGLESS
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

const THREADS: &str = "one task serves each request, on as many threads as there are processors";
const CALIFORNIUM: &str =
    "property files of Californium are not read; every limit has a setting of its own";
const DTLS_ONLY: &str = "has no effect on DTLS, as in the reference";
const NOT_USED: &str = "has no effect in the CoAP adapter of the reference either";
const PEM_ONLY: &str = "keys and certificates are read as PEM, which has no password";
const LEGACY: &str = "is read for `hono.messaging` only: other messages carry no trace context";
const AMQP_ONLY: &str = "messages travel by AMQP 1.0 only";

/// What each AMQP client and Prometheus have.
const MEANINGLESS_OF_CLIENTS: &[(&str, &str)] = &[
    ("keyStorePassword", PEM_ONLY),
    ("trustStorePassword", PEM_ONLY),
    (
        "serverRole",
        "connections are named by what they are for, as is the default",
    ),
];

/// A star stands for anything.
const MEANINGLESS: &[(&str, &str)] = &[
    (
        "hono.coap.blockwiseStatusLifetime",
        "is always 300000 ms, as in the reference",
    ),
    ("hono.coap.connectorThreads", THREADS),
    ("hono.coap.coapThreads", THREADS),
    ("hono.coap.dtlsThreads", THREADS),
    (
        "hono.coap.messageOffloadingEnabled",
        "nothing is kept that could be off-loaded",
    ),
    ("hono.coap.networkConfig", CALIFORNIUM),
    ("hono.coap.secureNetworkConfig", CALIFORNIUM),
    ("hono.coap.insecureNetworkConfig", CALIFORNIUM),
    (
        "hono.coap.securePortEnabled",
        "a key, a key store or `port` enables the DTLS endpoint, as in the reference",
    ),
    (
        "hono.coap.keyStorePassword",
        "the server's identity is read from `keyPath` and `certPath` alone, as in the reference",
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
        "CoAP devices have no connections to tell of, as in the reference",
    ),
    ("hono.kafka.*", AMQP_ONLY),
    ("hono.pubsub.*", AMQP_ONLY),
    (
        "quarkus.opentelemetry.*",
        "spans are exported by `quarkus.otel.exporter.otlp.endpoint` only",
    ),
    ("quarkus.*", "concerns the framework of the reference"),
    (
        "otel.*",
        "spans are exported by `quarkus.otel.exporter.otlp.endpoint` and `otel.traces.sampler` only",
    ),
];
