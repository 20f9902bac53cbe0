//! Checks of a command's properties (spec: amqp-messages §6), and the errors for the application
//! (spec: command-routing §3).

use serde_amqp::Value;

use super::message::{BodyKind, Message};
use crate::amqp::sections::{CORRELATION_ID, MESSAGE_ID, REPLY_TO, SUBJECT};

/// A command that may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// The device that it is for.
    pub(super) device: String,
    /// The correlation id, or else the message id.
    pub(super) correlation: Option<String>,
}

/// Why a command is rejected for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// No address, or one without parts.
    Address,
    /// The address is one of another tenant than the link's.
    Tenant,
    /// The address names no device.
    Device,
    /// Anything else is not as it has to be.
    Malformed,
    /// The tenant does not exist.
    UnknownTenant,
    /// The device does not exist, or is disabled.
    UnknownDevice,
}

impl Rejection {
    /// The condition of the outcome.
    pub(crate) const fn condition(self) -> &'static str {
        match self {
            Self::Tenant => "amqp:unauthorized-access",
            _ => "hono:bad-request",
        }
    }

    /// The description of the outcome.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Address => "missing or invalid command target address",
            Self::Tenant => "unauthorized to send command to tenant",
            Self::Device => "invalid command target address",
            Self::Malformed => "malformed command message",
            Self::UnknownTenant => "tenant is disabled or not registered",
            Self::UnknownDevice => "device is disabled or not registered",
        }
    }
}

/// Reads a command that came over the link of `tenant`.
pub(super) fn read(tenant: &str, message: &Message<'_>) -> Result<Command, Rejection> {
    let to = text(message.property(TO)).filter(|to| !to.is_empty() && !to.starts_with('/'));
    let mut segments = to.ok_or(Rejection::Address)?.split('/');
    let endpoint = segments.next();
    if segments.next() != Some(tenant) {
        return Err(Rejection::Tenant);
    }
    let device = segments.next().filter(|device| !device.is_empty());
    let device = device.ok_or(Rejection::Device)?;
    let subject = text(message.property(SUBJECT)).filter(|subject| !subject.is_empty());
    if endpoint != Some("command") || subject.is_none() || message.body_kind() == BodyKind::Other {
        return Err(Rejection::Malformed);
    }
    let correlation = match message
        .property(CORRELATION_ID)
        .or_else(|| message.property(MESSAGE_ID))
    {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(Rejection::Malformed),
    };
    match message.property(REPLY_TO) {
        None => {}
        Some(Value::String(address))
            if correlation.is_some() && is_reply_address(tenant, address) => {}
        Some(_) => return Err(Rejection::Malformed),
    }
    Ok(Command {
        device: device.to_owned(),
        correlation,
    })
}

fn is_reply_address(tenant: &str, address: &str) -> bool {
    let rest = address
        .strip_prefix("command_response/")
        .and_then(|rest| rest.strip_prefix(tenant))
        .and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|reply_id| !reply_id.is_empty())
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The place of `to` in the properties.
const TO: usize = 2;
