//! The business application north of the adapter: an AMQP client over TCP that receives messages and settles them as it is told to.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use fe2o3_amqp_types::{
    definitions::{Fields, Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{
        Accepted, DeliveryState, Modified, Rejected, Released, Source, Target, TargetArchetype,
    },
    performatives::{
        Attach, Begin, Close, Detach, Disposition, Flow, Open, Performative, Transfer,
    },
    primitives::Symbol,
};
use serde_amqp::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Error,
    amqp::{
        frame::{self, Frame},
        outbox::Outbox,
        sections::Sections,
    },
    amqp_peer::PRIORITY,
};

/// What the application does with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Takes it.
    Accept,
    /// Refuses it for ever; with a condition, also says "no thanks".
    Reject(Option<String>),
    /// Gives it back untouched.
    Release,
    /// Gives it back as one whose delivery failed.
    Modify,
    /// Gives it back as one that cannot be delivered here.
    ModifyUndeliverable,
    /// Receives and never says what became of it.
    Silent,
    /// Is attached and asks for nothing.
    NoCredit,
    /// Takes it after a while.
    Delay(Duration),
}

impl Behaviour {
    fn outcome(&self) -> Option<DeliveryState> {
        let modified = |delivery_failed, undeliverable_here| {
            DeliveryState::Modified(Modified {
                delivery_failed,
                undeliverable_here,
                message_annotations: None,
            })
        };
        match self {
            Self::Accept | Self::Delay(_) => Some(DeliveryState::Accepted(Accepted {})),
            Self::Reject(condition) => {
                let error = condition
                    .as_deref()
                    .map(|condition| crate::amqp::error(condition, "no thanks"));
                Some(DeliveryState::Rejected(Rejected { error }))
            }
            Self::Release => Some(DeliveryState::Released(Released {})),
            Self::Modify => Some(modified(Some(true), None)),
            Self::ModifyUndeliverable => Some(modified(None, Some(true))),
            Self::Silent | Self::NoCredit => None,
        }
    }
}

/// The words of the recorded exchanges: `accept`, `reject`, `reject:amqp:not-allowed`, `release`, `modify`,
/// `modify-undeliverable`, `none`, `no-credit`, `delay:0.8`.
impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(text: &str) -> Result<Self, UnknownBehaviour> {
        let unknown = || UnknownBehaviour(text.to_owned());
        match (text, text.split_once(':')) {
            ("accept", _) => Ok(Self::Accept),
            ("reject", _) => Ok(Self::Reject(None)),
            ("release", _) => Ok(Self::Release),
            ("modify", _) => Ok(Self::Modify),
            ("modify-undeliverable", _) => Ok(Self::ModifyUndeliverable),
            ("none", _) => Ok(Self::Silent),
            ("no-credit", _) => Ok(Self::NoCredit),
            (_, Some(("reject", condition))) if !condition.is_empty() => {
                Ok(Self::Reject(Some(condition.to_owned())))
            }
            (_, Some(("delay", seconds))) => {
                let seconds = seconds
                    .parse()
                    .ok()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                seconds.map(Self::Delay).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }
}

/// A text that names no [`Behaviour`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is nothing an application can do; accept, reject[:condition], release, modify, modify-undeliverable, none, no-credit or delay:SECONDS"
)]
pub struct UnknownBehaviour(String);

/// A message as the application got it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The address of the link it came over.
    pub link: String,
    /// Whether the sender had settled it already and waits for no outcome.
    pub settled: bool,
    /// The sections in the form of the recorded exchanges: typed leaves, and `order`. Null if it is no AMQP message.
    pub sections: serde_json::Value,
    /// The body's bytes.
    pub payload: Vec<u8>,
}

/// How an application attaches.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplicationConfig {
    /// Where the AMQP network listens.
    pub peer: SocketAddr,
    /// The addresses it receives from.
    pub addresses: Vec<String>,
    /// What it does with messages.
    pub behaviour: Behaviour,
    /// It gets nothing while somebody of a higher priority receives from the same address; others have 0.
    pub priority: i32,
}

impl ApplicationConfig {
    /// An application like any other, attached to the tenant's telemetry and events.
    #[must_use]
    pub fn of_tenant(peer: SocketAddr, tenant: &str, behaviour: Behaviour) -> Self {
        let addresses = ["telemetry", "event"]
            .map(|endpoint| format!("{endpoint}/{tenant}"))
            .to_vec();
        Self {
            peer,
            addresses,
            behaviour,
            priority: 0,
        }
    }
}

/// An attached application. Dropping it cuts the connection; [`Application::detach`] ends it in order.
#[derive(Debug)]
pub struct Application {
    received: mpsc::Receiver<Received>,
    leave: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Application {
    /// Attaches to `telemetry/<tenant>`, `event/<tenant>` and the `further` addresses. When it returns, senders to them have credit.
    ///
    /// # Errors
    /// If the peer is not there, refuses an address, or takes too long.
    pub async fn attach(
        peer: SocketAddr,
        tenant: &str,
        further: &[&str],
        behaviour: Behaviour,
    ) -> Result<Self, Error> {
        let mut config = ApplicationConfig::of_tenant(peer, tenant, behaviour);
        config
            .addresses
            .extend(further.iter().map(|address| (*address).to_owned()));
        Self::start(config).await
    }

    /// Attaches as `config` says.
    ///
    /// # Errors
    /// If the peer is not there, refuses an address, or takes too long.
    pub async fn start(config: ApplicationConfig) -> Result<Self, Error> {
        let address = config.peer;
        let attached = timeout(ATTACH_TIMEOUT, connect(config))
            .await
            .map_err(|_| Error::Timeout(ATTACH_TIMEOUT))?;
        let (client, reader) = attached.map_err(|failure| match failure {
            Failure::Refused { address, reason } => Error::Refused { address, reason },
            Failure::Io(source) => Error::Connection { address, source },
        })?;
        let (sender, received) = mpsc::channel(QUEUE);
        let leave = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(client.run(reader, sender, leave.clone())));
        Ok(Self {
            received,
            leave,
            task,
        })
    }

    /// The next message, or none if none comes in time or the connection is gone.
    pub async fn receive(&mut self, within: Duration) -> Option<Received> {
        timeout(within, self.received.recv()).await.ok().flatten()
    }

    /// The next message, or none if the connection is gone.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }

    /// Closes the connection; when it returns, senders without another receiver have lost their credit.
    pub async fn detach(self) {
        self.leave.cancel();
        drop(self.received);
        if timeout(ATTACH_TIMEOUT, self.task).await.is_err() {
            tracing::debug!("the peer did not answer the close in time");
        }
    }
}

enum Failure {
    Refused { address: String, reason: String },
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Reader = BufReader<OwnedReadHalf>;

struct Client {
    outbox: Arc<Outbox>,
    /// Keeps the writer alive as long as the client.
    writer: AbortOnDropHandle<()>,
    behaviour: Behaviour,
    links: Vec<Link>,
    next_incoming_id: u32,
}

/// A receiving link; its handle is its place.
struct Link {
    address: String,
    attached: bool,
    delivery_count: u32,
    credit: u32,
    partial: Option<(Transfer, Vec<u8>)>,
}

async fn connect(config: ApplicationConfig) -> Result<(Client, Reader), Failure> {
    let mut stream = TcpStream::connect(config.peer).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&frame::AMQP_HEADER).await?;
    let mut header = [0; 8];
    stream.read_exact(&mut header).await?;
    if header != frame::AMQP_HEADER {
        return Err(frame::malformed("the peer wants another protocol than plain AMQP 1.0").into());
    }
    let (reader, mut writer) = stream.into_split();
    let outbox = Arc::new(Outbox::default());
    outbox.set_heartbeat(Duration::from_secs(10));
    let written = Arc::clone(&outbox);
    let writer = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = written.drain_into(&mut writer).await {
            tracing::debug!(%error, "the application's connection ended");
        }
    }));
    let link = |address| Link {
        address,
        attached: false,
        delivery_count: 0,
        credit: 0,
        partial: None,
    };
    let links = config.addresses.into_iter().map(link).collect();
    let mut client = Client {
        outbox,
        writer,
        behaviour: config.behaviour,
        links,
        next_incoming_id: 0,
    };
    client.say_hello(config.priority);
    let mut reader = BufReader::new(reader);
    while !client.links.iter().all(|link| link.attached) {
        let frame = frame::read(&mut reader)
            .await?
            .ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        client.on_frame_while_attaching(frame)?;
    }
    client.ask_for_messages();
    Ok((client, reader))
}

impl Client {
    fn say_hello(&self, priority: i32) {
        let open = Open {
            container_id: format!("application-{}", uuid::Uuid::new_v4()),
            hostname: None,
            max_frame_size: frame::MAX_FRAME_SIZE.into(),
            channel_max: 0.into(),
            idle_time_out: Some(60_000),
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: WINDOW,
            outgoing_window: WINDOW,
            handle_max: Handle::default(),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.outbox.push(|bytes| {
            frame::write(bytes, 0, &open);
            frame::write(bytes, 0, &begin);
        });
        for (handle, link) in (0..).zip(&self.links) {
            let properties = Fields::from_iter([(Symbol::from(PRIORITY), Value::Int(priority))]);
            let attach = Attach {
                name: format!("application-{handle}-{}", uuid::Uuid::new_v4()),
                handle: Handle(handle),
                role: Role::Receiver,
                snd_settle_mode: SenderSettleMode::Mixed,
                rcv_settle_mode: ReceiverSettleMode::First,
                source: Some(Box::new(Source {
                    address: Some(link.address.clone()),
                    ..Source::default()
                })),
                target: Some(Box::new(TargetArchetype::Target(Target::default()))),
                unsettled: None,
                incomplete_unsettled: false,
                initial_delivery_count: None,
                max_message_size: None,
                offered_capabilities: None,
                desired_capabilities: None,
                properties: (priority != 0).then_some(properties),
            };
            self.outbox.push(|bytes| frame::write(bytes, 0, &attach));
        }
    }

    fn on_frame_while_attaching(&mut self, frame: Frame) -> Result<(), Failure> {
        match frame.performative {
            Some(Performative::Begin(begin)) => self.next_incoming_id = begin.next_outgoing_id,
            Some(Performative::Attach(attach)) if attach.source.is_some() => {
                if let Some(link) = self.links.get_mut(attach.handle.0 as usize) {
                    link.attached = true;
                    link.delivery_count = attach.initial_delivery_count.unwrap_or(0);
                }
            }
            Some(Performative::Detach(Detach { handle, error, .. })) => {
                let address = self
                    .links
                    .get(handle.0 as usize)
                    .map(|link| link.address.clone())
                    .unwrap_or_default();
                let reason = error
                    .and_then(|error| error.description)
                    .unwrap_or_default();
                return Err(Failure::Refused { address, reason });
            }
            Some(Performative::Close(_) | Performative::End(_)) => {
                return Err(io::Error::from(ErrorKind::ConnectionAborted).into());
            }
            _ => {}
        }
        Ok(())
    }

    fn ask_for_messages(&mut self) {
        if self.behaviour != Behaviour::NoCredit {
            for handle in 0..self.links.len() {
                self.grant(handle);
            }
        }
    }

    async fn run(
        mut self,
        mut reader: Reader,
        received: mpsc::Sender<Received>,
        leave: CancellationToken,
    ) {
        loop {
            let frame = tokio::select! {
                () = leave.cancelled() => break,
                frame = frame::read(&mut reader) => frame,
            };
            let Ok(Some(frame)) = frame else {
                return;
            };
            match frame.performative {
                Some(Performative::Transfer(transfer)) => {
                    if let Some(message) = self.on_transfer(transfer, frame.payload) {
                        tokio::select! {
                            () = leave.cancelled() => break,
                            sent = received.send(message) => if sent.is_err() { return },
                        }
                    }
                }
                Some(Performative::Close(_)) => break,
                _ => {}
            }
        }
        self.outbox
            .push(|bytes| frame::write(bytes, 0, &Close { error: None }));
        self.outbox.finish();
        // A frame that was half read when it was told to leave garbles the rest; the end of the stream shows all the same.
        let mut rest = [0; 1024];
        while matches!(reader.read(&mut rest).await, Ok(read) if read > 0) {}
        drop(self.writer);
    }

    fn on_transfer(&mut self, transfer: Transfer, part: Vec<u8>) -> Option<Received> {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let handle = transfer.handle.0 as usize;
        let link = self.links.get_mut(handle)?;
        let more = transfer.more;
        let (first, mut message) = link
            .partial
            .take()
            .unwrap_or_else(|| (transfer, Vec::new()));
        message.extend(part);
        if more {
            link.partial = Some((first, message));
            return None;
        }
        link.delivery_count = link.delivery_count.wrapping_add(1);
        link.credit = link.credit.saturating_sub(1);
        let address = link.address.clone();
        if link.credit < CREDIT / 2 {
            self.grant(handle);
        }
        let settled = first.settled.unwrap_or(false);
        if !settled && let Some(number) = first.delivery_id {
            self.settle(number);
        }
        let sections = Sections::decode(&message);
        Some(Received {
            link: address,
            settled,
            payload: sections.as_ref().map(Sections::body).unwrap_or_default(),
            sections: sections
                .map(|sections| sections.to_json())
                .unwrap_or_default(),
        })
    }

    fn settle(&self, number: u32) {
        let Some(state) = self.behaviour.outcome() else {
            return;
        };
        let disposition = Disposition {
            role: Role::Receiver,
            first: number,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        let Behaviour::Delay(delay) = self.behaviour else {
            self.outbox
                .push(|bytes| frame::write(bytes, 0, &disposition));
            return;
        };
        let outbox = Arc::clone(&self.outbox);
        tokio::spawn(async move {
            sleep(delay).await;
            outbox.push(|bytes| frame::write(bytes, 0, &disposition));
        });
    }

    fn grant(&mut self, handle: usize) {
        let Some(link) = self.links.get_mut(handle) else {
            return;
        };
        link.credit = CREDIT;
        let flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: WINDOW,
            next_outgoing_id: 0,
            outgoing_window: WINDOW,
            handle: u32::try_from(handle).ok().map(Handle),
            delivery_count: Some(link.delivery_count),
            link_credit: Some(CREDIT),
            available: None,
            drain: false,
            echo: false,
            properties: None,
        };
        self.outbox.push(|bytes| frame::write(bytes, 0, &flow));
    }
}

const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
const CREDIT: u32 = 500;
/// So wide that it never closes between two flows for credit, however many frames a message takes.
const WINDOW: u32 = i32::MAX as u32;
/// Messages that nobody fetched; when full, the connection is not read.
const QUEUE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Behaviour;

    #[test]
    fn the_words_of_the_recordings_are_understood_and_others_are_not() {
        for (text, behaviour) in [
            ("accept", Behaviour::Accept),
            ("reject", Behaviour::Reject(None)),
            (
                "reject:amqp:not-allowed",
                Behaviour::Reject(Some("amqp:not-allowed".to_owned())),
            ),
            ("release", Behaviour::Release),
            ("modify", Behaviour::Modify),
            ("modify-undeliverable", Behaviour::ModifyUndeliverable),
            ("none", Behaviour::Silent),
            ("no-credit", Behaviour::NoCredit),
            ("delay:0.8", Behaviour::Delay(Duration::from_millis(800))),
        ] {
            assert_eq!(text.parse(), Ok(behaviour));
        }
        for text in [
            "", "Accept", "reject:", "delay:", "delay:-1", "delay:x", "absent",
        ] {
            assert!(text.parse::<Behaviour>().is_err(), "{text}");
        }
    }
}
