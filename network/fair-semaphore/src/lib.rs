//! A semaphore that shares its permits among [holders](Holder), so that one who asks for many does
//! not make all others wait.
//!
//! A first-come-first-served queue is half a bound: a caller that fills it delays all others by as long
//! as its requests take. Here each request is for a holder, a *member* of a *group* (a source
//! prefix and an address, or a tenant and a device), and
//!
//! - a group gets a further permit only while it has fewer than twice as many as are free (a
//!   dynamic threshold), so that some are always left for others;
//! - a permit that is returned goes to the group with the fewest, and in it to the member with the
//!   fewest, the longest waiting first;
//! - when too many requests wait, one of the holder with the most waiting requests fails.
//!
//! ```
//! use fair_semaphore::FairSemaphore;
//! use fair_share::HolderHasher;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let hasher = HolderHasher::default();
//! let semaphore = FairSemaphore::new(10, 100);
//! let permit = semaphore.acquire(hasher.holder(&"acme", &"sensor-1")).await;
//! assert!(permit.is_ok());
//! assert_eq!((semaphore.in_use(), semaphore.available()), (1, 9));
//! # }
//! ```

mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fair_share::Holder;
use tokio::sync::oneshot;

use self::queue::Queue;

/// A semaphore with fair shares. Clones share its permits.
#[derive(Debug, Clone)]
pub struct FairSemaphore(Arc<Shared>);

#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    permits: usize,
    free: usize,
    queue: Queue<oneshot::Sender<()>>,
    max_waiting: usize,
}

/// A permit; returned when dropped.
#[derive(Debug)]
#[must_use = "a permit is returned when it is dropped"]
pub struct Permit {
    shared: Arc<Shared>,
    holder: Holder,
}

/// Too many requests of the same holder wait for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

impl std::fmt::Display for Overloaded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("too many requests wait")
    }
}

impl std::error::Error for Overloaded {}

impl FairSemaphore {
    /// A semaphore with `permits`, at least 1, for which at most `max_waiting` requests wait.
    #[must_use]
    pub fn new(permits: usize, max_waiting: usize) -> Self {
        let permits = permits.max(1);
        let state = State {
            permits,
            free: permits,
            queue: Queue::default(),
            max_waiting,
        };
        Self(Arc::new(Shared(Mutex::new(state))))
    }

    /// Waits for a permit. Dropped, it waits no more.
    ///
    /// # Errors
    /// [`Overloaded`] if too many requests wait, most of them of this holder.
    pub async fn acquire(&self, holder: Holder) -> Result<Permit, Overloaded> {
        let waiting = {
            let mut state = self.0.lock();
            if state.queue.is_admissible(holder, state.free) {
                state.free = state.free.saturating_sub(1);
                state.queue.grant(holder);
                return Ok(self.permit(holder));
            }
            let (granted, granting) = oneshot::channel();
            let ticket = state.queue.push(holder, granted);
            if state.queue.waiting() > state.max_waiting {
                state.queue.shed();
            }
            Waiting {
                shared: Arc::clone(&self.0),
                holder,
                ticket,
                granting: Some(granting),
            }
        };
        waiting.granted().await.map(|()| self.permit(holder))
    }

    /// Number of permits that nobody has.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.lock().free
    }

    /// Number of permits that are held.
    #[must_use]
    pub fn in_use(&self) -> usize {
        let state = self.0.lock();
        state.permits.saturating_sub(state.free)
    }

    /// Number of requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().queue.waiting()
    }

    fn permit(&self, holder: Holder) -> Permit {
        Permit {
            shared: Arc::clone(&self.0),
            holder,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, holder: Holder) {
        let mut state = self.lock();
        state.free = state.free.saturating_add(1);
        state.queue.release(holder);
        state.dispatch();
    }
}

impl State {
    /// Hands free permits to requests that wait.
    fn dispatch(&mut self) {
        while let Some((holder, granted)) = self.queue.pop(self.free) {
            self.free = self.free.saturating_sub(1);
            self.queue.grant(holder);
            // A request that was just dropped returns its permit by itself.
            let _gone = granted.send(());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.release(self.holder);
    }
}

/// A request in the queue; it leaves the queue when dropped.
struct Waiting {
    shared: Arc<Shared>,
    holder: Holder,
    ticket: u64,
    granting: Option<oneshot::Receiver<()>>,
}

impl Waiting {
    async fn granted(mut self) -> Result<(), Overloaded> {
        let Some(granting) = &mut self.granting else {
            return Err(Overloaded);
        };
        let granted = granting.await;
        self.granting = None;
        granted.map_err(|_shed| Overloaded)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut granting) = self.granting.take() else {
            return;
        };
        let mut state = self.shared.lock();
        state.queue.remove(self.holder, self.ticket);
        drop(state);
        // It may have got a permit that it has not seen.
        if granting.try_recv().is_ok() {
            self.shared.release(self.holder);
        }
    }
}

#[cfg(test)]
mod tests;
