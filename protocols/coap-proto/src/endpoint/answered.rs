//! What is remembered of answered requests, to be taken over by another endpoint, so that a duplicate stays one (RFC 7252 §4.5).

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fair_share::Holder;

use super::{Endpoint, Source, UNLIMITED};
use crate::dedup::Peer;
use crate::exchange::{Exchange, State};
use crate::message::MessageId;
use crate::reliability::after;
use crate::request::Reliability;

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its message id.
    pub message_id: MessageId,
    /// Whether it was confirmable.
    pub reliability: Reliability,
    /// How long ago it came.
    pub age: Duration,
    /// What is sent should it come again: the answer, if there was one.
    pub repeat: Option<Arc<[u8]>>,
}

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    /// The peer's requests that were answered, oldest first. A separate response that the peer has not acknowledged yet is sent again
    /// only if the request comes again.
    pub fn answered(&self, now: Instant, peer: &P) -> impl Iterator<Item = Answered> {
        let exchanges = self.peers.get(peer).into_iter().flat_map(Peer::exchanges);
        exchanges.filter_map(move |exchange| {
            let entry = self.exchanges.get(&exchange)?;
            let repeat = match &entry.state {
                State::Undecided | State::Acknowledged => return None,
                State::AwaitAck(response) => Some(Arc::clone(&response.message)),
                State::Done { repeat } => repeat.clone(),
            };
            Some(Answered {
                message_id: entry.request_id,
                reliability: entry.reliability,
                age: now.saturating_duration_since(entry.received),
                repeat,
            })
        })
    }

    /// Remembers a request of a peer of `holder` that another endpoint has answered, unless its
    /// lifetime is over or there is no room.
    pub fn remember(&mut self, now: Instant, peer: &P, holder: Option<Holder>, answered: Answered) {
        let Some(received) = now.checked_sub(answered.age) else {
            return;
        };
        let source = Source {
            peer,
            holder,
            allowance: UNLIMITED,
            has_echoed: false,
        };
        let forget_at = after(received, self.lifetime(answered.reliability));
        if forget_at > now && self.make_room_of_peer(peer) {
            self.make_room(now, holder);
            let entry = Exchange::answered(peer.clone(), answered, received, forget_at);
            self.insert(source, entry);
        }
    }
}

impl<P> Exchange<P> {
    fn answered(peer: P, answered: Answered, received: Instant, forget_at: Instant) -> Self {
        Self {
            peer,
            request_id: answered.message_id,
            // Token and wishes of the request matter until it is answered.
            token: Default::default(),
            reliability: answered.reliability,
            no_response: Default::default(),
            is_safe: false,
            allowance: UNLIMITED,
            max_message: u16::MAX,
            asked: None,
            received,
            forget_at,
            state: State::Done {
                repeat: answered.repeat,
            },
        }
    }
}
