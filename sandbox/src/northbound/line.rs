//! A command typed as one line: `4711 setLight {"on":true}`.

use std::{fmt, net::SocketAddr, time::Duration};

use super::{
    Application, ApplicationConfig, Behaviour, Body, Detail, Message, Outcome, Received, Sender,
    command,
};
use crate::Error;

/// A command as a person typed it: `[--one-way] [TENANT/]DEVICE NAME [BODY]`.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The tenant of the device.
    pub tenant: String,
    /// The device or gateway.
    pub device: String,
    /// The command's name.
    pub name: String,
    /// All that follows the name, as it was typed.
    pub body: Option<String>,
    /// Whether no response is wanted.
    pub one_way: bool,
}

/// What is missing in a typed command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandLineError {
    /// No device.
    #[error("a device is missing; {USAGE}")]
    NoDevice,
    /// A device and nothing else.
    #[error("the name of the command is missing; {USAGE}")]
    NoName,
    /// An option that there is not.
    #[error("there is no option `{0}`; {USAGE}")]
    UnknownOption(String),
}

/// Why a typed command was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendLineError {
    /// It cannot be understood.
    #[error(transparent)]
    Line(#[from] CommandLineError),
    /// The AMQP network is not there, or does not want it.
    #[error(transparent)]
    Network(#[from] Error),
}

impl CommandLine {
    /// Reads a line; a device without tenant is one of `default_tenant`.
    ///
    /// # Errors
    /// What is missing or unknown.
    pub fn parse(line: &str, default_tenant: &str) -> Result<Self, CommandLineError> {
        let (mut one_way, mut rest) = (false, line.trim());
        while rest.starts_with('-') {
            let (option, after) = word(rest);
            if option != "--one-way" {
                return Err(CommandLineError::UnknownOption(option.to_owned()));
            }
            (one_way, rest) = (true, after);
        }
        let (target, rest) = word(rest);
        let (tenant, device) = target.split_once('/').unwrap_or((default_tenant, target));
        if tenant.is_empty() || device.is_empty() {
            return Err(CommandLineError::NoDevice);
        }
        let (name, body) = word(rest);
        if name.is_empty() {
            return Err(CommandLineError::NoName);
        }
        Ok(Self {
            tenant: tenant.to_owned(),
            device: device.to_owned(),
            name: name.to_owned(),
            body: (!body.is_empty()).then(|| body.to_owned()),
            one_way,
        })
    }

    /// The message; unless one-way, the device's answer goes to `command_response/<tenant>/<reply id>`.
    #[must_use]
    pub fn message(&self, reply_id: &str) -> Message {
        let mut message = command(&self.tenant, &self.device, &self.name);
        if !self.one_way {
            message.properties.reply_to = Some(response_address(&self.tenant, reply_id));
            // Short, for the device gets it as part of a path.
            let id = uuid::Uuid::new_v4().simple().to_string();
            message.properties.correlation_id = id.get(..8).map(Into::into);
        }
        if let Some(body) = &self.body {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
            let kind = if is_json {
                "application/json"
            } else {
                "text/plain"
            };
            message.properties.content_type = Some(kind.to_owned());
            message.body = Body::Data(body.clone().into_bytes());
        }
        message
    }
}

/// What the body says is nobody's business but the device's.
impl fmt::Debug for CommandLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CommandLine")
            .field("tenant", &self.tenant)
            .field("device", &self.device)
            .field("name", &self.name)
            .field("one_way", &self.one_way)
            .finish_non_exhaustive()
    }
}

/// What became of a command that was typed. `Display` tells it in a line or two.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CommandReport {
    /// None if nothing was said in time.
    pub outcome: Option<Outcome>,
    /// What the device answered, if it was asked to and did.
    pub response: Option<Received>,
    /// Whether an answer was waited for.
    pub one_way: bool,
}

impl CommandReport {
    /// What came of the wait for the response, if there was one.
    #[must_use]
    pub fn after_waiting(&self) -> String {
        match &self.response {
            Some(response) => format!("response: {response}"),
            None => format!("no response within {RESPONSE_WITHIN:?}"),
        }
    }

    /// Whether the device has the command, and has answered it if it was asked to.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.outcome == Some(Outcome::Accepted) && (self.one_way || self.response.is_some())
    }
}

impl fmt::Display for CommandReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&reported(self.outcome.as_ref()))?;
        match &self.response {
            None if self.outcome != Some(Outcome::Accepted) || self.one_way => Ok(()),
            _ => write!(formatter, "\n{}", self.after_waiting()),
        }
    }
}

/// An outcome in a person's words.
pub(crate) fn reported(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Accepted) => "accepted: the device has the command".to_owned(),
        Some(Outcome::Rejected { description, .. }) => {
            let reason = description.as_deref().unwrap_or("no reason was reported");
            format!("rejected: {reason}")
        }
        Some(Outcome::Released) => {
            "released: the device does not wait for a command now; a request with `hono-ttd=SECONDS` waits".to_owned()
        }
        Some(_) => "modified: the adapter could not deliver it".to_owned(),
        None => format!("nothing was said within {OUTCOME_WITHIN:?}; is there such a tenant?"),
    }
}

/// Sends a typed command (see [`CommandLine`]) through the AMQP network at `peer`, and waits for its outcome and, unless it is
/// one-way, for the device's response.
///
/// # Errors
/// [`SendLineError`] if it could not be sent. What became of it is in the report.
pub async fn send_command_line(
    peer: SocketAddr,
    line: &str,
    default_tenant: &str,
) -> Result<CommandReport, SendLineError> {
    send_command_line_noting(peer, line, default_tenant, |_| ()).await
}

/// As [`send_command_line`]; `waiting` gets to know at once that the device has the command and
/// that its response is waited for.
///
/// # Errors
/// As [`send_command_line`].
pub async fn send_command_line_noting(
    peer: SocketAddr,
    line: &str,
    default_tenant: &str,
    waiting: impl FnOnce(&str),
) -> Result<CommandReport, SendLineError> {
    let line = CommandLine::parse(line, default_tenant)?;
    let reply_id = uuid::Uuid::new_v4().to_string();
    let addresses = if line.one_way {
        Vec::new()
    } else {
        vec![response_address(&line.tenant, &reply_id)]
    };
    let mut application = Application::start(ApplicationConfig {
        peer,
        addresses,
        behaviour: Behaviour::Accept,
        priority: 0,
        detail: Detail::Sections,
    })
    .await?;
    let outcome = send(&application.sender(), &line, &reply_id).await?;
    let response = if line.one_way || outcome != Some(Outcome::Accepted) {
        None
    } else {
        waiting(&format!(
            "{}, waiting for the response",
            reported(outcome.as_ref())
        ));
        application.receive(RESPONSE_WITHIN).await
    };
    application.detach().await;
    Ok(CommandReport {
        outcome,
        response,
        one_way: line.one_way,
    })
}

/// Sends a typed command and waits for its outcome.
pub(crate) async fn send(
    sender: &Sender,
    line: &CommandLine,
    reply_id: &str,
) -> Result<Option<Outcome>, Error> {
    let address = format!("command/{}", line.tenant);
    sender
        .send(&address, &line.message(reply_id), OUTCOME_WITHIN)
        .await
}

/// Where a device's answers to commands go.
pub(crate) fn response_address(tenant: &str, reply_id: &str) -> String {
    format!("command_response/{tenant}/{reply_id}")
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

/// How a command is typed.
const USAGE: &str = "a command is written `[--one-way] [TENANT/]DEVICE NAME [BODY]`";
/// Longer than the command router takes for anything.
const OUTCOME_WITHIN: Duration = Duration::from_secs(10);
const RESPONSE_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::{Body, CommandLine, CommandLineError, CommandReport, Outcome};

    #[test]
    fn a_line_is_a_device_a_name_and_the_rest() {
        let rows = [
            (
                "4711 setLight {\"on\": true}",
                ("T", "4711", "setLight", Some("{\"on\": true}"), false),
            ),
            (
                "  4711\tsetLight  a  b ",
                ("T", "4711", "setLight", Some("a  b"), false),
            ),
            ("4711 ping", ("T", "4711", "ping", None, false)),
            ("U/4711 ping", ("U", "4711", "ping", None, false)),
            (
                "--one-way 4711 ping -x",
                ("T", "4711", "ping", Some("-x"), true),
            ),
        ];
        for (text, expected) in rows {
            let line = CommandLine::parse(text, "T").unwrap();
            let parts = (
                line.tenant.as_str(),
                line.device.as_str(),
                line.name.as_str(),
                line.body.as_deref(),
                line.one_way,
            );
            assert_eq!(parts, expected, "{text}");
        }
        for (text, error) in [
            ("", CommandLineError::NoDevice),
            ("T/ ping", CommandLineError::NoDevice),
            ("/4711 ping", CommandLineError::NoDevice),
            ("4711", CommandLineError::NoName),
            (
                "-x 4711 ping",
                CommandLineError::UnknownOption("-x".to_owned()),
            ),
        ] {
            assert_eq!(CommandLine::parse(text, "T"), Err(error), "{text}");
        }
    }

    #[test]
    fn the_message_says_what_its_body_is_and_where_the_answer_goes() {
        let message = |text| CommandLine::parse(text, "T").unwrap().message("r");
        let json = message("4711 setLight {\"on\": true}");
        assert_eq!(json.properties.to.as_deref(), Some("command/T/4711"));
        assert_eq!(
            json.properties.content_type.as_deref(),
            Some("application/json")
        );
        assert_eq!(
            json.properties.reply_to.as_deref(),
            Some("command_response/T/r")
        );
        assert!(json.body == Body::Data(b"{\"on\": true}".to_vec()));
        let text = message("--one-way 4711 setLight on off");
        assert_eq!(text.properties.content_type.as_deref(), Some("text/plain"));
        assert_eq!(text.properties.reply_to, None);
        let empty = message("4711 ping");
        assert!(empty.body == Body::None && empty.properties.content_type.is_none());
    }

    #[test]
    fn a_report_tells_what_became_of_the_command() {
        let report = |outcome, one_way| CommandReport {
            outcome,
            response: None,
            one_way,
        };
        let accepted = report(Some(Outcome::Accepted), true);
        assert!(accepted.is_success() && accepted.to_string().starts_with("accepted"));
        let unanswered = report(Some(Outcome::Accepted), false);
        assert!(!unanswered.is_success() && unanswered.to_string().contains("no response within"));
        let rejected = report(
            Some(Outcome::rejected("hono:bad-request", "no such device")),
            true,
        );
        assert_eq!(rejected.to_string(), "rejected: no such device");
        assert!(
            report(Some(Outcome::Released), true)
                .to_string()
                .contains("hono-ttd")
        );
        assert!(
            report(None, true)
                .to_string()
                .starts_with("nothing was said")
        );
    }
}
