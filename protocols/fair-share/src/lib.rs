//! Counts who holds how much of a bounded table, so that a full table makes room at the expense of
//! the holder that holds most, without I/O.
//!
//! A bound in total is half a bound: one peer that fills a table locks out all others. Each entry
//! of a table therefore counts for a [`Holder`]: a *member* of a *group*. After authentication the
//! group is a tenant and the member one of its principals; before it, the group is a source prefix
//! and the member an address in it. [`FairShares::most`] names the member that holds most in the
//! group that holds most, and the table gives up an entry of that member.
//!
//! ```
//! use fair_share::{FairShares, HolderHasher};
//!
//! let hasher = HolderHasher::default();
//! let greedy = hasher.holder(&"acme", &"sensor-1");
//! let modest = hasher.holder(&"other", &"sensor-2");
//! let mut shares = FairShares::default();
//! for _ in 0..10 {
//!     shares.add(greedy);
//! }
//! shares.add(modest);
//! assert_eq!(shares.most(), Some(greedy));
//! assert_eq!((shares.held_by(modest), shares.held_by_group(modest)), (1, 1));
//! ```
//!
//! **Invariants.** Every operation takes constant time, whatever the number of holders. Nothing is
//! kept of a holder that holds nothing. *Most* is exact within a factor of two: holders are ranked
//! by the logarithm of their number of entries, so that an operation rarely changes a rank.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::arithmetic_side_effects
    )
)]

mod hashers;

mod holder;

mod ranked;

mod shares;

mod victim;

pub use hashers::{PrehashedHasher, SequenceHasher};
pub use holder::{Holder, HolderHasher};
pub use shares::FairShares;
pub use victim::Victim;
