//! What became of a request -> response code, options and payload; the only such place (spec: coap-adapter §2-§7).

mod discovery;

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amqp_client::{Outcome as Disposition, SendError};
use coap_proto::content_format::{self, LINK_FORMAT, TEXT_PLAIN};
use coap_proto::message::uint;
use coap_proto::{Code, Response, option};
use registry_client::ServiceError;

use crate::command::inbox::{Delivery, Told};
use crate::command::message::Command;
use crate::rejection::Rejection;
use crate::upload::query::TimeRequest;

/// A request that did what it should.
#[derive(Debug)]
pub enum Outcome {
    /// The message went to the application; 2.04.
    Changed {
        /// Whether the device asked for the server's time.
        time: TimeRequest,
        /// What the application wants the device to do.
        command: Option<Box<Instruction>>,
    },
    /// The links of this server that pass a filter, in link-format; 2.05.
    Links(Option<String>),
}

/// A command as the device is told it.
#[derive(Debug)]
pub struct Instruction {
    /// What to do, and with what.
    pub command: Command,
    /// Whom it is for, or where to answer to: the segments of Location-Path.
    pub location: Vec<String>,
    /// Settled when the command goes out.
    pub delivery: Delivery,
}

impl Rejection {
    /// The response's code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoSuchResource | Self::NoDevice | Self::NoTenantAndDevice => Code::NOT_FOUND,
            Self::MethodNotAllowed | Self::NotReadable => Code::METHOD_NOT_ALLOWED,
            Self::TooManySearchQueries => Code::BAD_OPTION,
            Self::NotAcceptable => Code::NOT_ACCEPTABLE,
            Self::NotAuthenticated => Code::UNAUTHORIZED,
            Self::ForeignTenant | Self::TenantDisabled | Self::AdapterDisabled => Code::FORBIDDEN,
            Self::NotConfirmable(_)
            | Self::ContentMismatch { .. }
            | Self::MalformedCommandResponse { .. } => Code::BAD_REQUEST,
            Self::MessageLimit | Self::OverBudget(_) => Code::TOO_MANY_REQUESTS,
            Self::Tenant(error) | Self::Registration(error) | Self::CommandRouter(error) => {
                code_of_status(error.status)
            }
            Self::Send(error) => code_of_send_error(error),
            Self::Overloaded | Self::Stopping => Code::SERVICE_UNAVAILABLE,
            Self::NotAccepted(disposition) => code_of_disposition(disposition),
        }
    }

    /// The diagnostic payload, without that of codes that always have one.
    fn text(&self) -> Option<Cow<'_, str>> {
        let text: Cow<'_, str> = match self {
            Self::TooManySearchQueries => "only one search query is supported!".into(),
            Self::NotAuthenticated => "DTLS session does not contain authenticated Device".into(),
            Self::NoDevice => "request URI must contain device ID".into(),
            Self::NoTenantAndDevice => "request URI must contain tenant and device ID".into(),
            Self::ForeignTenant => {
                "tenant ID in request URI must match provided credentials".into()
            }
            Self::NotConfirmable(endpoint) => {
                format!("{endpoint} endpoint supports confirmable request messages only").into()
            }
            Self::ContentMismatch { content_type } => format!(
                "content type [{}] does not match payload",
                content_type.as_deref().unwrap_or("null")
            )
            .into(),
            Self::MalformedCommandResponse { request_id, status } => format!(
                "command-request-id [{}] or status code [{}] is missing/invalid",
                request_id.as_deref().unwrap_or("null"),
                status.map_or_else(|| "null".to_owned(), |status| status.to_string())
            )
            .into(),
            Self::TenantDisabled => "tenant is disabled or not registered".into(),
            Self::AdapterDisabled => "adapter is disabled".into(),
            Self::MessageLimit => OVER_LIMIT.into(),
            Self::OverBudget(exhausted) => exhausted.to_string().into(),
            Self::Registration(ServiceError { status: 404, .. }) => {
                "device is disabled or not registered".into()
            }
            Self::Registration(ServiceError { status: 403, .. }) => {
                "gateway is disabled or not registered".into()
            }
            Self::Tenant(error) | Self::Registration(error) | Self::CommandRouter(error)
                if is_client_error(error.status) =>
            {
                error.text.as_deref()?.into()
            }
            Self::Send(SendError::NoCredit) => "no consumer available".into(),
            Self::Send(SendError::TimedOut) => {
                "consumer failed to indicate in time whether it has processed the message".into()
            }
            Self::NotAccepted(disposition) => text_of_disposition(disposition)?,
            Self::NoSuchResource
            | Self::MethodNotAllowed
            | Self::NotReadable
            | Self::NotAcceptable
            | Self::Tenant(_)
            | Self::Registration(_)
            | Self::CommandRouter(_)
            | Self::Send(_)
            | Self::Overloaded
            | Self::Stopping => return None,
        };
        Some(text)
    }

    /// Whether an error of this kind goes out without any payload.
    const fn is_bare(&self) -> bool {
        matches!(
            self,
            Self::NoSuchResource | Self::NotReadable | Self::NotAcceptable
        )
    }
}

/// A response on its way to a port. Dropped, it releases the command that stands in it.
#[derive(Debug)]
pub struct Answer {
    /// What the device is told.
    response: Response,
    command: Option<Pledge>,
}

/// A command that stands in a response and is not settled yet.
#[derive(Debug)]
struct Pledge {
    delivery: Delivery,
    /// What the device is told if it must not get the command any more.
    without: Response,
}

impl Answer {
    /// What it says in short.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.response.code
    }

    /// The response, the command in it included.
    #[must_use]
    pub const fn response(&self) -> &Response {
        &self.response
    }

    /// Whether there is a command in it.
    #[must_use]
    pub const fn has_command(&self) -> bool {
        self.command.is_some()
    }

    /// The response to a device that the command cannot be sent to; the command is released.
    #[must_use]
    pub fn without_command(self) -> Response {
        match self.command {
            Some(Pledge { delivery, without }) => {
                delivery.release();
                without
            }
            None => self.response,
        }
    }

    /// The response as it goes out to a device that waits for it. The command in it is accepted at this moment; if its application
    /// has been told meanwhile that nobody took it, the device does not get it, for it may be sent anew.
    #[must_use]
    pub fn go_out(self) -> Response {
        let Some(Pledge { delivery, without }) = self.command else {
            return self.response;
        };
        match delivery.accept() {
            Told::InTime => self.response,
            Told::TooLate => without,
        }
    }

    /// The response for a device that waits no longer; the command in it is released.
    #[must_use]
    pub fn come_too_late(self) -> Response {
        self.response
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            response,
            command: None,
        }
    }
}

/// The response to a request. `now` is told to devices that ask for the time.
///
/// A command that cannot be written as a response is released here.
#[must_use]
pub fn answer(result: Result<Outcome, Rejection>, now: SystemTime) -> Answer {
    match result {
        Ok(Outcome::Changed {
            time,
            command: None,
        }) => changed(time, now).into(),
        Ok(Outcome::Changed {
            time,
            command: Some(instruction),
        }) => {
            let Instruction {
                command,
                location,
                delivery,
            } = *instruction;
            let response = with_command(changed(time, now), command, &location);
            if response.is_valid() {
                let without = changed(time, now);
                Answer {
                    response,
                    command: Some(Pledge { delivery, without }),
                }
            } else {
                delivery.release();
                Response::new(Code::INTERNAL_SERVER_ERROR).into()
            }
        }
        Ok(Outcome::Links(filter)) => Response::new(Code::CONTENT)
            .content_format(LINK_FORMAT)
            .payload(discovery::links(filter.as_deref()))
            .into(),
        Err(rejection) => rejected(&rejection).into(),
    }
}

fn changed(time: TimeRequest, now: SystemTime) -> Response {
    let response = Response::new(Code::CHANGED);
    match time {
        TimeRequest::Wanted => response.option(option::HONO_TIME, uint::encode(milliseconds(now))),
        TimeRequest::None => response,
    }
}

/// A command's name, where to answer to, what the body is if there is a number for that, and the body.
fn with_command(response: Response, command: Command, location: &[String]) -> Response {
    let response = response.option(
        option::LOCATION_QUERY,
        format!("hono-command={}", command.name),
    );
    let response = location.iter().fold(response, |response, segment| {
        response.option(option::LOCATION_PATH, segment)
    });
    let response = match command
        .content_type
        .as_deref()
        .and_then(content_format::from_media_type)
    {
        Some(format) => response.content_format(format),
        None => response,
    };
    response.payload(command.payload.0)
}

fn rejected(rejection: &Rejection) -> Response {
    let code = rejection.code();
    let response = Response::new(code);
    if rejection.is_bare() {
        return response;
    }
    let text = rejection.text().or_else(|| usual_text(code));
    let response = match text {
        // A longer text is cut: it comes from others, and must fit a datagram.
        Some(text) => response
            .content_format(TEXT_PLAIN)
            .payload(shortened(&text)),
        None => response,
    };
    match rejection {
        Rejection::OverBudget(exhausted) => response.max_age(whole_seconds(exhausted.retry_after)),
        _ if code == Code::SERVICE_UNAVAILABLE => response.max_age(RETRY_AFTER),
        _ => response,
    }
}

/// Rounded up: who comes back then does not come too early.
fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The text where nothing more can be said (spec: coap-adapter §4).
fn usual_text(code: Code) -> Option<Cow<'static, str>> {
    match code {
        Code::SERVICE_UNAVAILABLE => Some("Temporarily unavailable".into()),
        Code::INTERNAL_SERVER_ERROR => Some("Internal server error".into()),
        _ if code.class() == 4 => {
            Some(format!("Error Code: {}{:02}", code.class(), code.detail()).into())
        }
        _ => None,
    }
}

/// Status `XYZ` of a service is `X.YZ`, if CoAP has that code; else 5.00.
fn code_of_status(status: u16) -> Code {
    let code = match status {
        400..=406 | 408 | 409 | 412 | 413 | 415 | 422 | 429 | 500..=505 => {
            u8::try_from(status / 100)
                .ok()
                .zip(u8::try_from(status % 100).ok())
        }
        _ => None,
    };
    code.and_then(|(class, detail)| Code::new(class, detail))
        .unwrap_or(Code::INTERNAL_SERVER_ERROR)
}

/// Whatever the network refuses may work later, unless it failed itself or the message is too large for it.
fn code_of_send_error(error: &SendError) -> Code {
    match error {
        SendError::Link(refused) if refused.status() == 500 => Code::INTERNAL_SERVER_ERROR,
        SendError::Unsettled => Code::INTERNAL_SERVER_ERROR,
        SendError::TooLarge { .. } => Code::REQUEST_ENTITY_TOO_LARGE,
        _ => Code::SERVICE_UNAVAILABLE,
    }
}

fn code_of_disposition(disposition: &Disposition) -> Code {
    match disposition {
        Disposition::Rejected { condition, .. } => match condition.as_deref() {
            Some("amqp:resource-limit-exceeded") => Code::SERVICE_UNAVAILABLE,
            Some("amqp:unauthorized-access") => Code::FORBIDDEN,
            Some("amqp:internal-error") => Code::INTERNAL_SERVER_ERROR,
            _ => Code::BAD_REQUEST,
        },
        Disposition::Modified {
            undeliverable_here: true,
            ..
        } => Code::NOT_FOUND,
        _ => Code::SERVICE_UNAVAILABLE,
    }
}

fn text_of_disposition(disposition: &Disposition) -> Option<Cow<'_, str>> {
    let text = match disposition {
        Disposition::Rejected {
            condition,
            description,
        } => match condition.as_deref() {
            Some("amqp:resource-limit-exceeded") => {
                "consumer rejected the message because a resource limit was exceeded, possibly a (tenant-specific) queue size limit"
            }
            Some("amqp:internal-error") => return None,
            _ => return description.as_deref().map(Cow::Borrowed),
        },
        Disposition::Modified {
            undeliverable_here: true,
            ..
        } => "consumer declared message as undeliverable, it should not be redelivered",
        _ => "consumer didn't process the message",
    };
    Some(text.into())
}

const fn is_client_error(status: u16) -> bool {
    matches!(status, 400..=499)
}

fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST_TEXT))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

fn milliseconds(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What devices and applications are told when a tenant has sent as much as it may (spec: coap-adapter §4).
pub const OVER_LIMIT: &str =
    "tenant's accumulated message data volume exceeds configured maximum value";

/// Max-Age of 5.03, in seconds: when to try again (spec: coap-adapter §4).
const RETRY_AFTER: u32 = 2;

/// The most bytes of a diagnostic payload.
const LONGEST_TEXT: usize = 512;

#[cfg(test)]
mod tests;
