//! One stream driven by the core: reading, writing, timers, and the end.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep, sleep_until, timeout},
};
use zeroize::{Zeroize, Zeroizing};

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
        () = expire(shared, open_by) => tracing::debug!(role = shared.role, "the peer did not open the connection in time"),
        () = say_goodbye(shared) => tracing::debug!(role = shared.role, "the peer did not answer the close in time"),
    }
}

/// Never returns: the end of the stream is an event, and the writer ends after what is left to be written.
async fn read(shared: &Shared, reader: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = Zeroizing::new(vec![0; READ_SIZE]);
    loop {
        shared.wants_input().await;
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
        if shared.config.sensitive
            && let Some(bytes) = buffer.get_mut(..read)
        {
            bytes.zeroize();
        }
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
            let is_open = next.open;
            if !write_all(shared, writer, &buffer, next).await {
                return;
            }
            if is_open {
                buffer.clear();
            } else {
                // There may be a password in it.
                buffer.zeroize();
            }
        } else if next.closed {
            // The other side may have gone; nothing is lost then.
            drop(timeout(CLOSE_TIMEOUT, writer.shutdown()).await);
            return;
        } else {
            tokio::select! {
                biased;
                // Tasks that are about to send do so first, so that everything is written at once.
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
    let progress = AtomicUsize::new(0);
    let mut writing = std::pin::pin!(async {
        while let Some(rest) = buffer.get(progress.load(Relaxed)..)
            && !rest.is_empty()
        {
            match writer.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => drop(progress.fetch_add(written, Relaxed)),
            }
        }
        writer.flush().await
    });
    let mut stalled = Stalled::new(shared.config.idle_timeout);
    loop {
        let patience = if next.closed {
            Some(Instant::now() + CLOSE_TIMEOUT)
        } else {
            stalled.deadline(progress.load(Relaxed))
        };
        tokio::select! {
            biased;
            written = &mut writing => {
                if written.is_err() {
                    shared.with_core(|_, core| core.handle_end_of_stream());
                }
                return written.is_ok();
            }
            () = at(patience.into_iter().chain(next.timeout).min()) => {}
        }
        if next.closed {
            return false;
        }
        if stalled.is_over(progress.load(Relaxed)) {
            tracing::debug!(
                role = shared.role,
                "the peer does not read from the connection"
            );
            shared.with_core(|_, core| core.handle_end_of_stream());
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

/// A peer that takes no bytes for as long as it may be silent counts as gone, whatever it sends itself.
struct Stalled {
    patience: Duration,
    seen: usize,
    since: Instant,
}

impl Stalled {
    fn new(idle_timeout: Duration) -> Self {
        Self {
            patience: if idle_timeout.is_zero() {
                MAX_STALL
            } else {
                idle_timeout
            },
            seen: 0,
            since: Instant::now(),
        }
    }

    fn deadline(&mut self, written: usize) -> Option<Instant> {
        if written > self.seen {
            self.seen = written;
            self.since = Instant::now();
        }
        self.since.checked_add(self.patience)
    }

    fn is_over(&mut self, written: usize) -> bool {
        let deadline = self.deadline(written);
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Interval after which the core is polled without a wake-up.
struct Next {
    timeout: Option<Instant>,
    open: bool,
    closed: bool,
}

impl Next {
    fn of(core: &amqp_proto::Connection) -> Self {
        Self {
            timeout: core.poll_timeout(),
            open: core.is_open(),
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
        let next = Next::of(core);
        drop(state);
        // Bytes that left the core make room for answers to what is read.
        self.resume_reading();
        Some(next)
    }

    /// Waits while more is to be written, or to be taken by receivers, than there should be: a peer that does not read, or
    /// sends faster than its messages are taken, is not read from meanwhile.
    async fn wants_input(&self) {
        loop {
            let mut resumed = std::pin::pin!(self.resumed.notified());
            resumed.as_mut().enable();
            if self.may_read() {
                return;
            }
            resumed.await;
        }
    }

    fn may_read(&self) -> bool {
        let state = self.lock();
        let takes = |core: &amqp_proto::Connection| core.is_closed() || core.wants_input();
        let may = state.books.message_bytes <= self.config.max_incoming
            && state.core.as_ref().is_none_or(takes);
        self.paused.store(!may, Relaxed);
        drop(state);
        may
    }

    /// Lets the reader look again, if it waits.
    pub(crate) fn resume_reading(&self) {
        if self.paused.load(Relaxed) {
            self.resumed.notify_one();
        }
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

/// After a request to stop: waits for deliveries in flight, then closes. Returns if the peer does
/// not
/// answer the close.
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
/// How long the peer may take no bytes where no idle time-out is set.
const MAX_STALL: Duration = Duration::from_secs(60);
/// How long outcomes are waited for when the connection is to be closed.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long the peer may take to answer a close, and to take the last bytes.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
