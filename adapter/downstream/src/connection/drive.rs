//! One stream driven by the core: reading, writing, timers, and the end.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep, sleep_until, timeout},
};

use super::{Phase, Shared, State};
use crate::ready::after_the_ready;

/// Speaks AMQP on a stream until its end. `open_by` is when the connection has to be open.
pub(super) async fn drive(
    shared: &Shared,
    stream: impl AsyncRead + AsyncWrite,
    open_by: tokio::time::Instant,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    tokio::select! {
        () = read(shared, &mut reader) => {}
        () = write(shared, &mut writer) => {}
        () = expire(shared, open_by) => tracing::warn!(role = shared.role, "the peer did not open the connection in time"),
        () = say_goodbye(shared) => tracing::debug!(role = shared.role, "the peer did not answer the close in time"),
    }
}

/// Never returns: the end of the stream is an event, and the writer ends after what is left to be written.
async fn read(shared: &Shared, reader: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let read = reader.read(&mut buffer).await.unwrap_or(0);
        let bytes = buffer.get(..read).unwrap_or_default();
        let closed = shared.with_core(|_, core| {
            if bytes.is_empty() {
                core.handle_end_of_stream();
            } else {
                core.handle_bytes(Instant::now(), bytes);
            }
            core.is_closed()
        });
        if closed.unwrap_or(true) {
            return std::future::pending().await;
        }
    }
}

/// Writes all that there is at once, again and again, until the connection is closed.
async fn write(shared: &Shared, writer: &mut (impl AsyncWrite + Unpin)) {
    let mut buffer = Vec::new();
    loop {
        let Some(next) = shared.next(&mut buffer) else {
            return;
        };
        if !buffer.is_empty() {
            if !write_all(shared, writer, &buffer, next).await {
                return;
            }
            buffer.clear();
        } else if next.closed {
            // The other side may have gone; nothing is lost then.
            drop(timeout(CLOSE_TIMEOUT, writer.shutdown()).await);
            return;
        } else {
            tokio::select! {
                biased;
                // Whoever is about to send, too, does so first, and all goes out at once.
                () = shared.transmit.notified() => after_the_ready().await,
                () = at(next.timeout) => {}
            }
        }
    }
}

/// Writes a buffer, and minds the timers meanwhile. False if there is nobody to write to any more.
async fn write_all(
    shared: &Shared,
    writer: &mut (impl AsyncWrite + Unpin),
    buffer: &[u8],
    mut next: Next,
) -> bool {
    let mut writing = std::pin::pin!(async {
        writer.write_all(buffer).await?;
        writer.flush().await
    });
    loop {
        let patience = next.closed.then(|| Instant::now() + CLOSE_TIMEOUT);
        tokio::select! {
            biased;
            written = &mut writing => {
                if written.is_err() {
                    shared.with_core(|_, core| core.handle_end_of_stream());
                }
                return written.is_ok();
            }
            () = at(patience.or(next.timeout)) => {}
        }
        if next.closed {
            return false;
        }
        let timers = shared.with_core(|_, core| {
            core.handle_timeout(Instant::now());
            Next::of(core)
        });
        match timers {
            Some(timers) => next = timers,
            None => return false,
        }
    }
}

/// When to look again without being told.
struct Next {
    timeout: Option<Instant>,
    closed: bool,
}

impl Next {
    fn of(core: &amqp_proto::Connection) -> Self {
        Self {
            timeout: core.poll_timeout(),
            closed: core.is_closed(),
        }
    }
}

impl Shared {
    /// Minds the timers and takes what is to be written.
    fn next(&self, buffer: &mut Vec<u8>) -> Option<Next> {
        let now = Instant::now();
        let mut state = self.lock();
        let State { core, books } = &mut *state;
        let core = core.as_mut()?;
        if core.poll_timeout().is_some_and(|timeout| timeout <= now) {
            core.handle_timeout(now);
        }
        core.poll_transmit(now, buffer);
        self.dispatch(books, core);
        Some(Next::of(core))
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn expire(shared: &Shared, open_by: tokio::time::Instant) {
    sleep_until(open_by).await;
    if *shared.phase.borrow() == Phase::Connected {
        std::future::pending::<()>().await;
    }
}

/// Once told to stop: waits for what is under way, then closes. Returns if the peer does not answer that.
async fn say_goodbye(shared: &Shared) {
    shared.stop.cancelled().await;
    let under_way = || shared.with_core(|_, core| core.unsettled()).unwrap_or(0);
    let patience = Instant::now() + PATIENCE;
    while under_way() > 0 && Instant::now() < patience {
        sleep(Duration::from_millis(10)).await;
    }
    shared.with_core(|_, core| core.close());
    sleep(CLOSE_TIMEOUT).await;
}

const READ_SIZE: usize = 64 * 1024;
/// How long outcomes are waited for when the connection is to be closed.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long the peer may take to answer a close, and to take the last bytes.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
