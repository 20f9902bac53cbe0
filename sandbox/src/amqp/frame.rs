//! Frames taken from a stream; what they are is `amqp_proto`'s to know.

use std::io::{Error, ErrorKind};

pub(crate) use amqp_proto::frame::*;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads the next frame. `None` when the other side ended the stream between two frames.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>, Error> {
    let Some(frame) = read_whole(reader).await? else {
        return Ok(None);
    };
    Frame::decode(&frame).map(Some).map_err(malformed)
}

/// Reads the body of the next SASL frame.
pub(crate) async fn read_sasl(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    let frame = read_whole(reader).await?.ok_or(ErrorKind::UnexpectedEof)?;
    Ok(sasl_body(&frame).map_err(malformed)?.to_vec())
}

async fn read_whole(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, Error> {
    let mut start = [0; 4];
    match reader.read_exact(&mut start).await {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let mut frame = vec![0; size(start, MAX_FRAME_SIZE).map_err(malformed)?];
    let (size, rest) = frame.split_at_mut(4);
    size.copy_from_slice(&start);
    reader.read_exact(rest).await?;
    Ok(Some(frame))
}

pub(crate) fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}
