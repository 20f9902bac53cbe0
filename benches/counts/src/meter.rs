//! What counts, and what does not.

use std::{
    fmt::{self, Debug, Formatter},
    hint::black_box,
};

/// Marks the beginning and end of an operation for the counter, and counts the operations.
pub struct Meter<'a> {
    operations: u64,
    count_in: &'a mut dyn FnMut(&mut dyn FnMut()),
}

impl<'a> Meter<'a> {
    /// `count_in` does what it is given, once, and counts what that costs.
    pub fn new(count_in: &'a mut dyn FnMut(&mut dyn FnMut())) -> Self {
        Self {
            operations: 0,
            count_in,
        }
    }

    /// Does `work`, which is `operations` operations.
    pub fn count<T>(&mut self, operations: u64, work: impl FnOnce() -> T) -> T {
        self.operations += operations;
        let (mut work, mut done) = (Some(work), None);
        (self.count_in)(&mut || done = work.take().map(|work| work()));
        black_box(done).unwrap()
    }

    /// How many operations there were.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }
}

impl Debug for Meter<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Meter")
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}
