//! Limits what is sent to addresses that are not proved (RFC 7252 §11.3, RFC 9175 §2.4).
//!
//! A response is at most three times as long as its request, and everything sent to an address, with
//! acknowledgements and retransmissions, at most three times as long as what came from it. A client
//! proves its address by sending back the Echo option of a response.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Endpoint, Source};
use crate::address::AddressValidation;
use crate::dedup::Peer;
use crate::exchange::{Exchange, ExchangeId};
use crate::message::{Code, Message, Type, option};
use crate::request::Request;
use crate::response::Response;
use crate::statistics::count;

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    /// From now on peers have to prove their addresses before more than three times as many bytes are
    /// sent to them as came from them. `key` should be random.
    ///
    /// For peers whose addresses may be forged; over DTLS they are proved.
    pub fn require_address_validation(&mut self, key: [u8; 16]) {
        self.validation = Some(AddressValidation::new(key));
    }

    /// The bytes that may be sent for a datagram of this length.
    pub(super) fn allowance(&mut self, peer: &P, length: usize) -> u16 {
        if self.validation.is_none() {
            return UNLIMITED;
        }
        let allowance = length.saturating_mul(FACTOR);
        let allowance = u16::try_from(allowance).unwrap_or(UNLIMITED.saturating_sub(1));
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.credit = peer.credit.saturating_add(allowance.into()).min(MAX_CREDIT);
        }
        allowance
    }

    /// Whether the Echo option of a request proves the address of its peer.
    pub(super) fn has_echoed(&mut self, now: Instant, peer: &P, request: &Request) -> bool {
        let Some(validation) = &mut self.validation else {
            return false;
        };
        let value = request.options().first(option::ECHO);
        value.is_some_and(|value| validation.verify(now, peer, value))
    }

    /// Sets what may be sent for a new exchange.
    pub(super) fn limit(&mut self, now: Instant, source: Source<'_, P>, exchange: ExchangeId) {
        if self.validation.is_none() {
            return;
        }
        let Some(peer) = self.peers.get_mut(source.peer) else {
            return;
        };
        if source.has_echoed {
            peer.proved_until = now.checked_add(PROVED_FOR);
        }
        if !peer.is_proved(now)
            && let Some(entry) = self.exchanges.get_mut(&exchange)
        {
            entry.allowance = source.allowance;
        }
    }

    /// Whether a message may be sent to a peer once more; if so, it is paid for.
    pub(super) fn pay(&mut self, now: Instant, peer: &P, length: usize) -> bool {
        if self.validation.is_none() {
            return true;
        }
        let Some(peer) = self.peers.get_mut(peer) else {
            return false;
        };
        let left = u32::try_from(length)
            .ok()
            .and_then(|length| peer.credit.checked_sub(length));
        if let Some(left) = left {
            peer.credit = left;
        }
        left.is_some() || peer.is_proved(now)
    }

    /// The response itself if it may be sent, else a shorter one: an error without its text, or for a
    /// request that changes nothing 4.01; both with an Echo option if there is room. A success of
    /// another request stays, to be sent in blocks.
    pub(super) fn within_allowance(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        response: Response,
    ) -> Response {
        let Some(entry) = self.exchanges.get(&exchange) else {
            return response;
        };
        if !entry.is_limited() || entry.fits(&response) {
            return response;
        }
        let is_error = response.code.class() != 2;
        let mut shorter = Response::new(match is_error {
            true => response.code,
            false if entry.is_safe => Code::UNAUTHORIZED,
            false => return response,
        });
        count(&mut self.statistics.shortened);
        if let Some(max_age) = response.options.first(option::MAX_AGE) {
            shorter.options.push(option::MAX_AGE, max_age);
        }
        let Some(validation) = &mut self.validation else {
            return shorter;
        };
        let echo = validation.issue(now, &entry.peer);
        let proving = shorter.clone().option(option::ECHO, echo);
        if entry.fits(&proving) {
            proving
        } else {
            shorter
        }
    }

    /// Whether less may be sent for an exchange than a message may have.
    pub(super) fn is_limited(&self, exchange: ExchangeId) -> bool {
        let entry = self.exchanges.get(&exchange);
        entry.is_some_and(Exchange::is_limited)
    }
}

impl<P> Exchange<P> {
    pub(super) const fn is_limited(&self) -> bool {
        self.allowance != UNLIMITED
    }

    /// Whether a response may be sent.
    pub(super) fn fits(&self, response: &Response) -> bool {
        let fits = |room| response.payload.len() <= room;
        !self.is_limited() || self.room(response).is_some_and(fits)
    }

    /// The room for a payload beside the options of a response.
    fn room(&self, response: &Response) -> Option<usize> {
        let message = Message {
            kind: Type::Acknowledgement,
            code: response.code,
            id: self.request_id,
            token: self.token,
            options: response.options.clone(),
            payload: Vec::new(),
        };
        let marker = usize::from(!response.payload.is_empty());
        let taken = message.encode().ok()?.len().checked_add(marker)?;
        usize::from(self.allowance).checked_sub(taken)
    }
}

impl Peer {
    fn is_proved(&self, now: Instant) -> bool {
        self.proved_until.is_some_and(|until| now < until)
    }
}

/// Takes what a message needs from an allowance.
pub(super) fn spend(allowance: &mut u16, message: &Arc<[u8]>) {
    if *allowance != UNLIMITED {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        *allowance = allowance.saturating_sub(length);
    }
}

/// The allowance of a peer whose address is proved.
pub(crate) const UNLIMITED: u16 = u16::MAX;

/// How many times as many bytes may go out as came in (RFC 9175 §2.4).
const FACTOR: usize = 3;

/// The most that an address may save up.
const MAX_CREDIT: u32 = 16 << 10;

/// How long an address stays proved.
const PROVED_FOR: Duration = Duration::from_secs(300);
