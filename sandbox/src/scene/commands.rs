//! The part of the scene where the device waits with `hono-ttd` for a command and answers it; and commands that a person types.

use std::{io::BufRead, sync::Arc, time::Duration};

use amqp_proto::Outcome;
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

use super::{
    ANSWER, JSON, PAUSE, Voice,
    stage::{Line, Millis, Mood},
};
use crate::{
    device::{CoapRequest, CoapResponse, Device},
    northbound::{
        CommandLine, Received, Sender,
        line::{self, response_address},
    },
    shown::{clean, shown},
};

/// Lines that are typed at standard input, from now until it ends.
#[must_use]
pub fn typed_lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(16);
    // A thread of its own: a read from a terminal cannot be given up, and must not keep the process from ending.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else {
                return;
            };
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The application's part: it commands when the device waits, and when somebody types a command.
pub(super) struct Commander {
    pub(super) sender: Sender,
    pub(super) voice: Voice,
    pub(super) default_tenant: String,
    /// Whose wait is to be answered, until it was.
    pub(super) awaited: Option<(String, String)>,
    /// How many commands may be under way.
    pub(super) places: Arc<Semaphore>,
}

impl Commander {
    /// Answers the wait of the device that plays.
    pub(super) fn on_received(&mut self, received: &Received) -> Option<Line> {
        let ttd = received.application_property("ttd", "int").as_i64();
        let (tenant, device) = self.awaited.as_ref()?;
        if ttd.is_none_or(|ttd| ttd <= 0)
            || received.link != format!("event/{tenant}")
            || received.application_property("device_id", "string") != device.as_str()
        {
            return None;
        }
        let line = CommandLine {
            tenant: tenant.clone(),
            device: device.clone(),
            name: "setLight".to_owned(),
            body: Some(r#"{"on": true}"#.to_owned()),
            one_way: false,
        };
        self.awaited = None;
        self.send(line)
    }

    /// Does what somebody typed. What there is to say at once is returned.
    pub(super) fn on_typed(&self, typed: &str) -> Option<Line> {
        let (word, rest) = typed.trim().split_once(' ').unwrap_or((typed.trim(), ""));
        match word {
            "" => None,
            "help" | "?" => Some(self.voice.line(HELP.to_owned(), Mood::Neutral)),
            "command" => match CommandLine::parse(rest, &self.default_tenant) {
                Ok(line) => self.send(line),
                Err(error) => Some(self.voice.line(clean(&error.to_string()), Mood::Bad)),
            },
            other => {
                let text = format!("unknown command `{}`; {HELP}", clean(other));
                Some(self.voice.line(text, Mood::Bad))
            }
        }
    }

    /// Sends in a task of its own, so that what arrives meanwhile is shown.
    fn send(&self, line: CommandLine) -> Option<Line> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let text = "too many commands are under way".to_owned();
            return Some(self.voice.line(text, Mood::Bad));
        };
        let (sender, voice) = (self.sender.clone(), self.voice.clone());
        tokio::spawn(async move {
            let text = format!(
                "sends the command {} to device {}  {}",
                clean(&line.name),
                clean(&line.device),
                shown(line.body.as_deref().unwrap_or_default().as_bytes())
            );
            voice.say(text, Mood::Neutral).await;
            let mut outcome = line::send(&sender, &line, REPLY_ID).await;
            // The first command after a device began to wait may come before the router knows of it.
            for _ in 1..ATTEMPTS {
                if !matches!(outcome, Ok(Some(Outcome::Released))) {
                    break;
                }
                sleep(AGAIN_AFTER).await;
                outcome = line::send(&sender, &line, REPLY_ID).await;
            }
            let (text, mood) = match outcome {
                Ok(Some(Outcome::Accepted)) => {
                    (line::reported(Some(&Outcome::Accepted)), Mood::Good)
                }
                Ok(outcome) => (line::reported(outcome.as_ref()), Mood::Bad),
                Err(error) => (format!("cannot send: {error}"), Mood::Bad),
            };
            voice.say(clean(&text), mood).await;
            drop(place);
        });
        None
    }
}

/// Whether what was typed ends everything.
pub(super) fn is_farewell(typed: &str) -> bool {
    ["quit", "exit"].contains(&typed.trim())
}

/// Where the built-in application takes responses to its commands from.
pub(super) fn own_response_address(tenant: &str) -> String {
    response_address(tenant, REPLY_ID)
}

/// The device's part: it waits for a command and answers it. Returns how many of its two messages
/// were confirmed.
pub(super) async fn wait_and_answer(device: &mut Device, voice: &Voice) -> usize {
    voice
        .say(
            format!("sends POST /event?hono-ttd={TTD}  (empty) and waits for a command"),
            Mood::Neutral,
        )
        .await;
    let request = CoapRequest::post("event")
        .query(&format!("hono-ttd={TTD}"))
        .query("empty");
    let within = ANSWER + Duration::from_secs(TTD);
    let response = match device.request(&request, within).await {
        Ok(response) => response,
        Err(error) => {
            let text = format!("got no answer: {error}");
            voice.say(text, Mood::Bad).await;
            return 0;
        }
    };
    let Some(command) = Command::of(&response) else {
        let text = format!(
            "got {} without a command {}",
            response.code(),
            shown(&response.payload)
        );
        voice.say(text, Mood::Bad).await;
        return usize::from(response.is_success());
    };
    let text = format!(
        "got {} Changed with the command {} after {}: {}",
        response.code(),
        clean(&command.name),
        Millis(response.took),
        shown(&response.payload)
    );
    voice.say(text, Mood::Good).await;
    sleep(PAUSE).await;
    1 + usize::from(answer(device, &command, voice).await)
}

/// Returns whether the answer was confirmed.
async fn answer(device: &mut Device, command: &Command, voice: &Voice) -> bool {
    let body = r#"{"light": "on"}"#;
    let text = format!(
        "sends POST /{}?hono-cmd-status=200  application/json  {body}",
        clean(&command.location.join("/"))
    );
    voice.say(text, Mood::Neutral).await;
    let mut request = CoapRequest::post("")
        .query("hono-cmd-status=200")
        .body(JSON, body);
    request.options.retain(|(number, _)| *number != URI_PATH);
    for segment in &command.location {
        request = request.option(URI_PATH, segment.as_bytes());
    }
    match device.request(&request, ANSWER).await {
        Ok(response) if response.is_success() => {
            let text = format!(
                "got {} Changed after {}: the application has the answer",
                response.code(),
                Millis(response.took)
            );
            voice.say(text, Mood::Good).await;
            true
        }
        Ok(response) => {
            let text = format!("got {} {}", response.code(), shown(&response.payload));
            voice.say(text, Mood::Bad).await;
            false
        }
        Err(error) => {
            voice
                .say(format!("got no answer: {error}"), Mood::Bad)
                .await;
            false
        }
    }
}

/// A command in a response (spec: coap-adapter §6).
#[derive(Debug, PartialEq, Eq)]
struct Command {
    name: String,
    /// Where the answer goes, segment by segment.
    location: Vec<String>,
}

impl Command {
    fn of(response: &CoapResponse) -> Option<Self> {
        let values = |wanted: u16| {
            response
                .options
                .iter()
                .filter(move |(number, _)| *number == wanted)
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let name = values(LOCATION_QUERY)
            .find_map(|query| query.strip_prefix("hono-command=").map(str::to_owned))?;
        Some(Self {
            name,
            location: values(LOCATION_PATH).collect(),
        })
    }
}

const LOCATION_PATH: u16 = 8;
const URI_PATH: u16 = 11;
const LOCATION_QUERY: u16 = 20;
/// How long the device waits for a command, in seconds.
const TTD: u64 = 10;
pub(super) const MAX_UNDER_WAY: usize = 64;
const REPLY_ID: &str = "sandbox";
const ATTEMPTS: u32 = 5;
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// What can be typed.
pub(super) const HELP: &str = "type `command [--one-way] [TENANT/]DEVICE NAME [BODY]` while a device waits with `hono-ttd`, such as `command 4711 setLight {\"on\": true}`";
