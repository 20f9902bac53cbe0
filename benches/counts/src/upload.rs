//! What the adapter does with a message of a device between CoAP and AMQP, but for what it looks up and waits for
//! (spec: coap-adapter §3, §4; amqp-messages §2).

use std::time::{Instant, SystemTime};

use adapter::{
    authn::{Origin, Principal},
    respond::{self, Outcome},
    route::{self, Operation},
    upload::{
        Upload,
        message::{self, Defaulting, JmsVendorProperties, Settings, Stamps, TraceFormat},
        query::{Query, TimeRequest},
    },
};
use amqp_proto::Message;
use coap_proto::{Config, Endpoint, Event, Request, Response};
use fair_share::{Holder, HolderHasher};
use registry_client::{Assertion, CredentialsType, Tenant};

use crate::{Meter, Subject};

pub(crate) const SUBJECTS: [Subject; 2] = [
    Subject {
        name: "upload_message",
        what: "request of a device with 20 bytes of data -> its origin, its operation and its AMQP message",
        run: messages,
    },
    Subject {
        name: "upload_answer",
        what: "the message was accepted -> the response to the device",
        run: answers,
    },
];

const MANY: u32 = 2_000;

fn messages(meter: &mut Meter<'_>) {
    let device = Device::new();
    for _ in 0..MANY {
        let message = meter.count(1, || device.message());
        assert_eq!(message.body.bytes(), DATA);
        assert_eq!(message.annotations.len(), 4);
    }
}

fn answers(meter: &mut Meter<'_>) {
    let now = SystemTime::now();
    for _ in 0..MANY {
        let response: Response = meter.count(1, || {
            let changed = Outcome::Changed {
                time: TimeRequest::None,
                command: None,
            };
            respond::answer(Ok(changed), now).go_out()
        });
        assert_eq!(response.code, coap_proto::Code::CHANGED);
    }
}

/// A device with what the registry said of it, and a request of its.
struct Device {
    request: Request,
    principal: Principal,
    tenant: Tenant,
    assertion: Assertion,
    stamps: Stamps,
    holder: Holder,
}

impl Device {
    fn new() -> Self {
        let mut endpoint: Endpoint<u32> = Endpoint::new(Config::default(), 1);
        let head = b"\x44\x02\x00\x01\x01\x02\x03\x04\xb9telemetry\xff";
        endpoint.handle_datagram(Instant::now(), &1, &[head.as_slice(), &DATA].concat());
        let request = match endpoint.poll_event() {
            Some(Event::Request { request, .. }) => Some(request),
            _ => None,
        };
        let principal = Principal {
            tenant: "DEFAULT_TENANT".into(),
            device: "4711".into(),
            auth_id: "sensor1".into(),
            credentials: CredentialsType::Psk,
        };
        Self {
            request: request.unwrap(),
            holder: HolderHasher::default().holder(&principal.tenant, &principal.device),
            principal,
            tenant: Tenant::from_json(br#"{"tenant-id":"DEFAULT_TENANT"}"#).unwrap(),
            assertion: Assertion::from_json(br#"{"device-id":"4711"}"#).unwrap(),
            stamps: Stamps::new("0123456789abcdef0123456789abcdef".to_owned()),
        }
    }

    /// The steps in the order of the pipeline.
    fn message(&self) -> Message {
        let (endpoint, addressing) = match route::operation(&self.request) {
            Ok(Operation::Upload(endpoint, addressing)) => Some((endpoint, addressing)),
            _ => None,
        }
        .unwrap();
        let query = Query::of(&self.request);
        let origin = Origin::of(Some(&self.principal), &addressing).unwrap();
        let upload = Upload::of(endpoint, &self.request, &query, self.holder).unwrap();
        let stamp = self.stamps.next(SystemTime::now());
        let (tenant, assertion) = (&self.tenant, &self.assertion);
        message::of_upload(
            &upload, tenant, assertion, &origin, query.ttd, SETTINGS, stamp,
        )
    }
}

/// Default values.
const SETTINGS: Settings = Settings {
    defaults: Defaulting::Enabled,
    jms_vendor_properties: JmsVendorProperties::Omitted,
    trace_format: TraceFormat::Annotation,
    sampler: None,
};

const DATA: [u8; 20] = *b"{\"temperature\":21.5}";
