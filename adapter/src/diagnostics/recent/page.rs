//! The events of a device as an operator reads them, in JSON.

use std::net::SocketAddr;
use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Entry, Recent, What};
use observability::reason::Reason;

/// What is known of a device.
#[derive(Debug, Serialize)]
pub struct Page {
    tenant: String,
    device: String,
    /// When this replica began to remember.
    since: String,
    /// Said if there is nothing else to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    /// The newest first.
    events: Vec<Event>,
}

impl Page {
    /// What is remembered of a device.
    #[must_use]
    pub fn of(recent: &Recent, tenant: &str, device: &str) -> Self {
        let events: Vec<_> = recent
            .of(tenant, device)
            .into_iter()
            .map(Event::of)
            .collect();
        Self {
            tenant: tenant.to_owned(),
            device: device.to_owned(),
            since: timestamp(recent.since()),
            hint: events.is_empty().then_some(NOTHING),
            events,
        }
    }
}

#[derive(Debug, Serialize)]
struct Event {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(rename = "auth-id", skip_serializing_if = "Option::is_none")]
    auth_id: Option<String>,
    #[serde(rename = "cipher-suite", skip_serializing_if = "Option::is_none")]
    suite: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    reason: Option<Explained>,
}

#[derive(Debug, Serialize)]
struct Request {
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    bytes: usize,
    milliseconds: u128,
}

#[derive(Debug, Serialize)]
struct Explained {
    reason: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

impl Explained {
    const fn of(reason: Reason) -> Self {
        Self {
            reason: reason.code(),
            meaning: reason.meaning(),
            remedy: reason.remedy(),
        }
    }
}

impl Event {
    fn of(entry: Entry) -> Self {
        let named = |event| Self {
            time: timestamp(entry.at),
            event,
            peer: None,
            auth_id: None,
            suite: None,
            why: None,
            detail: None,
            request: None,
            reason: None,
        };
        match entry.what {
            What::HandshakeFailed {
                peer,
                auth_id,
                reason,
                detail,
            } => Self {
                peer: Some(peer),
                auth_id: auth_id.map(|it| it.as_ref().to_owned()),
                detail: detail.map(|it| it.as_ref().to_owned()),
                reason: Some(Explained::of(reason)),
                ..named("handshake-failed")
            },
            What::SessionOpened {
                peer,
                auth_id,
                suite,
            } => Self {
                peer: Some(peer),
                auth_id: Some(auth_id.as_ref().to_owned()),
                suite: Some(suite),
                ..named("session-opened")
            },
            What::SessionClosed { why } => Self {
                why: Some(why),
                ..named("session-closed")
            },
            What::Request {
                peer,
                operation,
                gateway,
                code,
                reason,
                command,
                bytes,
                duration,
            } => Self {
                peer: Some(peer),
                request: Some(Request {
                    operation,
                    gateway: gateway.map(|it| it.as_ref().to_owned()),
                    code: code.to_string(),
                    command: command.map(|it| it.as_ref().to_owned()),
                    bytes,
                    milliseconds: duration.as_millis(),
                }),
                reason: reason.map(Explained::of),
                ..named(if reason.is_some() {
                    "request-refused"
                } else {
                    "request-served"
                })
            },
        }
    }
}

fn timestamp(at: SystemTime) -> String {
    OffsetDateTime::from(at)
        .format(&Rfc3339)
        .unwrap_or_default()
}

const NOTHING: &str = "Nothing was heard of this device by this replica: it does not reach it, goes to another replica, or uses another name. A device that offers no identity before its handshake fails is found in the log by its address only.";
