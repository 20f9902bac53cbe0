//! How the scene is written: its header, who says what, and payloads that may hold anything.

use std::{
    fmt::{self, Display},
    io::Write,
    time::Duration,
};

use super::{SceneConfig, cast::Cast, commands::HELP, paste::lines_to_paste};
use crate::{Error, northbound::Received, shown::clean};

/// Somewhere to write the scene.
pub(super) struct Stage<W> {
    pub(super) out: W,
    pub(super) colour: bool,
}

impl<W: Write> Stage<W> {
    pub(super) fn header(&mut self, config: &SceneConfig) -> Result<(), Error> {
        let (bold, dim) = (self.paint("1"), self.paint("2"));
        let plain = config.coap.map(|coap| {
            format!(
                "  CoAP    {:<22}{}\n",
                coap,
                dim.on("devices without authentication")
            )
        });
        let management = config.management.map(|address| {
            format!(
                "  HTTP    {:<22}{}\n",
                address,
                dim.on(&format!(
                    "registry: http://{address}/v1/tenants, /v1/devices, /v1/credentials"
                ))
            )
        });
        let text = format!(
            "{}\n\n  CoAPS   {:<22}{}\n{}  AMQP    {:<22}{}\n  health  {:<22}{}\n{}\n",
            bold.on("The sandbox is up: CoAP adapter, AMQP network, device registry, command router and an application, all in this process."),
            config.coaps,
            dim.on("devices over DTLS with a pre-shared key"),
            plain.unwrap_or_default(),
            config.amqp,
            dim.on("applications: receive from telemetry/<tenant>, event/<tenant>; send to command/<tenant>"),
            config.health,
            dim.on(&format!("http://{0}/readiness, http://{0}/prometheus", config.health)),
            management.unwrap_or_default(),
        );
        self.write(&text)
    }

    /// What the adapter says of a device that it does not serve.
    pub(super) fn refusal(&mut self, text: &str) -> Result<(), Error> {
        let who = self.paint("1;33").on(&format!("{ADAPTER:>WHO$}"));
        let mut lines = text.lines();
        let first = self
            .paint("31")
            .on(&clean(lines.next().unwrap_or_default()));
        self.write(&format!("{who}  {first}\n"))?;
        for line in lines {
            let line = self.paint("31").on(&clean(line));
            self.write(&format!("{:WHO$}  {line}\n", ""))?;
        }
        Ok(())
    }

    pub(super) fn arrival(&mut self, received: &Received) -> Result<(), Error> {
        let who = self.paint("1;35").on(&format!("{APPLICATION:>WHO$}"));
        self.write(&format!("{who}  received {received}\n"))
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<(), Error> {
        let colour = if line.who == APPLICATION {
            "1;35"
        } else {
            "1;34"
        };
        let who = self
            .paint(colour)
            .on(&format!("{:>WHO$}", clean(&line.who)));
        let text = match line.mood {
            Mood::Neutral => line.text.clone(),
            Mood::Good => self.paint("32").on(&line.text),
            Mood::Bad => self.paint("31").on(&line.text),
        };
        self.write(&format!("{who}  {text}\n"))
    }

    /// What a newcomer can do now. It comes last, so that it is still on the screen.
    pub(super) fn farewell(
        &mut self,
        config: &SceneConfig,
        cast: Option<&Cast>,
        prompt: Prompt,
    ) -> Result<(), Error> {
        let (bold, dim) = (self.paint("1"), self.paint("2"));
        let next = bold.on("Now you: paste one of these lines into another terminal and see the message arrive here.");
        let note = dim.on("(libcoap, on Debian: apt-get install libcoap3-bin; coap-client-gnutls takes the same arguments; -v 6 shows the answer)");
        self.write(&format!("\n{next}\n{note}\n"))?;
        let lines = lines_to_paste(config, cast);
        for line in &lines {
            let line = self.paint("36").on(line);
            self.write(&format!("  {line}\n"))?;
        }
        if lines.is_empty() {
            self.write("  (no device has a key that can be written in a line)\n")?;
        }
        match prompt {
            Prompt::Open => self.write(&format!("Or {HELP}. `quit` or Ctrl-C ends everything.\n")),
            Prompt::Closed => self.write("Ctrl-C ends everything.\n"),
        }
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

/// Whether somebody may type commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    Open,
    Closed,
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

/// How the application is called.
pub(super) const APPLICATION: &str = "application";
/// How the adapter is called.
const ADAPTER: &str = "adapter";
/// The width of the speakers' column.
const WHO: usize = 12;
