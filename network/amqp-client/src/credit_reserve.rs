//! The last part of a link's credit, which no holder may use up alone.
//!
//! A link to an application belongs to a tenant, and each message takes a credit, whichever device
//! sends it. One device that floods its tenant's link would leave all others without credit. The last
//! eighth of the credit is therefore shared: while no more than that is left, a holder may use as much
//! of it as it leaves to others. A link with little credit, such as one credit at a time, has no
//! reserve.

use fair_share::{FairShares, Holder};

/// What holders have used of a link's last credit.
#[derive(Debug, Default)]
pub(crate) struct CreditReserve {
    /// The most credit that the link was seen to have.
    window: u32,
    used: FairShares,
    total: u32,
}

impl CreditReserve {
    /// Whether a holder may use one of the `credit` that is left, at least 1, and counts it if so.
    pub(crate) fn try_use(&mut self, credit: u32, holder: Holder) -> bool {
        self.window = self.window.max(credit);
        let reserve = self.window / RESERVED_PART;
        if credit > reserve {
            if self.total > 0 {
                self.clear();
            }
            return true;
        }
        let left = usize::try_from(credit).unwrap_or(usize::MAX);
        if self.used.held_by(holder) >= left {
            return false;
        }
        if self.total >= reserve.saturating_mul(MAX_ROUNDS) {
            self.clear();
        }
        self.total = self.total.saturating_add(1);
        self.used.add(holder);
        true
    }

    fn clear(&mut self) {
        self.used = FairShares::default();
        self.total = 0;
    }
}

/// One part in so many of a link's credit is shared.
const RESERVED_PART: u32 = 8;
/// Uses are forgotten when the peer has granted the reserve so many times again, so that they are
/// bounded.
const MAX_ROUNDS: u32 = 4;

#[cfg(test)]
mod tests {
    use fair_share::HolderHasher;

    use super::*;

    /// A link with this credit, of which each use takes one.
    struct Link {
        reserve: CreditReserve,
        credit: u32,
    }

    impl Link {
        fn new(credit: u32) -> Self {
            let reserve = CreditReserve::default();
            Self { reserve, credit }
        }

        fn send(&mut self, holder: Holder) -> bool {
            let sent = self.credit > 0 && self.reserve.try_use(self.credit, holder);
            self.credit -= u32::from(sent);
            sent
        }

        /// Sends until refused; returns how many went out.
        fn flood(&mut self, holder: Holder) -> u32 {
            (0..).take_while(|_| self.send(holder)).count() as u32
        }
    }

    /// Symptom: a device that floods its tenant's link leaves no credit to the tenant's other
    /// devices, whose events are answered 5.03. Cause: credit is granted to the link as a whole.
    #[test]
    fn a_holder_that_floods_leaves_credit_to_others() {
        let hasher = HolderHasher::default();
        let mut link = Link::new(248);
        assert_eq!(link.flood(hasher.holder(&"T", &0)), 248 - 31 + 16);
        for other in 1..5 {
            assert!(link.send(hasher.holder(&"T", &other)));
        }
    }

    #[test]
    fn credit_that_comes_one_by_one_is_left_to_none_alone() {
        let hasher = HolderHasher::default();
        let (flood, modest) = (hasher.holder(&"T", &0), hasher.holder(&"T", &1));
        let mut link = Link::new(80);
        link.flood(flood);
        let mut by_modest = 0;
        for round in 0..100 {
            link.credit += 1;
            link.flood(flood);
            assert!(link.credit > 0, "nothing left in round {round}");
            by_modest += u32::from(link.send(modest));
        }
        assert!((20..80).contains(&by_modest), "{by_modest}");
    }

    #[test]
    fn a_single_holder_uses_nearly_all_and_little_credit_has_no_reserve() {
        let hasher = HolderHasher::default();
        let only = hasher.holder(&"T", &0);
        assert!(Link::new(1000).flood(only) >= 900);
        let mut link = Link::new(1);
        for _ in 0..10 {
            assert!(link.send(only));
            link.credit += 1;
        }
    }

    #[test]
    fn credit_above_the_reserve_ends_all_restrictions() {
        let hasher = HolderHasher::default();
        let only = hasher.holder(&"T", &0);
        let mut link = Link::new(80);
        link.flood(only);
        assert!(!link.send(only));
        link.credit = 80;
        assert!(link.flood(only) >= 70);
    }
}
