//! Frames taken from a stream; what they are is `amqp_proto`'s to know.

use std::io::{Error, ErrorKind};

pub(crate) use amqp_proto::frame::*;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The frames of a stream, taken as many at a time as have come.
pub(crate) struct Frames<R> {
    stream: R,
    bytes: Vec<u8>,
    /// How many of the bytes are of frames that were taken.
    taken: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) const fn new(stream: R) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            taken: 0,
        }
    }

    /// The next frame. `None` when the other side ended the stream between two frames.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.take_waiting()? {
                return Ok(Some(frame));
            }
            self.bytes.drain(..self.taken);
            self.taken = 0;
            self.bytes.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return if self.bytes.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The next frame, if all of it has come.
    pub(crate) fn take_waiting(&mut self) -> Result<Option<Frame>, Error> {
        let waiting = self.bytes.get(self.taken..).unwrap_or_default();
        let Some(start) = waiting.first_chunk() else {
            return Ok(None);
        };
        let size = size(*start, MAX_FRAME_SIZE).map_err(malformed)?;
        let Some(frame) = waiting.get(..size) else {
            return Ok(None);
        };
        self.taken += size;
        Frame::decode(frame).map(Some).map_err(malformed)
    }
}

/// Reads the body of the next SASL frame.
pub(crate) async fn read_sasl(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    let frame = read_whole(reader).await?;
    Ok(sasl_body(&frame).map_err(malformed)?.to_vec())
}

async fn read_whole(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    let mut start = [0; 4];
    reader.read_exact(&mut start).await?;
    let mut frame = vec![0; size(start, MAX_FRAME_SIZE).map_err(malformed)?];
    let (size, rest) = frame.split_at_mut(4);
    size.copy_from_slice(&start);
    reader.read_exact(rest).await?;
    Ok(frame)
}

pub(crate) fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::performatives::{End, Performative};
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn frames_are_taken_however_the_stream_cuts_them() {
        let mut all = Vec::new();
        for channel in 0..50 {
            write(&mut all, channel, &End { error: None });
        }
        for piece in [1, 7, 100, all.len()] {
            let (near, mut far) = duplex(all.len());
            let pieces = all.clone();
            let writing = tokio::spawn(async move {
                for piece in pieces.chunks(piece) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                far.write_all(&pieces[..5]).await.unwrap();
            });
            let mut frames = Frames::new(near);
            for channel in 0..50 {
                let frame = frames.next().await.unwrap().unwrap();
                assert_eq!(frame.channel, channel);
                assert!(matches!(frame.performative, Some(Performative::End(_))));
            }
            writing.await.unwrap();
            let cut_off = frames.next().await.map(|frame| frame.is_some());
            assert_eq!(
                cut_off.map_err(|error| error.kind()),
                Err(ErrorKind::UnexpectedEof)
            );
        }
    }

    #[tokio::test]
    async fn the_end_of_a_stream_is_no_frame_and_what_is_no_frame_is_an_error() {
        assert!(Frames::new(&b""[..]).next().await.unwrap().is_none());
        let garbage = Frames::new(&[0, 0, 0, 8, 0, 0, 0, 0][..]).next().await;
        assert_eq!(
            garbage.map(drop).map_err(|error| error.kind()),
            Err(ErrorKind::InvalidData)
        );
    }
}
