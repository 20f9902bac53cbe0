//! Names of holders: a member of a group, as two keyed hashes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};

/// Who pays for an entry of a bounded table.
///
/// Two holders from one [`HolderHasher`] are equal if their group and their member are, but for
/// hash collisions, which a peer cannot bring about as the hash is keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    pub(crate) group: u64,
    pub(crate) member: u64,
}

impl Holder {
    /// The group, as a hash: equal for all members of a group.
    #[must_use]
    pub const fn group(self) -> u64 {
        self.group
    }

    /// The member, as a hash.
    #[must_use]
    pub const fn member(self) -> u64 {
        self.member
    }
}

/// Makes holders from names. Clones make equal holders; two instances made by
/// [`HolderHasher::default`] do not.
#[derive(Debug, Clone, Default)]
pub struct HolderHasher(RandomState);

impl HolderHasher {
    /// The member `member` of the group `group`, such as a principal of a tenant.
    pub fn holder(&self, group: &impl Hash, member: &impl Hash) -> Holder {
        Holder {
            group: self.0.hash_one(group),
            member: self.0.hash_one(member),
        }
    }

    /// An unauthenticated peer: its address as a member of its source prefix, which is a /24 of
    /// IPv4 or a /56 of IPv6. An IPv6 address stands for its /64, as a host chooses among those.
    #[must_use]
    pub fn source(&self, address: IpAddr) -> Holder {
        let (prefix, address) = match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                (u128::from(bits & V4_PREFIX), u128::from(bits))
            }
            IpAddr::V6(address) => {
                let bits = Ipv6Addr::to_bits(address);
                (bits & V6_PREFIX, bits & V6_HOST)
            }
        };
        self.holder(&(SOURCE, prefix), &(SOURCE, address))
    }
}

const V4_PREFIX: u32 = !0 << 8;
const V6_PREFIX: u128 = !0 << (128 - 56);
const V6_HOST: u128 = !0 << 64;
/// Keeps source prefixes apart from names that hash alike.
const SOURCE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(hasher: &HolderHasher, address: &str) -> Holder {
        hasher.source(address.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_prefix_share_a_group() {
        let hasher = HolderHasher::default();
        let [one, other, far] =
            ["192.0.2.1", "192.0.2.77", "192.0.3.1"].map(|address| source(&hasher, address));
        assert_eq!(one.group, other.group);
        assert_ne!(one.member, other.member);
        assert_ne!(one.group, far.group);
    }

    #[test]
    fn an_ipv6_host_counts_as_one_member_whatever_its_interface_id() {
        let hasher = HolderHasher::default();
        let one = source(&hasher, "2001:db8:0:1::1");
        assert_eq!(one, source(&hasher, "2001:db8:0:1:ffff::2"));
        let neighbour = source(&hasher, "2001:db8:0:2::1");
        assert_eq!(one.group, neighbour.group);
        assert_ne!(one.member, neighbour.member);
        assert_ne!(one.group, source(&hasher, "2001:db8:0:100::1").group);
    }

    #[test]
    fn a_mapped_ipv4_address_equals_the_ipv4_address() {
        let hasher = HolderHasher::default();
        assert_eq!(
            source(&hasher, "::ffff:192.0.2.1"),
            source(&hasher, "192.0.2.1")
        );
    }

    #[test]
    fn clones_agree_and_instances_differ() {
        let hasher = HolderHasher::default();
        let clone = hasher.clone();
        let holder = hasher.holder(&"tenant", &"device");
        assert_eq!(holder, clone.holder(&"tenant", &"device"));
        assert_ne!(holder, HolderHasher::default().holder(&"tenant", &"device"));
    }
}
