//! What the tests of the whole adapter share: recorded exchanges and how to compare with them, and a world to run the adapter in.
//!
//! Nothing here decides what the adapter should do: that stands in the recordings and in the tests.

pub mod golden;
pub mod outcome;
pub mod prometheus;
pub mod pki;
pub mod stand;
pub mod wire;
