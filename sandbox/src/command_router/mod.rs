//! The command router: which adapter instance a command goes to, and with what changes (spec: command-routing).
//!
//! Pure: state, the world and a moment in; a decision out. Links, credit and deadlines are the AMQP peer's.

mod command;
mod consumers;
mod message;
mod service;

use std::time::Instant;

use serde_amqp::Value;

use self::{command::Command, consumers::Consumers, message::Message};
pub(crate) use self::{command::Rejection, service::Presence};
use crate::{
    amqp::sections::{CORRELATION_ID, MESSAGE_ID},
    registry,
    world::World,
};

/// State reported by adapters, for all tenants.
#[derive(Debug, Default)]
pub(crate) struct CommandRouter {
    consumers: Consumers,
    last_message: u64,
}

/// What becomes of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It goes to an adapter instance.
    Forward {
        /// The instance's id: it receives from `command_internal/<id>`.
        instance: String,
        /// The message as it goes on.
        message: Vec<u8>,
    },
    /// Nobody waits for it now.
    Release,
    /// It can never be passed on.
    Reject(Rejection),
}

impl CommandRouter {
    /// Decides about a command that came over a link to `command/<tenant>` (spec: command-routing §3).
    pub(crate) fn route(
        &mut self,
        world: &World,
        tenant: &str,
        message: &[u8],
        now: Instant,
    ) -> Decision {
        let Some(message) = Message::decode(message) else {
            return Decision::Reject(Rejection::Malformed);
        };
        let command = match command::read(tenant, &message) {
            Ok(command) => command,
            Err(rejection) => return Decision::Reject(rejection),
        };
        let gateways = match registry::gateways_of_enabled(world, tenant, &command.device) {
            Ok(gateways) => gateways,
            Err(registry::Unknown::Tenant) => return Decision::Reject(Rejection::UnknownTenant),
            Err(registry::Unknown::Device) => return Decision::Reject(Rejection::UnknownDevice),
        };
        let Some(target) = self.target(tenant, &command.device, &gateways, now) else {
            return Decision::Release;
        };
        let instance = target.instance.to_owned();
        let via = target.gateway.map(str::to_owned);
        let message = self.forward(&message, &command, via.as_deref());
        Decision::Forward { instance, message }
    }

    /// Who gets a command for `device`, which may be reached through `gateways` (spec: command-routing §4).
    fn target<'a>(
        &'a self,
        tenant: &str,
        device: &str,
        gateways: &[&'a str],
        now: Instant,
    ) -> Option<Target<'a>> {
        let of = |id: &str| self.consumers.instance(tenant, id, now);
        if let Some(instance) = of(device) {
            return Some(Target {
                instance,
                gateway: None,
            });
        }
        let through = |gateway: &&'a str| {
            of(gateway).map(|instance| Target {
                instance,
                gateway: Some(gateway),
            })
        };
        let last = self.consumers.last_gateway(tenant, device, now);
        gateways
            .iter()
            .filter(|gateway| Some(**gateway) == last)
            .find_map(through)
            .or_else(|| gateways.iter().find_map(through))
    }

    fn forward(&mut self, message: &Message<'_>, command: &Command, via: Option<&str>) -> Vec<u8> {
        self.last_message += 1;
        let id = format!("command-router-{}", self.last_message);
        let correlation = command.correlation.clone();
        let changes = [
            (MESSAGE_ID, Value::String(id)),
            (
                CORRELATION_ID,
                correlation.map_or(Value::Null, Value::String),
            ),
        ];
        message.forward(&changes, via)
    }
}

struct Target<'a> {
    instance: &'a str,
    gateway: Option<&'a str>,
}

#[cfg(test)]
mod tests;
