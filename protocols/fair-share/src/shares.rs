//! The counts of all holders of one table.

use crate::holder::Holder;
use crate::ranked::Ranked;

/// How much each holder has of a table, in units of the caller's choice (entries, bytes).
#[derive(Debug, Default)]
pub struct FairShares {
    /// Groups, each with its members.
    groups: Ranked<Ranked<()>>,
}

impl FairShares {
    /// Counts one more entry of `holder`.
    pub fn add(&mut self, holder: Holder) {
        self.add_many(holder, 1);
    }

    /// Counts `units` more of `holder`, such as the bytes of an entry.
    pub fn add_many(&mut self, holder: Holder, units: usize) {
        if units > 0 {
            self.groups.add(holder.group, units, |members| {
                members.add(holder.member, units, |()| ());
            });
        }
    }

    /// Counts one entry of `holder` less; nothing if it holds none.
    pub fn remove(&mut self, holder: Holder) {
        self.remove_many(holder, 1);
    }

    /// Counts `units` of `holder` less, at most as many as it holds.
    pub fn remove_many(&mut self, holder: Holder, units: usize) {
        self.groups.remove(holder.group, |members| {
            members.remove(holder.member, |()| units)
        });
    }

    /// The member that holds most in the group that holds most, both within a factor of two.
    #[must_use]
    pub fn most(&self) -> Option<Holder> {
        self.most_of(self.groups.highest()?)
    }

    /// The member that holds most in the group of `holder`, within a factor of two.
    #[must_use]
    pub fn most_of_group(&self, holder: Holder) -> Option<Holder> {
        self.most_of(holder.group)
    }

    /// How much `holder` holds.
    #[must_use]
    pub fn held_by(&self, holder: Holder) -> usize {
        let members = self.groups.get(holder.group).map(|(_, members)| members);
        let member = members.and_then(|members| members.get(holder.member));
        member.map_or(0, |(held, ())| held)
    }

    /// How much all members of the group of `holder` hold together.
    #[must_use]
    pub fn held_by_group(&self, holder: Holder) -> usize {
        self.groups.get(holder.group).map_or(0, |(held, _)| held)
    }

    /// Number of groups that hold something.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    fn most_of(&self, group: u64) -> Option<Holder> {
        let (_, members) = self.groups.get(group)?;
        let member = members.highest()?;
        Some(Holder { group, member })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn holder(group: u64, member: u64) -> Holder {
        Holder { group, member }
    }

    #[test]
    fn the_largest_member_of_the_largest_group_holds_most() {
        let mut shares = FairShares::default();
        for member in 0..20 {
            shares.add(holder(1, member));
        }
        shares.add_many(holder(2, 1), 9);
        shares.add_many(holder(1, 7), 3);
        assert_eq!(shares.most(), Some(holder(1, 7)));
        assert_eq!(shares.most_of_group(holder(2, 99)), Some(holder(2, 1)));
        assert_eq!(shares.held_by_group(holder(1, 0)), 23);
    }

    #[test]
    fn nothing_is_kept_of_a_holder_without_entries() {
        let mut shares = FairShares::default();
        shares.add(holder(1, 1));
        shares.remove(holder(1, 2));
        shares.remove_many(holder(1, 1), 5);
        assert_eq!(shares.groups(), 0);
        assert_eq!(shares.most(), None);
    }

    proptest! {
        /// Any additions and removals: counts are those of a plain map, and the holder named holds
        /// at least half of what the largest holds.
        #[test]
        fn counts_and_the_largest_holder_follow_a_plain_map(
            steps in prop::collection::vec((0_u64..4, 0_u64..6, 0_usize..9, any::<bool>()), 0..300),
        ) {
            let mut shares = FairShares::default();
            let mut plain = BTreeMap::<(u64, u64), usize>::new();
            for (group, member, units, is_added) in steps {
                let held = plain.entry((group, member)).or_default();
                if is_added {
                    *held += units;
                    shares.add_many(holder(group, member), units);
                } else {
                    *held = held.saturating_sub(units);
                    shares.remove_many(holder(group, member), units);
                }
                plain.retain(|_, held| *held > 0);
                let of_group = |wanted: u64| -> usize {
                    let of_group = plain.iter().filter(|((group, _), _)| *group == wanted);
                    of_group.map(|(_, held)| held).sum()
                };
                for (&(group, member), &held) in &plain {
                    prop_assert_eq!(shares.held_by(holder(group, member)), held);
                    prop_assert_eq!(shares.held_by_group(holder(group, 0)), of_group(group));
                }
                let most = shares.most();
                prop_assert_eq!(most.is_none(), plain.is_empty());
                if let Some(most) = most {
                    let largest = (0..4).map(of_group).max().unwrap_or(0);
                    prop_assert!(2 * of_group(most.group) > largest);
                    let members = plain.iter().filter(|((group, _), _)| *group == most.group);
                    let largest = members.map(|(_, held)| *held).max().unwrap_or(0);
                    prop_assert!(2 * shares.held_by(most) > largest);
                }
            }
            for (group, member) in plain.keys().copied().collect::<Vec<_>>() {
                shares.remove_many(holder(group, member), usize::MAX);
            }
            prop_assert_eq!(shares.groups(), 0);
        }
    }
}
