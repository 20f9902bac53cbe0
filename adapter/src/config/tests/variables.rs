//! A row for every variable: what is written, and the field that must hold it.

use std::{collections::BTreeSet, path::Path};

use amqp_client::{HostnameVerification, TlsConfig, TlsVersion};
use coap_proto::{BlockSize, SuppressedResponse};

use super::*;

type Holds<T> = fn(&T) -> bool;

/// Name, text, what must be written beside it, and what holds then and not without it.
type Row<T> = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Holds<T>,
);

type Client = fn(&Config) -> &Option<ConnectionConfig>;

/// Each variable of the tables sets its field, and the tables have every variable there is.
#[test]
fn every_variable_reaches_its_field() {
    let mut untested: BTreeSet<String> =
        catalogue::all().map(|(name, _)| variable(&name)).collect();
    for (name, text, more, holds) in SINGLE {
        check(name, text, more, *holds);
        assert!(
            untested.remove(*name),
            "{name} stands twice or is not known"
        );
    }
    for (prefix, of) in CLIENTS {
        family(
            prefix,
            CLIENT,
            |config| of(config).as_ref().unwrap(),
            &mut untested,
        );
        family(
            prefix,
            TLS,
            |config| &of(config).as_ref().unwrap().tls,
            &mut untested,
        );
    }
    for (prefix, of) in CACHES {
        family(prefix, CACHE, |config| of(config), &mut untested);
    }
    family(PROMETHEUS, TLS, |config| &limits(config).tls, &mut untested);
    // These two only refuse or say how to read another.
    for (prefix, _) in CLIENTS
        .iter()
        .chain(&[(PROMETHEUS, (|config| &config.messaging) as Client)])
    {
        let host = (format!("{prefix}_HOST"), "h".to_owned());
        assert!(untested.remove(&format!("{prefix}_KEYSTOREPATH")));
        let refused = [
            host.clone(),
            (format!("{prefix}_KEYSTOREPATH"), "k.p12".to_owned()),
        ];
        assert!(
            Config::load(None, environment(&[]).chain(refused)).is_err(),
            "{prefix}"
        );
        assert!(untested.remove(&format!("{prefix}_TRUSTSTOREFORMAT")));
        let refused = [
            host,
            (format!("{prefix}_TRUSTSTOREPATH"), "t".to_owned()),
            (format!("{prefix}_TRUSTSTOREFORMAT"), "JKS".to_owned()),
        ];
        assert!(
            Config::load(None, environment(&[]).chain(refused)).is_err(),
            "{prefix}"
        );
    }
    for prefix in CLIENTS
        .iter()
        .map(|(prefix, _)| *prefix)
        .chain([PROMETHEUS])
    {
        credentials_file(prefix);
        assert!(untested.remove(&format!("{prefix}_CREDENTIALSPATH")));
    }
    // Refused if true, as its own test shows.
    assert!(untested.remove("HONO_APP_AMQPMESSAGINGDISABLED"));
    assert_eq!(untested, BTreeSet::new(), "variables without a row");
}

/// The rows of settings that several prefixes share.
fn family<T: ?Sized>(
    prefix: &str,
    rows: &[Row<T>],
    of: impl Fn(&Config) -> &T,
    untested: &mut BTreeSet<String>,
) {
    for (suffix, text, more, holds) in rows {
        let name = format!("{prefix}_{suffix}");
        let more: Vec<_> = [("HOST", "h")]
            .iter()
            .chain(*more)
            .map(|(suffix, text)| (format!("{prefix}_{suffix}"), *text))
            .collect();
        let more: Vec<_> = more
            .iter()
            .map(|(name, text)| (name.as_str(), *text))
            .collect();
        check(&name, text, &more, |config| holds(of(config)));
        assert!(
            untested.remove(&name),
            "{name} stands twice or is not known"
        );
    }
}

fn credentials_file(prefix: &str) {
    let file = File::new("username=u\npassword=p\n");
    let (host, name) = (
        format!("{prefix}_HOST"),
        format!("{prefix}_CREDENTIALSPATH"),
    );
    let config = load(&[(&host, "h"), (&name, file.text())]).unwrap();
    let (_, client) = CLIENTS
        .iter()
        .find(|(known, _)| *known == prefix)
        .copied()
        .unwrap_or((prefix, |_| &None));
    let held = match client(&config) {
        Some(client) => &client.credentials,
        None => &limits(&config).credentials,
    };
    let held = held.as_ref().unwrap();
    assert_eq!(
        (held.username.as_str(), held.password.reveal()),
        ("u", "p"),
        "{name}"
    );
}

/// The variable alone makes the difference.
fn check(name: &str, text: &str, more: &[(&str, &str)], holds: impl Fn(&Config) -> bool) {
    let without = load(more).unwrap_or_else(|problems| panic!("{name}: {:?}", messages(&problems)));
    let all: Vec<_> = more.iter().copied().chain([(name, text)]).collect();
    let with = load(&all).unwrap_or_else(|problems| panic!("{name}: {:?}", messages(&problems)));
    assert!(!holds(&without), "{name}: holds without it");
    assert!(holds(&with), "{name}={text} has no effect");
    assert!(with.warnings.is_empty(), "{name}: {:?}", with.warnings);
}

const OPEN: &[(&str, &str)] = &[("HONO_COAP_AUTHENTICATIONREQUIRED", "false")];
const LIMITS_TLS: (&str, &str) = ("HONO_RESOURCELIMITS_PROMETHEUSBASED_TLSENABLED", "true");
const LIMITS: &[(&str, &str)] = &[("HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST", "prometheus")];
const OPERATOR: &[(&str, &str)] = &[("HONO_COAP_OPERATORTOKENPATH", "token")];

fn operator(config: &Config) -> &OperatorConfig {
    config.coap.operator.as_ref().unwrap()
}

fn limits(config: &Config) -> &ResourceLimitsConfig {
    config.resource_limits.as_ref().unwrap()
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

#[rustfmt::skip]
const SINGLE: &[Row<Config>] = &[
    ("HONO_COAP_AUTHENTICATIONREQUIRED", "false", &[], |c| !c.coap.authentication_required),
    ("HONO_COAP_PORT", "7", &[], |c| c.coap.secure.as_ref().unwrap().port == 7),
    ("HONO_COAP_BINDADDRESS", "0.0.0.0,::", &[], |c| c.coap.secure.as_ref().unwrap().to_string() == "0.0.0.0:0, [::]:0"),
    ("HONO_COAP_INSECUREPORTENABLED", "true", OPEN, |c| c.coap.insecure.as_ref().is_some_and(|at| at.port == 5683)),
    ("HONO_COAP_INSECUREPORT", "7", OPEN, |c| c.coap.insecure.as_ref().is_some_and(|at| at.port == 7)),
    ("HONO_COAP_INSECUREPORTBINDADDRESS", "::", &[OPEN[0], ("HONO_COAP_INSECUREPORT", "7")], |c| c.coap.insecure.as_ref().unwrap().to_string() == "[::]:7"),
    ("HONO_COAP_KEYPATH", "k", &[("HONO_COAP_CERTPATH", "c"), ("HONO_COAP_KEYPATH", "other")], |c| c.coap.identity.as_ref().unwrap().key == Path::new("k")),
    ("HONO_COAP_CERTPATH", "c", &[("HONO_COAP_KEYPATH", "k"), ("HONO_COAP_CERTPATH", "other")], |c| c.coap.identity.as_ref().unwrap().certificate == Path::new("c")),
    ("HONO_COAP_KEYSTOREPATH", "k.p12", &[("HONO_COAP_PORT", ""), OPEN[0], ("HONO_COAP_INSECUREPORT", "0")], |c| c.coap.secure.as_ref().is_some_and(|at| at.port == 5684)),
    ("HONO_COAP_IDSPLITREGEX", "[#!]", &[], |c| c.coap.id_split_regex.as_str() == "[#!]"),
    ("HONO_COAP_MAXPAYLOADSIZE", "129", &[], |c| c.coap.max_payload_size == 129),
    ("HONO_COAP_PREFERREDBLOCKSIZE", "100", &[], |c| c.coap.preferred_block_size == BlockSize::B64),
    ("HONO_COAP_NORESPONSEACK", "true", &[], |c| c.coap.suppressed_response == SuppressedResponse::EmptyAck),
    ("HONO_COAP_MAXCONNECTIONS", "7", &[], |c| c.coap.max_connections == 7),
    ("HONO_COAP_GCHEAPPERCENTAGE", "90", &[], |c| c.memory.bytes * 5 < Config::default().memory.bytes),
    ("HONO_COAP_TIMEOUTTOACK", "-1", &[], |c| c.coap.timeout_to_ack == -1),
    ("HONO_COAP_EXCHANGELIFETIME", "7", &[], |c| c.coap.exchange_lifetime == millis(7)),
    ("HONO_COAP_DTLSMAXHANDSHAKES", "7", &[], |c| c.coap.dtls.max_handshakes == 7),
    ("HONO_COAP_DTLSHANDSHAKESPERPREFIX", "7", &[], |c| c.coap.dtls.handshakes_per_prefix == Some(7)),
    ("HONO_COAP_DTLSMAXSESSIONSPERDEVICE", "7", &[], |c| c.coap.dtls.max_sessions_per_device == 7),
    ("HONO_COAP_DTLSKEYAGREEMENTSPERADDRESS", "7", &[], |c| c.coap.dtls.key_agreements_per_address == Some(7)),
    ("HONO_COAP_DTLSMAXFORGEDRECORDS", "7", &[], |c| c.coap.dtls.max_forged_records == 7),
    ("HONO_COAP_DTLSMAXHANDSHAKEBYTES", "7000", &[], |c| c.coap.dtls.max_handshake_bytes == 7000),
    ("HONO_COAP_DTLSMAXEARLYRECORDS", "7", &[], |c| c.coap.dtls.max_early_records == 7),
    ("HONO_COAP_DTLSRETURNROUTABILITY", "false", &[], |c| !c.coap.dtls.return_routability),
    ("HONO_COAP_DTLSONESESSIONEACH", "true", &[], |c| c.coap.dtls.one_session_each),
    ("HONO_COAP_OCSPTIMEOUT", "7", &[], |c| c.coap.dtls.ocsp_timeout == millis(7)),
    ("HONO_COAP_OCSPCACHETIMEOUT", "7", &[], |c| c.coap.dtls.ocsp_cache_timeout == millis(7000)),
    ("HONO_COAP_DTLSCERTIFICATEV1", "false", &[], |c| !c.coap.dtls.certificate_v1),
    ("HONO_COAP_DTLSRAWPUBLICKEYS", "true", &[], |c| c.coap.dtls.raw_public_keys),
    ("HONO_COAP_DTLSPATHTIMEOUT", "7", &[], |c| c.coap.dtls.path_timeout == millis(7)),
    ("HONO_COAP_DTLSMAXEARLYBYTES", "700", &[], |c| c.coap.dtls.max_early_bytes == 700),
    ("HONO_COAP_DTLSRETRANSMISSIONTIMEOUT", "7", &[], |c| c.coap.dtls_retransmission_timeout == millis(7)),
    ("HONO_COAP_DEFAULTSENABLED", "false", &[], |c| !c.coap.defaults_enabled),
    ("HONO_COAP_JMSVENDORPROPSENABLED", "true", &[], |c| c.coap.jms_vendor_props_enabled),
    ("HONO_COAP_TENANTIDLETIMEOUT", "2h", &[], |c| c.coap.tenant_idle_timeout == Some(millis(7_200_000))),
    ("HONO_COAP_OPERATORPORT", "7", OPERATOR, |c| operator(c).address.port() == 7),
    ("HONO_COAP_OPERATORBINDADDRESS", "::1", OPERATOR, |c| operator(c).address.is_ipv6()),
    ("HONO_COAP_OPERATORTOKENPATH", "t", &[], |c| c.coap.operator.as_ref().is_some_and(|operator| operator.token.ends_with("t"))),
    ("HONO_COAP_OPERATORDEVICES", "7", OPERATOR, |c| operator(c).devices == 7),
    ("HONO_COAP_EVENTLOOPBLOCKEDCHECKTIMEOUT", "7", &[], |c| c.coap.blocked_check_timeout == millis(7)),
    ("HONO_COAP_SHARDS", "7", &[], |c| c.coap.shards == 7),
    ("HONO_COAP_RECEIVECOALESCINGDELAY", "7", &[], |c| c.coap.receive_coalescing_delay == millis(7)),
    ("HONO_COAP_CONNECTIONIDLENGTH", "8", &[], |c| c.sessions.connection_id_length == Some(8)),
    ("HONO_COAP_CONNECTIONIDNODE", "7", &[], |c| c.sessions.connection_id_node == 7),
    ("HONO_COAP_RESUMPTIONCACHESIZE", "7", &[], |c| c.sessions.resumption_cache_size == 7),
    ("HONO_COAP_RESUMPTIONLIFETIME", "7s", &[], |c| c.sessions.resumption_lifetime == millis(7000)),
    ("HONO_COAP_TICKETKEYPATH", "k", &[], |c| c.sessions.ticket_keys.as_deref() == Some(Path::new("k"))),
    ("HONO_COAP_SESSIONSTOREPATH", "s", &[("HONO_COAP_SESSIONSTOREKEYPATH", "k"), ("HONO_COAP_SESSIONSTOREPATH", "other")], |c| c.sessions.store.as_ref().unwrap().path == Path::new("s")),
    ("HONO_COAP_SESSIONSTOREKEYPATH", "k", &[("HONO_COAP_SESSIONSTOREPATH", "s"), ("HONO_COAP_SESSIONSTOREKEYPATH", "other")], |c| c.sessions.store.as_ref().unwrap().key == Path::new("k")),
    ("HONO_COAP_DRAINTIMEOUT", "7", &[], |c| c.sessions.drain_timeout == millis(7)),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST", "h", &[], |c| c.resource_limits.as_ref().is_some_and(|limits| limits.host == "h")),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_PORT", "7", LIMITS, |c| limits(c).port == 7),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_CACHEMINSIZE", "2000", LIMITS, |c| limits(c).cache_max_size == 2000),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_CACHEMAXSIZE", "70", LIMITS, |c| limits(c).cache_max_size == 70),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_CACHETIMEOUT", "7", LIMITS, |c| limits(c).cache_timeout == millis(7000)),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_CACHEREFRESHDIVISOR", "7", LIMITS, |c| limits(c).cache_refresh_divisor == 7),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_CONNECTTIMEOUT", "7", LIMITS, |c| limits(c).connect_timeout == millis(7)),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_QUERYTIMEOUT", "0", LIMITS, |c| limits(c).query_timeout.is_none()),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_USERNAME", "u", &[LIMITS[0], LIMITS_TLS, ("HONO_RESOURCELIMITS_PROMETHEUSBASED_PASSWORD", "p"), ("HONO_RESOURCELIMITS_PROMETHEUSBASED_USERNAME", "other")], |c| limits(c).credentials.as_ref().unwrap().username == "u"),
    ("HONO_RESOURCELIMITS_PROMETHEUSBASED_PASSWORD", "p", &[LIMITS[0], LIMITS_TLS, ("HONO_RESOURCELIMITS_PROMETHEUSBASED_USERNAME", "u"), ("HONO_RESOURCELIMITS_PROMETHEUSBASED_PASSWORD", "other")], |c| limits(c).credentials.as_ref().unwrap().password.reveal() == "p"),
    ("HONO_BUDGET_DEVICE_MESSAGES", "7", &[], |c| c.budget.device.messages == 7),
    ("HONO_BUDGET_DEVICE_BYTES", "7", &[], |c| c.budget.device.bytes == 7),
    ("HONO_BUDGET_DEVICE_HANDSHAKES", "7", &[], |c| c.budget.device.handshakes == 7),
    ("HONO_BUDGET_TENANT_MESSAGES", "7", &[], |c| c.budget.tenant.messages == 7),
    ("HONO_BUDGET_TENANT_BYTES", "7", &[], |c| c.budget.tenant.bytes == 7),
    ("HONO_BUDGET_TENANT_HANDSHAKES", "7", &[], |c| c.budget.tenant.handshakes == 7),
    ("HONO_BUDGET_MAXENTRIES", "7", &[], |c| c.budget.max_entries == 7),
    ("HONO_APP_MAXINSTANCES", "7", &[], |c| c.max_instances == 7),
    ("HONO_APP_MAXMEMORY", "1000000000", &[], |c| c.memory.bytes == 1_000_000_000),
    ("HONO_APP_RELOADINTERVAL", "7", &[], |c| c.reload_interval == Some(millis(7))),
    ("HONO_MESSAGING_USELEGACYTRACECONTEXTFORMAT", "false", &[], |c| !c.legacy_trace_context),
    ("QUARKUS_HTTP_HOST", "127.0.0.1", &[], |c| c.health.address.ip().is_loopback()),
    ("QUARKUS_HTTP_PORT", "7", &[], |c| c.health.address.port() == 7),
    ("QUARKUS_SMALLRYE_HEALTH_ROOT_PATH", "/q/health", &[], |c| c.health.root == "/q/health" && c.health.liveness == "/q/health/liveness"),
    ("QUARKUS_SMALLRYE_HEALTH_STARTUP_PATH", "x", &[], |c| c.health.started == "/x"),
    ("QUARKUS_SMALLRYE_HEALTH_READINESS_PATH", "x", &[], |c| c.health.readiness == "/x"),
    ("QUARKUS_SMALLRYE_HEALTH_LIVENESS_PATH", "/x/y", &[], |c| c.health.liveness == "/x/y"),
    ("QUARKUS_LOG_LEVEL", "debug", &[], |c| c.log.level == Level::Debug),
    ("QUARKUS_LOG_CONSOLE_LEVEL", "error", &[], |c| c.log.level == Level::Error),
    ("QUARKUS_LOG_CONSOLE_JSON", "true", &[], |c| c.log.json),
    ("QUARKUS_LOG_CONSOLE_JSON_ENABLED", "true", &[], |c| c.log.json),
    ("QUARKUS_OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318", &[], |c| c.tracing.endpoint.as_deref() == Some("http://h:4318")),
    ("OTEL_TRACES_SAMPLER", "always_off", &[], |c| c.tracing.sampler == Sampler::AlwaysOff),
    ("OTEL_TRACES_SAMPLER_ARG", "5", &[("OTEL_TRACES_SAMPLER", "rate_limiting")], |c| c.tracing.sampler == Sampler::RateLimiting(5)),
];

const CLIENTS: &[(&str, Client)] = &[
    ("HONO_MESSAGING", |config| &config.messaging),
    ("HONO_COMMAND", |config| &config.command),
    ("HONO_TENANT", |config| &config.tenant),
    ("HONO_REGISTRATION", |config| &config.registration),
    ("HONO_CREDENTIALS", |config| &config.credentials),
    ("HONO_COMMANDROUTER", |config| &config.command_router),
];

const PROMETHEUS: &str = "HONO_RESOURCELIMITS_PROMETHEUSBASED";

#[rustfmt::skip]
const CLIENT: &[Row<ConnectionConfig>] = &[
    ("HOST", "other", &[], |c| c.host == "other"),
    ("PORT", "7", &[], |c| c.port == 7),
    ("USERNAME", "u", &[("TLSENABLED", "true"), ("PASSWORD", "p"), ("USERNAME", "other")], |c| c.credentials.as_ref().unwrap().username == "u"),
    ("PASSWORD", "p", &[("TLSENABLED", "true"), ("USERNAME", "u"), ("PASSWORD", "other")], |c| c.credentials.as_ref().unwrap().password.reveal() == "p"),
    ("NAME", "n", &[], |c| c.name == "n"),
    ("AMQPHOSTNAME", "n", &[], |c| c.amqp_hostname.as_deref() == Some("n")),
    ("CONNECTTIMEOUT", "7", &[], |c| c.connect_timeout == millis(7)),
    ("IDLETIMEOUT", "7", &[], |c| c.idle_timeout == millis(7)),
    ("FLOWLATENCY", "7", &[], |c| c.flow_latency == millis(7)),
    ("LINKESTABLISHMENTTIMEOUT", "7", &[], |c| c.link_establishment_timeout == millis(7)),
    ("INITIALCREDITS", "7", &[], |c| c.initial_credits == 7),
    ("SENDMESSAGETIMEOUT", "0", &[], |c| c.send_message_timeout.is_none()),
    ("REQUESTTIMEOUT", "7", &[], |c| c.request_timeout == millis(7)),
    ("RECONNECTATTEMPTS", "0", &[], |c| c.reconnect_attempts == Some(0)),
    ("RECONNECTMINDELAY", "7", &[], |c| c.reconnect_min_delay == millis(7)),
    ("RECONNECTMAXDELAY", "7", &[], |c| c.reconnect_max_delay == millis(7)),
    ("RECONNECTDELAYINCREMENT", "7", &[], |c| c.reconnect_delay_increment == millis(7)),
    ("ADDRESSREWRITERULE", "^t x", &[], |c| c.address_rewrite_rule.as_ref().is_some_and(|rule| rule.apply("ty") == "xy")),
    ("MINMAXMESSAGESIZE", "7", &[], |c| c.min_max_message_size == 7),
    ("MAXMESSAGESIZE", "7", &[], |c| c.max_message_size == Some(7)),
    ("MAXFRAMESIZE", "512", &[], |c| c.max_frame_size == Some(512)),
    ("MAXSESSIONFRAMES", "7", &[], |c| c.max_session_frames == Some(7)),
];

#[rustfmt::skip]
const TLS: &[Row<Option<TlsConfig>>] = &[
    ("TLSENABLED", "true", &[], Option::is_some),
    ("TRUSTSTOREPATH", "t.pem", &[], |tls| tls.as_ref().is_some_and(|tls| tls.trust_store.as_deref() == Some(Path::new("t.pem")))),
    ("KEYPATH", "k", &[("CERTPATH", "c"), ("KEYPATH", "other")], |tls| tls.as_ref().unwrap().identity.as_ref().unwrap().key == Path::new("k")),
    ("CERTPATH", "c", &[("KEYPATH", "k"), ("CERTPATH", "other")], |tls| tls.as_ref().unwrap().identity.as_ref().unwrap().certificate == Path::new("c")),
    ("HOSTNAMEVERIFICATIONREQUIRED", "false", &[("TLSENABLED", "true")], |tls| tls.as_ref().unwrap().hostname_verification == HostnameVerification::Skipped),
    ("SECUREPROTOCOLS", "TLSv1.3", &[("TLSENABLED", "true")], |tls| tls.as_ref().unwrap().versions == [TlsVersion::Tls13]),
    ("SUPPORTEDCIPHERSUITES", "A, B", &[("TLSENABLED", "true")], |tls| tls.as_ref().unwrap().cipher_suites == ["A", "B"]),
];

type Cache = fn(&Config) -> &CacheConfig;

const CACHES: &[(&str, Cache)] = &[
    ("HONO_TENANT", |config| &config.tenant_cache),
    ("HONO_REGISTRATION", |config| &config.registration_cache),
    ("HONO_CREDENTIALS", |config| &config.credentials_cache),
];

const CACHE: &[Row<CacheConfig>] = &[
    ("RESPONSECACHEMINSIZE", "7", &[], |cache| {
        cache.min_size == 7
    }),
    ("RESPONSECACHEMAXSIZE", "0", &[], |cache| {
        cache.max_size == 0
    }),
    ("RESPONSECACHEDEFAULTTIMEOUT", "100000", &[], |cache| {
        cache.default_timeout == millis(86_400_000)
    }),
];
