//! The device registry's answers (spec: registry-apis A.3 to A.5): tenants, registration assertions, credentials.
//!
//! Pure: a request, the world and a moment give a response. How both travel is the AMQP peer's.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::world::{Device, Tenant, World};

/// Which of the registry's APIs a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    Tenant,
    Registration { tenant: String },
    Credentials { tenant: String },
}

impl Service {
    /// The service behind the target address of a request link, if it is one.
    pub(crate) fn at(address: &str) -> Option<Self> {
        match address.split_once('/') {
            None if address == "tenant" => Some(Self::Tenant),
            Some(("registration", tenant)) if is_one_segment(tenant) => Some(Self::Registration {
                tenant: tenant.to_owned(),
            }),
            Some(("credentials", tenant)) if is_one_segment(tenant) => Some(Self::Credentials {
                tenant: tenant.to_owned(),
            }),
            _ => None,
        }
    }

    /// The target address of its request links.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tenant => self.name().to_owned(),
            Self::Registration { tenant } | Self::Credentials { tenant } => {
                format!("{}/{tenant}", self.name())
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Registration { .. } => "registration",
            Self::Credentials { .. } => "credentials",
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) subject: &'a str,
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) device_id: Option<&'a str>,
    pub(crate) gateway_id: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// What is answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: i32,
    pub(crate) cache_control: Option<&'static str>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) device_id: Option<String>,
    /// The `to` of the response.
    pub(crate) to: String,
    pub(crate) body: Body,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    None,
    Json(Value),
    Text(&'static str),
}

/// Answers one request, as of `now`.
pub(crate) fn respond(
    world: &World,
    service: &Service,
    request: &Request<'_>,
    now: OffsetDateTime,
) -> Response {
    let outcome = match service {
        Service::Tenant => tenant(world, request, now),
        Service::Registration { tenant } => registration(world, tenant, request),
        Service::Credentials { tenant } => credentials(world, tenant, request),
    };
    let (tenant_id, device_id) = match service {
        Service::Tenant => (request.tenant_id.map(str::to_owned), None),
        Service::Registration { tenant } | Service::Credentials { tenant } => {
            (Some(tenant.clone()), request.device_id.map(str::to_owned))
        }
    };
    let segments = [
        Some(service.name().to_owned()),
        tenant_id.clone(),
        device_id.clone(),
    ];
    let to = segments.into_iter().flatten().collect::<Vec<_>>().join("/");
    let (status, cache_control, body) = match outcome {
        Ok((body, cache_control)) => (200, Some(cache_control), Body::Json(body)),
        Err((status, "")) => (status, None, Body::None),
        Err((status, text)) => (status, None, Body::Text(text)),
    };
    Response {
        status,
        cache_control,
        tenant_id,
        device_id,
        to,
        body,
    }
}

type Outcome = Result<(Value, &'static str), (i32, &'static str)>;

fn tenant(world: &World, request: &Request<'_>, now: OffsetDateTime) -> Outcome {
    if request.subject != "get" {
        return Err(UNSUPPORTED);
    }
    let asked = body(request)?;
    let by_id = asked
        .get("tenant-id")
        .and_then(Value::as_str)
        .or(request.tenant_id);
    let by_dn = asked.get("subject-dn").and_then(Value::as_str);
    let found = match (by_id, by_dn) {
        (Some(id), None) => world.tenants.get_key_value(id).or_else(|| {
            world
                .tenants
                .iter()
                .find(|(_, tenant)| alias(tenant) == Some(id))
        }),
        (None, Some(dn)) => {
            let mut trusting = world
                .tenants
                .iter()
                .filter(|(_, tenant)| trusts(tenant, dn));
            trusting.next().filter(|_| trusting.next().is_none())
        }
        _ => return Err((400, "request needs either a tenant-id or a subject-dn")),
    };
    let (id, tenant) = found.ok_or(NOT_FOUND)?;
    let mut reported = Map::from_iter([
        ("tenant-id".to_owned(), json!(id)),
        ("enabled".to_owned(), json!(true)),
    ]);
    for (name, value) in &tenant.members {
        match (name.as_str(), value) {
            ("alias" | "registration-limits" | "trust-anchor-group", _) => {}
            ("trusted-ca", Value::Array(authorities)) => {
                reported.insert(name.clone(), trusted(authorities, now));
            }
            _ => {
                reported.insert(name.clone(), value.clone());
            }
        }
    }
    Ok((Value::Object(reported), "max-age = 180"))
}

/// The authorities that are valid now, without what only the registry needs.
fn trusted(authorities: &[Value], now: OffsetDateTime) -> Value {
    let valid = authorities.iter().filter(|authority| {
        let time = |name: &str| {
            let text = authority.get(name)?.as_str()?;
            OffsetDateTime::parse(text, &Rfc3339).ok()
        };
        time("not-before").is_none_or(|start| start <= now)
            && time("not-after").is_none_or(|end| now <= end)
    });
    let reported = valid.map(|authority| {
        let mut reported = authority.clone();
        if let Some(members) = reported.as_object_mut() {
            members.retain(|name, _| !ONLY_THE_REGISTRY.contains(&name.as_str()));
        }
        reported
    });
    reported.collect()
}

fn registration(world: &World, tenant: &str, request: &Request<'_>) -> Outcome {
    if request.subject != "assert" {
        return Err(UNSUPPORTED);
    }
    let id = request
        .device_id
        .ok_or((400, "request needs a device_id"))?;
    let tenant = world.tenants.get(tenant).ok_or(NOT_FOUND)?;
    let device = enabled(tenant, id).ok_or(NOT_FOUND)?;
    if let Some(gateway_id) = request.gateway_id.filter(|gateway| *gateway != id) {
        let gateway = enabled(tenant, gateway_id).ok_or((403, "no such gateway"))?;
        let member = gateway
            .member_of
            .iter()
            .any(|group| device.via_groups.contains(group));
        if !member && !device.via.iter().any(|via| via == gateway_id) {
            return Err((403, "gateway is not authorized to act on behalf of device"));
        }
    }
    let mut assertion = Map::from_iter([("device-id".to_owned(), json!(id))]);
    let via = gateways_of(tenant, device);
    if !via.is_empty() {
        assertion.insert("via".to_owned(), json!(via));
    }
    for member in [
        "downstream-message-mapper",
        "upstream-message-mapper",
        "command-endpoint",
    ] {
        if let Some(value) = device.further.get(member) {
            assertion.insert(member.to_owned(), value.clone());
        }
    }
    if !device.defaults.is_empty() {
        assertion.insert(
            "defaults".to_owned(),
            Value::Object(device.defaults.clone()),
        );
    }
    Ok((Value::Object(assertion), "max-age = 300"))
}

fn credentials(world: &World, tenant: &str, request: &Request<'_>) -> Outcome {
    if request.subject != "get" {
        return Err(UNSUPPORTED);
    }
    let asked = body(request)?;
    let member = |name: &str| {
        asked
            .get(name)
            .and_then(Value::as_str)
            .ok_or((400, "request needs a type and an auth-id"))
    };
    let (kind, auth_id) = (member("type")?, member("auth-id")?);
    let tenant = world.tenants.get(tenant).ok_or(NOT_FOUND)?;
    // A device is often called as its credentials are; else all have to be looked at.
    let namesake = tenant.devices.get_key_value(auth_id);
    let all = namesake.into_iter().chain(&tenant.devices);
    let all = all.flat_map(|(id, device)| {
        device
            .credentials
            .iter()
            .map(move |credentials| (id, credentials))
    });
    let mut matching = all.filter(|(_, credentials)| {
        credentials.kind == kind
            && credentials.auth_id == auth_id
            && !credentials.disabled
            && fits(&asked, &credentials.ext)
    });
    let (id, credentials) = matching.next().ok_or(NOT_FOUND)?;
    let cache_control = match kind {
        "hashed-password" | "x509-cert" => "max-age = 180",
        _ => "no-cache",
    };
    Ok((credentials.to_registry_json(id), cache_control))
}

/// Whether what a client says of itself contradicts nothing that the credentials want.
fn fits(asked: &Map<String, Value>, ext: &Map<String, Value>) -> bool {
    asked
        .iter()
        .all(|(name, value)| ext.get(name).is_none_or(|wanted| wanted == value))
}

/// Why a device cannot be asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Tenant,
    Device,
}

/// The gateways of an enabled device, as its assertion has them.
pub(crate) fn gateways_of_enabled<'a>(
    world: &'a World,
    tenant: &str,
    id: &str,
) -> Result<Vec<&'a str>, Unknown> {
    let tenant = world.tenants.get(tenant).ok_or(Unknown::Tenant)?;
    let device = enabled(tenant, id).ok_or(Unknown::Device)?;
    Ok(gateways_of(tenant, device))
}

/// The explicit gateways of a device, then the members of its groups.
fn gateways_of<'a>(tenant: &'a Tenant, device: &'a Device) -> Vec<&'a str> {
    let mut via: Vec<&str> = device.via.iter().map(String::as_str).collect();
    if device.via_groups.is_empty() {
        return via;
    }
    let members = tenant.devices.iter().filter(|(_, other)| {
        other
            .member_of
            .iter()
            .any(|group| device.via_groups.contains(group))
    });
    for (id, _) in members {
        if !via.contains(&id.as_str()) {
            via.push(id);
        }
    }
    via
}

fn enabled<'a>(tenant: &'a Tenant, id: &str) -> Option<&'a Device> {
    tenant.devices.get(id).filter(|device| !device.disabled)
}

fn alias(tenant: &Tenant) -> Option<&str> {
    tenant.members.get("alias")?.as_str()
}

fn trusts(tenant: &Tenant, subject_dn: &str) -> bool {
    let authorities = tenant.members.get("trusted-ca").and_then(Value::as_array);
    authorities
        .into_iter()
        .flatten()
        .any(|authority| authority["subject-dn"] == subject_dn)
}

fn body(request: &Request<'_>) -> Result<Map<String, Value>, (i32, &'static str)> {
    if request.body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(request.body).map_err(|_| (400, "request body is not a JSON object"))
}

fn is_one_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// Members of a trusted authority that the adapter does not get.
const ONLY_THE_REGISTRY: [&str; 4] = [
    "not-before",
    "not-after",
    "auto-provision-as-gateway",
    "auto-provisioning-device-id-template",
];
/// Hono's registry sends no body with 404: its clients have a text of their own.
const NOT_FOUND: (i32, &str) = (404, "");
const UNSUPPORTED: (i32, &str) = (400, "unsupported operation");

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use time::{Duration, OffsetDateTime};

    use super::{Body, Request, Service, respond};
    use crate::world::World;

    const WORLD: &str = "
tenants:
  T:
    alias: other
    adapters: [{type: hono-coap, enabled: true, ext: {max-ttd: 30}}]
    devices:
      d: {via: [gw-1], viaGroups: [g], defaults: {ttl: 7}, credentials: [{auth-id: a, key: hono-secret}]}
      off: {enabled: false}
      gw-1: {}
      gw-2: {memberOf: [g]}
      gw-3: {memberOf: [h], credentials: [{auth-id: b, key: k, enabled: false}]}
      gw-off: {enabled: false, memberOf: [g]}
";

    #[test]
    fn every_request_gets_the_status_and_the_body_that_the_registry_gives() {
        let world = World::from_yaml("w", WORLD).unwrap();
        let device =
            json!({"device-id": "d", "via": ["gw-1", "gw-2", "gw-off"], "defaults": {"ttl": 7}});
        let secret = json!({"device-id": "d", "type": "psk", "auth-id": "a", "enabled": true, "secrets": [{"id": "1", "key": "aG9uby1zZWNyZXQ="}]});
        let tenant = json!({"tenant-id": "T", "enabled": true, "adapters": [{"type": "hono-coap", "enabled": true, "ext": {"max-ttd": 30}}]});
        let ok = |body: &Value, cache: &'static str| (200, Some(cache), Body::Json(body.clone()));
        let no = |status: i32, text: &'static str| (status, None, Body::Text(text));
        let not_found = || (404, None, Body::None);
        let rows = [
            (
                "tenant",
                "get",
                None,
                None,
                r#"{"tenant-id":"T"}"#,
                ok(&tenant, "max-age = 180"),
            ),
            (
                "tenant",
                "get",
                None,
                None,
                r#"{"tenant-id":"other"}"#,
                ok(&tenant, "max-age = 180"),
            ),
            (
                "tenant",
                "get",
                None,
                None,
                r#"{"tenant-id":"X"}"#,
                not_found(),
            ),
            (
                "tenant",
                "get",
                None,
                None,
                r#"{"subject-dn":"CN=x"}"#,
                not_found(),
            ),
            (
                "tenant",
                "get",
                None,
                None,
                "",
                no(400, "request needs either a tenant-id or a subject-dn"),
            ),
            (
                "tenant",
                "get",
                None,
                None,
                "[]",
                no(400, "request body is not a JSON object"),
            ),
            (
                "tenant",
                "put",
                None,
                None,
                "",
                no(400, "unsupported operation"),
            ),
            (
                "registration/T",
                "assert",
                Some("d"),
                None,
                "",
                ok(&device, "max-age = 300"),
            ),
            (
                "registration/T",
                "assert",
                Some("d"),
                Some("d"),
                "",
                ok(&device, "max-age = 300"),
            ),
            (
                "registration/T",
                "assert",
                Some("d"),
                Some("gw-1"),
                "",
                ok(&device, "max-age = 300"),
            ),
            (
                "registration/T",
                "assert",
                Some("d"),
                Some("gw-2"),
                "",
                ok(&device, "max-age = 300"),
            ),
            (
                "registration/T",
                "assert",
                Some("gw-1"),
                None,
                "",
                ok(&json!({"device-id": "gw-1"}), "max-age = 300"),
            ),
            (
                "registration/T",
                "assert",
                Some("d"),
                Some("gw-3"),
                "",
                no(403, "gateway is not authorized to act on behalf of device"),
            ),
            (
                "registration/T",
                "assert",
                Some("d"),
                Some("gw-off"),
                "",
                no(403, "no such gateway"),
            ),
            (
                "registration/T",
                "assert",
                Some("x"),
                Some("gw-3"),
                "",
                not_found(),
            ),
            (
                "registration/T",
                "assert",
                Some("off"),
                None,
                "",
                not_found(),
            ),
            ("registration/X", "assert", Some("d"), None, "", not_found()),
            (
                "registration/T",
                "assert",
                None,
                None,
                "",
                no(400, "request needs a device_id"),
            ),
            (
                "registration/T",
                "get",
                Some("d"),
                None,
                "",
                no(400, "unsupported operation"),
            ),
            (
                "credentials/T",
                "get",
                None,
                None,
                r#"{"type":"psk","auth-id":"a"}"#,
                ok(&secret, "no-cache"),
            ),
            (
                "credentials/T",
                "get",
                None,
                None,
                r#"{"type":"psk","auth-id":"b"}"#,
                not_found(),
            ),
            (
                "credentials/T",
                "get",
                None,
                None,
                r#"{"type":"x509-cert","auth-id":"a"}"#,
                not_found(),
            ),
            (
                "credentials/T",
                "get",
                None,
                None,
                r#"{"auth-id":"a"}"#,
                no(400, "request needs a type and an auth-id"),
            ),
            (
                "credentials/X",
                "get",
                None,
                None,
                r#"{"type":"psk","auth-id":"a"}"#,
                not_found(),
            ),
        ];
        for (address, subject, device_id, gateway_id, body, expected) in rows {
            let request = Request {
                subject,
                tenant_id: None,
                device_id,
                gateway_id,
                body: body.as_bytes(),
            };
            let response = respond(
                &world,
                &Service::at(address).unwrap(),
                &request,
                OffsetDateTime::UNIX_EPOCH,
            );
            let case = format!("{address} {subject} {device_id:?} {gateway_id:?} {body}");
            assert_eq!(
                (response.status, response.cache_control, response.body),
                expected,
                "{case}"
            );
        }
    }

    #[test]
    fn only_authorities_that_are_valid_now_are_told() {
        let text = r#"
tenants:
  T:
    registration-limits: {max-devices: 3}
    trusted-ca:
      - {id: a, subject-dn: CN=a, not-before: "1970-01-01T00:00:00Z", not-after: "1970-01-03T00:00:00Z", auto-provision-as-gateway: true}
      - {id: b, subject-dn: CN=b, not-before: "1970-01-02T00:00:00Z", not-after: "1970-01-03T00:00:00Z"}
      - {id: c, subject-dn: CN=c}
"#;
        let world = World::from_yaml("w", text).unwrap();
        let request = Request {
            subject: "get",
            tenant_id: Some("T"),
            device_id: None,
            gateway_id: None,
            body: b"",
        };
        for (days, expected) in [
            (
                0,
                json!([{"id": "a", "subject-dn": "CN=a"}, {"id": "c", "subject-dn": "CN=c"}]),
            ),
            (4, json!([{"id": "c", "subject-dn": "CN=c"}])),
        ] {
            let now = OffsetDateTime::UNIX_EPOCH + Duration::days(days);
            let response = respond(&world, &Service::Tenant, &request, now);
            let reported = json!({"tenant-id": "T", "enabled": true, "trusted-ca": expected});
            assert_eq!(response.body, Body::Json(reported));
        }
    }
}
