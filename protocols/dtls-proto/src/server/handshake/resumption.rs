//! The state in which a client wants its earlier session back (RFC 5246 §7.3, RFC 5077 §3.1).

use std::time::Instant;

use crate::codec::handshake::HandshakeType;
use crate::crypto::{Psk, Side, Transcript};
use crate::event::Event;
use crate::flight::Part;
use crate::resumption::{Credential, Resumable};
use crate::server::handshake::context::{Context, Outgoing};
use crate::server::handshake::finished::{AwaitChangeCipherSpec, Order};
use crate::server::shared::Shared;
use crate::statistics::count;

/// The caller is asked whether the credentials of the session are still good.
pub(super) struct AwaitResumption {
    resumable: Resumable,
    /// The id in the ClientHello; repeating it says that the session is resumed.
    session_id: Vec<u8>,
    /// The ClientHello, as the transcript wants it: with the session comes its hash.
    hello: Vec<u8>,
}

impl AwaitResumption {
    /// Asks for the credentials anew, as in a full handshake.
    pub(super) fn enter(
        now: Instant,
        resumable: Resumable,
        session_id: &[u8],
        hello: Vec<u8>,
        context: &mut Context,
        shared: &mut Shared,
    ) -> Self {
        count(&mut shared.statistics.resumptions_started);
        let (association, server_name) = (context.association, resumable.server_name.clone());
        let (event, deadline) = match &resumable.credential {
            Credential::Psk { identity, .. } => (
                Event::PskRequested {
                    association,
                    identity: identity.clone(),
                    server_name,
                },
                shared.config.psk_deadline,
            ),
            Credential::Certificate(own) => (
                Event::VerdictRequested {
                    association,
                    chain: vec![own.clone()],
                    server_name,
                },
                shared.config.verdict_deadline,
            ),
        };
        context.await_answer(now, deadline, shared);
        shared.events.push_back(event);
        Self {
            resumable,
            session_id: session_id.to_vec(),
            hello,
        }
    }

    /// Whether a key is the one the session was begun with; `None` if it wasn't begun with a key at all.
    pub(super) fn is_of(&self, key: Option<&Psk>) -> Option<bool> {
        match &self.resumable.credential {
            Credential::Psk { .. } => {
                Some(key.is_some_and(|key| self.resumable.credential.is_of(key)))
            }
            Credential::Certificate(_) => None,
        }
    }

    /// Whether the session was begun with a certificate.
    pub(super) fn has_certificate(&self) -> bool {
        matches!(self.resumable.credential, Credential::Certificate(_))
    }

    /// Makes the flight that resumes the session.
    pub(super) fn resume(self, context: &mut Context) -> AwaitChangeCipherSpec {
        let suite = self.resumable.suite;
        context.negotiated.suite = suite;
        context.negotiated.ticket = false;
        context.transcript = Transcript::new(suite.hash());
        context.transcript.add(&self.hello);
        let our_id = context.connection_ids.as_ref().map(|ids| ids.ours.as_ref());
        let hello =
            context
                .negotiated
                .server_hello(context.server_random, &self.session_id, our_id);
        let hello = context.next_message(HandshakeType::SERVER_HELLO, &hello);
        context.session_id = self.session_id;
        let next = context.protect(self.resumable.master_secret, Order::ServerFirst);
        let hash = context.transcript.hash();
        let verify_data = next.master_secret.verify_data(Side::Server, &hash);
        let finished = context.next_message(HandshakeType::FINISHED, &verify_data);
        context.outgoing = Some(Outgoing::new(vec![
            Part::Plain(hello),
            Part::ChangeCipherSpec,
            Part::Protected(finished),
        ]));
        next
    }
}
