//! The choice of the entry that makes room in a full table.

use crate::holder::Holder;
use crate::shares::FairShares;

/// Whose entry of a full table makes room for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The oldest entry of this member.
    Member(Holder),
    /// The oldest entry of the group that this holder is a member of.
    Group(Holder),
    /// The oldest entry of all.
    Oldest,
}

impl Victim {
    /// Chooses who makes room for one more entry of `newcomer`. A member or group that holds much
    /// more than that of `newcomer` makes room: more than twice as much, and more than `spared`.
    /// Without one, a newcomer that holds more than `spared` makes room itself, and so does its group
    /// if it holds much more than the other groups on average. Where all have about the same, the oldest
    /// entry goes, so that recent ones are kept.
    #[must_use]
    pub fn choose(
        shares: &FairShares,
        newcomer: Option<Holder>,
        total: usize,
        spared: usize,
    ) -> Self {
        let Some(most) = shares.most() else {
            return Self::Oldest;
        };
        let exceeds = |held: usize, own: usize| held > own.saturating_mul(2).saturating_add(spared);
        let own = newcomer.map_or(0, |newcomer| shares.held_by(newcomer));
        if exceeds(shares.held_by(most), own) {
            return Self::Member(most);
        }
        let Some(newcomer) = newcomer else {
            return Self::Oldest;
        };
        if own > spared {
            return Self::Member(newcomer);
        }
        let own_group = shares.held_by_group(newcomer);
        if exceeds(shares.held_by_group(most), own_group) {
            return Self::Group(most);
        }
        let others = shares.groups().saturating_sub(1);
        let of_others = total.saturating_sub(own_group).checked_div(others);
        match shares.most_of_group(newcomer) {
            Some(most) if exceeds(shares.held_by(most), own) => Self::Member(most),
            Some(_) if of_others.is_some_and(|other| exceeds(own_group, other)) => {
                Self::Group(newcomer)
            }
            Some(_) | None => Self::Oldest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::HolderHasher;

    struct World {
        hasher: HolderHasher,
        shares: FairShares,
        total: usize,
    }

    impl World {
        fn new() -> Self {
            Self {
                hasher: HolderHasher::default(),
                shares: FairShares::default(),
                total: 0,
            }
        }

        fn holder(&self, group: u8, member: usize) -> Holder {
            self.hasher.holder(&group, &member)
        }

        fn holds(mut self, group: u8, members: std::ops::Range<usize>, each: usize) -> Self {
            for member in members {
                let holder = self.holder(group, member);
                self.shares.add_many(holder, each);
                self.total += each;
            }
            self
        }

        fn victim(&self, newcomer: Holder) -> Victim {
            Victim::choose(&self.shares, Some(newcomer), self.total, 2)
        }
    }

    #[test]
    fn a_member_that_holds_much_more_makes_room() {
        let world = World::new().holds(1, 0..1, 50).holds(1, 1..10, 1);
        let hog = world.holder(1, 0);
        for (group, member) in [(1, 1), (1, 77), (2, 1)] {
            let newcomer = world.holder(group, member);
            assert_eq!(world.victim(newcomer), Victim::Member(hog));
        }
        assert_eq!(world.victim(hog), Victim::Member(hog), "also for itself");
    }

    #[test]
    fn a_group_of_many_small_members_makes_room_for_others_and_for_itself() {
        let world = World::new().holds(1, 0..200, 2).holds(2, 0..5, 1);
        let victim = world.victim(world.holder(2, 1));
        let group = world.holder(1, 0).group();
        assert!(matches!(victim, Victim::Group(of) if of.group() == group));
        let own = world.holder(1, 7);
        assert_eq!(world.victim(own), Victim::Group(own));
    }

    #[test]
    fn where_all_have_little_the_oldest_goes() {
        let world = World::new().holds(1, 0..100, 1);
        assert_eq!(world.victim(world.holder(1, 3)), Victim::Oldest);
        let nobody = Victim::choose(&world.shares, None, world.total, 2);
        assert_eq!(nobody, Victim::Oldest);
        assert_eq!(World::new().victim(world.holder(1, 3)), Victim::Oldest);
        let world = World::new().holds(1, 0..100, 1).holds(2, 0..90, 1);
        for group in [1, 2] {
            assert_eq!(world.victim(world.holder(group, 3)), Victim::Oldest);
        }
    }

    #[test]
    fn a_hog_in_a_smaller_group_makes_room_for_its_own_group() {
        let world = World::new().holds(1, 0..100, 1).holds(2, 0..1, 60);
        let hog = world.holder(2, 0);
        assert_eq!(world.victim(world.holder(2, 9)), Victim::Member(hog));
    }
}
