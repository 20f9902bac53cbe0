//! The states in which the client switches to the new keys and proves that it saw the same handshake (RFC 5246 §7.4.9).

use crate::codec::alert::{Alert, AlertDescription};
use crate::codec::handshake::HandshakeType;
use crate::codec::ticket::NewSessionTicket;
use crate::crypto::{MasterSecret, Side};
use crate::event::HandshakeFailure;
use crate::inbox::{Inbox, InboxLimits};
use crate::protection::Protection;
use crate::reassembly::{Limits, Reassembler};
use crate::resumption::{Resumable, SecretFingerprint, SessionId};
use crate::server::handshake::context::Context;
use crate::server::handshake::{Established, Progress, State, Step};
use crate::server::session::{LastFlight, ResumedBy, Session};
use crate::server::shared::Shared;
use crate::statistics::count;

/// The keys are there; the client must switch to them.
pub(super) struct AwaitChangeCipherSpec {
    pub(super) master_secret: MasterSecret,
    pub(super) protection: Protection,
    pub(super) order: Order,
}

/// Who says Finished first: the client, or in a resumption the server (RFC 5246 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    ClientFirst,
    ServerFirst,
}

/// The client must prove that it has the same key and saw the same handshake.
pub(super) struct AwaitFinished {
    master_secret: MasterSecret,
    pub(super) protection: Protection,
    order: Order,
    messages: Reassembler,
}

impl Context {
    /// The alert by which the client ends the handshake in its new keys (RFC 5246 §7.2), unless a
    /// handshake record that it sent before has yet to be looked at.
    fn last_alert(&mut self, protection: &mut Protection, shared: &mut Shared) -> Option<Alert> {
        while let Some(mut record) = self.inbox.take_sealed_alert(protection) {
            let Ok(opened) = protection.open(record.header, &mut record.fragment) else {
                count(&mut shared.statistics.bad_records);
                continue;
            };
            let alert = Alert::decode(opened.plaintext).ok();
            if let Some(alert) = alert.filter(|alert| alert.ends_association()) {
                return Some(alert);
            }
        }
        None
    }
}

impl AwaitChangeCipherSpec {
    pub(super) fn step(mut self, context: &mut Context, shared: &mut Shared) -> Step {
        if let Some(alert) = context.last_alert(&mut self.protection, shared) {
            return Step::Done(Progress::Ended(alert));
        }
        if !context.inbox.change_cipher_spec {
            return Step::Wait(State::AwaitChangeCipherSpec(self));
        }
        let next = context.inbox.messages.next_message_seq();
        Step::Next(State::AwaitFinished(AwaitFinished {
            master_secret: self.master_secret,
            protection: self.protection,
            order: self.order,
            // Anew, so that nothing sent in plaintext can stand in for a part of Finished.
            messages: Reassembler::new(next, Limits::default()),
        }))
    }
}

impl AwaitFinished {
    pub(super) fn step(mut self, context: &mut Context, shared: &mut Shared) -> Step {
        loop {
            if let Some(alert) = context.last_alert(&mut self.protection, shared) {
                return Step::Done(Progress::Ended(alert));
            }
            let Some(mut record) = context.inbox.take_sealed_handshake(&self.protection) else {
                return Step::Wait(State::AwaitFinished(self));
            };
            let Ok(opened) = self.protection.open(record.header, &mut record.fragment) else {
                count(&mut shared.statistics.bad_records);
                context.tell_failure(HandshakeFailure::NotAuthentic, shared);
                continue;
            };
            for fragment in shared.fragments(opened.plaintext) {
                if self.messages.insert(&fragment).is_err() {
                    count(&mut shared.statistics.refused_fragments);
                }
            }
            let Some(received) = self.messages.peek() else {
                continue;
            };
            if received.message_type != HandshakeType::FINISHED {
                return self.fail(AlertDescription::UNEXPECTED_MESSAGE, context, shared);
            }
            let hash = context.transcript.hash();
            if !(self.master_secret).verifies(Side::Client, &hash, &received.body) {
                return self.fail(AlertDescription::DECRYPT_ERROR, context, shared);
            }
            context.transcript.add(&received.encode());
            return Step::Done(self.establish(context, shared));
        }
    }

    /// Ends the handshake by an alert, sealed only if our ChangeCipherSpec has gone out: before that,
    /// no client expects our records in epoch 1 (RFC 6347 §4.1).
    fn fail(self, alert: AlertDescription, context: &mut Context, shared: &mut Shared) -> Step {
        context.tell_failure(HandshakeFailure::WrongFinished, shared);
        let protection = match self.order {
            Order::ClientFirst => None,
            Order::ServerFirst => Some(Box::new(self.protection)),
        };
        Step::Done(Progress::Failed(protection, alert))
    }

    fn establish(self, context: &mut Context, shared: &mut Shared) -> Progress {
        let resumable = self.resumable(context);
        let last_flight = match self.order {
            Order::ClientFirst => Some(self.last_flight(context, resumable.as_ref(), shared)),
            Order::ServerFirst => {
                count(&mut shared.statistics.resumptions_established);
                None
            }
        };
        let mut session = Session::new(
            context.path,
            self.protection,
            &context.negotiated,
            last_flight,
        );
        session.set_path_mtu(context.path_mtu);
        let id = SessionId::try_from(context.session_id.as_slice()).ok();
        let is_resumption = matches!(self.order, Order::ServerFirst);
        if is_resumption || resumable.is_some() {
            session.set_resumed_by(ResumedBy {
                session_id: id,
                secret: SecretFingerprint::new(&self.master_secret),
            });
        }
        session.send_last_flight(shared);
        let inbox = std::mem::replace(&mut context.inbox, Inbox::new(0, InboxLimits::default()));
        Progress::Established(Box::new(Established {
            session,
            hello: context.hello,
            early: inbox.into_sealed().into(),
            resumable: id.zip(resumable),
        }))
    }

    /// What the session may be resumed from.
    fn resumable(&self, context: &mut Context) -> Option<Resumable> {
        Some(Resumable {
            suite: context.negotiated.suite,
            master_secret: self.master_secret.clone(),
            server_name: context.negotiated.server_name.clone(),
            credential: context.credential.take()?,
        })
    }

    /// A ticket, if the client wanted one, and our Finished.
    fn last_flight(
        &self,
        context: &mut Context,
        resumable: Option<&Resumable>,
        shared: &Shared,
    ) -> LastFlight {
        let ticket = context.negotiated.ticket.then(|| {
            let keys = shared.config.resumption.tickets.as_ref();
            let issued = shared.wall_seconds.unwrap_or(0);
            let lifetime = shared.config.resumption.ticket_lifetime.as_secs();
            let lifetime = u32::try_from(lifetime).unwrap_or(u32::MAX);
            // Once promised, one must be sent, empty if there is none after all (RFC 5077 §3.3).
            let ticket = keys
                .zip(resumable)
                .and_then(|(keys, from)| keys.seal(from, issued));
            let body = NewSessionTicket {
                lifetime_hint: if issued > 0 { lifetime } else { 0 },
                ticket: ticket.as_deref().unwrap_or_default(),
            };
            context.next_message(HandshakeType::NEW_SESSION_TICKET, &body.encode())
        });
        let hash = context.transcript.hash();
        LastFlight {
            finished_seq: self.messages.next_message_seq(),
            repeated: None,
            sequence: context.sequence,
            message_seq: context.message_seq,
            verify_data: self.master_secret.verify_data(Side::Server, &hash),
            ticket,
            transmissions: 0,
        }
    }
}
