//! The arithmetic of the contract.

use super::Table;

/// What a table may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// Which table.
    pub table: Table,
    /// Bytes that an entry takes.
    pub cost: usize,
    /// Entries at most.
    pub bound: usize,
}

/// What a table wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) table: Table,
    pub(super) cost: usize,
    pub(super) entries: Entries,
}

/// How many entries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entries {
    /// As many as somebody wrote.
    Written(usize),
    /// What its weight beside the others gives, within bounds.
    Within {
        least: usize,
        most: usize,
        weight: u32,
    },
}

/// The memory is not enough.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Short {
    /// What takes most of all that was written; none if nothing was.
    pub(super) largest: Option<Share>,
    /// How many entries of it would fit.
    pub(super) would_fit: usize,
    /// Bytes that would be enough for everything.
    pub(super) needed: u64,
}

/// Gives every table its bound. Where not all fits, tables that have no written bound get their least.
pub(super) fn split(bytes: u64, wants: &[Want]) -> (Vec<Share>, Option<Short>) {
    let usable = bytes.saturating_sub(PROCESS) / 100 * (100 - SLACK);
    let claimed = wants.iter().map(Want::least_bytes).sum();
    let short = (claimed > usable).then(|| short(usable, claimed, wants));
    let mut left = usable.saturating_sub(claimed_by_written(wants));
    let mut open: Vec<&Want> = wants.iter().filter(|want| want.weight() > 0).collect();
    let mut shares: Vec<Share> = wants.iter().map(Want::least_share).collect();
    // Tables below their minimum are raised first; then tables at their maximum release the
    // remainder.
    while !open.is_empty() {
        let weights: u64 = open.iter().map(|want| u64::from(want.weight())).sum();
        let part = |want: &Want| left.saturating_mul(want.weight().into()) / weights.max(1);
        let at_an_end = |end: End| open.iter().any(|want| want.end(part(want)) == end);
        let end = [End::Least, End::Most, End::Between]
            .into_iter()
            .find(|end| at_an_end(*end))
            .unwrap_or(End::Between);
        let (settled, rest): (Vec<&Want>, Vec<&Want>) =
            open.iter().partition(|want| want.end(part(want)) == end);
        let taken: u64 = settled
            .iter()
            .map(|want| grant(&mut shares, want, part(want)))
            .sum();
        left = left.saturating_sub(taken);
        open = rest;
    }
    (shares, short)
}

impl Want {
    /// What it has in any case.
    fn least_share(&self) -> Share {
        let (Entries::Written(bound) | Entries::Within { least: bound, .. }) = self.entries;
        Share {
            table: self.table,
            cost: self.cost,
            bound,
        }
    }

    fn least_bytes(&self) -> u64 {
        self.least_share().bytes()
    }

    const fn weight(&self) -> u32 {
        match self.entries {
            Entries::Written(_) => 0,
            Entries::Within { weight, .. } => weight,
        }
    }

    /// How many entries so many bytes give it.
    fn entries_of(&self, bytes: u64) -> usize {
        match self.entries {
            Entries::Written(entries) => entries,
            Entries::Within { least, most, .. } => {
                let cost = u64::try_from(self.cost.max(1)).unwrap_or(u64::MAX);
                let entries = usize::try_from(bytes / cost).unwrap_or(usize::MAX);
                entries.min(most).max(least)
            }
        }
    }

    /// Where so many bytes bring it.
    fn end(&self, bytes: u64) -> End {
        match self.entries {
            Entries::Within { least, .. } if self.entries_of(bytes) == least => End::Least,
            Entries::Within { most, .. } if self.entries_of(bytes) == most => End::Most,
            _ => End::Between,
        }
    }
}

/// Whether a table's part is cut to what it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Least,
    Most,
    Between,
}

impl Share {
    /// Bytes that the table takes when it is full.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self.cost.saturating_mul(self.bound);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Sets the bound of a table; the bytes it then takes.
fn grant(shares: &mut [Share], want: &Want, bytes: u64) -> u64 {
    let share = shares.iter_mut().find(|share| share.table == want.table);
    share.map_or(0, |share| {
        share.bound = want.entries_of(bytes);
        share.bytes()
    })
}

fn claimed_by_written(wants: &[Want]) -> u64 {
    let written = wants.iter().filter(|want| want.weight() == 0);
    written.map(Want::least_bytes).sum()
}

fn short(usable: u64, claimed: u64, wants: &[Want]) -> Short {
    let written = wants.iter().filter(|want| want.weight() == 0);
    let largest = written
        .map(Want::least_share)
        .max_by_key(Share::bytes)
        .filter(|share| share.bytes() > 0);
    let would_fit = largest.map_or(0, |share| {
        let others = claimed - share.bytes();
        let cost = u64::try_from(share.cost.max(1)).unwrap_or(u64::MAX);
        usize::try_from(usable.saturating_sub(others) / cost).unwrap_or(usize::MAX)
    });
    Short {
        largest,
        would_fit,
        needed: PROCESS + claimed.div_ceil(100 - SLACK) * 100,
    }
}

/// What the process takes without any device: code, stacks, connections, and the tables' beginnings.
pub(super) const PROCESS: u64 = 24 << 20;

/// Percent of the rest that the allocator keeps back or cannot use.
pub(super) const SLACK: u64 = 15;
