//! A rolling update under live devices: what it costs them.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    Place,
    node::{LIVE, Node, SERVICE},
    plane::{self, Plane},
    process::{Process, until},
    proxy::ADDRESS,
};
use crate::step;

pub(super) fn run(place: &Place, plane: &Plane, node: &Node) -> Result<()> {
    plane.make_namespace(LIVE)?;
    for (name, file, content) in SECRETS {
        let secret = json!({"metadata": {"name": name}, "stringData": {file: content}});
        plane
            .api()
            .post(&format!("/api/v1/namespaces/{LIVE}/secrets"), &secret)?;
    }
    let _world = world(place)?;
    let mut rows = Vec::new();
    for case in &CASES {
        rows.push(measure(place, plane, case)?);
        ensure!(node.is_well(), "a pod was not well");
    }
    println!(
        "\nA rolling update of each pod, 1000 devices with a session each, {RATE} events a second, {SECONDS} s:\n"
    );
    println!(
        "| what | events | answered | lost | twice | no answer | sent again | handshakes after | update took |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// A way to run pods.
struct Case {
    what: &'static str,
    values: &'static [&'static str],
}

fn measure(place: &Place, plane: &Plane, case: &Case) -> Result<String> {
    let (chart, values) = (place.chart.folder(), place.folder.join("live.yaml"));
    fs::write(&values, live())?;
    let helm = |words: &[&str]| {
        let mut helm = plane.helm(place);
        helm.args(["--namespace", LIVE]).args(words);
        for value in case.values {
            helm.args(["--set", value]);
        }
        helm.arg("--values").arg(&values).arg(&chart);
        helm.stdout(Stdio::null());
        helm
    };
    let mut install = helm(&["install", "live", "--wait", "--timeout=180s"]);
    step::run(&mut install)?;
    // A device of the chart's own, from inside.
    step::run(
        plane
            .helm(place)
            .args(["--namespace", LIVE, "test", "live"]),
    )?;
    let target = format!("{ADDRESS}:5684");
    let scenario = place.folder.join("scenario.yaml");
    fs::write(
        &scenario,
        format!(
            "rates: {{ event: {RATE} }}\nport: coaps\ndevices: 1000\nduration: {SECONDS}\npatience: {PATIENCE}\n"
        ),
    )?;
    let json = place.folder.join("load.json");
    let mut load = Command::new(place.built.join("load"));
    load.arg("run")
        .arg(&scenario)
        .args(["--coaps", &target, "--amqp", "127.0.0.1:6672", "--json"])
        .arg(&json);
    let mut load = Process::start(&mut load, &place.folder.join("load.log"))?;
    std::thread::sleep(Duration::from_secs(SECONDS / 4));
    let started = Instant::now();
    let mut update = helm(&[
        "upgrade",
        "live",
        "--wait",
        "--timeout=300s",
        "--set",
        "podAnnotations.example\\.org/change=second",
    ]);
    step::run(&mut update)?;
    let took = started.elapsed();
    until("the load ends", Duration::from_secs(SECONDS + 240), || {
        !load.runs()
    })?;
    step::run(&mut helm_uninstall(plane, place))?;
    let reported: Value =
        serde_json::from_str(&fs::read_to_string(&json).context("the load has no report")?)?;
    Ok(format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} s |",
        case.what,
        reported["intended"],
        reported["codes"],
        reported["messages"]["lost"],
        reported["messages"]["duplicates"],
        reported["unanswered"],
        reported["sent_again"],
        reported["reconnected"],
        took.as_secs()
    ))
}

fn helm_uninstall(plane: &Plane, place: &Place) -> Command {
    let mut helm = plane.helm(place);
    helm.args(["--namespace", LIVE, "uninstall", "live", "--wait"]);
    helm
}

/// The AMQP network, registry and command router.
fn world(place: &Place) -> Result<Process> {
    let devices =
        step::output(Command::new(place.built.join("load")).args(["world", "--devices", "1000"]))?;
    let file = place.folder.join("world.yaml");
    fs::write(&file, devices)?;
    let mut world = Command::new(place.built.join("coap-adapter"));
    world
        .args([
            "sandbox",
            "--no-play",
            "--amqp=6672",
            "--coaps=6684",
            "--coap=6683",
            "--health=6088",
            "--world",
        ])
        .arg(&file);
    let world = Process::start(&mut world, &place.folder.join("world.log"))?;
    let health = std::net::SocketAddr::from(([127, 0, 0, 1], 6088));
    until("the world is there", Duration::from_secs(60), || {
        plane::probe(health, "/readiness")
    })?;
    Ok(world)
}

/// Values that point to the world.
fn live() -> String {
    let mut text = format!(
        "fullnameOverride: {SERVICE}\nservice: {{type: ClusterIP}}\ntest: {{identity: d-00000@LOAD, keySecret: probe}}\nconfig:\n  hono:\n"
    );
    for service in [
        "messaging",
        "command",
        "tenant",
        "registration",
        "credentials",
        "commandRouter",
    ] {
        text += &format!(
            "    {service}: {{host: 127.0.0.1, port: 6672, requestTimeout: 5000, flowLatency: 500}}\n"
        );
    }
    text
}

/// After so many seconds without an answer a device takes its session for lost.
const PATIENCE: u64 = 20;
const RATE: u64 = 100;
const SECONDS: u64 = 120;

const CASES: [Case; 4] = [
    Case {
        what: "one pod, its sessions saved",
        values: &[
            "replicaCount=1",
            "sessions.store.enabled=true",
            "sessions.store.keySecret=sessions",
        ],
    },
    Case {
        what: "one pod",
        values: &["replicaCount=1"],
    },
    Case {
        what: "three pods, their sessions saved",
        values: &[
            "replicaCount=3",
            "sessions.store.enabled=true",
            "sessions.store.keySecret=sessions",
        ],
    },
    Case {
        what: "three pods",
        values: &["replicaCount=3"],
    },
];

/// Name, file and content.
const SECRETS: [(&str, &str, &str); 2] = [
    ("probe", "key", "load-key-00000"),
    (
        "sessions",
        "session-key",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
];
