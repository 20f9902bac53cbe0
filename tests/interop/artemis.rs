//! ActiveMQ Artemis as the messaging network: messages answered 2.04 are in the queue, also if the
//! broker dies.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::{
    device::{CoapRequest, Device, Error},
    world::World,
};
use tokio::{
    net::TcpStream,
    process::Command,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Outcome, Runner,
    process::Program,
    proton::{Consumer, SOON},
    tool::Tool,
};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "a_killed_broker_loses_no_event_that_was_answered";
    trials.push(runner.trial(Tool::Artemis, name, killed_in_the_middle));
}

const DEVICES: usize = 10;
const EVENTS_EACH: usize = 100;
/// So many events are accepted before the broker is killed.
const BEFORE: usize = 400;

/// Ten devices send a hundred events each, and each event again until it is answered 2.04; meanwhile the broker is killed and
/// started again. Then all are in the queue.
async fn killed_in_the_middle() -> Outcome {
    let broker = Broker::create()?;
    let running = broker.start().await?;
    let (host, port) = (
        broker.address.ip().to_string(),
        broker.address.port().to_string(),
    );
    let settings = [
        ("HONO_MESSAGING_HOST", host.as_str()),
        ("HONO_MESSAGING_PORT", port.as_str()),
    ];
    let stand = Stand::start(World::default(), &settings)
        .await
        .map_err(|error| error.to_string())?;

    let tally = Arc::new(Tally::default());
    let mut devices = JoinSet::new();
    for device in 0..DEVICES {
        devices.spawn(send_events(stand.coaps(), device, Arc::clone(&tally)));
    }
    while tally.accepted.load(Relaxed) < BEFORE {
        if devices.is_empty()
            || tally.accepted.load(Relaxed) + tally.refused.load(Relaxed) > 100_000
        {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    running.kill().await;
    let running = broker.start().await?;
    while let Some(sent) = devices.join_next().await {
        sent.map_err(|error| error.to_string())??;
    }
    if tally.refused.load(Relaxed) == 0 {
        return Err("no device noticed that the broker was away".to_owned());
    }
    let queued = queued(broker.address).await?;
    let lost: Vec<String> = all_events()
        .filter(|event| !queued.contains(event))
        .collect();
    running.leave().await;
    stand.stop().await;
    if lost.is_empty() {
        Ok(())
    } else {
        Err(format!("answered 2.04 and not in the queue: {lost:?}"))
    }
}

#[derive(Default)]
struct Tally {
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

fn event(device: usize, number: usize) -> String {
    format!("{device}-{number}")
}

fn all_events() -> impl Iterator<Item = String> {
    (0..DEVICES).flat_map(|device| (0..EVENTS_EACH).map(move |number| event(device, number)))
}

async fn send_events(server: SocketAddr, device: usize, tally: Arc<Tally>) -> Outcome {
    let text = |error: Error| format!("device {device}: {error}");
    let mut session = Device::connect(server, "sensor1@DEFAULT_TENANT", b"hono-secret", SOON)
        .await
        .map_err(text)?;
    for number in 0..EVENTS_EACH {
        let request = CoapRequest::post("event").body(0, event(device, number));
        let deadline = Instant::now() + RECOVERED_WITHIN;
        loop {
            match session.request(&request, SOON).await {
                Ok(response) if response.code() == "2.04" => break,
                Ok(response) if response.code() == "5.03" => {}
                Ok(response) => {
                    return Err(format!("device {device} was answered {}", response.code()));
                }
                Err(Error::Timeout(_)) => {}
                Err(error) => return Err(text(error)),
            }
            tally.refused.fetch_add(1, Relaxed);
            if Instant::now() > deadline {
                return Err(format!(
                    "device {device} is not served {RECOVERED_WITHIN:?} after the broker went away"
                ));
            }
            sleep(Duration::from_millis(200)).await;
        }
        tally.accepted.fetch_add(1, Relaxed);
    }
    session.close().await;
    Ok(())
}

/// All bodies in the queue of the tenant's events.
async fn queued(broker: SocketAddr) -> Result<BTreeSet<String>, String> {
    let mut consumer = Consumer::attach(broker, "accept", &["event/DEFAULT_TENANT"]).await?;
    let mut bodies = BTreeSet::new();
    while bodies.len() < DEVICES * EVENTS_EACH {
        let Some(message) = consumer.receive(SOON).await? else {
            break;
        };
        let digits = message
            .pointer("/data/binary")
            .and_then(|data| data.as_str())
            .unwrap_or_default();
        let pairs = digits
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| std::str::from_utf8(pair).ok());
        bodies.insert(
            pairs
                .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
                .map(char::from)
                .collect(),
        );
    }
    consumer.detach().await;
    Ok(bodies)
}

/// A broker's folder; what it stores outlives the process.
struct Broker {
    folder: PathBuf,
    address: SocketAddr,
}

impl Broker {
    fn create() -> Result<Self, String> {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("artemis-{}", std::process::id()));
        let text = |error: std::io::Error| format!("{}: {error}", folder.display());
        let address = free_address().map_err(text)?;
        let mut create = std::process::Command::new(Tool::Artemis.program());
        create.args([
            "create",
            "--silent",
            "--user",
            "admin",
            "--password",
            "admin",
            "--allow-anonymous",
        ]);
        create
            .args(["--no-web", "--no-autotune", "--nio"])
            .arg(&folder);
        let created = create.output().map_err(text)?;
        if !created.status.success() {
            return Err(format!(
                "the broker is not created: {}",
                String::from_utf8_lossy(&created.stderr)
            ));
        }
        let settings = include_str!("broker.xml").replace("@PORT@", &address.port().to_string());
        fs::write(folder.join("etc/broker.xml"), settings).map_err(text)?;
        Ok(Self { folder, address })
    }

    /// Starts it and waits until it listens.
    async fn start(&self) -> Result<Program, String> {
        let mut command = Command::new(self.folder.join("bin/artemis"));
        command
            .arg("run")
            .env("JAVA_ARGS", "-Xms128M -Xmx512M -XX:+UseSerialGC");
        let mut program = Program::start(command)?;
        let (deadline, mut text) = (Instant::now() + STARTED_WITHIN, String::new());
        while Instant::now() < deadline {
            while let Some(line) = program.line(Duration::from_millis(100)).await {
                text += &line;
                text.push('\n');
            }
            if TcpStream::connect(self.address).await.is_ok() {
                return Ok(program);
            }
        }
        Err(format!(
            "the broker does not listen after {STARTED_WITHIN:?}:\n{text}"
        ))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The folder of a failed test is in the way of nobody.
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const STARTED_WITHIN: Duration = Duration::from_secs(60);
const RECOVERED_WITHIN: Duration = Duration::from_secs(90);
