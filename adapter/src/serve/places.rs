//! How many requests may be in the works at a time, at all ports together, and how many of them may wait for commands.
//!
//! Who waits may not take all places, so that the messages of others are served however many wait.

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
    bytes: usize,
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
    /// Places for so many requests, whose bodies have so many bytes together.
    #[must_use]
    pub fn new(requests: usize, bytes: usize) -> Self {
        Self {
            requests: Counter::new(requests),
            bytes: Counter::new(bytes),
            parked: Counter::new(requests / 5 * 4),
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
        let places = Arc::clone(self);
        Some(Place { places, bytes })
    }

    /// Lets a request that has a place wait for a command; none if too many do.
    pub fn park(self: &Arc<Self>) -> Option<Parked> {
        self.parked.take(1).then(|| Parked(Arc::clone(self)))
    }

    /// Bytes of all bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.taken.load(Ordering::Relaxed)
    }

    /// How many may wait for commands.
    #[must_use]
    pub const fn parked_bound(&self) -> usize {
        self.parked.bound
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.requests.give_back(1);
        self.places.bytes.give_back(self.bytes);
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

    fn give_back(&self, number: usize) {
        self.taken.fetch_sub(number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let places = Arc::new(Places::new(2, 100));
        let first = places.take(10).unwrap();
        let _second = places.take(10).unwrap();
        assert!(places.take(0).is_none());
        drop(first);
        assert!(places.take(0).is_some());
        assert_eq!(places.bytes(), 10);
    }

    #[test]
    fn large_bodies_take_the_places_of_many() {
        let places = Arc::new(Places::new(5, 100));
        let _large = places.take(95).unwrap();
        assert!(places.take(6).is_none());
        let _small = places.take(5).unwrap();
        assert_eq!(places.bytes(), 100);
        assert!(places.take(usize::MAX).is_none());
    }

    #[test]
    fn those_that_wait_leave_places_to_others() {
        let places = Arc::new(Places::new(10, 100));
        let parked: Vec<_> = std::iter::from_fn(|| places.park()).collect();
        assert_eq!((parked.len(), places.parked_bound()), (8, 8));
        drop(parked);
        assert!(places.park().is_some());
    }
}
