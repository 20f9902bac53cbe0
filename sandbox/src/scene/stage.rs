//! How the scene is written: its header, who says what, and payloads that may hold anything.

use std::{
    fmt::{self, Display},
    io::Write,
    time::Duration,
};

use super::{Cast, SceneConfig, lines_to_paste};
use crate::{Error, northbound::Received};

/// Somewhere to write the scene.
pub(super) struct Stage<W> {
    pub(super) out: W,
    pub(super) colour: bool,
}

impl<W: Write> Stage<W> {
    pub(super) fn header(
        &mut self,
        config: &SceneConfig,
        cast: Option<&Cast>,
    ) -> Result<(), Error> {
        let (bold, dim) = (self.paint("1"), self.paint("2"));
        let plain = config.coap.map(|coap| {
            format!(
                "  CoAP    {:<22}{}\n",
                coap,
                dim.on("devices without authentication")
            )
        });
        let text = format!(
            "{}\n\n  CoAPS   {:<22}{}\n{}  AMQP    {:<22}{}\n  health  {:<22}{}\n\n{}\n{}\n",
            bold.on("The sandbox is up: CoAP adapter, AMQP network, device registry and an application, all in this process."),
            config.coaps,
            dim.on("devices over DTLS with a pre-shared key"),
            plain.unwrap_or_default(),
            config.amqp,
            dim.on("applications: receive from telemetry/<tenant> and event/<tenant>"),
            config.health,
            dim.on(&format!("http://{}/readiness", config.health)),
            bold.on("Lines to paste into another terminal") ,
            dim.on("(libcoap; coap-client-gnutls takes the same arguments; on Debian: apt-get install libcoap3-bin)"),
        );
        self.write(&text)?;
        for line in lines_to_paste(config, cast) {
            let line = self.paint("36").on(&line);
            self.write(&format!("  {line}\n"))?;
        }
        self.write("\n")
    }

    pub(super) fn arrival(&mut self, received: &Received) -> Result<(), Error> {
        let text = |section: &str, name: &str, kind: &str| {
            clean(
                received.sections[section][name][kind]
                    .as_str()
                    .unwrap_or("-"),
            )
        };
        let line = format!(
            "{}  device {}  {}  {}",
            clean(&received.link),
            text("application-properties", "device_id", "string"),
            text("properties", "content-type", "symbol"),
            shown(&received.payload),
        );
        let who = self.paint("1;35").on(&format!("{:>WHO$}", "application"));
        self.write(&format!("{who}  received {line}\n"))
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<(), Error> {
        let who = self
            .paint("1;34")
            .on(&format!("{:>WHO$}", clean(&line.who)));
        let text = match line.mood {
            Mood::Neutral => line.text.clone(),
            Mood::Good => self.paint("32").on(&line.text),
            Mood::Bad => self.paint("31").on(&line.text),
        };
        self.write(&format!("{who}  {text}\n"))
    }

    pub(super) fn farewell(&mut self) -> Result<(), Error> {
        let next = self.paint("1").on("Now you: paste one of the lines above and see the message arrive here. Ctrl-C ends everything.");
        self.write(&format!("\n{next}\n"))
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(Error::Output)
    }

    const fn paint(&self, code: &'static str) -> Paint {
        Paint(if self.colour { Some(code) } else { None })
    }
}

/// Something a speaker says.
pub(super) struct Line {
    pub(super) who: String,
    pub(super) text: String,
    pub(super) mood: Mood,
}

/// Whether it is good news.
#[derive(Clone, Copy)]
pub(super) enum Mood {
    Neutral,
    Good,
    Bad,
}

/// A payload as text if it is some, else its bytes, either way not too long.
pub(super) fn shown(payload: &[u8]) -> String {
    if payload.is_empty() {
        return "(empty)".to_owned();
    }
    let start = payload.get(..MAX_SHOWN).unwrap_or(payload);
    let more = if start.len() < payload.len() {
        format!("... ({} bytes)", payload.len())
    } else {
        String::new()
    };
    // A cut may go through a letter.
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => start
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok()),
        Err(_) => None,
    };
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => format!("{text}{more}"),
        None => format!("0x{}{more}", crate::amqp::sections::hex(start)),
    }
}

/// Text from outside without what could move the cursor.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

struct Paint(Option<&'static str>);

impl Paint {
    fn on(&self, text: &str) -> String {
        match self.0 {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

pub(super) struct Millis(pub(super) Duration);

impl Display for Millis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ms", self.0.as_millis())
    }
}

/// The width of the speakers' column.
const WHO: usize = 12;
const MAX_SHOWN: usize = 64;
