//! Who has how many permits, and who waits for one, in the order in which they get them.
//!
//! Among groups with equally many permits, and among the members of a group, the order is that of
//! start-time fair queueing: each grant puts the next request of the same holder one step of virtual
//! time later, and a newcomer starts at the present one.

use std::collections::{BTreeSet, HashMap, VecDeque};

use fair_share::{FairShares, Holder};

/// The requests that wait, by group and member.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    groups: HashMap<u64, Group<T>>,
    /// Groups with a request that waits.
    order: BTreeSet<Place>,
    /// The virtual time of the last grant.
    now: u64,
    /// Counts the requests that wait.
    shares: FairShares,
    waiting: usize,
    next_ticket: u64,
}

#[derive(Debug)]
struct Group<T> {
    held: usize,
    members: HashMap<u64, Member<T>>,
    /// Members with a request that waits.
    order: BTreeSet<Place>,
    /// The virtual time of its next request.
    next: u64,
    /// The virtual time of its members' last grant.
    now: u64,
}

#[derive(Debug)]
struct Member<T> {
    held: usize,
    /// Oldest first, so in the order of their tickets.
    requests: VecDeque<(u64, T)>,
    /// The virtual time of its next request.
    next: u64,
    holder: Holder,
}

/// When a group or member gets a permit: those with few permits first, then by virtual time, then
/// the one that waits for the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    held: usize,
    next: u64,
    ticket: u64,
    id: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            order: BTreeSet::new(),
            now: 0,
            shares: FairShares::default(),
            waiting: 0,
            next_ticket: 0,
        }
    }
}

impl<T> Queue<T> {
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether the holder gets one of `free` permits at once.
    pub(crate) fn is_admissible(&self, holder: Holder, free: usize) -> bool {
        let group = self.groups.get(&holder.group());
        let (held, waits) = group.map_or((0, false), |group| (group.held, group.waits()));
        !waits && is_within_share(held, free)
    }

    /// Counts a permit of the holder.
    pub(crate) fn grant(&mut self, holder: Holder) {
        self.update(holder, |member| {
            member.held = member.held.saturating_add(1);
        });
    }

    /// Counts a permit of the holder less.
    pub(crate) fn release(&mut self, holder: Holder) {
        self.update(holder, |member| {
            member.held = member.held.saturating_sub(1);
        });
    }

    /// Adds a request, and returns its ticket.
    pub(crate) fn push(&mut self, holder: Holder, request: T) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket = ticket.wrapping_add(1);
        self.waiting = self.waiting.saturating_add(1);
        self.shares.add(holder);
        self.update(holder, |member| {
            member.requests.push_back((ticket, request));
        });
        ticket
    }

    /// The request that gets one of `free` permits, if one may have it.
    pub(crate) fn pop(&mut self, free: usize) -> Option<(Holder, T)> {
        let first = self.order.first()?;
        if !is_within_share(first.held, free) {
            return None;
        }
        let group = self.groups.get(&first.id)?;
        let first = group.order.first()?;
        let holder = group.members.get(&first.id)?.holder;
        let (_, request) = self.take(holder, VecDeque::pop_front)?;
        Some((holder, request))
    }

    /// Drops the newest request of the holder with the most requests.
    pub(crate) fn shed(&mut self) {
        if let Some(holder) = self.shares.most() {
            self.take(holder, VecDeque::pop_back);
        }
    }

    /// Drops a request, if it still waits.
    pub(crate) fn remove(&mut self, holder: Holder, ticket: u64) {
        self.take(holder, |requests| {
            let index = requests.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
            requests.remove(index.ok()?)
        });
    }

    fn take(
        &mut self,
        holder: Holder,
        take: impl FnOnce(&mut VecDeque<(u64, T)>) -> Option<(u64, T)>,
    ) -> Option<(u64, T)> {
        let taken = self.update(holder, |member| take(&mut member.requests))?;
        self.waiting = self.waiting.saturating_sub(1);
        self.shares.remove(holder);
        Some(taken)
    }

    /// Changes a member, and its place in the order; one without permit or request is forgotten.
    fn update<R>(&mut self, holder: Holder, change: impl FnOnce(&mut Member<T>) -> R) -> R {
        let (group_id, member_id) = (holder.group(), holder.member());
        let group = self.groups.entry(group_id).or_insert_with(Group::new);
        let group_place = group.place(group_id);
        if let Some(place) = &group_place {
            self.order.remove(place);
        }
        let member = group.members.entry(member_id).or_insert_with(|| Member {
            held: 0,
            requests: VecDeque::new(),
            next: 0,
            holder,
        });
        let member_place = member.place(member_id);
        if let Some(place) = &member_place {
            group.order.remove(place);
        }
        let held_before = member.held;
        let result = change(member);
        let is_grant = member.held > held_before;
        advance(
            &mut member.next,
            &mut group.now,
            is_grant,
            member_place.is_none(),
        );
        advance(
            &mut group.next,
            &mut self.now,
            is_grant,
            group_place.is_none(),
        );
        group.held = group
            .held
            .saturating_add(member.held)
            .saturating_sub(held_before);
        if let Some(place) = member.place(member_id) {
            group.order.insert(place);
        } else if member.held == 0 {
            group.members.remove(&member_id);
        }
        if let Some(place) = group.place(group_id) {
            self.order.insert(place);
        } else if group.members.is_empty() {
            self.groups.remove(&group_id);
        }
        result
    }
}

impl<T> Group<T> {
    fn new() -> Self {
        Self {
            held: 0,
            members: HashMap::new(),
            order: BTreeSet::new(),
            next: 0,
            now: 0,
        }
    }

    fn waits(&self) -> bool {
        !self.order.is_empty()
    }

    /// None if no request waits.
    fn place(&self, id: u64) -> Option<Place> {
        let ticket = self.order.first()?.ticket;
        Some(Place {
            held: self.held,
            next: self.next,
            ticket,
            id,
        })
    }
}

impl<T> Member<T> {
    /// None if no request waits.
    fn place(&self, id: u64) -> Option<Place> {
        let (ticket, _) = self.requests.front()?;
        Some(Place {
            held: self.held,
            next: self.next,
            ticket: *ticket,
            id,
        })
    }
}

/// Moves a holder on in virtual time: one that waited for nothing starts now, and a grant puts its
/// next request one step later.
fn advance(next: &mut u64, now: &mut u64, is_grant: bool, is_new: bool) {
    if is_new || is_grant {
        *next = (*next).max(*now);
    }
    if is_grant {
        *now = *next;
        *next = next.saturating_add(1);
    }
}

/// Whether a group that has `held` permits may have one more of `free`.
const fn is_within_share(held: usize, free: usize) -> bool {
    held < free.saturating_mul(2)
}
