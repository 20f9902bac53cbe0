//! Many clients that send and ask for blocks in any order, checked against the plainest model of what must come of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::block::{Block, BlockSize};
use crate::message::option::{self, Options};
use crate::message::{Code, Message, MessageId, Token, Type, uint};
use crate::reliability::after;
use crate::response::Response;
use crate::{Config, Endpoint, Event};

/// Lets clients transfer blocks as bytes tell, five for a datagram, and checks bodies, blocks and bounds; `start` is any point in
/// time.
///
/// # Panics
/// If a body is not what its blocks were, a block is not of the answer, or too much is kept.
pub fn blocks(start: Instant, bytes: &[u8]) {
    let mut world = World {
        endpoint: Endpoint::new(narrow(), 1),
        now: start,
        bodies: HashMap::new(),
        answers: HashMap::new(),
    };
    for (id, step) in (0..u16::MAX).zip(bytes.as_chunks().0) {
        world.send(MessageId(id), *step);
    }
    while let Some(next) = world.endpoint.poll_timeout() {
        world.endpoint.handle_timeout(next);
    }
    let endpoint = &world.endpoint;
    assert_eq!((endpoint.exchanges(), endpoint.peers()), (0, 0));
    assert_eq!((endpoint.transfers(), endpoint.transfer_bytes()), (0, 0));
}

struct World {
    endpoint: Endpoint<u8>,
    now: Instant,
    /// What was acknowledged of each upload since it began.
    bodies: HashMap<Name, Vec<u8>>,
    /// The last answer sent in blocks.
    answers: HashMap<Name, Vec<u8>>,
}

/// Peer and path.
type Name = (u8, u8);

impl World {
    fn send(&mut self, id: MessageId, step: [u8; 5]) {
        let [who, options, num, szx, length] = step;
        let name = (who & 0b11, (who >> 2) & 0b1);
        let block = Block {
            num: u32::from(num >> 3),
            more: num & 1 == 1,
            size: BlockSize::at_most(16 << (szx & 0b11)).unwrap_or(BlockSize::B16),
        };
        let fill = id.0.to_be_bytes().last().copied().unwrap_or_default();
        let mut message = Message {
            code: Code::POST,
            token: Token::new(&id.0.to_be_bytes()).unwrap_or_default(),
            options: Options::default(),
            payload: vec![fill; usize::from(length)],
            ..Message::empty(Type::Confirmable, id)
        };
        message.options.push(option::URI_PATH, &[b'p' | name.1]);
        let is_upload = options & 0b1 != 0;
        if is_upload {
            if options & 0b10 != 0 {
                message.payload.resize(block.size.bytes(), fill);
            }
            message.options.push(option::BLOCK1, &block.encode());
        } else if options & 0b10 != 0 {
            message.options.push(option::BLOCK2, &block.encode());
        }
        if options & 0b11_1100 == 0b11_1100 {
            message
                .options
                .push(option::SIZE1, &uint::encode(u64::from(length)));
        }
        let pause = Duration::from_secs(u64::from(who >> 3));
        self.now = after(self.now, pause);
        self.endpoint.handle_timeout(self.now);
        self.deliver(name, &message, is_upload.then_some(block));
    }

    fn deliver(&mut self, name: Name, message: &Message, block1: Option<Block>) {
        let Ok(datagram) = message.encode() else {
            return;
        };
        self.endpoint.handle_datagram(self.now, &name.0, &datagram);
        let begun = block1.and_then(|block| {
            let begun = self.bodies.remove(&name);
            begun.filter(|_| block.num > 0)
        });
        let mut body = begun.unwrap_or_default();
        // What a client sends again in a smaller block adds nothing.
        if !block1.is_some_and(|block| block.more && block.offset() < body.len()) {
            body.extend_from_slice(&message.payload);
        }
        let mut answer = None;
        while let Some(event) = self.endpoint.poll_event() {
            let Event::Request {
                exchange, request, ..
            } = event
            else {
                continue;
            };
            assert_eq!(request.payload(), body, "the body is what its blocks were");
            assert!(body.len() <= narrow().max_body);
            let response = Response::new(Code::CHANGED).payload(body.repeat(2));
            self.endpoint.respond(self.now, exchange, response);
            answer = Some(body.repeat(2));
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            if let Ok(sent) = Message::decode(&transmit.payload) {
                self.check(name, &sent, &mut answer);
                if sent.code == Code::CONTINUE {
                    self.bodies.insert(name, body.clone());
                }
            }
        }
        assert!(self.endpoint.transfers() <= narrow().max_block_transfers);
        assert!(self.endpoint.transfer_bytes() <= narrow().max_block_bytes);
    }

    fn check(&mut self, name: Name, sent: &Message, fresh: &mut Option<Vec<u8>>) {
        let Some(block2) = sent.options.first(option::BLOCK2).and_then(Block::decode) else {
            return;
        };
        if let Some(answer) = fresh.take() {
            assert_eq!(block2.num, 0, "an answer begins with its first block");
            self.answers.insert(name, answer);
        }
        let answer = self
            .answers
            .get(&name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let end = block2.offset().saturating_add(sent.payload.len());
        assert_eq!(
            answer.get(block2.offset()..end),
            Some(&*sent.payload),
            "a block of the answer"
        );
        assert_eq!(block2.more, end < answer.len(), "whether more follows");
        assert!(block2.size <= narrow().preferred_block_size);
    }
}

fn narrow() -> Config {
    Config {
        max_body: 256,
        max_unblocked_payload: 128,
        preferred_block_size: BlockSize::B64,
        max_block_transfers: 6,
        max_block_transfers_per_peer: 3,
        max_block_bytes: 1500,
        block_lifetime: Duration::from_secs(60),
        ..Config::default()
    }
}
