//! The frames of an application's AMQP client (AMQP 1.0 part 2): its connection, and the links that it receives from.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use fe2o3_amqp_types::{
    definitions::{Fields, Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{Source, Target, TargetArchetype},
    performatives::{
        Attach, Begin, Close, Detach, Disposition, Flow, Open, Performative, Transfer,
    },
    primitives::Symbol,
};
use serde_amqp::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    ApplicationConfig, Behaviour, Detail, Message, Received,
    sending::{Order, Senders},
};
use crate::{
    amqp::{
        frame::{self, Frame, Frames},
        outbox::Outbox,
        sections::Sections,
    },
    amqp_peer::PRIORITY,
};

/// Why an application could not attach.
pub(super) enum Failure {
    Refused { address: String, reason: String },
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) type Reader = Frames<OwnedReadHalf>;

/// The AMQP connection of an application: one session, a link for each address.
pub(super) struct Client {
    outbox: Arc<Outbox>,
    /// Keeps the writer alive as long as the client.
    writer: AbortOnDropHandle<()>,
    behaviour: Behaviour,
    detail: Detail,
    links: Vec<Link>,
    senders: Senders,
    begun: bool,
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

/// Connects and attaches all links.
pub(super) async fn connect(config: ApplicationConfig) -> Result<(Client, Reader), Failure> {
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
    let links: Vec<Link> = config.addresses.into_iter().map(link).collect();
    let first_free = u32::try_from(links.len()).unwrap_or(u32::MAX);
    let senders = Senders::new(Arc::clone(&outbox), first_free);
    let mut client = Client {
        outbox,
        writer,
        behaviour: config.behaviour,
        detail: config.detail,
        links,
        senders,
        begun: false,
        next_incoming_id: 0,
    };
    client.say_hello(config.priority);
    let mut reader = Frames::new(reader);
    while !client.begun || !client.links.iter().all(|link| link.attached) {
        let frame = reader
            .next()
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
            Some(Performative::Open(open)) => {
                let largest = open.max_frame_size.0.clamp(512, frame::MAX_FRAME_SIZE);
                self.senders.max_frame_size = largest as usize;
            }
            Some(Performative::Begin(begin)) => {
                self.begun = true;
                self.next_incoming_id = begin.next_outgoing_id;
                self.senders.on_begin(begin.incoming_window);
            }
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

    /// Receives, settles and sends until asked to leave, or until the peer leaves.
    pub(super) async fn run(
        mut self,
        mut reader: Reader,
        received: mpsc::Sender<Received>,
        mut orders: mpsc::Receiver<Order>,
        leave: CancellationToken,
    ) {
        loop {
            let frame = tokio::select! {
                () = leave.cancelled() => break,
                Some(order) = orders.recv() => {
                    self.senders.send(order);
                    continue;
                }
                frame = reader.next() => frame,
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
                Some(Performative::Attach(attach)) => self.senders.on_attach(&attach),
                Some(Performative::Detach(detach)) => self.senders.on_detach(detach),
                Some(Performative::Flow(flow)) => self.senders.on_flow(&flow),
                Some(Performative::Disposition(disposition)) => {
                    self.senders.on_disposition(&disposition);
                }
                _ => {}
            }
        }
        self.outbox
            .push(|bytes| frame::write(bytes, 0, &Close { error: None }));
        self.outbox.finish();
        while let Ok(Some(_)) = reader.next().await {}
        drop(self.writer);
    }

    fn on_transfer(&mut self, transfer: Transfer, part: Vec<u8>) -> Option<Received> {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let handle = transfer.handle.0 as usize;
        let link = self.links.get_mut(handle)?;
        let more = transfer.more;
        if transfer.aborted {
            link.partial = None;
            link.delivery_count = link.delivery_count.wrapping_add(1);
            link.credit = link.credit.saturating_sub(1);
            return None;
        }
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
        let sections = match self.detail {
            Detail::Sections => Sections::decode(&message)
                .map(|sections| sections.to_json())
                .unwrap_or_default(),
            Detail::Payload => serde_json::Value::Null,
        };
        let body = Message::decode(&message).map(|message| message.body);
        Some(Received {
            link: address,
            settled,
            sections,
            payload: body.map_or_else(|_| Vec::new(), |body| body.bytes().to_vec()),
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
                .push(|bytes| frame::write_disposition(bytes, 0, &disposition));
            return;
        };
        let outbox = Arc::clone(&self.outbox);
        tokio::spawn(async move {
            sleep(delay).await;
            outbox.push(|bytes| frame::write_disposition(bytes, 0, &disposition));
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
            next_outgoing_id: self.senders.next_outgoing_id(),
            outgoing_window: WINDOW,
            handle: u32::try_from(handle).ok().map(Handle),
            delivery_count: Some(link.delivery_count),
            link_credit: Some(CREDIT),
            available: None,
            drain: false,
            echo: false,
            properties: None,
        };
        self.outbox.push(|bytes| frame::write_flow(bytes, 0, &flow));
    }
}

const CREDIT: u32 = 500;
/// So wide that it never closes between two flows for credit, however many frames a message takes.
const WINDOW: u32 = i32::MAX as u32;
