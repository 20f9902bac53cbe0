//! Block-wise transfer (RFC 7959) as peers and callers see it.

mod answers;
mod bounds;
mod golden;
mod limits;
mod refusals;
mod uploads;

use super::*;
use crate::BlockSize;
use crate::block::Block;

/// What is written `num/more/size` in RFC 7959 §3.
fn block(num: u32, more: u8, size: usize) -> Block {
    Block {
        num,
        more: more == 1,
        size: BlockSize::at_most(size).expect("a block size"),
    }
}

/// A confirmable `POST /t` with a block of an upload.
fn upload(id: u16, block1: Block, payload: &[u8]) -> Message {
    Message {
        payload: payload.to_vec(),
        ..with_option(con(id), option::BLOCK1, &block1.encode())
    }
}

/// A confirmable `POST /t` that asks for a block of the answer.
fn fetch(id: u16, block2: Block) -> Message {
    with_option(con(id), option::BLOCK2, &block2.encode())
}

/// What answers a request without the caller's doing.
fn answer(server: &mut Server, request: &Message) -> Message {
    let mut sent = server.receive(&request.encode().unwrap());
    assert_eq!((sent.len(), server.request()), (1, None));
    let answer = sent.remove(0);
    assert_eq!(
        (answer.kind, answer.id, answer.token),
        (Type::Acknowledgement, request.id, request.token)
    );
    answer
}

/// The first request of the caller's that a datagram makes whole.
fn whole(server: &mut Server, request: &Message) -> (ExchangeId, Request) {
    assert_eq!(server.receive(&request.encode().unwrap()), []);
    server.request().expect("a whole request")
}

/// Code, block option and text.
fn told(message: &Message, number: u16) -> (Code, Option<Block>, String) {
    (
        message.code,
        message.options.first(number).and_then(Block::decode),
        String::from_utf8_lossy(&message.payload).into_owned(),
    )
}

fn body(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}
