//! A row for each line of metrics-health §1 and §2.

use amqp_client::{LinkError, Outcome, SendError};

use super::*;
use crate::COMPONENT;

#[test]
fn an_upload_is_counted_timed_and_measured_by_all_its_labels() {
    let metrics = Metrics::new("pod-1");
    for payload in [100, 30] {
        metrics.upload(&Upload {
            kind: UploadKind::Event,
            tenant: "T",
            status: Status::Forwarded,
            qos: Qos::AtLeastOnce,
            ttd: Ttd::Command,
            payload,
            duration: Duration::from_millis(250),
        });
    }
    let labels = r#"{component_name="hono-coap",component_type="adapter",host="pod-1",qos="1",status="forwarded",tenant="T",ttd="command",type="event"}"#;
    let page = metrics.render();
    for line in [
        "# TYPE hono_telemetry_processing_duration_seconds summary".to_owned(),
        format!("hono_telemetry_processing_duration_seconds_count{labels} 2"),
        format!("hono_telemetry_processing_duration_seconds_sum{labels} 0.5"),
        "# TYPE hono_telemetry_processing_duration_seconds_max gauge".to_owned(),
        format!("hono_telemetry_processing_duration_seconds_max{labels} 0.25"),
        format!("hono_telemetry_payload_bytes_count{labels} 2"),
        format!("hono_telemetry_payload_bytes_sum{labels} 130"),
        format!("hono_telemetry_payload_bytes_max{labels} 100"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn every_name_and_label_value_of_the_contract_appears() {
    let metrics = all_values();
    let page = metrics.render();
    let timer = |name| ["_count", "_sum", "_max"].map(|end| format!("{name}{end}"));
    let upload = &["type", "tenant", "status", "qos", "ttd"][..];
    let command = &["direction", "tenant", "status"][..];
    let delivery = &["type", "tenant", "outcome"][..];
    let link = &["type", "tenant"][..];
    let mut names = Vec::new();
    for (base, labels) in [
        ("hono_telemetry_processing_duration_seconds", upload),
        ("hono_telemetry_payload_bytes", upload),
        ("hono_command_processing_duration_seconds", command),
        ("hono_command_payload_bytes", command),
        ("hono_amqp_delivery_duration_seconds", delivery),
    ] {
        names.extend(timer(base).map(|name| (name, labels)));
    }
    names.push(("hono_amqp_nocredit_total".to_owned(), link));
    names.push(("hono_amqp_timeout_total".to_owned(), link));
    names.push(("hono_connections_unauthenticated".to_owned(), &[]));
    let constant = ["component_name", "component_type", "host"];
    for (name, own) in &names {
        let found: Vec<_> = samples(&page)
            .filter(|sample| sample.name == *name)
            .collect();
        assert!(!found.is_empty(), "{name}");
        let mut expected: Vec<&str> = constant.iter().chain(*own).copied().collect();
        expected.sort_unstable();
        for sample in found {
            let mut labels: Vec<&str> = sample.labels.iter().map(|(label, _)| *label).collect();
            labels.sort_unstable();
            assert_eq!(labels, expected, "{name}");
        }
    }
    for sample in samples(&page).filter(|sample| sample.name.starts_with("hono_")) {
        assert!(
            names.iter().any(|(name, _)| name == sample.name),
            "{}",
            sample.name
        );
    }
    let links = "telemetry event command_response tenant registration credentials cmd_router";
    let statuses = "forwarded unprocessable undeliverable";
    for (name, label, values) in [
        (
            "hono_telemetry_payload_bytes_sum",
            "type",
            "telemetry event",
        ),
        ("hono_telemetry_payload_bytes_sum", "status", statuses),
        ("hono_telemetry_payload_bytes_sum", "qos", "0 1"),
        (
            "hono_telemetry_payload_bytes_sum",
            "ttd",
            "none command expired",
        ),
        (
            "hono_command_payload_bytes_sum",
            "direction",
            "one-way request response",
        ),
        ("hono_command_payload_bytes_sum", "status", statuses),
        ("hono_amqp_delivery_duration_seconds_sum", "type", links),
        (
            "hono_amqp_delivery_duration_seconds_sum",
            "outcome",
            "accepted rejected released modified aborted",
        ),
        ("hono_amqp_nocredit_total", "type", links),
        ("hono_amqp_timeout_total", "type", links),
        (
            "hono_connections_unauthenticated",
            "component_name",
            COMPONENT,
        ),
        (
            "hono_connections_unauthenticated",
            "component_type",
            "adapter",
        ),
        ("hono_connections_unauthenticated", "host", "h"),
    ] {
        let mut found = values_of(&page, name, label);
        let mut expected: Vec<String> = values.split(' ').map(str::to_owned).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name} {label}");
    }
    assert!(page.contains("host=\"h\"} 0\n"), "{page}");
    for never in [
        "connections_authenticated",
        "connections_attempts",
        "_bucket",
        "quantile",
    ] {
        assert!(!page.contains(never), "{never}");
    }
}

#[test]
fn what_was_sent_goes_to_the_meter_of_its_result() {
    let lost = SendError::LinkLost;
    let no_credit = SendError::NoCredit;
    let refused = SendError::Link(LinkError::NotConnected);
    for (result, name, outcome) in [
        (
            Ok(Outcome::Accepted),
            "hono_amqp_delivery_duration_seconds_count",
            Some("accepted"),
        ),
        (
            Ok(Outcome::rejected("a", "b")),
            "hono_amqp_delivery_duration_seconds_count",
            Some("rejected"),
        ),
        (
            Ok(Outcome::Released),
            "hono_amqp_delivery_duration_seconds_count",
            Some("released"),
        ),
        (
            Err(lost),
            "hono_amqp_delivery_duration_seconds_count",
            Some("aborted"),
        ),
        (Err(no_credit), "hono_amqp_nocredit_total", None),
        (Err(SendError::TimedOut), "hono_amqp_timeout_total", None),
        (Err(refused), "", None),
    ] {
        let metrics = Metrics::new("h");
        metrics.sent(Link::Event, "T", result.as_ref(), Duration::from_secs(1));
        let page = metrics.render();
        let outcome: Vec<String> = outcome.into_iter().map(str::to_owned).collect();
        assert_eq!(values_of(&page, name, "outcome"), outcome, "{result:?}");
        let counted = samples(&page).filter(|sample| sample.name.starts_with("hono_amqp"));
        let counted: Vec<_> = counted
            .filter(|sample| !sample.name.ends_with("_max"))
            .collect();
        match name {
            "" => assert!(counted.is_empty(), "{result:?}"),
            name => assert!(
                counted
                    .iter()
                    .any(|sample| sample.name == name && sample.value == "1"),
                "{page}"
            ),
        }
    }
}

#[test]
fn a_response_s_class_tells_its_status() {
    use coap_proto::Code;

    for (class, detail, status) in [
        (2, 4, Status::Forwarded),
        (4, 0, Status::Unprocessable),
        (4, 29, Status::Unprocessable),
        (5, 3, Status::Undeliverable),
        (0, 0, Status::Undeliverable),
    ] {
        assert_eq!(
            Status::of(Code::new(class, detail).unwrap()),
            status,
            "{class}.{detail}"
        );
    }
}

#[test]
fn an_idle_tenant_leaves_nothing_and_begins_anew() {
    const TIMEOUT: Duration = Duration::from_secs(60);
    let metrics = all_values();
    metrics.no_credit_of("other");
    assert!(metrics.render().contains(r#"tenant="T""#));
    let start = Instant::now();
    assert_eq!(metrics.forget_idle(start, TIMEOUT), [""; 0]);
    let series = metrics.meters.series("other");
    series
        .lock()
        .unwrap()
        .command(&one_command("other"), start + TIMEOUT);
    assert_eq!(metrics.forget_idle(start + TIMEOUT, TIMEOUT), ["T"]);
    let page = metrics.render();
    assert!(!page.contains(r#"tenant="T""#), "{page}");
    assert!(page.contains(r#"tenant="other""#), "{page}");
    metrics.no_credit_of("T");
    let page = metrics.render();
    let of_t = samples(&page).filter(|sample| sample.labels.contains(&("tenant", "T")));
    assert_eq!(
        of_t.map(|sample| (sample.name, sample.value))
            .collect::<Vec<_>>(),
        [("hono_amqp_nocredit_total", "1")]
    );
}

const fn one_command(tenant: &str) -> Command<'_> {
    Command {
        direction: Direction::Request,
        tenant,
        status: Status::Forwarded,
        payload: 1,
        duration: Duration::ZERO,
    }
}

#[test]
fn nameless_tenants_are_unknown() {
    let metrics = Metrics::new("h");
    metrics.no_credit_of("");
    assert_eq!(
        values_of(&metrics.render(), "hono_amqp_nocredit_total", "tenant"),
        ["UNKNOWN"]
    );
    let much_later = Instant::now() + Duration::from_secs(3600);
    assert_eq!(
        metrics.forget_idle(much_later, Duration::from_secs(60)),
        ["UNKNOWN"]
    );
    assert!(!metrics.render().contains("UNKNOWN"));
}

#[test]
fn more_tenants_than_there_is_room_for_share_a_label() {
    let metrics = Metrics::new("h");
    for number in 0..MAX_TENANTS + 5 {
        metrics.no_credit_of(&format!("T{number}"));
    }
    let page = metrics.render();
    assert_eq!(
        values_of(&page, "hono_amqp_nocredit_total", "tenant").len(),
        MAX_TENANTS + 1
    );
    let unknown = samples(&page).find(|sample| sample.labels.contains(&("tenant", "UNKNOWN")));
    assert_eq!(unknown.unwrap().value, "5");
}

/// Symptom: after 519 handshakes with made-up names, telemetry of real tenants was counted as
/// `UNKNOWN` until the restart. Cause: each claimed name got a label.
#[test]
fn a_tenant_that_is_not_known_to_exist_has_no_label() {
    let metrics = Metrics::bounded("h", 3);
    metrics.only_known_tenants(|tenant| tenant.starts_with("real"));
    for number in 0..100 {
        metrics.no_credit_of(&format!("made-up-{number}"));
    }
    metrics.no_credit_of("real-1");
    let page = metrics.render();
    let mut labels = values_of(&page, "hono_amqp_nocredit_total", "tenant");
    labels.sort_unstable();
    assert_eq!(labels, ["UNKNOWN", "real-1"]);
    let unknown = samples(&page).find(|sample| sample.labels.contains(&("tenant", "UNKNOWN")));
    assert_eq!(unknown.unwrap().value, "100");
}

/// Symptom: once the table was full, a tenant without label had none for good. Cause: no tenant
/// ever made room.
#[test]
fn the_tenant_that_was_not_heard_of_for_the_longest_makes_room() {
    let metrics = Metrics::bounded("h", 3);
    let start = Instant::now();
    for (tenant, heard) in [("A", 2), ("B", 1), ("C", 90)] {
        let series = metrics.meters.series(tenant);
        let mut series = series.lock().unwrap();
        series.command(&one_command(tenant), start + Duration::from_secs(heard));
    }
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(!metrics.meters.evict(at(30)), "all are active");
    assert!(metrics.meters.evict(at(100)));
    assert_eq!(metrics.tenants(), 2);
    assert!(!metrics.meters.tenants.read().unwrap().contains_key("B"));
    assert!(
        !metrics.meters.evict(at(100)),
        "looks through all tenants too often"
    );
}

#[test]
fn odd_names_of_tenants_do_not_break_the_page() {
    let metrics = Metrics::new("h");
    metrics.no_credit_of("a\"b\\c\nd{},");
    let page = metrics.render();
    assert!(page.contains(r#"tenant="a\"b\\c\nd{},","#), "{page}");
}

#[test]
fn the_cores_counters_are_all_there_by_their_own_names() {
    let metrics = Metrics::new("h");
    assert!(!metrics.render().contains("coap_adapter_dtls"));
    let mut dtls = dtls_server::Statistics::default();
    dtls.psk_unknown = 7;
    let gauges = dtls_server::Gauges::default();
    let mut coap = coap_proto::Statistics::default();
    metrics.observe_coap(Transport::Udp, &coap);
    coap.requests = 3;
    metrics.observe_coap(Transport::Dtls, &coap);
    metrics.observe_dtls(&dtls, gauges, dtls_server::PassedOn::default());
    let page = metrics.render();
    for (name, _) in dtls.iter() {
        assert!(
            page.contains(&format!("\ncoap_adapter_dtls_{name}_total{{")),
            "{name}"
        );
    }
    for (name, _) in coap.iter() {
        let name = format!("coap_adapter_coap_{name}_total");
        assert_eq!(
            values_of(&page, &name, "transport"),
            ["dtls", "udp"],
            "{name}"
        );
    }
    for line in [
        r#"coap_adapter_dtls_psk_unknown_total{component_name="hono-coap",component_type="adapter",host="h"} 7"#,
        r#"coap_adapter_coap_requests_total{component_name="hono-coap",component_type="adapter",host="h",transport="dtls"} 3"#,
        r#"coap_adapter_coap_requests_total{component_name="hono-coap",component_type="adapter",host="h",transport="udp"} 0"#,
        r#"coap_adapter_dtls_sessions{component_name="hono-coap",component_type="adapter",host="h"} 0"#,
        r#"coap_adapter_dtls_handshakes{component_name="hono-coap",component_type="adapter",host="h"} 0"#,
        r#"coap_adapter_dtls_lookups{component_name="hono-coap",component_type="adapter",host="h"} 0"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn what_the_shards_of_a_port_tell_is_added_up() {
    let metrics = Metrics::new("h");
    let mut dtls = dtls_server::Statistics::default();
    let mut coap = coap_proto::Statistics::default();
    for (shard, count) in [(0, 100), (1, 20), (0, 3)] {
        let metrics = metrics.of_shard(shard);
        dtls.bad_records = count;
        dtls.handshakes_established = count;
        coap.requests = count;
        let mut gauges = dtls_server::Gauges::default();
        gauges.sessions = usize::try_from(count).unwrap();
        let passed_on = dtls_server::PassedOn {
            datagrams: count,
            lost: 1,
        };
        metrics.observe_dtls(&dtls, gauges, passed_on);
        metrics.observe_coap(Transport::Dtls, &coap);
        let socket = dtls_server::SocketStatistics {
            unsent: count,
            receive_errors: 1,
        };
        metrics.observe_socket(Transport::Udp, socket);
        metrics.observe_table("dtls_sessions", gauges.sessions, Some(1000));
        metrics.set(Gauge::QueueDepth, "replies_dtls", 2.0);
    }
    let page = metrics.render();
    for (name, label, value) in [
        ("coap_adapter_dtls_bad_records_total", "", "23"),
        ("coap_adapter_dtls_datagrams_passed_on_total", "", "23"),
        ("coap_adapter_dtls_datagrams_not_passed_on_total", "", "2"),
        ("coap_adapter_udp_datagrams_unsent_total", "", "23"),
        ("coap_adapter_udp_receive_errors_total", "", "2"),
        ("coap_adapter_dtls_sessions", "", "23"),
        ("coap_adapter_coap_requests_total", "dtls", "23"),
        ("coap_adapter_table_entries", "dtls_sessions", "23"),
        ("coap_adapter_table_bytes", "dtls_sessions", "2000"),
        ("coap_adapter_queue_depth", "replies_dtls", "4"),
        ("coap_adapter_handshakes_total", "established", "23"),
    ] {
        let found: Vec<_> = samples(&page)
            .filter(|sample| sample.name == name)
            .filter(|sample| label.is_empty() || sample.labels.iter().any(|it| it.1 == label))
            .map(|sample| sample.value)
            .collect();
        assert_eq!(found, [value], "{name} {label}");
    }
}

#[test]
fn the_host_is_named_by_the_environment_if_at_all() {
    assert_eq!(host_name(Some("pod-1".to_owned())), "pod-1");
    let own = host_name(None);
    assert_eq!(host_name(Some(String::new())), own);
    assert!(
        own == "localhost" || own.parse::<std::net::IpAddr>().is_ok(),
        "{own}"
    );
}

/// What is documented is what is exposed, by name, kind, labels and help.
#[test]
fn every_metric_is_described_and_every_description_is_exposed() {
    let metrics = all_values();
    let coap = coap_proto::Statistics::default();
    metrics.observe_coap(Transport::Dtls, &coap);
    metrics.observe_dtls(
        &dtls_server::Statistics::default(),
        Default::default(),
        Default::default(),
    );
    for transport in Transport::ALL {
        metrics.observe_socket(*transport, Default::default());
    }
    metrics.observe_table("t", 1, Some(1));
    for gauge in Gauge::ALL {
        metrics.set(*gauge, "", 1.0);
    }
    let constant = ["component_name", "component_type", "host"];
    let exposed: Vec<_> = metrics
        .registry
        .gather()
        .iter()
        .map(|family| {
            let labels = family.get_metric()[0]
                .get_label()
                .iter()
                .map(|label| label.name().to_owned());
            let own: Vec<_> = labels
                .filter(|label| !constant.contains(&label.as_str()))
                .collect();
            (family.name().to_owned(), family.help().to_owned(), own)
        })
        .collect();
    let described: Vec<_> = descriptions()
        .into_iter()
        .map(|metric| {
            let labels: Vec<_> = metric
                .labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect();
            (metric.name, metric.help, labels)
        })
        .collect();
    assert_eq!(exposed, described);
}

/// `UPDATE_PAGES=1 cargo test -p observability pages` writes it again.
#[test]
fn the_page_of_metrics_has_the_generated_table_as_other_pages_have() {
    const MARK: &str = "<!-- metrics -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (text, found) = page.split_once(MARK).unwrap();
    let generated = format!("\n\n{}", table());
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(path, format!("{text}{MARK}{generated}")).unwrap();
    } else {
        assert!(
            found == generated,
            "docs/metrics.md is old: UPDATE_PAGES=1 cargo test -p observability pages"
        );
    }
}

impl Metrics {
    fn no_credit_of(&self, tenant: &str) {
        let duration = Duration::from_millis(1);
        self.sent(Link::Telemetry, tenant, Err(&SendError::NoCredit), duration);
    }
}

/// Every value of every label, of one tenant.
fn all_values() -> Metrics {
    let metrics = Metrics::new("h");
    let (tenant, payload, duration) = ("T", 1, Duration::from_millis(1));
    for &status in Status::ALL {
        for &kind in UploadKind::ALL {
            for &qos in Qos::ALL {
                for &ttd in Ttd::ALL {
                    metrics.upload(&Upload {
                        kind,
                        tenant,
                        status,
                        qos,
                        ttd,
                        payload,
                        duration,
                    });
                }
            }
        }
        for &direction in Direction::ALL {
            metrics.command(&Command {
                direction,
                tenant,
                status,
                payload,
                duration,
            });
        }
    }
    let modified = Outcome::Modified {
        delivery_failed: true,
        undeliverable_here: false,
    };
    for &link in Link::ALL {
        for outcome in [
            Outcome::Accepted,
            Outcome::rejected("a", "b"),
            Outcome::Released,
            modified.clone(),
        ] {
            metrics.sent(link, tenant, Ok(&outcome), duration);
        }
        for error in [
            SendError::LinkLost,
            SendError::NoCredit,
            SendError::TimedOut,
        ] {
            metrics.sent(link, tenant, Err(&error), duration);
        }
    }
    metrics
}

struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: &'a str,
}

/// The lines of a page; of label values without quotes, commas and braces only.
fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, rest) = line.split_once('{').unwrap();
            let (labels, value) = rest.split_once("} ").unwrap();
            let labels = labels.split(',').map(|label| {
                let (name, value) = label.split_once('=').unwrap();
                (name, value.trim_matches('"'))
            });
            Sample {
                name,
                labels: labels.collect(),
                value,
            }
        })
}

fn values_of(page: &str, name: &str, label: &str) -> Vec<String> {
    let of_name = samples(page).filter(|sample| sample.name == name);
    let values = of_name.flat_map(|sample| sample.labels);
    let mut found: Vec<String> = Vec::new();
    for (_, value) in values.filter(|(found, _)| *found == label) {
        if !found.iter().any(|known| known == value) {
            found.push(value.to_owned());
        }
    }
    found
}

/// What is shipped for Prometheus and Grafana asks for what is there.
#[test]
fn rules_and_dashboard_name_metrics_that_are_exposed() {
    let metrics = all_values();
    let (counted, held) = Default::default();
    metrics.observe_dtls(&counted, held, dtls_server::PassedOn::default());
    metrics.observe_coap(Transport::Dtls, &coap_proto::Statistics::default());
    let page = metrics.render();
    let exposed: std::collections::BTreeSet<&str> =
        samples(&page).map(|sample| sample.name).collect();
    let word = regex::Regex::new(r"(:?)\b((?:hono|coap_adapter)_[a-z0-9_]+)\b(:?)").unwrap();
    let mut named = 0;
    for shipped in [
        include_str!("../../../../deploy/prometheus/rules.yaml"),
        include_str!("../../../../deploy/grafana/coap-adapter.json"),
    ] {
        // What stands between colons is the name of a recording rule.
        let words = word
            .captures_iter(shipped)
            .filter(|word| word[1].is_empty() && word[3].is_empty());
        for word in words {
            let name = word.get(2).unwrap().as_str();
            assert!(exposed.contains(name), "{name} is not exposed");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}
