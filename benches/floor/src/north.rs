//! The application's side: one AMQP connection, one link.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use amqp_proto::{
    Config, Connection, DeliveryId, Event, LinkId, Message, Outcome, Settlement, Value,
    message::Body,
};
use mio::net::TcpStream;

use crate::south::{Answer, Upload};

pub(crate) struct North {
    pub(crate) stream: TcpStream,
    connection: Connection,
    link: LinkId,
    waiting: HashMap<DeliveryId, Answer>,
    pub(crate) answers: VecDeque<Answer>,
    message: Message,
    unwritten: Vec<u8>,
    buffer: Vec<u8>,
}

impl North {
    /// Returns when the link is attached and has credit.
    pub(crate) fn connect(peer: SocketAddr) -> io::Result<Self> {
        let mut stream = std::net::TcpStream::connect(peer)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut config = Config::default();
        "floor".clone_into(&mut config.container_id);
        config.delivery_timeout = Some(Duration::from_secs(30));
        let mut connection = Connection::new(Instant::now(), config);
        let mut link = None;
        let mut buffer = vec![0; BUFFER];
        loop {
            while let Some(event) = connection.poll_event() {
                match event {
                    Event::Opened => {
                        let attached = connection.attach_sender(&format!("telemetry/{TENANT}"));
                        link = Some(attached.map_err(io::Error::other)?);
                    }
                    Event::Detached { .. } | Event::Closed { .. } => {
                        return Err(io::Error::other("the network refuses us"));
                    }
                    _ => {}
                }
            }
            if let Some(link) = link
                && connection.credit(link) > 0
            {
                stream.set_read_timeout(None)?;
                stream.set_nonblocking(true)?;
                return Ok(Self {
                    stream: TcpStream::from_std(stream),
                    connection,
                    link,
                    waiting: HashMap::new(),
                    answers: VecDeque::new(),
                    message: message(),
                    unwritten: Vec::new(),
                    buffer,
                });
            }
            let mut out = Vec::new();
            connection.poll_transmit(Instant::now(), &mut out);
            stream.write_all(&out)?;
            let length = stream.read(&mut buffer)?;
            connection.handle_bytes(Instant::now(), buffer.get(..length).unwrap_or_default());
        }
    }

    /// Without credit a message is dropped, and the device sends it again.
    pub(crate) fn send(&mut self, now: Instant, upload: Upload) {
        self.message.body = Body::Data(upload.payload);
        if let Ok(delivery) = self.connection.send(now, self.link, &self.message) {
            self.waiting.insert(delivery, upload.answer);
        }
    }

    /// Takes what came.
    pub(crate) fn receive(&mut self, now: Instant) -> io::Result<()> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    self.connection.handle_bytes(now, bytes);
                    if length < self.buffer.len() {
                        // There was no more.
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Settled {
                    delivery,
                    settlement,
                } => {
                    let answer = self.waiting.remove(&delivery);
                    if let Settlement::Outcome(Outcome::Accepted) = settlement {
                        self.answers.extend(answer);
                    }
                }
                Event::Closed { .. } => return Err(io::Error::other("the network left")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Minds the timers, and writes what there is.
    pub(crate) fn finish_turn(&mut self, now: Instant) -> io::Result<()> {
        if self
            .connection
            .poll_timeout()
            .is_some_and(|when| when <= now)
        {
            self.connection.handle_timeout(now);
        }
        self.write(now)
    }

    /// Writes what there is.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        self.connection.poll_transmit(now, &mut self.unwritten);
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(written) => drop(self.unwritten.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// As large as the adapter's.
fn message() -> Message {
    let text = |text: &str| Value::String(text.to_owned());
    let mut message = Message {
        annotations: vec![
            ("x-opt-jms-msg-type".to_owned(), Value::Byte(3)),
            ("x-opt-jms-dest".to_owned(), Value::Byte(0)),
        ],
        ..Message::default()
    };
    message.properties.to = Some(format!("telemetry/{TENANT}"));
    message.properties.content_type = Some("application/octet-stream".to_owned());
    message.properties.creation_time = Some(1_764_000_000_000);
    message.application_properties = vec![
        ("device_id".to_owned(), text("d-00000")),
        ("tenant_id".to_owned(), text(TENANT)),
        ("orig_adapter".to_owned(), text("hono-coap")),
        ("orig_address".to_owned(), text("/telemetry")),
        ("qos".to_owned(), Value::Int(1)),
    ];
    message
}

const TENANT: &str = "LOAD";
const BUFFER: usize = 64 * 1024;
