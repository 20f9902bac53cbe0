//! Places for handshakes, shared by the servers of a port.
//!
//! A good cookie proves an address and nothing else, so a handshake is worth little until its client
//! has proved to have a key. When places are short, a newcomer displaces an older handshake:
//!
//! - Handshakes whose client has answered our flight are never displaced by a ClientHello. They have
//!   at most three quarters of the places, and within these they are displaced by each other only.
//! - If the prefix (an IPv4 /24, an IPv6 /56) with the most places has more than twice as many as the
//!   newcomer's, or an address in the newcomer's prefix more than twice as many as the newcomer's
//!   address, it gives up its oldest.
//! - Else the newcomer's address gives up its oldest handshake, once that is [`Limits::min_age`] old.
//!   Before, the newcomer is passed over in silence and tries again: if a fleet behind one address
//!   displaced its own handshakes within a round trip, none would ever end.
//! - Unless handshakes of that address are mostly abandoned: then somebody floods, and the younger
//!   half of them makes room at once, for clients that share the address with the flood.
//!
//! One prefix never has more than three quarters of a table. A newcomer that would find no place after
//! its client's answer is passed over at its hello, which costs the client less.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fair_share::{FairShares, Holder, HolderHasher};

use crate::server::common::Location;

/// Handshakes under way at all servers of a port.
#[derive(Debug, Default)]
pub(super) struct Places {
    hasher: HolderHasher,
    /// Number of the next place.
    next: u64,
    unanswered: Pool,
    answered: Pool,
}

/// How many handshakes there may be, and how long each is safe from handshakes of equal standing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) places: usize,
    pub(super) min_age: Duration,
}

/// The place of one handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    holder: Holder,
    number: u64,
    is_answered: bool,
}

/// Whether a handshake gets a place.
#[derive(Debug)]
pub(super) enum Granted {
    /// It does, and this one has to go.
    Yes(Place, Option<Location>),
    /// It does not.
    No,
}

/// How a handshake left its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its client went on.
    Proceeded,
    /// Its client did not go on in time.
    Abandoned,
    /// Something else.
    Other,
}

impl Places {
    /// Number of handshakes.
    pub(super) fn len(&self) -> usize {
        self.unanswered.len().saturating_add(self.answered.len())
    }

    /// Finds a place for a handshake that begins.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        location: Location,
        address: IpAddr,
        limits: Limits,
    ) -> Granted {
        let holder = self.hasher.source(address);
        let is_full = self.len() >= limits.places;
        let share = three_quarters(limits.places);
        let room = Room {
            is_full,
            share,
            min_age: limits.min_age,
        };
        // Refused now, a client tries again soon; dropped later, it would wait for a long time.
        let will_be_kept = self
            .answered
            .choose(now, holder, self.room_of_answered(limits))
            .is_some();
        if !will_be_kept {
            return Granted::No;
        }
        let Some(displaced) = self.unanswered.make_room(now, holder, room) else {
            return Granted::No;
        };
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.unanswered.insert(now, number, holder, location);
        let place = Place {
            holder,
            number,
            is_answered: false,
        };
        Granted::Yes(place, displaced)
    }

    /// The client of a handshake has answered our flight: it leaves its place for a better one. If
    /// there is none it is over.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        location: Location,
        place: Place,
        limits: Limits,
    ) -> Granted {
        if !self.unanswered.remove(place, Ending::Proceeded) {
            // It was displaced just before.
            return Granted::No;
        }
        let room = self.room_of_answered(limits);
        let Some(displaced) = self.answered.make_room(now, place.holder, room) else {
            return Granted::No;
        };
        self.answered
            .insert(now, place.number, place.holder, location);
        let place = Place {
            is_answered: true,
            ..place
        };
        Granted::Yes(place, displaced)
    }

    fn room_of_answered(&self, limits: Limits) -> Room {
        let capacity = three_quarters(limits.places);
        Room {
            is_full: self.answered.len() >= capacity,
            share: three_quarters(capacity),
            // Keys of devices are looked up meanwhile.
            min_age: limits.min_age.saturating_mul(2),
        }
    }

    /// A handshake is over.
    pub(super) fn end(&mut self, place: Place, ending: Ending) {
        let pool = if place.is_answered {
            &mut self.answered
        } else {
            &mut self.unanswered
        };
        pool.remove(place, ending);
    }
}

impl Place {
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }
}

/// Handshakes that are worth the same.
#[derive(Debug, Default)]
struct Pool {
    shares: FairShares,
    members: HashMap<Holder, Member>,
    /// All handshakes, the oldest first.
    order: BTreeMap<u64, Holder>,
}

/// Handshakes of one address.
#[derive(Debug, Default)]
struct Member {
    /// The older half, and not less.
    older: BTreeMap<u64, Entry>,
    younger: BTreeMap<u64, Entry>,
    /// Lately, handshakes whose client went on.
    proceeded: u32,
    /// Lately, handshakes whose client did not go on for [`Limits::min_age`].
    abandoned: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    since: Instant,
    location: Location,
}

/// What a newcomer finds.
#[derive(Debug, Clone, Copy)]
struct Room {
    is_full: bool,
    /// How many places a prefix may have.
    share: usize,
    min_age: Duration,
}

impl Pool {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn insert(&mut self, now: Instant, number: u64, holder: Holder, location: Location) {
        self.shares.add(holder);
        self.order.insert(number, holder);
        let member = self.members.entry(holder).or_default();
        let entry = Entry {
            since: now,
            location,
        };
        member.younger.insert(number, entry);
        member.balance();
    }

    /// Takes a handshake out; `false` if it was displaced before.
    fn remove(&mut self, place: Place, ending: Ending) -> bool {
        if let Some(member) = self.members.get_mut(&place.holder) {
            match ending {
                Ending::Proceeded => member.count_proceeded(),
                Ending::Abandoned => member.count_abandoned(),
                Ending::Other => {}
            }
        }
        self.take(place.holder, place.number).is_some()
    }

    fn take(&mut self, holder: Holder, number: u64) -> Option<Location> {
        self.order.remove(&number)?;
        self.shares.remove(holder);
        let member = self.members.get_mut(&holder)?;
        let entry = member
            .older
            .remove(&number)
            .or_else(|| member.younger.remove(&number));
        member.balance();
        if member.older.is_empty() {
            self.members.remove(&holder);
        }
        Some(entry?.location)
    }

    /// Makes room for a newcomer, if there is none, and returns what is displaced; `None` if nothing
    /// may be.
    fn make_room(
        &mut self,
        now: Instant,
        newcomer: Holder,
        room: Room,
    ) -> Option<Option<Location>> {
        let Some((holder, number)) = self.choose(now, newcomer, room)? else {
            return Some(None);
        };
        if let Some(member) = self.members.get_mut(&holder)
            && is_old(member.since(number), now, room.min_age)
        {
            member.count_abandoned();
        }
        self.take(holder, number).map(Some)
    }

    /// The handshake that makes room for a newcomer, if one has to; `None` if none may.
    fn choose(&self, now: Instant, newcomer: Holder, room: Room) -> Option<Option<(Holder, u64)>> {
        let of_prefix = self.shares.held_by_group(newcomer);
        let is_over_share = of_prefix >= room.share;
        if !room.is_full && !is_over_share {
            return Some(None);
        }
        let most = self.shares.most()?;
        if !is_over_share && self.shares.held_by_group(most) > much_more_than(of_prefix) {
            return Some(Some(self.oldest_of(most)?));
        }
        let neighbour = self.shares.most_of_group(newcomer);
        let own = self.shares.held_by(newcomer);
        if let Some(neighbour) = neighbour
            && self.shares.held_by(neighbour) > much_more_than(own)
        {
            return Some(Some(self.oldest_of(neighbour)?));
        }
        let equal = self.equal_of(now, newcomer, room.min_age).or_else(|| {
            let (holder, number) = if is_over_share {
                self.oldest_of(neighbour?)?
            } else {
                let (number, holder) = self.order.first_key_value()?;
                (*holder, *number)
            };
            let since = self.members.get(&holder)?.since(number);
            let is_fair = self.shares.held_by_group(holder) >= of_prefix;
            (is_fair && is_old(since, now, room.min_age)).then_some((holder, number))
        });
        equal.map(Some)
    }

    fn oldest_of(&self, holder: Holder) -> Option<(Holder, u64)> {
        let number = *self.members.get(&holder)?.older.first_key_value()?.0;
        Some((holder, number))
    }

    /// A handshake of the newcomer's own address that makes room for it.
    fn equal_of(&self, now: Instant, holder: Holder, min_age: Duration) -> Option<(Holder, u64)> {
        let member = self.members.get(&holder)?;
        let (oldest, entry) = member.older.first_key_value()?;
        if is_old(Some(entry.since), now, min_age) {
            Some((holder, *oldest))
        } else if member.is_flooding() {
            Some((holder, *member.younger.first_key_value()?.0))
        } else {
            None
        }
    }
}

impl Member {
    fn since(&self, number: u64) -> Option<Instant> {
        let entry = self
            .older
            .get(&number)
            .or_else(|| self.younger.get(&number));
        entry.map(|entry| entry.since)
    }

    fn balance(&mut self) {
        while self.older.len() < self.younger.len() {
            let Some((number, entry)) = self.younger.pop_first() else {
                return;
            };
            self.older.insert(number, entry);
        }
    }

    fn count_proceeded(&mut self) {
        self.proceeded = self.proceeded.saturating_add(1);
        self.age();
    }

    fn count_abandoned(&mut self) {
        self.abandoned = self.abandoned.saturating_add(1);
        self.age();
    }

    /// The past counts less and less.
    fn age(&mut self) {
        if self.proceeded.saturating_add(self.abandoned) > REMEMBERED {
            self.proceeded = self.proceeded.checked_div(2).unwrap_or(0);
            self.abandoned = self.abandoned.checked_div(2).unwrap_or(0);
        }
    }

    fn is_flooding(&self) -> bool {
        self.abandoned >= FLOOD && self.abandoned > self.proceeded
    }
}

fn is_old(since: Option<Instant>, now: Instant, min_age: Duration) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) >= min_age)
}

/// Twice as much, after one more: a fleet whose devices come from several addresses does not displace
/// its own handshakes for small differences between these.
fn much_more_than(held: usize) -> usize {
    held.saturating_mul(2).saturating_add(1)
}

fn three_quarters(places: usize) -> usize {
    places.saturating_sub(places.checked_div(4).unwrap_or(0))
}

/// Number of handshakes of an address after which the earlier ones count half.
const REMEMBERED: u32 = 64;

/// Number of abandoned handshakes of an address that may be chance.
const FLOOD: u32 = 8;
