//! The configuration, from text to fields.

mod broken;
mod pages;
mod schema;
mod variables;

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use observability::spans::Sampler;

use super::*;

/// The least with which the adapter starts.
const LEAST: &[(&str, &str)] = &[
    ("HONO_COAP_PORT", "0"),
    ("HONO_MESSAGING_HOST", "broker"),
    ("HONO_COMMAND_HOST", "broker"),
    ("HONO_TENANT_HOST", "registry"),
    ("HONO_REGISTRATION_HOST", "registry"),
    ("HONO_CREDENTIALS_HOST", "registry"),
    ("HONO_COMMANDROUTER_HOST", "router"),
];

/// A minimal environment and `more`, which overrides it.
fn environment(more: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let all: BTreeMap<_, _> = LEAST.iter().chain(more).copied().collect();
    all.into_iter()
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn load(more: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    Config::load(None, environment(more))
}

/// A file of this test's own, gone when it ends.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(
            "coap-adapter-config-{}-{number}.yml",
            std::process::id()
        ));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Loads it with the least environment and `more` over it.
    fn load(&self, more: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        Config::load(Some(&self.0), environment(more))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn messages(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn the_least_environment_starts_with_the_defaults() {
    let config = load(&[]).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.ignored, Vec::new());
    assert_eq!(config.coap.secure.unwrap().to_string(), "127.0.0.1:0");
    assert_eq!(config.coap.insecure, None);
    assert_eq!(config.coap.timeout_to_ack, 500);
    assert_eq!(config.coap.exchange_lifetime, Duration::from_secs(247));
    assert_eq!(config.coap.tenant_idle_timeout, None);
    assert_eq!(config.health.address.to_string(), "0.0.0.0:8088");
    assert_eq!(config.health.readiness, "/readiness");
    assert_eq!(config.log.level, Level::Info);
    assert_eq!(config.tenant_cache, CacheConfig::default());
    assert!(config.legacy_trace_context);
}

#[test]
fn nested_and_dotted_names_say_the_same() {
    let nested =
        File::new("hono:\n  coap:\n    maxPayloadSize: 4096\n  messaging: {host: other}\n");
    let dotted = File::new("hono.coap.maxPayloadSize: 4096\nhono:\n  messaging.host: other\n");
    for file in [nested, dotted] {
        let config = Config::load(
            Some(&file.0),
            environment(&[]).filter(|(name, _)| name != "HONO_MESSAGING_HOST"),
        )
        .unwrap();
        assert_eq!(config.coap.max_payload_size, 4096);
        assert_eq!(config.messaging.unwrap().host, "other");
    }
}

#[test]
fn the_environment_outdoes_the_file_and_the_file_the_default() {
    let file = File::new("hono:\n  coap:\n    maxPayloadSize: 4096\n    timeoutToAck: 7\n");
    let config = file
        .load(&[
            ("HONO_COAP_TIMEOUTTOACK", "8"),
            ("HONO_COAP_MAXPAYLOADSIZE", ""),
        ])
        .unwrap();
    assert_eq!(
        (config.coap.max_payload_size, config.coap.timeout_to_ack),
        (4096, 8)
    );
    let origin = |name: &str| {
        let found = config
            .effective
            .iter()
            .find(|effective| effective.name == name)
            .unwrap();
        (found.value.clone().unwrap(), found.origin.to_string())
    };
    assert_eq!(
        origin("hono.coap.maxPayloadSize"),
        ("4096".into(), format!("{}:3", file.text()))
    );
    assert_eq!(
        origin("hono.coap.timeoutToAck"),
        ("8".into(), "HONO_COAP_TIMEOUTTOACK".into())
    );
    assert_eq!(
        origin("hono.coap.exchangeLifetime"),
        ("247000".into(), "default".into())
    );
}

#[test]
fn a_mistake_in_the_file_is_told_though_a_variable_outdoes_it() {
    let file = File::new("hono.coap.timeoutToAck: soon\n");
    assert_eq!(
        messages(&file.load(&[("HONO_COAP_TIMEOUTTOACK", "8")]).unwrap_err()),
        [format!(
            "{}:1: `hono.coap.timeoutToAck` is `soon`, but should be a whole number from -1 to 2147483647 ms",
            file.text()
        )]
    );
}

#[test]
fn a_property_is_found_by_its_own_name_and_both_forms_with_underscores() {
    for name in [
        "hono.coap.maxPayloadSize",
        "hono_coap_maxPayloadSize",
        "HONO_COAP_MAXPAYLOADSIZE",
    ] {
        assert_eq!(
            load(&[(name, "4096")]).unwrap().coap.max_payload_size,
            4096,
            "{name}"
        );
    }
}

#[test]
fn variables_that_are_nearly_known_are_told_and_others_are_not() {
    let config = load(&[
        ("HONO_COAP_MAXPAYLODSIZE", "1"),
        ("HONO_COAP_PRT", "1"),
        ("HONO_COAP_GATHERTIME", "1"),
        ("HONO_COAP_SERVICE_HOST", "10.0.0.1"),
        ("HONO_COAP_PORT_5684_UDP", "udp://10.0.0.1:5684"),
        ("HONOR", "x"),
        ("PATH", "x"),
    ]);
    assert_eq!(
        config.unwrap().warnings,
        [
            "HONO_COAP_GATHERTIME is not known and has no effect; did you mean HONO_COAP_RECEIVECOALESCINGDELAY?",
            "HONO_COAP_MAXPAYLODSIZE is not known and has no effect; did you mean HONO_COAP_MAXPAYLOADSIZE?",
            "HONO_COAP_PRT is not known and has no effect; did you mean HONO_COAP_PORT?",
        ]
    );
}

#[test]
fn a_port_that_kubernetes_sets_is_told_with_its_remedy() {
    assert_eq!(
        messages(&load(&[("HONO_COAP_PORT", "udp://10.0.0.1:5684")]).unwrap_err()),
        [
            "HONO_COAP_PORT: `hono.coap.port` is `udp://10.0.0.1:5684`, but should be a whole number from -1 to 65535; Kubernetes sets this \
          for a service of that name: set `enableServiceLinks: false` in the pod"
        ]
    );
}

#[test]
fn what_means_nothing_here_is_accepted_and_named() {
    let file = File::new(
        "hono:\n  coap:\n    dtlsThreads: 4\n    networkConfig: /etc/net.properties\n  kafka:\n    commonClientConfig: {a.b: c}\nquarkus:\n  vertx: {prefer-native-transport: true}\n  log:\n    category:\n      \"org.eclipse.hono\":\n        level: DEBUG\n",
    );
    let config = file
        .load(&[
            ("HONO_COAP_MAPPERENDPOINTS_X_HOST", "h"),
            ("QUARKUS_VERTX_PREFER_NATIVE_TRANSPORT", "true"),
        ])
        .unwrap();
    let names: Vec<_> = config
        .ignored
        .iter()
        .map(|ignored| ignored.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "HONO_COAP_MAPPERENDPOINTS_X_HOST",
            "QUARKUS_VERTX_PREFER_NATIVE_TRANSPORT",
            "hono.coap.dtlsThreads",
            "hono.coap.networkConfig",
            "hono.kafka.commonClientConfig.a.b",
            "quarkus.vertx.prefer-native-transport",
            "quarkus.log.category.org.eclipse.hono.level",
        ]
    );
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn categories_of_our_crates_have_levels() {
    let file = File::new(
        "quarkus:\n  log:\n    level: WARN\n    category:\n      adapter.serve: {level: trace}\n",
    );
    let log = file
        .load(&[("QUARKUS_LOG_CATEGORY__DTLS_SERVER__LEVEL", "FINE")])
        .unwrap()
        .log;
    assert_eq!(log.level, Level::Warn);
    let categories: Vec<_> = log
        .categories
        .iter()
        .map(|(name, level)| (name.as_str(), *level))
        .collect();
    assert_eq!(
        categories,
        [
            ("adapter::serve", Level::Trace),
            ("dtls_server", Level::Debug)
        ]
    );
}

#[test]
fn every_service_must_be_named() {
    let problems = Config::load(None, std::iter::empty()).unwrap_err();
    insta::assert_snapshot!(messages(&problems).join("\n"));
}

/// Hono's Helm chart installs Kafka by default; who moves such an installation should learn it here.
#[test]
fn a_messaging_network_that_is_not_amqp_is_named() {
    for (name, network) in [
        ("HONO_KAFKA_COMMONCLIENTCONFIG_BOOTSTRAP_SERVERS", "Kafka"),
        ("HONO_PUBSUB_PROJECTID", "Pub/Sub"),
    ] {
        let written = [(name.to_owned(), "x".to_owned())];
        let problems = messages(&Config::load(None, written.into_iter()).unwrap_err());
        let about = |text: &str| problems.iter().filter(|it| it.contains(text)).count();
        assert_eq!(
            about(&format!("{network} is configured")),
            1,
            "{problems:?}"
        );
        assert!(load(&[(name, "x")]).is_ok());
    }
}

#[test]
fn the_port_of_grpc_for_spans_is_warned_of() {
    let warnings = |url| {
        let endpoint = [("QUARKUS_OTEL_EXPORTER_OTLP_ENDPOINT", url)];
        load(&endpoint).unwrap().warnings
    };
    for url in ["http://collector:4317", "http://[::1]:4317/otlp"] {
        assert!(warnings(url)[0].contains("gRPC"), "{url}");
    }
    for url in [
        "http://collector:4318",
        "http://collector/:4317",
        "http://collector",
    ] {
        assert_eq!(warnings(url), [""; 0], "{url}");
    }
}

#[test]
fn amqp_cannot_be_switched_off() {
    assert_eq!(
        messages(&load(&[("HONO_APP_AMQPMESSAGINGDISABLED", "true")]).unwrap_err()),
        [
            "HONO_APP_AMQPMESSAGINGDISABLED: `hono.app.amqpMessagingDisabled`: should be `false`: messages travel by AMQP 1.0 only"
        ]
    );
}

#[test]
fn the_port_of_dtls_for_the_endpoint_without_it_is_told() {
    let more = [
        ("HONO_COAP_PORT", "7"),
        ("HONO_COAP_INSECUREPORT", "5684"),
        ("HONO_COAP_AUTHENTICATIONREQUIRED", "false"),
    ];
    assert_eq!(
        load(&more).unwrap().warnings,
        ["`hono.coap.insecurePort` is 5684, where devices expect DTLS"]
    );
}

/// Symptom: a password went over the network in clear text, and nothing said so. Cause: SASL PLAIN needs no TLS (RFC 4616 §4).
#[test]
fn passwords_that_are_sent_in_clear_text_are_warned_of() {
    let to = |host, prefix: &str, more: &[(&str, &str)]| {
        let variables = [("HOST", host), ("USERNAME", "u"), ("PASSWORD", "p")];
        let variables = variables.iter().chain(more);
        let named: Vec<_> = variables
            .map(|(name, value)| (format!("{prefix}_{name}"), *value))
            .collect();
        let named: Vec<_> = named
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        load(&named).unwrap().warnings
    };
    for prefix in [
        "HONO_MESSAGING",
        "HONO_REGISTRATION",
        "HONO_RESOURCELIMITS_PROMETHEUSBASED",
    ] {
        let warnings = to("router.example", prefix, &[]);
        assert!(
            warnings[0].contains("in clear text"),
            "{prefix}: {warnings:?}"
        );
        assert_eq!(warnings.len(), 1, "{prefix}: {warnings:?}");
        assert_eq!(to("192.0.2.1", prefix, &[]).len(), 1, "{prefix}");
        assert_eq!(
            to("router.example", prefix, &[("TLSENABLED", "true")]),
            [""; 0],
            "{prefix}"
        );
        for loopback in ["localhost", "127.0.0.1", "::1", "a.localhost"] {
            assert_eq!(to(loopback, prefix, &[]), [""; 0], "{prefix} at {loopback}");
        }
    }
}

/// Symptom: `insecurePortEnabled: true` gave no port and no word. Cause: authentication is required
/// unless it is switched off, and then only devices with a DTLS session are served.
#[test]
fn a_port_without_security_that_authentication_forbids_is_warned_of() {
    let asked = [("HONO_COAP_INSECUREPORTENABLED", "true")];
    let warnings = load(&asked).unwrap().warnings;
    assert!(
        warnings[0].contains("authenticationRequired"),
        "{warnings:?}"
    );
    assert_eq!(
        load(&[("HONO_COAP_INSECUREPORT", "0")]).unwrap().warnings,
        warnings
    );
    let allowed = [asked[0], ("HONO_COAP_AUTHENTICATIONREQUIRED", "false")];
    assert_eq!(load(&allowed).unwrap().warnings, [""; 0]);
    assert_eq!(load(&[]).unwrap().warnings, [""; 0]);
}

/// Symptom: with a sampler of Hono that is not one of OpenTelemetry's the adapter did not start.
/// Cause: names were compared with OpenTelemetry's. Hono starts with any name.
#[test]
fn samplers_mean_what_they_mean_in_hono_and_never_stop_the_start() {
    let rows = [
        ("always_on", "", Sampler::AlwaysOn, ""),
        ("parentbased_always_on", "", Sampler::AlwaysOn, ""),
        ("on", "", Sampler::AlwaysOn, ""),
        ("ALWAYS_OFF", "", Sampler::AlwaysOff, ""),
        ("parentbased_always_off", "", Sampler::AlwaysOff, ""),
        ("off", "", Sampler::AlwaysOff, ""),
        ("traceidratio", "0.25", Sampler::Ratio(0.25), ""),
        (
            "parentbased_traceidratio",
            " 0.25 ",
            Sampler::Ratio(0.25),
            "",
        ),
        ("ratio", "", Sampler::Ratio(1.0), ""),
        ("ratio", "1.1", Sampler::Ratio(1.0), "a number from 0 to 1"),
        ("ratio", "-1", Sampler::Ratio(1.0), "a number from 0 to 1"),
        ("ratio", "NaN", Sampler::Ratio(1.0), "a number from 0 to 1"),
        ("ratio", "x", Sampler::Ratio(1.0), "a number from 0 to 1"),
        ("rate_limiting", "", Sampler::RateLimiting(1), ""),
        ("rate-limiting", "20", Sampler::RateLimiting(20), ""),
        (
            "parentbased_rate_limiting",
            "x",
            Sampler::RateLimiting(1),
            "traces per second",
        ),
        (
            "rate_limiting",
            "-1",
            Sampler::RateLimiting(1),
            "traces per second",
        ),
        (
            "jaeger_remote",
            "endpoint=http://j:14250",
            Sampler::AlwaysOn,
            "from Jaeger",
        ),
        (
            "parentbased_jaeger_remote",
            "",
            Sampler::AlwaysOn,
            "from Jaeger",
        ),
        ("xray", "", Sampler::AlwaysOn, "not a known sampler"),
    ];
    for (name, argument, sampler, warning) in rows {
        let argument = Some(("OTEL_TRACES_SAMPLER_ARG", argument)).filter(|it| !it.1.is_empty());
        let all: Vec<_> = argument
            .into_iter()
            .chain([("OTEL_TRACES_SAMPLER", name)])
            .collect();
        let config = load(&all).unwrap();
        assert_eq!(config.tracing.sampler, sampler, "{all:?}");
        match warning {
            "" => assert_eq!(config.warnings, [""; 0], "{all:?}"),
            text => assert!(config.warnings[0].contains(text), "{:?}", config.warnings),
        }
    }
}

#[test]
fn settings_of_sessions_that_cannot_be_are_told() {
    for length in ["-1", "0", "6", "20"] {
        assert!(load(&[("HONO_COAP_CONNECTIONIDLENGTH", length)]).is_ok());
    }
    assert_eq!(
        messages(&load(&[("HONO_COAP_CONNECTIONIDLENGTH", "5")]).unwrap_err()),
        [
            "HONO_COAP_CONNECTIONIDLENGTH: `hono.coap.connectionIdLength`: ids of 1 to 5 bytes have no room for what they must carry; \
          -1, 0, or 6 to 20 are possible"
        ]
    );
    assert_eq!(
        messages(&load(&[("HONO_COAP_SESSIONSTOREPATH", "s")]).unwrap_err()),
        [
            "HONO_COAP_SESSIONSTOREPATH: `hono.coap.sessionStorePath`: one of `sessionStorePath` and `sessionStoreKeyPath` is set; \
          sessions are kept under a key only"
        ]
    );
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let credentials = File::new("username=user\npassword=v3ry-secret-file\n");
    let config = load(&[
        ("HONO_TENANT_USERNAME", "user"),
        ("HONO_TENANT_PASSWORD", "v3ry-secret"),
        ("HONO_REGISTRATION_CREDENTIALSPATH", credentials.text()),
    ])
    .unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("v3ry-secret"), "{shown}");
    let masked = config
        .effective
        .iter()
        .filter(|effective| effective.value.as_deref() == Some("***"));
    assert_eq!(masked.count(), 1);
    assert_eq!(
        config
            .tenant
            .unwrap()
            .credentials
            .unwrap()
            .password
            .reveal(),
        "v3ry-secret"
    );
    let held = config.registration.unwrap().credentials.unwrap();
    assert_eq!(
        (held.username.as_str(), held.password.reveal()),
        ("user", "v3ry-secret-file")
    );
}

#[test]
fn durations_are_read_as_the_reference_reads_them() {
    for (text, seconds) in [
        ("PT0S", 0.0),
        ("2h", 7200.0),
        ("PT2H30M", 9000.0),
        ("P1DT1M", 86_460.0),
        ("90", 90.0),
        ("pt1.5s", 1.5),
        ("250ms", 0.25),
    ] {
        let idle = load(&[("HONO_COAP_TENANTIDLETIMEOUT", text)])
            .unwrap()
            .coap
            .tenant_idle_timeout;
        assert_eq!(idle.unwrap_or_default().as_secs_f64(), seconds, "{text}");
    }
    for text in [
        "PT",
        "P",
        "2",
        "2x",
        "h",
        "-1s",
        "1.2.3s",
        "99999999999999999999h",
    ] {
        let result = load(&[("HONO_COAP_TENANTIDLETIMEOUT", text)]);
        assert_eq!(result.is_ok(), text == "2", "{text}");
    }
}

#[test]
fn every_setting_is_described_and_has_a_name_and_a_variable_of_its_own() {
    let (mut names, mut variables) = (
        std::collections::BTreeSet::new(),
        std::collections::BTreeSet::new(),
    );
    for (name, setting) in catalogue::all() {
        assert!(setting.doc.trim().ends_with('.'), "{name}: {}", setting.doc);
        assert!(
            setting
                .default
                .is_none_or(|text| setting.kind.read(text).is_ok()),
            "{name}"
        );
        assert!(
            catalogue::names_without_effect().all(|other| other != name),
            "{name} means something"
        );
        assert!(variables.insert(variable(&name)), "{name}");
        assert!(names.insert(name));
    }
}

/// A configuration that may take so many bytes of memory.
pub(super) fn with_memory(bytes: u64, more: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let bytes = bytes.to_string();
    let more: Vec<_> = more
        .iter()
        .copied()
        .chain([("HONO_APP_MAXMEMORY", bytes.as_str())])
        .collect();
    load(&more)
}
