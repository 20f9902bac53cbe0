//! A client that knows just enough of the message layer and of blocks.

use std::collections::VecDeque;

use super::*;
use crate::BlockSize;
use crate::block::Block;

/// Sends a confirmable request again until something comes, acknowledges responses, sends the next
/// block of its upload and asks for the next block of the answer.
pub(super) struct Client {
    pub(super) request: Message,
    /// Blocks to send after `request`.
    pub(super) blocks: VecDeque<Message>,
    /// What came of the answer.
    pub(super) received: Vec<u8>,
    pub(super) attempts: u32,
    pub(super) state: ClientState,
    pub(super) response: Option<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientState {
    Sending,
    AwaitResponse,
    Answered,
    GaveUp,
}

impl Client {
    /// Turns to the next block of the upload or of the answer, if there is one.
    pub(super) fn goes_on(&mut self, response: &Message) -> bool {
        let next = if let Some(block) = self.blocks.pop_front() {
            assert_eq!(response.code, Code::CONTINUE);
            block
        } else {
            assert_eq!(response.code, Code::CHANGED);
            self.received.extend_from_slice(&response.payload);
            let block2 = response.options.first(option::BLOCK2);
            let Some(block2) = block2.and_then(Block::decode).filter(|block2| block2.more) else {
                return false;
            };
            let next = Block {
                num: block2.num + 1,
                more: false,
                ..block2
            };
            with_option(con(self.request.id.0 + 1), option::BLOCK2, &next.encode())
        };
        self.request = next;
        self.attempts = 0;
        self.state = ClientState::Sending;
        self.response = None;
        true
    }
}

/// A body in blocks; the answer is asked for in blocks of the same size.
pub(super) fn upload(body: &[u8], size: BlockSize) -> VecDeque<Message> {
    let count = body.chunks(size.bytes()).count();
    let blocks = body.chunks(size.bytes()).zip(0..).map(|(payload, num)| {
        let more = usize::try_from(num).unwrap() + 1 < count;
        let block1 = Block { num, more, size };
        let block2 = Block {
            num: 0,
            more: false,
            size,
        };
        let request = with_option(
            con(u16::try_from(num).unwrap()),
            option::BLOCK2,
            &block2.encode(),
        );
        Message {
            payload: payload.to_vec(),
            ..with_option(request, option::BLOCK1, &block1.encode())
        }
    });
    blocks.collect()
}
