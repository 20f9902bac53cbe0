//! The AMQP message that an application gets, section by section (spec: amqp-messages §2, observed §1).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use amqp_client::{Body, Header, Message, Properties, Value};
use coap_proto::Reliability;
use registry_client::{Assertion, Tenant};

use super::Upload;
use super::content_type::OCTET_STREAM;
use super::defaults::Defaults;
use super::ttl::{self, Kind};
use crate::ADAPTER;
use crate::authn::Origin;
use crate::route::Endpoint;
use observability::spans::Sampler;
use observability::trace::TraceContext;

/// What the configuration says about messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// `defaultsEnabled`: whether telemetry and events get the tenant's and the device's defaults.
    pub defaults: Defaulting,
    /// `jmsVendorPropsEnabled`: whether content type and encoding are told as application properties, too.
    pub jms_vendor_properties: JmsVendorProperties,
    /// `useLegacyTraceContextFormat`: where a message's place in a trace is told.
    pub trace_format: TraceFormat,
    /// Which traces are exported; none exports nothing.
    pub sampler: Option<Sampler>,
}

/// Where a message tells its place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceFormat {
    /// In the annotation `x-opt-trace-context`.
    Annotation,
    /// In the application property `traceparent`.
    ApplicationProperty,
}

/// Whether defaults are merged into telemetry and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaulting {
    /// They are.
    Enabled,
    /// Only what the message says goes out.
    Disabled,
}

/// Whether `JMS_AMQP_CONTENT_TYPE` and `JMS_AMQP_CONTENT_ENCODING` are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JmsVendorProperties {
    /// They are.
    Sent,
    /// They are not.
    Omitted,
}

/// What makes one message different from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Unique among all messages of all adapters.
    pub message_id: String,
    /// Milliseconds since 1970.
    pub created: i64,
    /// Where the message stands in a trace.
    pub trace: TraceContext,
}

/// Makes stamps.
#[derive(Debug)]
pub struct Stamps {
    instance: String,
    count: AtomicU64,
}

impl Stamps {
    /// Stamps of a process, or a part of it, with a unique name.
    #[must_use]
    pub const fn new(instance: String) -> Self {
        Self {
            instance,
            count: AtomicU64::new(0),
        }
    }

    /// The next stamp.
    pub fn next(&self, now: SystemTime) -> Stamp {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp {
            message_id: format!("{}-{count}", self.instance),
            created: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            trace: TraceContext::current(),
        }
    }
}

/// The message that telemetry or an event becomes.
pub fn of_upload(
    upload: &Upload<'_>,
    tenant: &Tenant,
    assertion: &Assertion,
    origin: &Origin,
    ttd: Option<i32>,
    settings: Settings,
    stamp: Stamp,
) -> Message {
    let levels = [&tenant.defaults, &assertion.defaults];
    let defaults = match settings.defaults {
        Defaulting::Enabled => Defaults::of(&levels),
        Defaulting::Disabled => Defaults::default(),
    };
    let name = upload.endpoint.name();
    let (kind, qos) = match (upload.endpoint, upload.reliability) {
        (Endpoint::Event, _) => (Kind::Event, 1),
        (Endpoint::Telemetry, Reliability::Confirmable) => (Kind::TelemetryQos1, 1),
        (Endpoint::Telemetry, Reliability::NonConfirmable) => (Kind::TelemetryQos0, 0),
    };
    let mut own = vec![
        ("orig_adapter", text(ADAPTER)),
        ("qos", Value::Int(qos)),
        ("device_id", text(&origin.device)),
        (
            "orig_address",
            Value::String(format!("/{}", upload.path.join("/"))),
        ),
    ];
    own.extend(ttd.map(|ttd| ("ttd", Value::Int(ttd))));
    let message = Message {
        header: Header {
            durable: upload.endpoint == Endpoint::Event,
            ttl: ttl::effective(kind, &defaults, &tenant.resource_limits),
        },
        annotations: annotations(
            origin.tenant.as_ref(),
            &origin.device,
            format!("{name}/{}/{}", origin.tenant, origin.device),
        ),
        properties: Properties {
            message_id: Some(stamp.message_id.into()),
            to: Some(format!("{name}/{}", origin.tenant)),
            content_type: Some(
                upload
                    .content_type
                    .as_deref()
                    .or(defaults.text("content-type"))
                    .unwrap_or(OCTET_STREAM)
                    .to_owned(),
            ),
            content_encoding: defaults.text("content-encoding").map(str::to_owned),
            creation_time: Some(stamp.created),
            ..Properties::default()
        },
        application_properties: overlaid(&defaults, own),
        body: Body::Data(upload.payload.to_vec()),
    };
    let sampling = tenant.tracing.sampling_of(origin.auth_id.as_deref());
    let trace = stamp.trace.sampled(settings.sampler, sampling);
    finished(message, &defaults, settings, trace)
}

/// Who it is about, and where it was sent to.
pub(crate) fn annotations(tenant: &str, device: &str, resource: String) -> Vec<(String, Value)> {
    vec![
        ("tenant_id".to_owned(), text(tenant)),
        ("device_id".to_owned(), text(device)),
        ("resource".to_owned(), Value::String(resource)),
    ]
}

/// The message's own properties, and of the defaults what it does not say itself.
pub(crate) fn overlaid(
    defaults: &Defaults<'_>,
    own: Vec<(&'static str, Value)>,
) -> Vec<(String, Value)> {
    let further: Vec<_> = defaults
        .application_properties()
        .filter(|(name, _)| own.iter().all(|(own, _)| own != name))
        .collect();
    own.into_iter()
        .chain(further)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Adds its place in a trace, and what only some configurations or defaults ask for.
pub(crate) fn finished(
    mut message: Message,
    defaults: &Defaults<'_>,
    settings: Settings,
    trace: TraceContext,
) -> Message {
    let parent = Value::String(trace.to_string());
    match settings.trace_format {
        TraceFormat::Annotation => {
            let context = Value::Map(vec![(Value::Symbol(TRACEPARENT.to_owned()), parent)]);
            message
                .annotations
                .push(("x-opt-trace-context".to_owned(), context));
        }
        TraceFormat::ApplicationProperty => {
            message
                .application_properties
                .push((TRACEPARENT.to_owned(), parent));
        }
    }
    if let Some(retain) = defaults.retain() {
        message
            .annotations
            .push(("x-opt-retain".to_owned(), Value::Bool(retain)));
    }
    if settings.jms_vendor_properties == JmsVendorProperties::Sent {
        let fields = [
            ("JMS_AMQP_CONTENT_TYPE", &message.properties.content_type),
            (
                "JMS_AMQP_CONTENT_ENCODING",
                &message.properties.content_encoding,
            ),
        ];
        let told = fields
            .into_iter()
            .filter_map(|(name, field)| Some((name, field.as_deref()?)));
        let told = told.filter(|(_, value)| !value.is_empty());
        message
            .application_properties
            .extend(told.map(|(name, value)| (name.to_owned(), text(value))));
    }
    message
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The header of W3C Trace Context §3.2.
const TRACEPARENT: &str = "traceparent";

#[cfg(test)]
mod tests;
