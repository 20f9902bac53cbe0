//! How many requests may be in the works at a time, at all ports together, and how many more may wait for commands.
//!
//! Who waits takes no place of others, so that their messages are served however many wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places for requests.
#[derive(Debug)]
pub struct Places {
    requests: Counter,
    bytes: Counter,
    parked: Counter,
}

/// A request's place; given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Place {
    places: Arc<Places>,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// A place in the works, of a request with so many bytes.
    Work { bytes: usize },
    /// A place among those that wait.
    Wait { _parked: Parked },
}

/// The place of a request that waits for a command; given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Parked(Arc<Places>);

/// How much is taken of how much there is.
#[derive(Debug)]
struct Counter {
    taken: AtomicUsize,
    bound: usize,
}

impl Places {
    /// Places for so many requests, whose bodies have so many bytes together, and for so many more that wait for commands.
    #[must_use]
    pub const fn new(requests: usize, bytes: usize, parked: usize) -> Self {
        Self {
            requests: Counter::new(requests),
            bytes: Counter::new(bytes),
            parked: Counter::new(parked),
        }
    }

    /// A place for a request with a body of so many bytes; none if there is no room.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        if !self.requests.take(1) {
            return None;
        }
        if !self.bytes.take(bytes) {
            self.requests.give_back(1);
            return None;
        }
        Some(Place {
            places: Arc::clone(self),
            held: Held::Work { bytes },
        })
    }

    /// A place for a request that is to wait for a command ([`Place::wait`]); none if too many do.
    pub fn park(self: &Arc<Self>) -> Option<Parked> {
        self.parked.take(1).then(|| Parked(Arc::clone(self)))
    }

    /// Requests in the works, but for those that wait.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.taken()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.taken()
    }

    /// Requests that wait, or are about to.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.taken()
    }
}

impl Place {
    /// The request waits for a command from now on, and its body is not needed any more: its place in the works is given back.
    pub fn wait(&mut self, parked: Parked) {
        self.give_back();
        self.held = Held::Wait { _parked: parked };
    }

    fn give_back(&self) {
        if let Held::Work { bytes } = self.held {
            self.places.requests.give_back(1);
            self.places.bytes.give_back(bytes);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.0.parked.give_back(1);
    }
}

impl Counter {
    const fn new(bound: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            bound,
        }
    }

    /// Takes that many, or nothing at all.
    fn take(&self, number: usize) -> bool {
        let more = |taken: usize| taken.checked_add(number).filter(|sum| *sum <= self.bound);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn give_back(&self, number: usize) {
        self.taken.fetch_sub(number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let places = Arc::new(Places::new(2, 100, 0));
        let first = places.take(10).unwrap();
        let _second = places.take(10).unwrap();
        assert!(places.take(0).is_none());
        drop(first);
        assert!(places.take(0).is_some());
        assert_eq!(places.bytes(), 10);
    }

    #[test]
    fn large_bodies_take_the_places_of_many() {
        let places = Arc::new(Places::new(5, 100, 0));
        let _large = places.take(95).unwrap();
        assert!(places.take(6).is_none());
        let _small = places.take(5).unwrap();
        assert_eq!(places.bytes(), 100);
        assert!(places.take(usize::MAX).is_none());
    }

    #[test]
    fn those_that_wait_leave_places_to_others() {
        let places = Arc::new(Places::new(1, 100, 2));
        let wait = || {
            let mut place = places.take(60).unwrap();
            assert!(places.take(0).is_none());
            place.wait(places.park().unwrap());
            assert_eq!(places.bytes(), 0);
            place
        };
        let (first, _second) = (wait(), wait());
        assert!(places.park().is_none());
        assert!(places.take(100).is_some());
        drop(first);
        assert!(places.park().is_some());
        assert!(places.take(100).is_some());
    }
}
