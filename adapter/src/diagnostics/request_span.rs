//! The first span of a request's trace (spec: metrics-health §4).

use coap_proto::{Code, Reliability, Request};
use tracing::{Span, field};

use crate::ADAPTER;
use crate::authn::{Authenticated, Origin};
use crate::route::Resource;
use observability::reason::Reason;
use observability::spans::trace_span;

/// Opens the span.
pub(crate) fn open(request: &Request) -> Span {
    let path = request.uri_path();
    trace_span!(
        name_of_request(request),
        otel.kind = "server",
        component = ADAPTER,
        http.method = method(request.code()),
        http.url = format!("/{}", path.join("/")),
        coap.message_type = match request.reliability() {
            Reliability::Confirmable => "CON",
            Reliability::NonConfirmable => "NON",
        },
        coap.response_code = field::Empty,
        otel.status_code = field::Empty,
        reason = field::Empty,
        tenant_id = field::Empty,
        device_id = field::Empty,
        gateway_id = field::Empty,
        auth_id = field::Empty,
        authenticated = field::Empty,
        ttd = field::Empty,
        sampling.priority = field::Empty,
    )
}

/// Records the device that the request is from.
pub(crate) fn about(span: &Span, origin: &Origin) {
    span.record("tenant_id", &*origin.tenant);
    span.record("device_id", &*origin.device);
    span.record("authenticated", origin.authenticated == Authenticated::Yes);
    if let Some(gateway) = &origin.gateway {
        span.record("gateway_id", &**gateway);
    }
    if let Some(auth_id) = &origin.auth_id {
        span.record("auth_id", &**auth_id);
    }
}

/// The method's name (RFC 7252 §12.1.1, RFC 8132).
const fn method(code: Code) -> &'static str {
    match code.detail() {
        1 => "GET",
        2 => "POST",
        3 => "PUT",
        4 => "DELETE",
        5 => "FETCH",
        6 => "PATCH",
        7 => "iPATCH",
        _ => "unknown",
    }
}

/// Records how the request was answered, and why it was refused.
pub(crate) fn answered(span: &Span, code: Code, reason: Option<Reason>) {
    span.record("coap.response_code", field::display(code));
    if let Some(reason) = reason {
        span.record("reason", reason.code());
    }
    if code.class() == 5 {
        span.record("otel.status_code", "ERROR");
    }
}

/// The template of its path, so that there are few names (spec: metrics-health §4).
fn name_of_request(request: &Request) -> &'static str {
    let resource = match Resource::from_request(request) {
        Some(Resource::Telemetry) => 0,
        Some(Resource::Event) => 1,
        Some(Resource::CommandResponse) => 2,
        Some(Resource::Command | Resource::WellKnown) | None => return "/*",
    };
    let names = match request.code() {
        Code::POST => ["/telemetry", "/event", "/command_response/:cmd_req_id"],
        Code::PUT => [
            "/telemetry/:tenant_id/:device_id",
            "/event/:tenant_id/:device_id",
            "/command_response/:tenant_id/:device_id/:cmd_req_id",
        ],
        _ => ["/telemetry/*", "/event/*", "/command_response/*"],
    };
    names.get(resource).copied().unwrap_or("/*")
}
