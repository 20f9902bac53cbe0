//! What is remembered of one peer: its requests, to tell duplicates, and our messages it has yet to acknowledge (RFC 7252 §4.5).

use std::collections::VecDeque;
use std::time::Instant;

use fair_share::Holder;

use crate::exchange::ExchangeId;
use crate::message::MessageId;
use crate::reliability::{MessageIds, Random};

#[derive(Debug)]
pub(crate) struct Peer {
    /// Every exchange with the peer, oldest first, by the id of its request.
    requests: VecDeque<(MessageId, ExchangeId)>,
    /// Exchanges in `AwaitAck`, by the id of our message.
    unacknowledged: Vec<(MessageId, ExchangeId)>,
    pub(crate) ids: MessageIds,
    /// Who pays for its entries, and its index among the peers of that holder.
    pub(crate) holder: Option<(Holder, usize)>,
    /// Bytes that may be sent to its address while that is not proved.
    pub(crate) credit: u32,
    /// How long its address is proved.
    pub(crate) proved_until: Option<Instant>,
}

impl Peer {
    /// Most peers of a server with many have one request remembered: there is room for that, and more as needed.
    pub(crate) fn new(random: &mut Random, holder: Option<(Holder, usize)>, credit: u32) -> Self {
        Self {
            requests: VecDeque::with_capacity(1),
            unacknowledged: Vec::new(),
            ids: MessageIds::new(random),
            holder,
            credit,
            proved_until: None,
        }
    }

    pub(crate) fn remember(&mut self, id: MessageId, exchange: ExchangeId) {
        self.requests.push_back((id, exchange));
    }

    /// Of an exchange that awaits no acknowledgement, or no longer.
    pub(crate) fn forget(&mut self, exchange: ExchangeId) {
        // mostly the oldest, which is found and taken out at once
        let mut remembered = self.requests.iter();
        if let Some(at) = remembered.position(|(_, remembered)| *remembered == exchange) {
            self.requests.remove(at);
        }
    }

    /// The youngest exchange whose request had this id.
    pub(crate) fn find(&self, id: MessageId) -> Option<ExchangeId> {
        self.requests
            .iter()
            .rev()
            .find(|(remembered, _)| *remembered == id)
            .map(|(_, exchange)| *exchange)
    }

    /// Every exchange, oldest first.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = ExchangeId> {
        self.requests.iter().map(|(_, exchange)| *exchange)
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn await_ack(&mut self, id: MessageId, exchange: ExchangeId) {
        self.unacknowledged.push((id, exchange));
    }

    /// Which exchange an ACK or RST with this id is for.
    pub(crate) fn awaiting(&self, id: MessageId) -> Option<ExchangeId> {
        self.unacknowledged
            .iter()
            .find(|(sent, _)| *sent == id)
            .map(|(_, exchange)| *exchange)
    }

    /// The exchange that awaits an acknowledgement for longest.
    pub(crate) fn first_unacknowledged(&self) -> Option<ExchangeId> {
        self.unacknowledged.first().map(|(_, exchange)| *exchange)
    }

    /// Returns whether the exchange awaited an acknowledgement.
    pub(crate) fn acknowledge(&mut self, exchange: ExchangeId) -> bool {
        let before = self.unacknowledged.len();
        self.unacknowledged
            .retain(|(_, awaiting)| *awaiting != exchange);
        self.unacknowledged.len() < before
    }
}
