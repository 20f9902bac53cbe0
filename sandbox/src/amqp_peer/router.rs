//! The state of the peer: connections, sessions, and which frame changes what (AMQP 1.0 part 2 §2.4, §2.5).
//!
//! No frame makes it wait. What it says goes into the outbox of the connection that it concerns.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use fe2o3_amqp_types::{
    definitions::Handle,
    performatives::{Begin, Close, Disposition, End, Flow, Open, Performative, Transfer},
};
use serde::Serialize;

use super::{
    commands::Deadlines,
    connection::IDLE_TIMEOUT,
    deliveries::Delivery,
    holds::Holds,
    links::{Address, Link},
    requests::LateAnswer,
};
use crate::{
    amqp::{
        error,
        frame::{self, Frame, MAX_FRAME_SIZE},
        outbox::Outbox,
    },
    command_router::CommandRouter,
    services::Services,
    world::SharedWorld,
};

/// Everything there is at the moment. Ids are never used twice.
pub(super) struct Router {
    pub(super) world: SharedWorld,
    pub(super) connections: HashMap<u64, Connection>,
    pub(super) links: HashMap<u64, Link>,
    pub(super) addresses: HashMap<String, Address>,
    pub(super) deliveries: HashMap<u64, Delivery>,
    /// The bytes of all messages that wait for a receiver's credit.
    pub(super) waiting_bytes: usize,
    pub(super) commands: CommandRouter,
    pub(super) deadlines: Deadlines,
    /// Answers of the registry that are kept back.
    pub(super) holds: Holds,
    pub(super) services: Services,
    /// What a sender of messages may have on their way.
    pub(super) link_credit: u32,
    /// Answers that are sent when their time has come.
    pub(super) late: BTreeMap<(Instant, u64), LateAnswer>,
    last_id: u64,
}

pub(super) struct Connection {
    pub(super) outbox: Arc<Outbox>,
    pub(super) max_frame_size: usize,
    pub(super) sessions: HashMap<u16, Session>,
    opened: bool,
}

/// A session; it has the same channel number both ways.
pub(super) struct Session {
    /// Links by their handle, which is the same both ways.
    pub(super) links: HashMap<u32, u64>,
    /// Unsettled deliveries from this session, by their number in it.
    pub(super) incoming: BTreeMap<u32, u64>,
    /// Unsettled deliveries into this session, by their number in it.
    pub(super) outgoing: BTreeMap<u32, u64>,
    pub(super) next_delivery: u32,
    next_incoming_id: u32,
    next_outgoing_id: u32,
    /// Transfers that the other side can still take (§2.5.6).
    remote_window: u32,
    /// Announced incoming window.
    local_window: u32,
    /// Transfers that the other side cannot take yet.
    backlog: VecDeque<(Transfer, Vec<u8>)>,
}

impl Router {
    pub(super) fn new(world: SharedWorld, services: Services, link_credit: u32) -> Self {
        Self {
            world,
            connections: HashMap::new(),
            links: HashMap::new(),
            addresses: HashMap::new(),
            deliveries: HashMap::new(),
            waiting_bytes: 0,
            commands: CommandRouter::default(),
            deadlines: Deadlines::default(),
            holds: Holds::default(),
            services,
            link_credit,
            late: BTreeMap::new(),
            last_id: 0,
        }
    }

    pub(super) fn connect(&mut self, outbox: Arc<Outbox>) -> u64 {
        let id = self.next_id();
        self.connections.insert(
            id,
            Connection {
                outbox,
                max_frame_size: 512,
                sessions: HashMap::new(),
                opened: false,
            },
        );
        id
    }

    pub(super) fn disconnect(&mut self, connection: u64) {
        let channels: Vec<u16> = self
            .connections
            .get(&connection)
            .into_iter()
            .flat_map(|it| it.sessions.keys().copied())
            .collect();
        for channel in channels {
            self.end(connection, channel);
        }
        self.connections.remove(&connection);
    }

    /// Says why and ends the connection.
    pub(super) fn close(&mut self, connection: u64, condition: &str, text: &str) {
        let error = Some(error(condition, text));
        let Some(known) = self.connections.get(&connection) else {
            return;
        };
        if !known.opened {
            // Only after an open may there be a close (§2.4.3).
            known.outbox.push(|bytes| frame::write(bytes, 0, &open()));
        }
        known
            .outbox
            .push(|bytes| frame::write(bytes, 0, &Close { error }));
        known.outbox.finish();
        self.disconnect(connection);
    }

    pub(super) fn handle(&mut self, connection: u64, frame: Frame) {
        let channel = frame.channel;
        match frame.performative {
            None => {}
            Some(Performative::Open(open)) => self.on_open(connection, &open),
            Some(Performative::Close(_)) => {
                if let Some(known) = self.connections.get(&connection) {
                    known
                        .outbox
                        .push(|bytes| frame::write(bytes, 0, &Close { error: None }));
                    known.outbox.finish();
                }
                self.disconnect(connection);
            }
            Some(Performative::Begin(begin)) => self.on_begin(connection, channel, &begin),
            Some(other) if self.session(connection, channel).is_none() => {
                // Frames may still be under way to a session that ended; on one that never began they are a mistake.
                tracing::debug!(channel, ?other, "a frame outside any session");
            }
            Some(Performative::End(_)) => {
                self.end(connection, channel);
                self.send(connection, channel, &End { error: None });
            }
            Some(Performative::Attach(attach)) => self.on_attach(connection, channel, &attach),
            Some(Performative::Detach(detach)) => self.on_detach(connection, channel, &detach),
            Some(Performative::Flow(flow)) => self.on_flow(connection, channel, &flow),
            Some(Performative::Transfer(transfer)) => {
                self.on_transfer(connection, channel, &transfer, frame.payload);
            }
            Some(Performative::Disposition(disposition)) => {
                self.on_disposition(connection, channel, &disposition);
            }
        }
    }

    fn on_open(&mut self, connection: u64, remote: &Open) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if let Some(idle) = remote.idle_time_out.filter(|idle| *idle > 0) {
            known
                .outbox
                .set_heartbeat(Duration::from_millis(u64::from(idle)) / 2);
        }
        known.max_frame_size = remote.max_frame_size.0.clamp(512, MAX_FRAME_SIZE) as usize;
        if !std::mem::replace(&mut known.opened, true) {
            known.outbox.push(|bytes| frame::write(bytes, 0, &open()));
        }
    }

    fn on_begin(&mut self, connection: u64, channel: u16, remote: &Begin) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if !known.opened || channel > CHANNEL_MAX || known.sessions.contains_key(&channel) {
            self.close(connection, "amqp:not-allowed", "this session cannot begin");
            return;
        }
        known.sessions.insert(channel, Session::new(remote));
        let begin = Begin {
            remote_channel: Some(channel),
            next_outgoing_id: 0,
            incoming_window: WINDOW,
            outgoing_window: WINDOW,
            handle_max: Handle(HANDLE_MAX),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.send(connection, channel, &begin);
    }

    fn end(&mut self, connection: u64, channel: u16) {
        let links: Vec<u64> = self
            .session(connection, channel)
            .into_iter()
            .flat_map(|it| it.links.values().copied())
            .collect();
        for link in links {
            self.remove_link(link);
        }
        if let Some(known) = self.connections.get_mut(&connection) {
            known.sessions.remove(&channel);
        }
    }

    fn on_flow(&mut self, connection: u64, channel: u16, flow: &Flow) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        // §2.5.6: what the other side can take, counted from what it had seen when it said so.
        let seen = flow.next_incoming_id.unwrap_or(0);
        session.remote_window = seen
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(session.next_outgoing_id);
        let link = flow
            .handle
            .as_ref()
            .map(|handle| session.links.get(&handle.0).copied());
        self.drain_backlog(connection, channel);
        match link {
            None if flow.echo => self.send_flow(connection, channel, None),
            Some(Some(link)) => self.on_link_flow(link, flow),
            None | Some(None) => {}
        }
    }

    /// Counts a received transfer and reopens the window in time.
    pub(super) fn count_incoming(&mut self, connection: u64, channel: u16) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        session.next_incoming_id = session.next_incoming_id.wrapping_add(1);
        session.local_window = session.local_window.saturating_sub(1);
        if session.local_window < WINDOW / 2 {
            self.send_flow(connection, channel, None);
        }
    }

    /// Sends a flow that tells the session's state and, if given, a link's.
    pub(super) fn send_flow(&mut self, connection: u64, channel: u16, link: Option<LinkState>) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        session.local_window = WINDOW;
        let flow = Flow {
            next_incoming_id: Some(session.next_incoming_id),
            incoming_window: WINDOW,
            next_outgoing_id: session.next_outgoing_id,
            outgoing_window: WINDOW,
            handle: link.map(|link| Handle(link.handle)),
            delivery_count: link.map(|link| link.delivery_count),
            link_credit: link.map(|link| link.credit),
            available: None,
            drain: link.is_some_and(|link| link.drain),
            echo: false,
            properties: None,
        };
        self.push_frame(connection, |bytes| {
            frame::write_flow(bytes, channel, &flow);
        });
    }

    /// Sends transfers as far as the session's window allows; the rest follows when it opens.
    pub(super) fn send_transfers(
        &mut self,
        connection: u64,
        channel: u16,
        transfers: Vec<(Transfer, Vec<u8>)>,
    ) {
        if let Some(session) = self.session(connection, channel) {
            session.backlog.extend(transfers);
            self.drain_backlog(connection, channel);
        }
    }

    fn drain_backlog(&mut self, connection: u64, channel: u16) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        let Some(session) = known.sessions.get_mut(&channel) else {
            return;
        };
        // A window beyond half the number space is one that was overrun: closed.
        while (1..=u32::MAX / 2).contains(&session.remote_window)
            && let Some((transfer, part)) = session.backlog.pop_front()
        {
            session.remote_window -= 1;
            session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
            known
                .outbox
                .push(|bytes| frame::write_transfer(bytes, channel, &transfer, &part));
        }
    }

    /// Takes back the transfers of a link that is gone.
    pub(super) fn drop_backlog(&mut self, connection: u64, channel: u16, handle: u32) {
        if let Some(session) = self.session(connection, channel) {
            session
                .backlog
                .retain(|(transfer, _)| transfer.handle.0 != handle);
        }
    }

    pub(super) fn send_disposition(
        &self,
        connection: u64,
        channel: u16,
        disposition: &Disposition,
    ) {
        self.push_frame(connection, |bytes| {
            frame::write_disposition(bytes, channel, disposition);
        });
    }

    pub(super) fn send(&self, connection: u64, channel: u16, performative: &impl Serialize) {
        self.push_frame(connection, |bytes| {
            frame::write(bytes, channel, performative);
        });
    }

    fn push_frame(&self, connection: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(known) = self.connections.get(&connection) {
            known.outbox.push(write);
        }
    }

    pub(super) fn session(&mut self, connection: u64, channel: u16) -> Option<&mut Session> {
        self.connections
            .get_mut(&connection)?
            .sessions
            .get_mut(&channel)
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Session {
    fn new(remote: &Begin) -> Self {
        Self {
            links: HashMap::new(),
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            next_delivery: 0,
            next_incoming_id: remote.next_outgoing_id,
            next_outgoing_id: 0,
            remote_window: remote.incoming_window,
            local_window: WINDOW,
            backlog: VecDeque::new(),
        }
    }

    /// Takes back a delivery of which nothing was sent yet: it goes out aborted, for its number must not be left out.
    pub(super) fn abort_transfer(&mut self, number: u32) {
        let first = self
            .backlog
            .iter()
            .position(|(transfer, _)| transfer.delivery_id == Some(number));
        let Some(first) = first else {
            return;
        };
        // The other frames of the delivery follow at once, without number.
        let more = self.backlog.iter().skip(first + 1);
        let count = more
            .take_while(|(transfer, _)| transfer.delivery_id.is_none())
            .count();
        self.backlog.drain(first + 1..=first + count);
        if let Some((transfer, part)) = self.backlog.get_mut(first) {
            transfer.aborted = true;
            transfer.more = false;
            part.clear();
        }
    }
}

/// What a flow tells about a link.
#[derive(Clone, Copy)]
pub(super) struct LinkState {
    pub(super) handle: u32,
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    pub(super) drain: bool,
}

fn open() -> Open {
    Open {
        container_id: "sandbox".to_owned(),
        hostname: None,
        max_frame_size: MAX_FRAME_SIZE.into(),
        channel_max: CHANNEL_MAX.into(),
        idle_time_out: Some(u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX)),
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

const CHANNEL_MAX: u16 = 255;
pub(super) const HANDLE_MAX: u32 = 4095;
const WINDOW: u32 = 4096;

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::{
        definitions::Handle,
        performatives::{Begin, Transfer},
    };

    use super::Session;
    use crate::amqp::frame;

    #[test]
    fn a_delivery_that_was_not_sent_is_aborted_and_its_number_is_not_left_out() {
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 0,
            outgoing_window: 0,
            handle_max: Handle::default(),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let mut session = Session::new(&begin);
        for number in 0..3 {
            let transfer = Transfer {
                handle: Handle(0),
                delivery_id: Some(number),
                delivery_tag: None,
                message_format: None,
                settled: None,
                more: false,
                rcv_settle_mode: None,
                state: None,
                resume: false,
                aborted: false,
                batchable: false,
            };
            session
                .backlog
                .extend(frame::cut(transfer, &[1; 1000], 512));
        }
        session.abort_transfer(1);
        session.abort_transfer(7);
        let reported: Vec<_> = session
            .backlog
            .iter()
            .map(|(transfer, part)| {
                let number = transfer.delivery_id.unwrap_or(u32::MAX);
                (number, transfer.more, transfer.aborted, part.is_empty())
            })
            .collect();
        let rest = [
            (u32::MAX, true, false, false),
            (u32::MAX, false, false, false),
        ];
        let whole = |number| [[(number, true, false, false)].as_slice(), &rest].concat();
        let aborted = vec![(1, false, true, true)];
        assert_eq!(reported, [whole(0), aborted, whole(2)].concat());
    }
}
