//! Frames on the wire (AMQP 1.0 part 2 §2.2, §2.3 and part 5 §5.3): how one is read, and how one is written.

use fe2o3_amqp_types::performatives::{Disposition, Flow, Performative, Transfer};
use serde::Serialize;

use crate::{
    DecodeError,
    nesting::{is_shallow, performative_length},
    performative, value,
};

/// One frame of an open connection.
#[derive(Debug)]
pub struct Frame {
    /// The channel, that is the session, that it belongs to.
    pub channel: u16,
    /// Nothing for the empty frame that only keeps the connection alive.
    pub performative: Option<Performative>,
    /// What follows the performative: a part of a message, after a transfer.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// [`DecodeError`] if these bytes are not one frame of AMQP type.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (kind, channel, body) = split(frame)?;
        if kind != TYPE_AMQP {
            return Err(DecodeError::FrameType(kind));
        }
        if body.is_empty() {
            return Ok(Self {
                channel,
                performative: None,
                payload: Vec::new(),
            });
        }
        let (performative, payload) = performative_length(body)
            .and_then(|length| body.split_at_checked(length))
            .ok_or(DecodeError::NoPerformative)?;
        let performative = match performative::read(performative) {
            Some(performative) => performative,
            None if is_shallow(performative) => {
                serde_amqp::from_slice(performative).map_err(DecodeError::value)?
            }
            None => return Err(DecodeError::TooDeep),
        };
        Ok(Self {
            channel,
            performative: Some(performative),
            payload: payload.to_vec(),
        })
    }
}

/// The size of the frame that starts with these four bytes, the four included.
///
/// # Errors
/// [`DecodeError::FrameSize`] if there is no such frame, or if it is larger than `max_frame_size`.
pub fn size(start: [u8; 4], max_frame_size: u32) -> Result<usize, DecodeError> {
    let size = u32::from_be_bytes(start);
    if (8..=max_frame_size).contains(&size) {
        Ok(size as usize)
    } else {
        Err(DecodeError::FrameSize(size))
    }
}

/// The body of a whole SASL frame.
///
/// # Errors
/// [`DecodeError`] if these bytes are not one frame of SASL type.
pub fn sasl_body(frame: &[u8]) -> Result<&[u8], DecodeError> {
    match split(frame)? {
        (TYPE_SASL, _, body) if !is_shallow(body) => Err(DecodeError::TooDeep),
        (TYPE_SASL, _, body) => Ok(body),
        (kind, ..) => Err(DecodeError::FrameType(kind)),
    }
}

/// Type, channel and body of a frame (part 2 §2.3.1).
fn split(frame: &[u8]) -> Result<(u8, u16, &[u8]), DecodeError> {
    let [_, _, _, _, data_offset, kind, high, low, ..] = *frame else {
        return Err(DecodeError::FrameSize(
            u32::try_from(frame.len()).unwrap_or(u32::MAX),
        ));
    };
    let body = Some(usize::from(data_offset).saturating_mul(4))
        .filter(|start| *start >= 8)
        .and_then(|start| frame.get(start..))
        .ok_or(DecodeError::DataOffset(data_offset))?;
    Ok((kind, u16::from_be_bytes([high, low]), body))
}

/// Appends a frame that carries nothing but a performative.
pub fn write(into: &mut Vec<u8>, channel: u16, performative: &impl Serialize) {
    write_with(into, TYPE_AMQP, channel, |into| {
        into.extend_from_slice(&encode(performative));
    });
}

/// Appends a SASL frame.
pub fn write_sasl(into: &mut Vec<u8>, body: &impl Serialize) {
    write_with(into, TYPE_SASL, 0, |into| {
        into.extend_from_slice(&encode(body));
    });
}

/// Appends the frame of a sasl-init (part 5 §5.3.3.2). Its response may hold a password: no copy is left in freed memory.
pub(crate) fn write_sasl_init(
    into: &mut Vec<u8>,
    mechanism: &str,
    response: &[u8],
    hostname: Option<&str>,
) {
    let hostname_length = hostname.map_or(0, str::len);
    let length = mechanism.len().saturating_add(response.len());
    into.reserve(length.saturating_add(hostname_length).saturating_add(64));
    write_with(into, TYPE_SASL, 0, |into| {
        into.extend_from_slice(&[0x00, 0x53, SASL_INIT]);
        value::list(into, |into| {
            value::symbol(into, mechanism);
            value::binary(into, response);
            hostname.map_or(2, |hostname| {
                value::string(into, hostname);
                3
            })
        });
    });
}

/// Appends the empty frame that tells the other side that we still live.
pub fn write_heartbeat(into: &mut Vec<u8>) {
    write_with(into, TYPE_AMQP, 0, |_| ());
}

/// Cuts a message into transfer frames that each fit into `max_frame_size`.
#[must_use]
pub fn cut(
    mut transfer: Transfer,
    message: &[u8],
    max_frame_size: usize,
) -> Vec<(Transfer, Vec<u8>)> {
    let room = max_frame_size.saturating_sub(8 + TRANSFER_ROOM).max(1);
    let count = message.len().div_ceil(room).max(1);
    let mut frames = Vec::with_capacity(count);
    let mut parts = message.chunks(room);
    for index in 0..count {
        transfer.more = index < count.saturating_sub(1);
        frames.push((transfer.clone(), parts.next().unwrap_or_default().to_vec()));
        transfer.delivery_id = None;
        transfer.delivery_tag = None;
        transfer.message_format = None;
        transfer.settled = None;
    }
    frames
}

/// Appends a transfer frame with its part of the message.
pub fn write_transfer(into: &mut Vec<u8>, channel: u16, transfer: &Transfer, part: &[u8]) {
    write_with(into, TYPE_AMQP, channel, |into| {
        performative::put_transfer(into, transfer);
        into.extend_from_slice(part);
    });
}

/// Appends a disposition frame.
pub fn write_disposition(into: &mut Vec<u8>, channel: u16, disposition: &Disposition) {
    write_with(into, TYPE_AMQP, channel, |into| {
        performative::put_disposition(into, disposition);
    });
}

/// Appends a flow frame.
pub fn write_flow(into: &mut Vec<u8>, channel: u16, flow: &Flow) {
    write_with(into, TYPE_AMQP, channel, |into| {
        performative::put_flow(into, flow);
    });
}

/// The encoding of a value of our own making.
///
/// # Panics
/// If the value has no encoding in AMQP; all types of the library have one.
#[must_use]
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "only values of the library's own types are encoded, and into memory"
    )]
    serde_amqp::to_vec(value).expect("every type of the library has an encoding")
}

/// Appends a frame whose body `write` appends.
fn write_with(into: &mut Vec<u8>, kind: u8, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend_from_slice(&[0, 0, 0, 0, 2, kind]);
    into.extend_from_slice(&channel.to_be_bytes());
    write(into);
    let size = u32::try_from(into.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(place) = into.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *place = size.to_be_bytes();
    }
}

/// The largest frame we take; said to the other side in our open.
pub const MAX_FRAME_SIZE: u32 = 65_536;
/// The first eight bytes of a connection without SASL layer (part 2 §2.2).
pub const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// The first eight bytes of a SASL layer (part 5 §5.3.1).
pub const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

const TYPE_AMQP: u8 = 0;
const TYPE_SASL: u8 = 1;
/// `amqp:sasl-init:list`.
const SASL_INIT: u8 = 0x41;
/// No transfer of ours is longer than this: a short tag, no delivery state.
const TRANSFER_ROOM: usize = 64;
