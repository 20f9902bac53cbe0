//! The requests that adapters send to `cmd_router/<tenant>` (spec: registry-apis A.6).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use amqp_proto::{Message, Value};

use super::{CommandRouter, consumers::Full};
use crate::{
    registry::{Body, Response},
    world::World,
};

type Outcome = Result<(), (i32, &'static str)>;

/// A device came or went, and applications want to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) tenant: String,
    pub(crate) device: String,
    /// The `ttd` to tell: -1 for connected until further notice, 0 for gone (spec: amqp-messages §7).
    pub(crate) ttd: i32,
}

impl CommandRouter {
    /// Answers one request; `request` has `subject`. Returns the notification for applications, if
    /// the
    /// adapter requests one.
    pub(crate) fn respond(
        &mut self,
        world: &World,
        tenant: &str,
        subject: &str,
        request: &Message,
        now: Instant,
    ) -> (Response, Option<Presence>) {
        let tells = request.application_property("send_event") == Some(&Value::Bool(true));
        let device = string(request, "device_id").map(str::to_owned);
        let outcome = match subject {
            "register-command-consumer" => self.register(world, tenant, request, now),
            "unregister-command-consumer" => self.unregister(tenant, request, now),
            "set-last-known-gw" => self.set_last_gateway(tenant, request, now),
            "enable-command-routing" => enable(request),
            _ => Err((400, "unsupported operation")),
        };
        let (status, body) = match outcome {
            Ok(()) => (204, Body::None),
            Err((status, text)) => (status, Body::Text(text)),
        };
        let ttd = match subject {
            "register-command-consumer" => Some(-1),
            "unregister-command-consumer" => Some(0),
            _ => None,
        };
        let presence = ttd
            .filter(|_| tells && outcome.is_ok())
            .zip(device.clone())
            .map(|(ttd, device)| Presence {
                tenant: tenant.to_owned(),
                device,
                ttd,
            });
        let to = match &device {
            Some(device) => format!("cmd_router/{tenant}/{device}"),
            None => format!("cmd_router/{tenant}"),
        };
        let response = Response {
            status,
            cache_control: None,
            tenant_id: Some(tenant.to_owned()),
            device_id: device,
            to,
            body,
        };
        (response, presence)
    }

    fn register(
        &mut self,
        world: &World,
        tenant: &str,
        request: &Message,
        now: Instant,
    ) -> Outcome {
        let (device, instance) = consumer(request)?;
        if !world.tenants.contains_key(tenant) {
            return Err((404, "no such tenant"));
        }
        let lifespan = match request.application_property("lifespan") {
            Some(Value::Int(seconds)) => u64::try_from(*seconds).ok(),
            Some(Value::Long(seconds)) => u64::try_from(*seconds).ok(),
            None => None,
            Some(_) => return Err((400, "lifespan is not a number")),
        };
        let lifespan = lifespan.map(Duration::from_secs);
        let registered = self
            .consumers
            .register(tenant, device, instance, lifespan, now);
        registered.map_err(full)
    }

    fn unregister(&mut self, tenant: &str, request: &Message, now: Instant) -> Outcome {
        let (device, instance) = consumer(request)?;
        self.consumers
            .unregister(tenant, device, instance, now)
            .map_err(|_| (412, "no matching command consumer mapping found"))
    }

    /// One gateway stands in the application properties, several stand in the body.
    fn set_last_gateway(&mut self, tenant: &str, request: &Message, now: Instant) -> Outcome {
        let named = (string(request, "device_id"), string(request, "gateway_id"));
        let all = match named {
            (Some(device), Some(gateway)) => {
                BTreeMap::from([(device.to_owned(), gateway.to_owned())])
            }
            (None, None) => serde_json::from_slice(request.body.bytes())
                .map_err(|_| (400, "neither device and gateway nor an object of them"))?,
            _ => return Err((400, "device_id or gateway_id is missing")),
        };
        for (device, gateway) in &all {
            self.consumers
                .set_last_gateway(tenant, device, gateway, now)
                .map_err(full)?;
        }
        Ok(())
    }
}

/// Commands of every tenant are taken from its first moment on, so nothing has to be enabled.
fn enable(request: &Message) -> Outcome {
    let tenants: Result<Vec<String>, _> = serde_json::from_slice(request.body.bytes());
    tenants
        .map(drop)
        .map_err(|_| (400, "request body is not an array of tenant ids"))
}

fn consumer(request: &Message) -> Result<(&str, &str), (i32, &'static str)> {
    string(request, "device_id")
        .zip(string(request, "adapter_instance_id"))
        .ok_or((400, "device_id or adapter_instance_id is missing"))
}

fn string<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    match message.application_property(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

const fn full(_: Full) -> (i32, &'static str) {
    (503, "too many entries")
}
