//! Between datagrams and the caller: blocks become one request, one answer becomes blocks (RFC 7959 §2).

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use super::{Endpoint, Event, Source, UNLIMITED};
use crate::block::{
    Asked, Block, Cut, Direction, Plan, Progress, Sizes, Target, Transfer, Upload, block_of, cut,
    plan, too_large,
};
use crate::config::Config;
use crate::exchange::{Exchange, ExchangeId};
use crate::message::Code;
use crate::request::Request;
use crate::response::Response;
use crate::statistics::count;

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    /// Hands a request on, or answers it if it is but a block.
    pub(super) fn accept(&mut self, now: Instant, source: Source<'_, P>, request: Request) {
        let Some(exchange) = self.open(now, source, &request) else {
            return;
        };
        self.expire_transfers(now);
        let target = Target::of(&request);
        let asked = Asked {
            block1: request.block1(),
            block2: request.block2(),
            target,
        };
        let whole = match asked.block1 {
            Some(block) => self.take_block(now, source, block, &asked.target, request),
            None => self.take_undivided(now, source, exchange, &asked, request),
        };
        match whole {
            Ok(request) => self.hand_on(exchange, source.peer, request, asked),
            Err(answer) => self.respond(now, exchange, *answer),
        }
    }

    fn hand_on(&mut self, exchange: ExchangeId, peer: &P, request: Request, asked: Asked) {
        if let Some(entry) = self.exchanges.get_mut(&exchange) {
            entry.asked = Some(asked);
        }
        count(&mut self.statistics.requests);
        let peer = peer.clone();
        self.events.push_back(Event::Request {
            exchange,
            peer,
            request,
        });
    }

    /// A block of an upload: the whole request if it is the last, else what to answer.
    fn take_block(
        &mut self,
        now: Instant,
        source: Source<'_, P>,
        block: Block,
        target: &Target,
        request: Request,
    ) -> Result<Request, Box<Response>> {
        let Source { peer, holder, .. } = source;
        let under_way = self.transfers.take(peer, target, Direction::Upload);
        let max_body = self.config.max_body;
        if request.size1().is_some_and(|size| size > max_body) {
            count(&mut self.statistics.too_large);
            return Err(too_large(max_body).into());
        }
        let mut upload = match under_way {
            Some(Transfer::Upload(upload)) if block.num > 0 => upload,
            // a first block begins anew; any other is refused for its offset
            _ => {
                let preferred = self.config.preferred_block_size;
                let asked_size = Some(preferred).filter(|asked| *asked < block.size);
                Upload::start(&request, asked_size, max_body)
            }
        };
        match upload.add(block, &request) {
            Ok(Progress::Complete) => {
                count(&mut self.statistics.reassembled);
                Ok(upload.into_request(request))
            }
            Ok(Progress::Continue) => {
                let transfer = Transfer::Upload(upload);
                let target = target.clone();
                let evicted = self.transfers.put(now, peer, holder, target, transfer);
                self.count_evicted(evicted);
                count(&mut self.statistics.continued);
                Err(proceed(block.limited(self.config.preferred_block_size)).into())
            }
            Err(fault) => {
                let answer = fault.response();
                count(match answer.code {
                    Code::REQUEST_ENTITY_TOO_LARGE => &mut self.statistics.too_large,
                    _ => &mut self.statistics.incomplete,
                });
                Err(answer.into())
            }
        }
    }

    /// A request that is whole by itself, unless it asks for a later block of an answer: that one is in what is kept, and where
    /// nothing is kept a request that changes something must not be carried out for it.
    fn take_undivided(
        &mut self,
        now: Instant,
        source: Source<'_, P>,
        exchange: ExchangeId,
        asked: &Asked,
        request: Request,
    ) -> Result<Request, Box<Response>> {
        if request.payload().len() > self.config.max_body {
            count(&mut self.statistics.too_large);
            return Err(too_large(self.config.max_body).into());
        }
        let Some(block) = asked.block2.filter(|block| block.num > 0) else {
            return Ok(request);
        };
        let Source { peer, holder, .. } = source;
        let kept = self.transfers.take(peer, &asked.target, Direction::Answer);
        if let Some(Transfer::Answer(kept)) = kept {
            let entry = self.exchanges.get(&exchange);
            let sizes = entry.map(|entry| sizes(&self.config, entry));
            let answer = match sizes.and_then(|sizes| sizes.later_block(&kept.options)) {
                Some(size) => block_of(&kept, block.limited(size)),
                None => Response::new(Code::INTERNAL_SERVER_ERROR),
            };
            let transfer = Transfer::Answer(kept);
            let target = asked.target.clone();
            self.transfers.put(now, peer, holder, target, transfer);
            count(&mut self.statistics.blocks_served);
            return Err(answer.into());
        }
        if matches!(request.code(), Code::GET | Code::FETCH) {
            return Ok(request);
        }
        count(&mut self.statistics.incomplete);
        let text = format!("nothing is kept of which to send block {}!", block.num);
        Err(Response::new(Code::REQUEST_ENTITY_INCOMPLETE)
            .payload(text)
            .into())
    }

    /// What goes out of the caller's answer now; the rest is kept to be asked for.
    pub(super) fn cut(
        &mut self,
        now: Instant,
        peer: &P,
        exchange: ExchangeId,
        asked: Asked,
        sizes: Sizes,
        response: Response,
    ) -> Response {
        let block1 = asked.block1;
        let code = response.code;
        let mut response = match cut(response, &asked, sizes) {
            Cut::Whole(response) => response,
            Cut::First { block, whole } => self.keep(now, peer, asked.target, whole, block),
            Cut::TooLarge if self.is_limited(exchange) => return Response::new(code),
            Cut::TooLarge => {
                count(&mut self.statistics.invalid_responses);
                Response::new(Code::INTERNAL_SERVER_ERROR)
            }
        };
        if let Some(block) = block1 {
            response.confirm(block);
        }
        response
    }

    /// Whether a response gets to the peer of an exchange, whole or its first block.
    pub(super) fn travels(&self, exchange: &Exchange<P>, response: &Response) -> bool {
        let sizes = sizes(&self.config, exchange);
        let Some(asked) = &exchange.asked else {
            return sizes.fit(response, 0);
        };
        match plan(response, asked, sizes) {
            Plan::Whole => true,
            Plan::First(_) => self.transfers.may_keep(&asked.target, response),
            // The client misses what stands before the block it asks for.
            Plan::Asked(_) | Plan::TooLarge => false,
        }
    }

    fn keep(
        &mut self,
        now: Instant,
        peer: &P,
        target: Target,
        whole: Response,
        first: Response,
    ) -> Response {
        self.transfers.take(peer, &target, Direction::Answer);
        let transfer = Transfer::Answer(whole);
        if !self.transfers.is_room_for(&target, &transfer) {
            count(&mut self.statistics.invalid_responses);
            return Response::new(Code::INTERNAL_SERVER_ERROR);
        }
        let holder = self.holder_of(peer);
        let evicted = self.transfers.put(now, peer, holder, target, transfer);
        self.count_evicted(evicted);
        first
    }

    pub(super) fn expire_transfers(&mut self, now: Instant) {
        let expired = self.transfers.expire(now);
        let counter = &mut self.statistics.expired_transfers;
        *counter = counter.wrapping_add(expired);
    }

    fn count_evicted(&mut self, evicted: u64) {
        let counter = &mut self.statistics.evicted_transfers;
        *counter = counter.wrapping_add(evicted);
    }
}

/// How large the answer to a request may be.
pub(super) fn sizes<P>(config: &Config, exchange: &Exchange<P>) -> Sizes {
    Sizes {
        preferred: config.preferred_block_size,
        max_unblocked: config.max_unblocked_payload,
        max_message: match exchange.max_message.min(exchange.allowance) {
            UNLIMITED => usize::MAX,
            limited => limited.into(),
        },
        token: exchange.token.length().into(),
    }
}

/// Acknowledges a block that is not the last, and tells of which size further ones should be (RFC 7959 §2.3).
fn proceed(block: Block) -> Response {
    let mut response = Response::new(Code::CONTINUE);
    response.confirm(Block {
        more: true,
        ..block
    });
    response
}
