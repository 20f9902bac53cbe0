//! What a newcomer sees: where everything listens, lines to paste, a short play with a device and an application, and from then
//! on every message as it arrives north of the adapter, while a person may type commands.

mod commands;
mod stage;

use std::{
    io::{self, IsTerminal, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

pub use self::commands::typed_lines;
use self::{
    commands::{Commander, MAX_UNDER_WAY, own_response_address, wait_and_answer},
    stage::{APPLICATION, Line, Millis, Mood, Prompt, Stage},
};
use crate::{
    Error,
    device::{CoapRequest, CoapResponse, Device},
    northbound::{Application, ApplicationConfig, Behaviour},
    shown::shown,
    world::{self, Credentials, Key, World},
};

/// What the scene tells of and plays with. Everything must be up already.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SceneConfig {
    /// The adapter's port for DTLS.
    pub coaps: SocketAddr,
    /// The adapter's port without security, if there is one.
    pub coap: Option<SocketAddr>,
    /// The sandbox's AMQP network.
    pub amqp: SocketAddr,
    /// The adapter's health checks.
    pub health: SocketAddr,
    /// The management API of the sandbox's registry, if there is one.
    pub management: Option<SocketAddr>,
    /// Who may speak: the first device with a key plays.
    pub world: World,
    /// Whether to write in colours; see [`wants_colour`].
    pub colour: bool,
    /// Whether a device plays before the watching begins.
    pub play: bool,
    /// Whether the device that plays also waits for a command and answers it.
    pub commands: bool,
}

impl SceneConfig {
    /// A scene in black and white, with play and a command, on the world `world`.
    #[must_use]
    pub const fn new(
        coaps: SocketAddr,
        coap: Option<SocketAddr>,
        amqp: SocketAddr,
        health: SocketAddr,
        world: World,
    ) -> Self {
        Self {
            coaps,
            coap,
            amqp,
            health,
            management: None,
            world,
            colour: false,
            play: true,
            commands: true,
        }
    }
}

/// Whether standard output is a terminal and nobody asked for none (`NO_COLOR`).
#[must_use]
pub fn wants_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows the scene on `out` until `stopped` is there.
///
/// # Errors
/// [`Error::Output`] if `out` takes nothing more, and what [`Application::start`] fails with.
pub async fn play(
    out: impl Write + Send,
    config: SceneConfig,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let (_, nothing) = mpsc::channel(1);
    play_with_prompt(out, config, nothing, stopped).await
}

/// Shows the scene on `out` until `stopped` is there, and meanwhile does what is `typed`: see [`typed_lines`].
///
/// # Errors
/// As [`play`].
pub async fn play_with_prompt(
    out: impl Write + Send,
    config: SceneConfig,
    typed: mpsc::Receiver<String>,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let cast = Cast::of(&config.world);
    let (lines, spoken) = mpsc::channel(LINES);
    let device = perform(&config, cast.as_ref(), lines.clone());
    show(
        out,
        &config,
        cast.as_ref(),
        device,
        (lines, spoken),
        typed,
        stopped,
    )
    .await
}

type Lines = (mpsc::Sender<Line>, mpsc::Receiver<Line>);

/// Shows what the application receives and what is said, while `device` plays its part.
async fn show(
    out: impl Write + Send,
    config: &SceneConfig,
    cast: Option<&Cast>,
    device: impl Future<Output = ()> + Send,
    (lines, mut spoken): Lines,
    mut typed: mpsc::Receiver<String>,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let mut stage = Stage {
        out,
        colour: config.colour,
    };
    let mut watcher = watch(config).await?;
    stage.header(config, cast)?;
    let mut commander = commander(config, cast, &watcher, lines);
    let mut device = std::pin::pin!(device);
    let mut stopped = std::pin::pin!(stopped);
    let mut playing = true;
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            received = watcher.next() => match received {
                Some(received) => {
                    stage.arrival(&received)?;
                    if let Some(line) = commander.on_received(&received) {
                        stage.line(&line)?;
                    }
                }
                None => break,
            },
            Some(line) = spoken.recv() => stage.line(&line)?,
            Some(typed) = typed.recv() => {
                if let Some(line) = commander.on_typed(&typed) {
                    stage.line(&line)?;
                }
            }
            () = &mut device, if playing => {
                playing = false;
                commander.awaited = None;
                while let Ok(line) = spoken.try_recv() {
                    stage.line(&line)?;
                }
                let prompt = if typed.is_closed() { Prompt::Closed } else { Prompt::Open };
                stage.farewell(prompt)?;
            }
        }
    }
    watcher.detach().await;
    Ok(())
}

fn commander(
    config: &SceneConfig,
    cast: Option<&Cast>,
    watcher: &Application,
    lines: mpsc::Sender<Line>,
) -> Commander {
    let any_tenant = config.world.tenants.keys().next().cloned();
    Commander {
        sender: watcher.sender(),
        voice: Voice {
            who: APPLICATION.to_owned(),
            lines,
        },
        default_tenant: cast
            .map(|cast| cast.tenant.clone())
            .or(any_tenant)
            .unwrap_or_default(),
        awaited: cast
            .filter(|_| config.commands)
            .map(|cast| (cast.tenant.clone(), cast.device.clone())),
        places: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
    }
}

/// The built-in application: it takes what nobody else receives, so that a newcomer's own gets everything.
async fn watch(config: &SceneConfig) -> Result<Application, Error> {
    let tenants = config.world.tenants.keys();
    let addresses = tenants
        .flat_map(|tenant| {
            let telemetry = format!("telemetry/{tenant}");
            let event = format!("event/{tenant}");
            [telemetry, event, own_response_address(tenant)]
        })
        .collect();
    Application::start(ApplicationConfig {
        peer: config.amqp,
        addresses,
        behaviour: Behaviour::Accept,
        priority: -1,
    })
    .await
}

/// Who plays.
struct Cast {
    tenant: String,
    device: String,
    auth_id: String,
    key: Vec<u8>,
}

impl Cast {
    fn of(world: &World) -> Option<Self> {
        let mut enabled = world
            .tenants
            .iter()
            .filter(|(_, tenant)| tenant.members.get("enabled") != Some(&false.into()));
        enabled.find_map(|(tenant, known)| {
            // A device rather than a gateway, if there is one.
            let is_gateway =
                |id: &String| known.devices.values().any(|device| device.via.contains(id));
            let mut devices: Vec<_> = known
                .devices
                .iter()
                .filter(|(_, device)| !device.disabled)
                .collect();
            devices.sort_by_key(|(id, device)| is_gateway(id) || !device.member_of.is_empty());
            devices.into_iter().find_map(|(id, device)| {
                let (credentials, key) = key_of(device)?;
                Some(Self {
                    tenant: tenant.clone(),
                    device: id.clone(),
                    auth_id: credentials.auth_id.clone(),
                    key: key.expose().to_vec(),
                })
            })
        })
    }

    fn identity(&self) -> String {
        format!("{}@{}", self.auth_id, self.tenant)
    }
}

/// The device's part: a handshake, a measurement, an event, and a command.
async fn perform(config: &SceneConfig, cast: Option<&Cast>, lines: mpsc::Sender<Line>) {
    let (Some(cast), true) = (cast, config.play) else {
        return;
    };
    let voice = Voice {
        who: format!("device {}", cast.device),
        lines,
    };
    let Some(mut device) = connect(config, cast, &voice).await else {
        return;
    };
    upload(&mut device, &voice).await;
    if config.commands {
        sleep(PAUSE).await;
        wait_and_answer(&mut device, &voice).await;
    }
    device.close().await;
}

async fn upload(device: &mut Device, voice: &Voice) {
    for (path, body) in [
        ("telemetry", r#"{"temp": 21.5}"#),
        ("event", r#"{"alarm": "door open"}"#),
    ] {
        sleep(PAUSE).await;
        voice
            .say(
                format!("sends POST /{path}  application/json  {body}"),
                Mood::Neutral,
            )
            .await;
        match request(device, path, body, voice).await {
            Ok(response) if response.is_success() => {
                voice
                    .say(
                        format!(
                            "got {} Changed after {}: the application has accepted it",
                            response.code(),
                            Millis(response.took)
                        ),
                        Mood::Good,
                    )
                    .await;
            }
            Ok(response) => {
                voice
                    .say(
                        format!("got {} {}", response.code(), shown(&response.payload)),
                        Mood::Bad,
                    )
                    .await;
            }
            Err(error) => {
                voice
                    .say(format!("got no answer: {error}"), Mood::Bad)
                    .await;
            }
        }
    }
}

async fn connect(config: &SceneConfig, cast: &Cast, voice: &Voice) -> Option<Device> {
    for attempt in 1..=ATTEMPTS {
        match Device::connect(config.coaps, &cast.identity(), &cast.key, HANDSHAKE).await {
            Ok(device) => {
                let suite = device.suite().unwrap_or_default().to_owned();
                voice
                    .say(
                        format!("shook hands as {} over DTLS 1.2, {suite}", cast.identity()),
                        Mood::Neutral,
                    )
                    .await;
                return Some(device);
            }
            Err(error) if attempt == ATTEMPTS => {
                voice
                    .say(format!("cannot shake hands: {error}"), Mood::Bad)
                    .await;
            }
            Err(error) => {
                tracing::debug!(%error, attempt, "the handshake is tried again");
                sleep(PAUSE).await;
            }
        }
    }
    None
}

/// 5.03 means later: links may still be coming up.
async fn request(
    device: &mut Device,
    path: &str,
    body: &str,
    voice: &Voice,
) -> Result<CoapResponse, Error> {
    let request = CoapRequest::post(path).body(JSON, body);
    for _ in 1..ATTEMPTS {
        let response = device.request(&request, ANSWER).await?;
        if response.raw_code != SERVICE_UNAVAILABLE {
            return Ok(response);
        }
        voice
            .say(
                format!("got 5.03 {}, tries again", shown(&response.payload)),
                Mood::Bad,
            )
            .await;
        sleep(Duration::from_secs(1)).await;
    }
    device.request(&request, ANSWER).await
}

/// How somebody says their lines.
#[derive(Clone)]
struct Voice {
    who: String,
    lines: mpsc::Sender<Line>,
}

impl Voice {
    async fn say(&self, text: String, mood: Mood) {
        // The stage is gone only when all is over.
        if self.lines.send(self.line(text, mood)).await.is_err() {
            tracing::debug!("nobody listens to the scene");
        }
    }

    fn line(&self, text: String, mood: Mood) -> Line {
        let who = self.who.clone();
        Line { who, text, mood }
    }
}

fn lines_to_paste(config: &SceneConfig, cast: Option<&Cast>) -> Vec<String> {
    let mut lines = Vec::new();
    let client = "coap-client-openssl -m";
    if let Some(cast) = cast
        && let Some(key) = pasteable(&cast.key)
    {
        let identity = cast.identity();
        let coaps = host(config.coaps);
        for (path, body) in [
            ("telemetry", r#"{"temp": 22}"#),
            ("event", r#"{"alarm": "fire"}"#),
        ] {
            lines.push(format!(
                "{client} post -u {identity} -k {key} -t json -e '{body}' 'coaps://{coaps}/{path}'"
            ));
        }
        lines.push(format!(
            "{client} post -u {identity} -k {key} 'coaps://{coaps}/event?hono-ttd=30&empty'"
        ));
        if let Some((gateway, key, device)) = gateway(&config.world, &cast.tenant) {
            let identity = format!("{gateway}@{}", cast.tenant);
            lines.push(format!("{client} put -u {identity} -k {key} -t json -e '{{\"temp\": 3}}' 'coaps://{}/telemetry/{}/{device}'", host(config.coaps), cast.tenant));
        }
    }
    if let (Some(coap), Some((tenant, device))) = (config.coap, any_device(&config.world, cast)) {
        lines.push(format!("coap-client -m put -t json -e '{{\"temp\": 23}}' 'coap://{}/telemetry/{tenant}/{device}'", host(coap)));
    }
    lines
}

/// A gateway's auth-id and key, and a device that it may speak for.
fn gateway(world: &World, tenant: &str) -> Option<(String, String, String)> {
    let tenant = world.tenants.get(tenant)?;
    tenant
        .devices
        .iter()
        .filter(|(_, device)| !device.disabled)
        .find_map(|(id, device)| {
            device.via.iter().find_map(|via| {
                let (credentials, key) = key_of(tenant.devices.get(via)?)?;
                Some((
                    credentials.auth_id.clone(),
                    pasteable(key.expose())?,
                    id.clone(),
                ))
            })
        })
}

/// The first enabled credentials with a pre-shared key.
fn key_of(device: &world::Device) -> Option<(&Credentials, Key)> {
    device
        .credentials
        .iter()
        .filter(|credentials| !credentials.disabled && credentials.kind == "psk")
        .find_map(|credentials| Some((credentials, credentials.key()?)))
}

fn any_device<'a>(world: &'a World, cast: Option<&'a Cast>) -> Option<(&'a str, &'a str)> {
    match cast {
        Some(cast) => Some((&cast.tenant, &cast.device)),
        None => world.tenants.iter().find_map(|(tenant, known)| {
            known
                .devices
                .keys()
                .next()
                .map(|device| (tenant.as_str(), device.as_str()))
        }),
    }
}

/// A key that can stand in a command line without quotes.
fn pasteable(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok()?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.=+@%".contains(letter);
    (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
}

/// The host and port to write into a URI; nobody can send to "any address".
fn host(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

/// Lines that are said and not shown yet.
const LINES: usize = 64;
const JSON: u16 = 50;
const SERVICE_UNAVAILABLE: u8 = 0xa3;
const ATTEMPTS: u32 = 4;
const HANDSHAKE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// So that an eye can follow.
const PAUSE: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests;
