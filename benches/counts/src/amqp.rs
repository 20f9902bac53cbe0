//! An AMQP connection: messages on their way out, dispositions on their way in. The peer's frames are put together by hand
//! (AMQP 1.0 part 2 §2.7, part 1 §1.6).

use std::time::Instant;

use amqp_proto::{Config, Connection, Event, LinkId, Message, Outcome, Sasl, Settlement, Value};

use crate::{Meter, Subject};

pub(crate) const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "message_encode",
        what: "AMQP message with 100 bytes of data -> its sections",
        run: encode,
    },
    Subject {
        name: "message_transfer",
        what: "the same -> its transfer frame, ready to be written; 16 are written at a time",
        run: transfer,
    },
    Subject {
        name: "message_settle",
        what: "accepted in a disposition for 16 messages -> event",
        run: settle,
    },
];

/// How many messages are under way at a time, and how often that is done.
const TOGETHER: u32 = 16;
const MANY: u32 = 100;

fn encode(meter: &mut Meter<'_>) {
    let message = message();
    let mut into = Vec::with_capacity(4096);
    for _ in 0..MANY {
        into.clear();
        meter.count(1, || message.encode(&mut into));
        assert!(into.len() > 100);
    }
}

fn transfer(meter: &mut Meter<'_>) {
    let (mut sender, message) = (Sender::open(), message());
    for _ in 0..MANY {
        meter.count(TOGETHER.into(), || sender.send(&message));
        let disposition = sender.disposition();
        assert_eq!(sender.settle(&disposition), TOGETHER);
    }
}

fn settle(meter: &mut Meter<'_>) {
    let (mut sender, message) = (Sender::open(), message());
    for _ in 0..MANY {
        sender.send(&message);
        let disposition = sender.disposition();
        let accepted = meter.count(TOGETHER.into(), || sender.settle(&disposition));
        assert_eq!(accepted, TOGETHER);
    }
}

/// A connection with a link that has credit.
struct Sender {
    connection: Connection,
    now: Instant,
    link: LinkId,
    /// The number of the next delivery (§2.8.6).
    next: u32,
    /// What is written.
    out: Vec<u8>,
}

impl Sender {
    fn open() -> Self {
        let now = Instant::now();
        let mut config = Config::default();
        config.sasl = Sasl::None;
        let mut connection = Connection::new(now, config);
        let mut out = Vec::new();
        connection.poll_transmit(now, &mut out);
        connection.handle_bytes(now, b"AMQP\x00\x01\x00\x00");
        connection.handle_bytes(now, &frame(OPEN, &[&string("peer")]));
        let window = &uint(1 << 30);
        let begin = frame(BEGIN, &[&ushort(0), &uint(0), window, window]);
        connection.handle_bytes(now, &begin);
        assert_eq!(connection.poll_event(), Some(Event::Opened));
        let link = connection
            .attach_sender("telemetry/DEFAULT_TENANT")
            .unwrap();
        connection.poll_transmit(now, &mut out);
        let name = string(&format!("{}-0", Config::default().link_name));
        assert!(out.windows(name.len()).any(|part| part == name));
        let node = |code| [&[0x00, 0x53, code][..], &EMPTY_LIST].concat();
        let (source, target) = (node(SOURCE), node(TARGET));
        let attach: [&[u8]; 7] = [
            &name,
            &uint(0),
            &TRUE,
            &[0x50, 0],
            &[0x50, 0],
            &source,
            &target,
        ];
        connection.handle_bytes(now, &frame(ATTACH, &attach));
        let flow: [&[u8]; 7] = [
            &uint(0),
            window,
            &uint(0),
            window,
            &uint(0),
            &uint(0),
            &uint(1_000_000),
        ];
        connection.handle_bytes(now, &frame(FLOW, &flow));
        while connection.poll_event().is_some() {}
        assert_eq!(connection.credit(link), 1_000_000);
        Self {
            connection,
            now,
            link,
            next: 0,
            out: Vec::with_capacity(1 << 16),
        }
    }

    /// Some messages, in one piece of bytes.
    fn send(&mut self, message: &Message) {
        for _ in 0..TOGETHER {
            self.connection.send(self.now, self.link, message).unwrap();
        }
        self.out.clear();
        assert!(self.connection.poll_transmit(self.now, &mut self.out));
    }

    /// Accepts the messages last sent.
    fn disposition(&mut self) -> Vec<u8> {
        let (first, last) = (uint(self.next), uint(self.next + TOGETHER - 1));
        self.next += TOGETHER;
        let accepted = [&[0x00, 0x53, ACCEPTED][..], &EMPTY_LIST].concat();
        frame(DISPOSITION, &[&TRUE, &first, &last, &TRUE, &accepted])
    }

    /// How many messages were accepted by that.
    fn settle(&mut self, disposition: &[u8]) -> u32 {
        self.connection.handle_bytes(self.now, disposition);
        let mut accepted = 0;
        while let Some(event) = self.connection.poll_event() {
            if let Event::Settled { settlement, .. } = event {
                accepted += u32::from(settlement == Settlement::Outcome(Outcome::Accepted));
            }
        }
        accepted
    }
}

/// As large as the adapter's.
fn message() -> Message {
    let text = |text: &str| Value::String(text.to_owned());
    let mut message = Message::data([b'x'; 100]);
    message.annotations = vec![
        ("tenant_id".to_owned(), text("DEFAULT_TENANT")),
        ("device_id".to_owned(), text("4711")),
        ("resource".to_owned(), text("telemetry/DEFAULT_TENANT/4711")),
    ];
    message.properties.to = Some("telemetry/DEFAULT_TENANT".to_owned());
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.creation_time = Some(1_764_000_000_000);
    message.application_properties = vec![
        ("orig_adapter".to_owned(), text("hono-coap")),
        ("qos".to_owned(), Value::Int(1)),
        ("device_id".to_owned(), text("4711")),
        ("orig_address".to_owned(), text("/telemetry")),
        ("ttd".to_owned(), Value::Int(10)),
    ];
    message
}

/// A frame of AMQP type on channel 0 that carries a performative of these fields.
fn frame(performative: u8, fields: &[&[u8]]) -> Vec<u8> {
    let count = u32::try_from(fields.len()).unwrap();
    let fields = fields.concat();
    let size = u32::try_from(fields.len()).unwrap();
    let list = [&[0xd0][..], &(size + 4).to_be_bytes(), &count.to_be_bytes()].concat();
    let head = [2, 0, 0, 0, 0x00, 0x53, performative];
    let length = 4 + head.len() + list.len() + fields.len();
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [&length[..], &head, &list, &fields].concat()
}

fn uint(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [0x70, a, b, c, d]
}

fn ushort(number: u16) -> [u8; 3] {
    let [a, b] = number.to_be_bytes();
    [0x60, a, b]
}

fn string(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0xa1, length][..], text.as_bytes()].concat()
}

const TRUE: [u8; 1] = [0x41];
const EMPTY_LIST: [u8; 1] = [0x45];
const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const DISPOSITION: u8 = 0x15;
const ACCEPTED: u8 = 0x24;
const SOURCE: u8 = 0x28;
const TARGET: u8 = 0x29;
