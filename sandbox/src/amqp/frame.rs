//! Frames on the wire (AMQP 1.0 part 2 §2.2, §2.3 and part 5 §5.3): how one is read, and how one is written.

use std::io::{Error, ErrorKind};

use fe2o3_amqp_types::performatives::{Performative, Transfer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::nesting::{is_shallow, performative_length};

/// One frame of an open connection.
pub(crate) struct Frame {
    pub(crate) channel: u16,
    /// Nothing for the empty frame that only keeps the connection alive.
    pub(crate) performative: Option<Performative>,
    /// What follows the performative: a part of a message, after a transfer.
    pub(crate) payload: Vec<u8>,
}

/// Reads the next frame. `None` when the other side ended the stream between two frames.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>, Error> {
    let Some((kind, channel, mut body)) = read_raw(reader).await? else {
        return Ok(None);
    };
    if kind != TYPE_AMQP {
        return Err(malformed("a frame that is not of AMQP type"));
    }
    if body.is_empty() {
        return Ok(Some(Frame {
            channel,
            performative: None,
            payload: body,
        }));
    }
    let length = performative_length(&body).ok_or_else(|| malformed("no performative"))?;
    let payload = body.split_off(length);
    if !is_shallow(&body) {
        return Err(malformed("values too deep in each other"));
    }
    let performative = serde_amqp::from_slice(&body).map_err(malformed)?;
    Ok(Some(Frame {
        channel,
        performative: Some(performative),
        payload,
    }))
}

/// Reads the body of the next SASL frame.
pub(crate) async fn read_sasl(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    match read_raw(reader).await? {
        Some((TYPE_SASL, _, body)) => Ok(body),
        Some(_) => Err(malformed("a frame that is not of SASL type")),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

async fn read_raw(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<Option<(u8, u16, Vec<u8>)>, Error> {
    let mut size = [0; 4];
    match reader.read_exact(&mut size).await {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let size = u32::from_be_bytes(size);
    if !(8..=MAX_FRAME_SIZE).contains(&size) {
        return Err(malformed(format!("a frame of {size} bytes")));
    }
    let mut header = [0; 4];
    reader.read_exact(&mut header).await?;
    let [data_offset, kind, channel @ ..] = header;
    let mut rest = vec![0; size as usize - 8];
    reader.read_exact(&mut rest).await?;
    let extended = (usize::from(data_offset) * 4)
        .checked_sub(8)
        .filter(|extended| *extended <= rest.len());
    let extended =
        extended.ok_or_else(|| malformed(format!("a data offset of {data_offset} words")))?;
    Ok(Some((
        kind,
        u16::from_be_bytes(channel),
        rest.split_off(extended),
    )))
}

/// Appends a frame that carries nothing but a performative.
pub(crate) fn write(into: &mut Vec<u8>, channel: u16, performative: &impl Serialize) {
    write_raw(into, TYPE_AMQP, channel, &encode(performative), &[]);
}

/// Appends a SASL frame.
pub(crate) fn write_sasl(into: &mut Vec<u8>, body: &impl Serialize) {
    write_raw(into, TYPE_SASL, 0, &encode(body), &[]);
}

/// Appends the empty frame that tells the other side that we still live.
pub(crate) fn write_heartbeat(into: &mut Vec<u8>) {
    write_raw(into, TYPE_AMQP, 0, &[], &[]);
}

/// Cuts a message into transfer frames that each fit into `max_frame_size`.
pub(crate) fn cut(
    mut transfer: Transfer,
    message: &[u8],
    max_frame_size: usize,
) -> Vec<(Transfer, Vec<u8>)> {
    let room = max_frame_size.saturating_sub(8 + TRANSFER_ROOM).max(1);
    let count = message.len().div_ceil(room).max(1);
    let mut frames = Vec::with_capacity(count);
    let mut parts = message.chunks(room);
    for index in 0..count {
        transfer.more = index + 1 < count;
        frames.push((transfer.clone(), parts.next().unwrap_or_default().to_vec()));
        transfer.delivery_id = None;
        transfer.delivery_tag = None;
        transfer.message_format = None;
        transfer.settled = None;
    }
    frames
}

/// Appends a transfer frame with its part of the message.
pub(crate) fn write_transfer(into: &mut Vec<u8>, channel: u16, transfer: &Transfer, part: &[u8]) {
    write_raw(into, TYPE_AMQP, channel, &encode(transfer), part);
}

/// The encoding of a value of our own making.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "only values of the library's own types are encoded, and into memory"
    )]
    serde_amqp::to_vec(value).expect("every type of the library has an encoding")
}

fn write_raw(into: &mut Vec<u8>, kind: u8, channel: u16, body: &[u8], part: &[u8]) {
    let size = u32::try_from(8 + body.len() + part.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&size.to_be_bytes());
    into.extend_from_slice(&[2, kind]);
    into.extend_from_slice(&channel.to_be_bytes());
    into.extend_from_slice(body);
    into.extend_from_slice(part);
}

pub(crate) fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

/// The largest frame we take; said to the other side in our open.
pub(crate) const MAX_FRAME_SIZE: u32 = 65_536;
/// The first eight bytes of a connection without SASL layer (part 2 §2.2).
pub(crate) const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// The first eight bytes of a SASL layer (part 5 §5.3.1).
pub(crate) const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

const TYPE_AMQP: u8 = 0;
const TYPE_SASL: u8 = 1;
/// No transfer of ours is longer than this: a short tag, no delivery state.
const TRANSFER_ROOM: usize = 64;
