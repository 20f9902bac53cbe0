//! Pending output of one connection: filled by several tasks, written by one.
//!
//! So a client that reads slowly holds up nobody but itself. When it has let too much pile up, it is cut off.

use std::{
    io::{Error, ErrorKind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};

use super::frame;

/// The bytes for one connection, bounded.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// How often the other side wants to hear from us.
    heartbeat: Option<Duration>,
    ending: Ending,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Ending {
    #[default]
    Open,
    /// Write what is there, then end the stream.
    Flush,
    /// End the stream now.
    Now,
}

impl Outbox {
    /// Appends what `write` writes; too much unread is the end of the connection.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if state.ending != Ending::Open {
            return;
        }
        write(&mut state.bytes);
        if state.bytes.len() > MAX_UNREAD {
            tracing::warn!(
                limit = MAX_UNREAD,
                "closing the connection of a client that does not read"
            );
            state.bytes = Vec::new();
            state.ending = Ending::Now;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the stream after all that was pushed.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        if state.ending == Ending::Open {
            state.ending = Ending::Flush;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Sets when to send an empty frame because nothing else was to be sent (part 2 §2.4.5).
    pub(crate) fn set_heartbeat(&self, interval: Duration) {
        self.lock().heartbeat = Some(interval.max(Duration::from_millis(50)));
        self.changed.notify_one();
    }

    /// Writes until asked to finish. Fails when the peer does not read for long.
    pub(crate) async fn drain_into(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Error> {
        loop {
            let (bytes, heartbeat, ending) = {
                let mut state = self.lock();
                (
                    std::mem::take(&mut state.bytes),
                    state.heartbeat,
                    state.ending,
                )
            };
            if ending == Ending::Now {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            if !bytes.is_empty() {
                timeout(WRITE_TIMEOUT, writer.write_all(&bytes)).await??;
                continue;
            }
            if ending == Ending::Flush {
                return writer.shutdown().await;
            }
            match heartbeat {
                None => self.changed.notified().await,
                Some(interval) => {
                    if timeout(interval, self.changed.notified()).await.is_err() {
                        self.push(frame::write_heartbeat);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_UNREAD: usize = 32 * 1024 * 1024;
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::io::{AsyncReadExt, duplex};

    use super::{MAX_UNREAD, Outbox};

    #[tokio::test]
    async fn what_was_pushed_is_written_before_the_end() {
        let (mut near, mut far) = duplex(8);
        let outbox = Arc::new(Outbox::default());
        outbox.push(|bytes| bytes.extend_from_slice(b"first, "));
        let writing = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.drain_into(&mut near).await }
        });
        outbox.push(|bytes| bytes.extend_from_slice(b"second"));
        outbox.finish();
        outbox.push(|bytes| bytes.extend_from_slice(b"too late"));
        let mut read = String::new();
        far.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "first, second");
        writing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_leaves_too_much_unread_is_cut_off() {
        let (mut near, _far) = duplex(8);
        let outbox = Outbox::default();
        outbox.push(|bytes| bytes.resize(MAX_UNREAD + 1, 0));
        assert!(outbox.drain_into(&mut near).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_gets_empty_frames() {
        let (mut near, mut far) = duplex(64);
        let outbox = Arc::new(Outbox::default());
        outbox.set_heartbeat(Duration::from_secs(1));
        let _writing = tokio::spawn(async move { outbox.drain_into(&mut near).await });
        let mut frames = [0xff; 16];
        far.read_exact(&mut frames).await.unwrap();
        assert_eq!(frames, *b"\0\0\0\x08\x02\0\0\0\0\0\0\x08\x02\0\0\0");
    }
}
