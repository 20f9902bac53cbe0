//! What still has to be written to one connection: filled by whoever has something to say, emptied by one writer.
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
                "a client leaves too much unread, it is cut off"
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

    /// Writes until told to finish. Ends with an error when the other side takes nothing for long.
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
