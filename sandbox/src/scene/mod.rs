//! What a newcomer sees: where everything listens, lines to paste, a short play with a device and an application, and from then
//! on every message as it arrives north of the adapter, while a person may type commands.

mod audience;
mod cast;
mod commands;
mod paste;
mod stage;

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, sleep_until},
};

pub use self::commands::typed_lines;
use self::{
    audience::Audience,
    cast::Cast,
    commands::{Commander, MAX_UNDER_WAY, wait_and_answer},
    stage::{APPLICATION, Line, Millis, Mood, Prompt, Stage},
};
use crate::{
    Error,
    device::{CoapRequest, CoapResponse, Device},
    northbound::Sender,
    shown::shown,
    world::World,
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
/// [`Error::Output`] if `out` takes nothing more, and what starting the application fails with.
pub async fn play(
    out: impl Write + Send,
    config: SceneConfig,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let (_, typed) = mpsc::channel(1);
    let (_, refusals) = mpsc::channel(1);
    play_with(out, config, Inputs { typed, refusals }, stopped).await
}

/// What comes into the scene from outside.
#[derive(Debug)]
pub struct Inputs {
    /// Lines that a person types: see [`typed_lines`].
    pub typed: mpsc::Receiver<String>,
    /// What the adapter says of handshakes that failed and requests that it refused.
    pub refusals: mpsc::Receiver<String>,
}

/// Shows the scene on `out` until `stopped` is there or a person types `quit`, and meanwhile does
/// what is typed and shows what the adapter refuses.
///
/// # Errors
/// As [`play`].
pub async fn play_with(
    out: impl Write + Send,
    config: SceneConfig,
    inputs: Inputs,
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
        inputs,
        stopped,
    )
    .await
}

type Lines = (mpsc::Sender<Line>, mpsc::Receiver<Line>);

/// Shows what the application receives and what is said, while `device` plays its part. Its output
/// is the number of messages that the adapter confirmed: they are shown before the scene ends.
async fn show(
    out: impl Write + Send,
    config: &SceneConfig,
    cast: Option<&Cast>,
    device: impl Future<Output = usize> + Send,
    (lines, mut spoken): Lines,
    Inputs {
        mut typed,
        mut refusals,
    }: Inputs,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let mut stage = Stage {
        out,
        colour: config.colour,
    };
    let mut audience = Audience::attach(config).await?;
    stage.header(config)?;
    let mut commander = commander(config, cast, audience.sender(), lines);
    let mut device = std::pin::pin!(device);
    let mut stopped = std::pin::pin!(stopped);
    let mut act = Act::Playing;
    let mut arrived = 0;
    loop {
        if act.is_over(arrived) {
            act = Act::Over;
            while let Ok(line) = spoken.try_recv() {
                stage.line(&line)?;
            }
            let prompt = if typed.is_closed() {
                Prompt::Closed
            } else {
                Prompt::Open
            };
            stage.farewell(config, cast, prompt)?;
        }
        tokio::select! {
            biased;
            () = &mut stopped => break,
            received = audience.next() => match received {
                Some(received) => {
                    arrived += usize::from(cast.is_some_and(|cast| cast.sent(&received)));
                    stage.arrival(&received)?;
                    if let Some(line) = commander.on_received(&received) {
                        stage.line(&line)?;
                    }
                }
                None => break,
            },
            Some(line) = spoken.recv() => stage.line(&line)?,
            Some(refusal) = refusals.recv() => stage.refusal(&refusal)?,
            Some(typed) = typed.recv() => {
                if commands::is_farewell(&typed) {
                    break;
                }
                if let Some(line) = commander.on_typed(&typed) {
                    stage.line(&line)?;
                }
            }
            confirmed = &mut device, if act == Act::Playing => {
                commander.awaited = None;
                let until = Instant::now() + LAST_ARRIVAL;
                act = Act::Arriving { confirmed, until };
            }
            () = until(act.deadline()) => {}
        }
    }
    audience.detach().await;
    Ok(())
}

/// How far the scene is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// The device plays.
    Playing,
    /// The device has ended. The adapter confirms a message as soon as the application accepts it,
    /// which may be before the application shows it.
    Arriving { confirmed: usize, until: Instant },
    /// A person may go on.
    Over,
}

impl Act {
    /// Whether all messages that the device knows to be accepted are shown, or late.
    fn is_over(self, arrived: usize) -> bool {
        match self {
            Self::Arriving { confirmed, until } => arrived >= confirmed || Instant::now() >= until,
            Self::Playing | Self::Over => false,
        }
    }

    /// When to go on without another arrival.
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Arriving { until, .. } => Some(until),
            Self::Playing | Self::Over => None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn commander(
    config: &SceneConfig,
    cast: Option<&Cast>,
    sender: Sender,
    lines: mpsc::Sender<Line>,
) -> Commander {
    let any_tenant = config.world.tenants.keys().next().cloned();
    Commander {
        sender,
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

/// The device's part: a handshake, a measurement, an event, and a command. Returns the number of
/// messages that were confirmed.
async fn perform(config: &SceneConfig, cast: Option<&Cast>, lines: mpsc::Sender<Line>) -> usize {
    let (Some(cast), true) = (cast, config.play) else {
        return 0;
    };
    let voice = Voice {
        who: format!("device {}", cast.device),
        lines,
    };
    let Some(mut device) = connect(config, cast, &voice).await else {
        return 0;
    };
    let mut confirmed = upload(&mut device, &voice).await;
    if config.commands {
        sleep(PAUSE).await;
        confirmed += wait_and_answer(&mut device, &voice).await;
    }
    device.close().await;
    confirmed
}

async fn upload(device: &mut Device, voice: &Voice) -> usize {
    let mut confirmed = 0;
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
                confirmed += 1;
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
    confirmed
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
                tracing::debug!(%error, attempt, "retrying the handshake");
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
    Ok(device.request(&request, ANSWER).await?)
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
            tracing::debug!("the scene has no audience");
        }
    }

    fn line(&self, text: String, mood: Mood) -> Line {
        let who = self.who.clone();
        Line { who, text, mood }
    }
}

/// Lines that are said and not shown yet.
const LINES: usize = 64;
const JSON: u16 = 50;
const SERVICE_UNAVAILABLE: u8 = 0xa3;
const ATTEMPTS: u32 = 4;
const HANDSHAKE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait for the application's lines about messages that are confirmed.
const LAST_ARRIVAL: Duration = Duration::from_secs(5);
/// So that an eye can follow.
const PAUSE: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests;
