//! What requests to the management API have in common: bodies, ids, versions, and the answers that carry them.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::failure::Failure;
use crate::world::Record;

/// A body and what it says that it is.
pub(super) struct Sent {
    content_type: Option<String>,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
        Ok(Self { content_type, body })
    }
}

impl Sent {
    /// The JSON value that a PUT has to bring.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let sent = self.content_type.as_deref();
        let sent = sent.ok_or_else(|| Failure::bad_request("Missing Content-Type header"))?;
        let media_type = sent.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Failure::bad_request(format!(
                "Unsupported Content-Type [{sent}]"
            )));
        }
        if self.body.is_empty() {
            return Err(Failure::bad_request("Empty body"));
        }
        serde_json::from_slice(&self.body).map_err(|_| Failure::bad_request("Invalid JSON"))
    }

    /// The JSON object that a PUT has to bring.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Failure> {
        match self.json()? {
            Value::Object(members) => Ok(members),
            _ => Err(Failure::bad_request("Invalid JSON")),
        }
    }

    /// The JSON object that a POST may bring.
    pub(super) fn object_or_none(&self) -> Result<Map<String, Value>, Failure> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        self.object()
    }
}

/// What kind of thing an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Tenant,
    Device,
}

impl Id {
    /// Refuses an id with other letters than it may have.
    pub(super) fn check(self, id: &str) -> Result<(), Failure> {
        let (name, more) = match self {
            Self::Tenant => ("tenant", "-_."),
            Self::Device => ("device", "-_.:="),
        };
        let fits = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
        if !id.is_empty() && id.chars().all(fits) {
            return Ok(());
        }
        Err(Failure::bad_request(format!("invalid {name} id")))
    }
}

/// The version of a resource: it differs when its record or its public representation does. Secrets
/// have no part in it.
pub(super) fn version(record: &Record, reported: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    record.revision.hash(&mut hasher);
    reported.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Refuses a request that is about another version than there is.
pub(super) fn check_version(headers: &HeaderMap, version: &str) -> Result<(), Failure> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Ok(());
    };
    let wanted = wanted.to_str().unwrap_or_default().trim();
    if wanted == "*" || wanted.trim_matches('"') == version {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::PRECONDITION_FAILED,
        "resource version mismatch",
    ))
}

impl Record {
    /// The record of something that is made now.
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            created: Some(OffsetDateTime::now_utc()),
            updated: None,
        }
    }

    /// The record after another change.
    pub(super) fn next(&self) -> Self {
        Self {
            revision: self.revision.wrapping_add(1),
            created: self.created,
            updated: Some(OffsetDateTime::now_utc()),
        }
    }
}

/// A time as it is returned, in whole seconds.
pub(super) fn moment(time: OffsetDateTime) -> Value {
    let time = time.replace_nanosecond(0).unwrap_or(time);
    // Only years beyond 9999 cannot be written.
    json!(time.format(&Rfc3339).unwrap_or_default())
}

/// 201: something was made at `location`, below `/v1`.
pub(super) fn created(location: &str, id: &str, version: String) -> Response {
    let headers = [
        (header::LOCATION, format!("/v1/{location}")),
        (header::ETAG, version),
        (header::CONTENT_TYPE, JSON.to_owned()),
    ];
    let body = json!({"id": id}).to_string();
    (StatusCode::CREATED, headers, body).into_response()
}

/// 200 with a resource.
pub(super) fn found(reported: &Value, version: String) -> Response {
    let headers = [
        (header::ETAG, version),
        (header::CONTENT_TYPE, JSON.to_owned()),
    ];
    (StatusCode::OK, headers, reported.to_string()).into_response()
}

/// 200 with what a search has found.
pub(super) fn listed(reported: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, JSON)];
    (StatusCode::OK, headers, reported.to_string()).into_response()
}

/// 204: it is as wanted now.
pub(super) fn updated(version: String) -> Response {
    (StatusCode::NO_CONTENT, [(header::ETAG, version)]).into_response()
}

const JSON: &str = "application/json; charset=utf-8";
