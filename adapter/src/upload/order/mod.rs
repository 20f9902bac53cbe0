//! Order of transfers (Hono's Telemetry, Event and Command & Control APIs: messages of one device are delivered in the order in
//! which they were received).
//!
//! ```text
//! port: request arrives ─> TransferOrder::ticket ─> task: look-ups ─> Ticket::turn ─> AMQP transfer ─> ticket dropped
//!                          (order of arrival)                        (waits for earlier tickets of its stream)
//! ```
//!
//! A stream is what one device sends to one endpoint, by itself or through one gateway. Streams never wait for each other. The
//! look-ups of a request block later ones of its stream for at most [`MAX_TURN`] after its arrival; then they go ahead, which is
//! counted. No request waits for more than twice that time after its own arrival, whatever becomes of those before it.
//!
//! **Invariant.** A ticket lives no longer than the request it was made for, so that the bounds on requests bound this table, too.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap, RandomState};
use std::future::poll_fn;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coap_proto::{Code, Request};
use fair_share::{Holder, PrehashedHasher};
use tokio::time::{Instant, timeout_at};

use crate::authn::Principal;
use crate::route::Resource;
use observability::metrics::Metrics;

/// The streams of all devices that have requests in progress.
#[derive(Debug)]
pub struct TransferOrder {
    hasher: RandomState,
    stripes: [Mutex<Stripe>; STRIPES],
    metrics: Metrics,
}

/// A request's position in its stream; the next one has its turn when this is dropped.
#[derive(Debug)]
#[must_use = "the next request of the stream has its turn when this is dropped"]
pub struct Ticket {
    /// `None` for a request that belongs to no stream.
    order: Option<Arc<TransferOrder>>,
    key: u64,
    number: u64,
}

/// A part of the streams, under a lock of its own.
#[derive(Debug, Default)]
struct Stripe {
    streams: HashMap<u64, Stream, BuildHasherDefault<PrehashedHasher>>,
    /// Greater than every number of a stream that has ended, so that no number is used twice for one key.
    next_number: u64,
}

/// The tickets of one stream, in the order of their arrival. The first one is kept apart, as most streams have just one.
#[derive(Debug)]
struct Stream {
    first_number: u64,
    first: Slot,
    others: VecDeque<Slot>,
}

/// One ticket of a stream.
#[derive(Debug)]
struct Slot {
    /// From then on it blocks no other ticket, unless it is its turn.
    expires: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its request is not ready to be transferred yet.
    Pending,
    /// Its request is ready, and waits.
    Waiting(Waker),
    /// It is its turn: its request is being transferred.
    Granted,
    /// Its request was transferred, or has failed.
    Done,
}

/// Whether a ticket has its turn.
enum Turn {
    Now,
    /// Not before the first ticket is done, or this time has come.
    After(Instant),
}

impl TransferOrder {
    /// No stream yet; `metrics` count tickets that expired while others waited.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: Default::default(),
            metrics,
        }
    }

    /// The position of a request that has just arrived from a peer that counts as `holder`. Requests
    /// that are not uploads have none, and never wait.
    pub fn ticket(
        self: &Arc<Self>,
        holder: Holder,
        principal: Option<&Principal>,
        request: &Request,
    ) -> Ticket {
        self.key(holder, principal, request)
            .map_or_else(Ticket::unordered, |key| self.enter(key))
    }

    /// Number of tickets that the table holds, over all streams.
    #[must_use]
    pub fn tickets(&self) -> usize {
        let tickets = |stripe: &Mutex<Stripe>| {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            let streams = stripe.streams.values();
            streams
                .map(|it| it.others.len().saturating_add(1))
                .sum::<usize>()
        };
        self.stripes.iter().map(tickets).sum()
    }

    /// The stream of a request, hashed under a random key. A session's streams are those of its
    /// principal, which `holder` stands for; what unauthenticated peers send never blocks them.
    fn key(&self, holder: Holder, principal: Option<&Principal>, request: &Request) -> Option<u64> {
        let resource =
            Resource::from_request(request).filter(|it| Resource::UPLOADS.contains(it))?;
        let in_path = |index| match request.code() {
            Code::PUT => request.uri_path().get(index).map(String::as_str),
            _ => None,
        };
        let device = in_path(2).filter(|device| !device.is_empty());
        Some(match principal {
            Some(principal) => {
                let other = device.filter(|device| *device != &*principal.device);
                self.hasher.hash_one((resource, holder, other))
            }
            None => self.hasher.hash_one((resource, in_path(1)?, device?)),
        })
    }

    fn enter(self: &Arc<Self>, key: u64) -> Ticket {
        let now = Instant::now();
        let slot = Slot {
            expires: now + MAX_TURN,
            state: State::Pending,
        };
        let mut guard = self.stripe(key);
        let stripe = &mut *guard;
        let number = match stripe.streams.entry(key) {
            Entry::Occupied(stream) => {
                let stream = stream.into_mut();
                let number = stream.push(slot);
                self.pass_expired(stream, now);
                number
            }
            Entry::Vacant(place) => {
                let first_number = stripe.next_number;
                place.insert(Stream {
                    first_number,
                    first: slot,
                    others: VecDeque::new(),
                });
                first_number
            }
        };
        drop(guard);
        Ticket {
            order: Some(Arc::clone(self)),
            key,
            number,
        }
    }

    /// Whether it is the turn of a ticket; if not, `waker` is woken when that may have changed.
    fn turn(&self, key: u64, number: u64, waker: Option<&Waker>) -> Turn {
        let mut stripe = self.stripe(key);
        let Some(stream) = stripe.streams.get_mut(&key) else {
            return Turn::Now;
        };
        if number > stream.first_number {
            self.pass_expired(stream, Instant::now());
        }
        if number == stream.first_number {
            stream.first.state = State::Granted;
        }
        let first_is_pending = matches!(stream.first.state, State::Pending);
        let first_expires = stream.first.expires;
        // Its own patience ends, too: also for a first one that is being transferred without an end.
        let Some(slot) = stream.slot(number) else {
            return Turn::Now;
        };
        let patience = slot.expires + MAX_TURN;
        if patience <= Instant::now() {
            self.metrics.turn_expired();
            return Turn::Now;
        }
        if let Some(waker) = waker {
            slot.state = State::Waiting(waker.clone());
        }
        Turn::After(match first_is_pending {
            true => first_expires.min(patience),
            false => patience,
        })
    }

    /// Removes tickets at the front that have expired before their request was ready, and those that are done. If the next one
    /// waits for its turn, it has it now.
    fn pass_expired(&self, stream: &mut Stream, now: Instant) {
        loop {
            match &stream.first.state {
                State::Done => {}
                State::Pending if stream.first.expires <= now => self.metrics.turn_expired(),
                _ => break,
            }
            if !stream.advance() {
                break;
            }
        }
        if let Some(waker) = stream.grant() {
            waker.wake();
        }
    }

    /// Ends a ticket, and wakes the one that has its turn now.
    fn leave(&self, key: u64, number: u64) {
        let mut guard = self.stripe(key);
        let stripe = &mut *guard;
        let Entry::Occupied(mut place) = stripe.streams.entry(key) else {
            return;
        };
        let stream = place.get_mut();
        if number != stream.first_number {
            // One that went ahead or failed. Nothing waits for it before it would be the first.
            if let Some(slot) = stream.slot(number) {
                slot.state = State::Done;
                stream.trim();
            }
            return;
        }
        if !stream.advance() {
            let ended = place.remove();
            let next = ended.first_number.wrapping_add(1);
            stripe.next_number = stripe.next_number.max(next);
            return;
        }
        let next = stream.grant();
        drop(guard);
        if let Some(next) = next {
            next.wake();
        }
    }

    fn stripe(&self, key: u64) -> MutexGuard<'_, Stripe> {
        // Bits that the table does not choose its buckets by.
        let index = (key >> 32) as usize % STRIPES;
        let [first, ..] = &self.stripes;
        let stripe = self.stripes.get(index).unwrap_or(first);
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Adds a ticket behind all others; its number.
    fn push(&mut self, slot: Slot) -> u64 {
        self.others.push_back(slot);
        let others = u64::try_from(self.others.len()).unwrap_or(u64::MAX);
        self.first_number.wrapping_add(others)
    }

    /// Removes the first ticket and those behind it that are done already. False if none is left: then the last one stays.
    fn advance(&mut self) -> bool {
        while let Some(next) = self.others.pop_front() {
            self.first = next;
            self.first_number = self.first_number.wrapping_add(1);
            if !matches!(self.first.state, State::Done) {
                return true;
            }
        }
        false
    }

    /// Lets the first ticket have its turn if it waits for that.
    fn grant(&mut self) -> Option<Waker> {
        let granted = matches!(self.first.state, State::Waiting(_));
        let state = granted.then(|| std::mem::replace(&mut self.first.state, State::Granted));
        match state {
            Some(State::Waiting(waker)) => Some(waker),
            _ => None,
        }
    }

    /// Removes the last tickets if they are done.
    fn trim(&mut self) {
        while let Some(Slot {
            state: State::Done, ..
        }) = self.others.back()
        {
            self.others.pop_back();
        }
    }

    /// A ticket that is not the first.
    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let index = number.checked_sub(self.first_number)?.checked_sub(1)?;
        self.others.get_mut(usize::try_from(index).ok()?)
    }
}

impl Ticket {
    /// The ticket of a request whose order does not matter.
    pub const fn unordered() -> Self {
        Self {
            order: None,
            key: 0,
            number: 0,
        }
    }

    /// Waits until all earlier tickets of the stream are dropped or have expired.
    pub async fn turn(&self) {
        while let Turn::After(expires) = self.check(None) {
            let woken =
                poll_fn(
                    |context: &mut Context<'_>| match self.check(Some(context.waker())) {
                        Turn::Now => Poll::Ready(()),
                        Turn::After(_) => Poll::Pending,
                    },
                );
            // Either way the next look tells.
            drop(timeout_at(expires, woken).await);
        }
    }

    fn check(&self, waker: Option<&Waker>) -> Turn {
        let order = self.order.as_ref();
        order.map_or(Turn::Now, |order| order.turn(self.key, self.number, waker))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(order) = &self.order {
            order.leave(self.key, self.number);
        }
    }
}

/// How long after its arrival a request that is not ready blocks later ones of its stream: longer than look-ups take unless a
/// service hangs.
pub const MAX_TURN: Duration = Duration::from_secs(2);

/// Locks that the streams are spread over.
const STRIPES: usize = 16;

#[cfg(test)]
mod tests;
