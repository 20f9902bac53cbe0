//! Links: attaching, granting credit and being granted some, detaching (AMQP 1.0 part 2 §2.6).

use std::collections::{HashMap, HashSet, VecDeque};

use fe2o3_amqp_types::{
    definitions::{Error, ErrorCondition, Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{Source, Target, TargetArchetype},
    performatives::{Attach, Detach},
    primitives::Symbol,
};

use zeroize::Zeroizing;

use super::{CHANNEL, Connection, outgoing::Waiting};
use crate::{CannotAttach, Event, LinkId, PeerError, frame};

/// All links, by our handle and by the peer's.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// A link's place is our handle.
    places: Vec<Option<Link>>,
    free: Vec<u32>,
    by_name: HashMap<String, u32>,
    by_remote_handle: HashMap<u32, u32>,
    limit: usize,
    attached_so_far: u32,
    /// Links that the peer wanted and did not get, until it has detached them.
    refused: usize,
    /// The links that owe the peer a flow, each once however often it was asked for.
    pub(super) owing: Vec<LinkId>,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    name: String,
    pub(super) role: Role,
    pub(super) state: LinkState,
    remote_handle: Option<u32>,
    pub(super) delivery_count: u32,
    /// As the peer knows it: messages that wait for the session's window still count as not sent.
    pub(super) credit: u32,
    /// Messages that wait for the session's window, in their order. The first one may be half written.
    pub(super) waiting: VecDeque<Waiting>,
    /// Bytes of these.
    pub(super) waiting_bytes: usize,
    /// Whether the link is among those whose messages are written in turns.
    pub(super) has_turn: bool,
    /// How many of them are not begun.
    pub(super) queued: u32,
    /// Bytes of the link's messages in an outbox, and which outbox that was.
    pub(super) written: (u64, usize),
    /// How many deliveries of a sender are without outcome.
    pub(super) in_flight: u32,
    /// What the peer takes; zero is any size.
    pub(super) max_message_size: u64,
    /// A message of which more frames have to come, for a receiver.
    pub(super) partial: Option<Partial>,
    /// What a receiver got and has not settled.
    pub(super) unsettled: HashSet<u32>,
    owing: bool,
    /// Whether the peer asked a sender to use up its credit when it last asked for a flow.
    drained: bool,
    /// Whether the peer wanted the link, and not we.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    AwaitAttach,
    /// The peer attached without a terminus: its detach is to follow (§2.6.3).
    AwaitRefusal,
    Attached,
    /// We said detach, the peer has not yet.
    AwaitDetach,
}

#[derive(Debug)]
pub(super) struct Partial {
    pub(super) number: u32,
    pub(super) settled: bool,
    pub(super) message: Zeroizing<Vec<u8>>,
}

impl Connection {
    /// Attaches a sender to an address: unsettled, and the receiver settles first (spec: amqp-messages §4).
    ///
    /// # Errors
    /// [`CannotAttach`] if there cannot be another link now.
    pub fn attach_sender(&mut self, address: &str) -> Result<LinkId, CannotAttach> {
        let target = Target {
            address: Some(address.to_owned()),
            ..Target::default()
        };
        self.attach(Role::Sender, Source::default(), target)
    }

    /// Attaches a receiver to an address. It has no credit until some is [granted](Self::grant).
    ///
    /// # Errors
    /// [`CannotAttach`] if there cannot be another link now.
    pub fn attach_receiver(&mut self, address: &str) -> Result<LinkId, CannotAttach> {
        let source = Source {
            address: Some(address.to_owned()),
            ..Source::default()
        };
        self.attach(Role::Receiver, source, Target::default())
    }

    fn attach(
        &mut self,
        role: Role,
        source: Source,
        target: Target,
    ) -> Result<LinkId, CannotAttach> {
        if !self.is_open() {
            return Err(CannotAttach::NotOpen);
        }
        let name = format!("{}-{}", self.config.link_name, self.links.attached_so_far);
        let id = self
            .links
            .insert(name.clone(), role.clone(), LinkState::AwaitAttach)
            .ok_or(CannotAttach::TooMany)?;
        let sender = role == Role::Sender;
        self.write(&Attach {
            name,
            handle: Handle(id.handle),
            role,
            snd_settle_mode: SenderSettleMode::Unsettled,
            rcv_settle_mode: ReceiverSettleMode::First,
            source: Some(Box::new(source)),
            target: Some(Box::new(TargetArchetype::Target(target))),
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: sender.then_some(0),
            max_message_size: (!sender).then_some(self.config.max_message_size),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        });
        Ok(id)
    }

    /// Whether the link can be used.
    #[must_use]
    pub fn is_attached(&self, link: LinkId) -> bool {
        self.links
            .get(link)
            .is_some_and(|link| link.state == LinkState::Attached)
    }

    /// Number of links that can be attached at a time: as many as we want, and no more than the
    /// peer's handle-max allows (§2.7.2).
    #[must_use]
    pub const fn max_links(&self) -> usize {
        self.links.limit
    }

    /// How many messages a sender may send now.
    #[must_use]
    pub fn credit(&self, link: LinkId) -> u32 {
        self.links
            .get(link)
            .filter(|link| link.role == Role::Sender)
            .map_or(0, |link| link.credit.saturating_sub(link.queued))
    }

    /// Number of messages of a sender that have no outcome yet.
    #[must_use]
    pub fn in_flight(&self, link: LinkId) -> u32 {
        self.links.get(link).map_or(0, |link| link.in_flight)
    }

    /// Lets the peer send that many messages more to a receiver.
    pub fn grant(&mut self, link: LinkId, messages: u32) {
        let Some(found) = self.links.get_mut(link) else {
            return;
        };
        found.credit = found.credit.saturating_add(messages);
        if found.state == LinkState::Attached {
            self.owe_flow(link, false);
        }
    }

    /// Lets a link write a flow when the outbox is taken. However many a peer asks for, it gets one.
    pub(super) fn owe_flow(&mut self, link: LinkId, drained: bool) {
        if let Some(found) = self.links.get_mut(link) {
            found.drained = drained;
            if !std::mem::replace(&mut found.owing, true) {
                self.links.owing.push(link);
            }
        }
    }

    /// Ends a link. Its deliveries are lost, each with an event; there is none for the link.
    pub fn detach(&mut self, link: LinkId) {
        self.detach_because(link, None);
    }

    pub(super) fn detach_because(&mut self, link: LinkId, error: Option<Error>) {
        let Some(found) = self.links.get_mut(link) else {
            return;
        };
        if found.state == LinkState::AwaitDetach {
            return;
        }
        found.state = LinkState::AwaitDetach;
        found.unsettled.clear();
        drop(self.take_partial(link));
        self.lose_deliveries(link);
        self.write(&Detach {
            handle: Handle(link.handle),
            closed: true,
            error,
        });
    }

    /// Writes a flow for each receiver that granted something since the last time, and for each link, or the session, whose
    /// state the peer has asked for.
    pub(super) fn write_flows(&mut self) {
        if std::mem::take(&mut self.session.flow_owed) && self.is_open() {
            let flow = self.flow();
            frame::write_flow(&mut self.outbox, CHANNEL, &flow);
        }
        while let Some(id) = self.links.owing.pop() {
            if !self.is_open() {
                continue;
            }
            let mut flow = self.flow();
            let Some(link) = self.links.get_mut(id) else {
                continue;
            };
            link.owing = false;
            if link.state == LinkState::AwaitDetach {
                continue;
            }
            flow.handle = Some(Handle(id.handle));
            flow.delivery_count = Some(link.delivery_count);
            flow.link_credit = Some(link.credit);
            if link.role == Role::Sender {
                flow.available = Some(link.queued);
                flow.drain = link.drained;
            }
            frame::write_flow(&mut self.outbox, CHANNEL, &flow);
        }
    }

    pub(super) fn on_attach(&mut self, attach: Attach) {
        let ours = self.links.by_name.get(&attach.name).copied();
        let Some(link) = ours.and_then(|handle| self.links.at_mut(handle)) else {
            self.refuse(attach);
            return;
        };
        let expected = match link.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        };
        if link.remote_handle.is_some() || attach.role != expected {
            self.break_protocol("an attach that answers none of ours");
            return;
        }
        let terminus = match link.role {
            Role::Sender => attach.target.is_some(),
            Role::Receiver => attach.source.is_some(),
        };
        let id = link.id;
        link.remote_handle = Some(attach.handle.0);
        link.max_message_size = attach.max_message_size.unwrap_or(0);
        if link.role == Role::Receiver {
            link.delivery_count = attach.initial_delivery_count.unwrap_or(0);
        }
        let attached = link.state == LinkState::AwaitAttach && terminus;
        link.state = match link.state {
            LinkState::AwaitAttach if terminus => LinkState::Attached,
            LinkState::AwaitAttach => LinkState::AwaitRefusal,
            other => other,
        };
        let granted = link.role == Role::Receiver && link.credit > 0;
        if !self.links.know(attach.handle.0, id.handle) {
            self.break_protocol("a handle for two links");
        } else if attached {
            if granted {
                self.grant(id, 0);
            }
            self.events.push_back(Event::Attached {
                link: id,
                max_message_size: attach.max_message_size.filter(|limit| *limit > 0),
            });
        }
    }

    /// Refuses a link that the peer wants: a client is no node (§2.6.3).
    fn refuse(&mut self, attach: Attach) {
        let role = match attach.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        };
        let (sender, remote_handle) = (role == Role::Sender, attach.handle.0);
        let Some(id) = self.links.insert_refused(role.clone(), remote_handle) else {
            self.break_protocol("more links than a client refuses");
            return;
        };
        if !self.links.know(remote_handle, id.handle) {
            self.break_protocol("a handle for two links");
            return;
        }
        self.write(&Attach {
            handle: Handle(id.handle),
            role,
            source: None,
            target: None,
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: sender.then_some(0),
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
            ..attach
        });
        self.write(&Detach {
            handle: Handle(id.handle),
            closed: true,
            error: Some(error("amqp:not-implemented", "a client takes no links")),
        });
    }

    pub(super) fn on_detach(&mut self, detach: &Detach) {
        let Some(link) = self.links.by_remote_mut(detach.handle.0) else {
            self.break_protocol("a detach of no link");
            return;
        };
        let (id, state) = (link.id, link.state);
        if state != LinkState::AwaitDetach {
            self.lose_deliveries(id);
            self.write(&Detach {
                handle: Handle(id.handle),
                closed: detach.closed,
                error: None,
            });
            self.events.push_back(Event::Detached {
                link: id,
                error: detach.error.as_ref().map(PeerError::from),
            });
        }
        drop(self.take_partial(id));
        self.links.remove(id);
    }
}

impl Links {
    /// As many as we want, and no higher handle than the peer wants.
    pub(super) fn limit(&mut self, ours: usize, handle_max: u32) {
        self.limit = ours.min((handle_max as usize).saturating_add(1));
    }

    pub(super) fn len(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.places
            .get(id.handle as usize)?
            .as_ref()
            .filter(|link| link.id == id)
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.at_mut(id.handle).filter(|link| link.id == id)
    }

    pub(super) fn by_remote_mut(&mut self, remote_handle: u32) -> Option<&mut Link> {
        let handle = *self.by_remote_handle.get(&remote_handle)?;
        self.at_mut(handle)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.places.iter_mut().flatten()
    }

    fn at_mut(&mut self, handle: u32) -> Option<&mut Link> {
        self.places.get_mut(handle as usize)?.as_mut()
    }

    fn insert(&mut self, name: String, role: Role, state: LinkState) -> Option<LinkId> {
        if self.by_name.contains_key(&name) {
            return None;
        }
        let id = self.place(role, state)?;
        self.by_name.insert(name.clone(), id.handle);
        self.get_mut(id)?.name = name;
        Some(id)
    }

    /// A link that waits for the peer's detach only. Its name, which the peer chose, is not kept.
    fn insert_refused(&mut self, role: Role, remote_handle: u32) -> Option<LinkId> {
        if self.refused >= MAX_REFUSED {
            return None;
        }
        let id = self.place(role, LinkState::AwaitDetach)?;
        let link = self.get_mut(id)?;
        link.refused = true;
        link.remote_handle = Some(remote_handle);
        self.refused = self.refused.saturating_add(1);
        Some(id)
    }

    /// A place for a link, and with it our handle.
    fn place(&mut self, role: Role, state: LinkState) -> Option<LinkId> {
        if self.len() >= self.limit {
            return None;
        }
        let handle = match self.free.pop() {
            Some(handle) => handle,
            None => {
                self.places.push(None);
                u32::try_from(self.places.len()).ok()?.checked_sub(1)?
            }
        };
        let id = LinkId {
            handle,
            serial: self.attached_so_far,
        };
        self.attached_so_far = self.attached_so_far.wrapping_add(1);
        *self.places.get_mut(handle as usize)? = Some(Link {
            id,
            name: String::new(),
            role,
            state,
            remote_handle: None,
            delivery_count: 0,
            credit: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            has_turn: false,
            queued: 0,
            written: (0, 0),
            in_flight: 0,
            max_message_size: 0,
            partial: None,
            unsettled: HashSet::new(),
            owing: false,
            drained: false,
            refused: false,
        });
        Some(id)
    }

    /// Notes the peer's handle. False if it has it already.
    fn know(&mut self, remote_handle: u32, handle: u32) -> bool {
        self.by_remote_handle
            .insert(remote_handle, handle)
            .is_none()
    }

    fn remove(&mut self, id: LinkId) {
        let Some(place) = self.places.get_mut(id.handle as usize) else {
            return;
        };
        if let Some(link) = place.take_if(|link| link.id == id) {
            if link.refused {
                self.refused = self.refused.saturating_sub(1);
            } else {
                self.by_name.remove(&link.name);
            }
            if let Some(remote_handle) = link.remote_handle {
                self.by_remote_handle.remove(&remote_handle);
            }
            self.free.push(id.handle);
        }
    }
}

/// Links of the peer's own that may wait for its detach at a time. No peer of a client needs any.
const MAX_REFUSED: usize = 16;

/// An AMQP error of any condition.
pub(super) fn error(condition: &str, text: &str) -> Error {
    Error::new(
        ErrorCondition::Custom(Symbol::from(condition)),
        text.to_owned(),
        None,
    )
}
