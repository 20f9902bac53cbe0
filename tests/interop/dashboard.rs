//! What is shipped for Prometheus and Grafana, with the adapter under load before a real Prometheus: rules are good and evaluated,
//! each query of the dashboard has data, and a tenant is limited by what was scraped.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::{
    device::{CoapRequest, Device as Client},
    northbound::{Application, Behaviour},
    world::{Device, Tenant, World},
};
use serde_json::{Value, json};
use tokio::{process::Command, time::Instant};

use crate::{
    Outcome, Runner,
    process::Program,
    prometheus::{Prometheus, free_port},
    tool::Tool,
};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    trials.push(runner.trial(Tool::Prometheus, "shipped_rules_pass_their_tests", rules));
    let name = "rules_and_dashboard_have_data_under_load_and_a_tenant_is_limited";
    trials.push(runner.trial(Tool::Prometheus, name, under_load));
}

async fn rules() -> Outcome {
    for (words, file) in [("check", "rules.yaml"), ("test", "rules.test.yaml")] {
        let mut promtool = Command::new("promtool");
        promtool.args([words, "rules"]);
        promtool.arg(shipped("prometheus").join(file));
        let text = Program::start(promtool)?.rest(SOON).await?;
        if !text.contains("SUCCESS") {
            return Err(text);
        }
    }
    Ok(())
}

async fn under_load() -> Outcome {
    let text = |error: &dyn std::error::Error| error.to_string();
    let address = free_port().map_err(|error| text(&error))?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let settings = [
        ("HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST", host.as_str()),
        ("HONO_RESOURCELIMITS_PROMETHEUSBASED_PORT", &port),
        ("HONO_RESOURCELIMITS_PROMETHEUSBASED_CACHETIMEOUT", "1"),
        ("HONO_MESSAGING_SENDMESSAGETIMEOUT", "500"),
    ];
    let stand = Stand::start(world(), &settings).await;
    let stand = stand.map_err(|error| text(&error))?;
    let rules = shipped("prometheus").join("rules.yaml");
    let target = stand.app().health_address();
    let rules = rules.to_string_lossy();
    let prometheus = Prometheus::start_at(address, target, "dashboard", &rules).await?;
    let outcome = load(&stand, &prometheus).await;
    prometheus.stop().await;
    stand.stop().await;
    outcome
}

/// Goes on with the load until everything has data.
async fn load(stand: &Stand, prometheus: &Prometheus) -> Outcome {
    let mut applications = Vec::new();
    for (tenant, behaviour) in [("T", Behaviour::Accept), ("SILENT", Behaviour::Silent)] {
        let application = Application::attach(stand.amqp(), tenant, &[], behaviour).await;
        applications.push(application.map_err(|error| error.to_string())?);
    }
    let mut missing: BTreeSet<String> = expressions()?;
    let deadline = Instant::now() + LOAD;
    let mut limited = false;
    while !missing.is_empty() || !limited {
        if Instant::now() > deadline {
            let rules = prometheus.get("rules").await;
            return Err(format!(
                "limited: {limited}; without data: {missing:#?}\n{rules:#?}"
            ));
        }
        limited |= messages(stand.coaps()).await?;
        let mut still = BTreeSet::new();
        for expression in missing {
            if !has_data(prometheus, &expression).await {
                still.insert(expression);
            }
        }
        missing = still;
    }
    all_rules_are_well(prometheus).await
}

/// A round of everything that devices do: tells whether the limit stopped one.
async fn messages(server: SocketAddr) -> Result<bool, String> {
    let error = |error: sandbox::device::Error| error.to_string();
    let mut limited = false;
    for tenant in ["T", "SILENT", "NOBODY"] {
        let identity = format!("sensor@{tenant}");
        let mut client = Client::connect(server, &identity, b"k", SOON)
            .await
            .map_err(error)?;
        for path in ["t", "e", "t?hono-ttd=1"] {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let mut request = CoapRequest::post(path).body(0, "x".repeat(200));
            if !query.is_empty() {
                request = request.query(query);
            }
            let response = client.request(&request, SOON).await.map_err(error)?;
            limited |= response.code() == "4.29";
        }
        let response = CoapRequest::post("command_response/404124/x").query("hono-cmd-status=200");
        client.request(&response, SOON).await.map_err(error)?;
        client.close().await;
    }
    Ok(limited)
}

/// The queries of the dashboard and what rules record.
fn expressions() -> Result<BTreeSet<String>, String> {
    let file = shipped("grafana").join("coap-adapter.json");
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let dashboard: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .filter_map(|target| target["expr"].as_str());
    let bound = queries.map(|query| {
        query
            .replace("$__rate_interval", "10s")
            .replace("$tenant", ".*")
            .replace("$host", ".*")
    });
    let rules = fs::read_to_string(shipped("prometheus").join("rules.yaml"));
    let rules = rules.map_err(|error| error.to_string())?;
    let recorded = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    Ok(bound.chain(recorded.map(str::to_owned)).collect())
}

async fn has_data(prometheus: &Prometheus, query: &str) -> bool {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = prometheus.get(&format!("query?query={encoded}")).await;
    let result = answer.and_then(|answer| answer.pointer("/data/result").cloned());
    result.is_some_and(|result| result.as_array().is_some_and(|series| !series.is_empty()))
}

/// Each rule was evaluated without an error.
async fn all_rules_are_well(prometheus: &Prometheus) -> Outcome {
    let answer = prometheus.get("rules").await.ok_or("no rules")?;
    let groups = answer.pointer("/data/groups").and_then(Value::as_array);
    let rules: Vec<&Value> = groups
        .into_iter()
        .flatten()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
        .collect();
    let wrong: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    if wrong.is_empty() && !rules.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{} rules, of which are wrong: {wrong:#?}",
            rules.len()
        ))
    }
}

/// `T` may send only so much.
fn world() -> World {
    let limits = json!({"resource-limits": {"data-volume":
        {"max-bytes": 2000, "period": {"mode": "days", "no-of-days": 30}, "effective-since": "2020-01-01T00:00:00Z"}}});
    let mut world = World::empty();
    for (id, members) in [("T", limits), ("SILENT", json!({})), ("NOBODY", json!({}))] {
        let device = Device::default().with_psk("sensor", "k");
        let tenant = Tenant::from_json(members).with_device("d", device);
        world.tenants.insert(id.to_owned(), tenant);
    }
    world
}

fn shipped(folder: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("../deploy").join(folder)
}

const SOON: Duration = Duration::from_secs(10);
const LOAD: Duration = Duration::from_secs(50);
