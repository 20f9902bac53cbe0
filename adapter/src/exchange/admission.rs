//! Admission control: limits on concurrent requests, on their payload bytes, and on requests that
//! wait for commands, across all ports, with a share for each holder.
//!
//! A holder is a principal with its tenant, or on the port without security a source address with
//! its prefix. Requests in progress cannot be ended, so part of the room always stays free for those
//! who have little: nobody may hold more than is free, a tenant or prefix not more than four times
//! that. Waits can be ended: when all are taken, a newcomer ends a wait of the holder that has much
//! more than itself.
//!
//! A request that waits for a command takes no room of others.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fair_share::{FairShares, Holder, HolderHasher, Victim};
use tokio::sync::oneshot;

use crate::authn::Principal;

/// Limits on requests in progress and on those that wait for commands.
#[derive(Debug)]
pub struct AdmissionControl {
    hasher: HolderHasher,
    limits: AdmissionLimits,
    state: Mutex<State>,
}

/// What [`AdmissionControl`] admits.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Maximum number of requests in progress, not counting those that wait for commands.
    pub requests: usize,
    /// Maximum number of bytes of their bodies.
    pub bytes: usize,
    /// Maximum number of requests that wait for commands.
    pub waiting: usize,
    /// Whether there are authenticated peers, for whom a quarter of all is reserved.
    pub reserve: Reserve,
}

/// Whether part of the limits is reserved for authenticated peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Peers without authentication may take all: there are no others.
    Nothing,
    /// A quarter is for authenticated peers only.
    Quarter,
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestSource {
    /// Orders waits of peers without authentication before others.
    trust: Trust,
    holder: Holder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Trust {
    Unauthenticated,
    Authenticated,
}

#[derive(Debug, Default)]
struct State {
    requests: Class,
    bytes: usize,
    waiting: Class,
    /// Waits by holder, oldest first. A wait ends when its sender is dropped.
    waits: BTreeMap<(RequestSource, u64), oneshot::Sender<Infallible>>,
    next_wait: u64,
    displaced: u64,
}

/// Counts of one kind of room.
#[derive(Debug, Default)]
struct Class {
    authenticated: FairShares,
    unauthenticated: FairShares,
    total: usize,
    total_unauthenticated: usize,
}

/// Permit of a request in progress or, after [`RequestPermit::wait`], of one that waits for a
/// command; released when dropped.
#[derive(Debug)]
#[must_use = "the permit is released when this is dropped"]
pub struct RequestPermit {
    admission: Arc<AdmissionControl>,
    source: RequestSource,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// A request in progress with so many bytes.
    Progress { bytes: usize },
    /// A request that waits for a command.
    Wait(Box<WaitPermit>),
}

/// Permit of a request that waits for a command; released when dropped.
#[derive(Debug)]
#[must_use = "the permit is released when this is dropped"]
pub struct WaitPermit {
    admission: Arc<AdmissionControl>,
    key: (RequestSource, u64),
    displaced: oneshot::Receiver<Infallible>,
}

impl AdmissionControl {
    /// Admits as many requests as `limits` say.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            hasher: HolderHasher::default(),
            limits,
            state: Mutex::default(),
        }
    }

    /// Whose requests those of this peer are.
    #[must_use]
    pub fn source(&self, principal: Option<&Principal>, address: IpAddr) -> RequestSource {
        match principal {
            Some(principal) => RequestSource {
                trust: Trust::Authenticated,
                holder: self.hasher.holder(&principal.tenant, &principal.device),
            },
            None => RequestSource {
                trust: Trust::Unauthenticated,
                holder: self.hasher.source(address),
            },
        }
    }

    /// A permit for a request with a body of so many bytes; none if there is no room, or if its
    /// holder has its share.
    pub fn try_admit(
        self: &Arc<Self>,
        source: RequestSource,
        bytes: usize,
    ) -> Option<RequestPermit> {
        let mut state = self.state();
        let requests = self.limits.requests.saturating_sub(state.requests.total);
        let free_bytes = self.limits.bytes.saturating_sub(state.bytes);
        if requests == 0 || free_bytes < bytes {
            return None;
        }
        let units = self.units(bytes);
        let free = requests.min(self.units(free_bytes));
        if !state
            .requests
            .is_within_share(source, units, free, self.reserved(free))
        {
            return None;
        }
        state.requests.add(source, units);
        state.requests.total = state.requests.total.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
        Some(RequestPermit {
            admission: Arc::clone(self),
            source,
            held: Held::Progress { bytes },
        })
    }

    /// A permit for a request that is to wait for a command ([`RequestPermit::wait`]); none if too
    /// many wait. When all permits are taken, the wait of a holder with many ends.
    pub fn try_wait(self: &Arc<Self>, source: RequestSource) -> Option<WaitPermit> {
        let mut state = self.state();
        let limit = self.limits.waiting;
        let reserved = match (self.limits.reserve, source.trust) {
            (Reserve::Quarter, Trust::Unauthenticated) => limit.div_ceil(4),
            (Reserve::Nothing, _) | (_, Trust::Authenticated) => 0,
        };
        let is_over_reserve = state.waiting.total_unauthenticated >= limit.saturating_sub(reserved);
        let is_full = state.waiting.total >= limit;
        if is_full || (reserved > 0 && is_over_reserve) {
            let victim = state.waiting.victim(source)?;
            state.displace(victim)?;
        }
        let key = (source, state.next_wait);
        state.next_wait = state.next_wait.wrapping_add(1);
        let (while_waiting, displaced) = oneshot::channel();
        state.waits.insert(key, while_waiting);
        state.waiting.add(source, 1);
        state.waiting.total = state.waiting.total.saturating_add(1);
        Some(WaitPermit {
            admission: Arc::clone(self),
            key,
            displaced,
        })
    }

    /// Number of requests in progress, not counting those that wait.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.state().requests.total
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Number of requests that wait for a command, or are about to.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().waiting.total
    }

    /// Number of waits that ended early for those of other holders.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.state().displaced
    }

    /// What a body takes, as a number of requests: at least one, and its part of all bytes.
    fn units(&self, bytes: usize) -> usize {
        let part = bytes.saturating_mul(self.limits.requests);
        let part = part.checked_div(self.limits.bytes).unwrap_or_default();
        part.max(1)
    }

    /// What of the free room only authenticated peers may take.
    fn reserved(&self, free: usize) -> usize {
        match self.limits.reserve {
            Reserve::Nothing => 0,
            Reserve::Quarter => self.limits.requests.div_ceil(4).min(free),
        }
    }

    fn release(&self, source: RequestSource, bytes: usize) {
        let units = self.units(bytes);
        let mut state = self.state();
        state.requests.remove(source, units);
        state.requests.total = state.requests.total.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the oldest wait of a holder; `None` if it has none.
    fn displace(&mut self, victim: RequestSource) -> Option<()> {
        let mut waits = self.waits.range((victim, 0)..=(victim, u64::MAX));
        let key = *waits.next()?.0;
        self.end_wait(key);
        self.displaced = self.displaced.saturating_add(1);
        Some(())
    }

    fn end_wait(&mut self, key: (RequestSource, u64)) {
        if self.waits.remove(&key).is_some() {
            self.waiting.remove(key.0, 1);
            self.waiting.total = self.waiting.total.saturating_sub(1);
        }
    }
}

impl Class {
    fn shares(&self, trust: Trust) -> &FairShares {
        match trust {
            Trust::Authenticated => &self.authenticated,
            Trust::Unauthenticated => &self.unauthenticated,
        }
    }

    fn add(&mut self, source: RequestSource, units: usize) {
        let shares = match source.trust {
            Trust::Authenticated => &mut self.authenticated,
            Trust::Unauthenticated => {
                self.total_unauthenticated = self.total_unauthenticated.saturating_add(units);
                &mut self.unauthenticated
            }
        };
        shares.add_many(source.holder, units);
    }

    fn remove(&mut self, source: RequestSource, units: usize) {
        let shares = match source.trust {
            Trust::Authenticated => &mut self.authenticated,
            Trust::Unauthenticated => {
                self.total_unauthenticated = self.total_unauthenticated.saturating_sub(units);
                &mut self.unauthenticated
            }
        };
        shares.remove_many(source.holder, units);
    }

    /// Whether a holder may take so many more units of those that are free. A member that holds
    /// nothing may take one although its group has its share, until that has four times as much.
    fn is_within_share(
        &self,
        source: RequestSource,
        units: usize,
        free: usize,
        reserved: usize,
    ) -> bool {
        let free = match source.trust {
            Trust::Authenticated => free,
            Trust::Unauthenticated => free.saturating_sub(reserved),
        };
        let shares = self.shares(source.trust);
        let held = shares.held_by(source.holder);
        let by_group = shares.held_by_group(source.holder).saturating_add(units);
        let group_share = if held == 0 {
            free.saturating_mul(4 * GROUP_SHARE)
        } else {
            free.saturating_mul(GROUP_SHARE)
        };
        // The first one fits if there is any room, however large its body.
        let is_first = held == 0 && free > 0;
        (is_first || held.saturating_add(units) <= free) && by_group <= group_share
    }

    /// Whose wait ends for a newcomer: that of a holder with much more than it has. Nothing that an
    /// unauthenticated peer does ends the wait of an authenticated one, which goes the other way
    /// round where unauthenticated peers have more than the part that is not reserved.
    fn victim(&self, newcomer: RequestSource) -> Option<RequestSource> {
        let of = |trust, holder| Some(RequestSource { trust, holder });
        let unauthenticated = &self.unauthenticated;
        if newcomer.trust == Trust::Authenticated
            && let Some(most) = unauthenticated.most()
            && self.total_unauthenticated > self.total.saturating_sub(self.total_unauthenticated)
        {
            return of(Trust::Unauthenticated, most);
        }
        let shares = self.shares(newcomer.trust);
        let total = match newcomer.trust {
            Trust::Authenticated => self.total.saturating_sub(self.total_unauthenticated),
            Trust::Unauthenticated => self.total_unauthenticated,
        };
        let holder = match Victim::choose(shares, Some(newcomer.holder), total, 1) {
            Victim::Member(most) => most,
            Victim::Group(most) if most.group() != newcomer.holder.group() => {
                shares.most_of_group(most)?
            }
            Victim::Group(_) | Victim::Oldest => return None,
        };
        (holder != newcomer.holder).then_some(())?;
        of(newcomer.trust, holder)
    }
}

impl RequestSource {
    /// Who pays for what is remembered of it.
    #[must_use]
    pub const fn holder(self) -> Holder {
        self.holder
    }
}

impl RequestPermit {
    /// The request waits for a command from now on and needs its body no more: it is not in progress
    /// any longer.
    pub fn wait(&mut self, permit: WaitPermit) {
        self.release();
        self.held = Held::Wait(Box::new(permit));
    }

    /// Resolves, with an error, when the wait is to end for that of another holder.
    pub fn displaced(&mut self) -> Option<&mut oneshot::Receiver<Infallible>> {
        match &mut self.held {
            Held::Progress { .. } => None,
            Held::Wait(permit) => Some(&mut permit.displaced),
        }
    }

    /// Whether its wait has ended for that of another holder.
    pub fn is_displaced(&mut self) -> bool {
        let displaced = self.displaced().map(oneshot::Receiver::try_recv);
        displaced.is_some_and(|ended| ended == Err(oneshot::error::TryRecvError::Closed))
    }

    fn release(&self) {
        if let Held::Progress { bytes } = self.held {
            self.admission.release(self.source, bytes);
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.release();
    }
}

impl Drop for WaitPermit {
    fn drop(&mut self) {
        self.admission.state().end_wait(self.key);
    }
}

/// A tenant or prefix may hold so many times as much as is free.
const GROUP_SHARE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(requests: usize, bytes: usize, waiting: usize) -> Arc<AdmissionControl> {
        Arc::new(AdmissionControl::new(AdmissionLimits {
            requests,
            bytes,
            waiting,
            reserve: Reserve::Quarter,
        }))
    }

    impl AdmissionControl {
        fn device(&self, tenant: &str, device: usize) -> RequestSource {
            RequestSource {
                trust: Trust::Authenticated,
                holder: self.hasher.holder(&tenant, &device),
            }
        }

        fn address(&self, address: &str) -> RequestSource {
            self.source(None, address.parse().unwrap())
        }
    }

    /// Takes permits until there are no more.
    fn flood<T>(mut permit: impl FnMut(usize) -> Option<T>) -> Vec<T> {
        let mut refused = 0;
        let mut permits = Vec::new();
        for number in 0.. {
            match permit(number) {
                Some(permit) => permits.push(permit),
                None => refused += 1,
            }
            if refused > 100 {
                break;
            }
        }
        permits
    }

    #[test]
    fn permits_are_bounded_and_come_back() {
        let admission = admission(4, 1000, 0);
        let mut permits =
            flood(|number| admission.try_admit(admission.device(&number.to_string(), 0), 10));
        assert_eq!((permits.len(), admission.requests()), (4, 4));
        assert_eq!(admission.bytes(), 40);
        permits.pop();
        assert!(admission.try_admit(admission.device("T", 1), 0).is_some());
        drop(permits);
        assert_eq!((admission.requests(), admission.bytes()), (0, 0));
        assert_eq!(admission.state().requests.authenticated.groups(), 0);
    }

    /// One device took all permits, and nobody else was served.
    #[test]
    fn whatever_a_device_takes_others_find_room() {
        let admission = admission(64, 262_144, 64);
        let hog = admission.device("T", 0);
        let _requests = flood(|_| admission.try_admit(hog, 100));
        assert_eq!(admission.requests(), 32, "half of all");
        for other in 1..10 {
            let source = admission.device("T", other);
            assert!(admission.try_admit(source, 100).is_some(), "same tenant");
            let source = admission.device("U", other);
            assert!(admission.try_admit(source, 100).is_some(), "other tenant");
        }
    }

    #[test]
    fn whatever_a_tenant_takes_others_find_room() {
        let admission = admission(1024, 1 << 22, 0);
        for each in [1, 3, 1000] {
            let requests =
                flood(|number| admission.try_admit(admission.device("T", number / each), 100));
            assert!(admission.requests() <= 964, "{each}: 16 of 17");
            let mut others = Vec::new();
            for device in 0..10 {
                let source = admission.device("U", device);
                others.push(admission.try_admit(source, 100).expect("there is room"));
            }
            drop(requests);
        }
    }

    #[test]
    fn large_bodies_count_as_many_requests() {
        let admission = admission(100, 10_000, 0);
        let hog = admission.device("T", 0);
        let _bodies = flood(|_| admission.try_admit(hog, 1000));
        assert_eq!(admission.bytes(), 5000, "half of all");
        let other = admission.device("T", 1);
        assert!(admission.try_admit(other, 1000).is_some());
        assert!(admission.try_admit(other, usize::MAX).is_none());
    }

    #[test]
    fn addresses_without_authentication_leave_a_quarter_to_devices() {
        let admission = admission(64, 262_144, 64);
        let _requests = flood(|number| {
            let source = admission.address(&format!("10.{}.0.{}", number % 200, number % 7));
            admission.try_admit(source, 0)
        });
        assert_eq!(admission.requests(), 48);
        let _waits = flood(|number| {
            admission.try_wait(admission.address(&format!("10.{}.0.1", number % 200)))
        });
        assert_eq!(admission.waiting(), 48);
        let device = admission.device("T", 1);
        assert!(admission.try_admit(device, 0).is_some());
        assert!(admission.try_wait(device).is_some());
    }

    #[test]
    fn a_wait_leaves_its_room_to_other_requests() {
        let admission = admission(4, 100, 3);
        let device = admission.device("T", 1);
        let mut permit = admission.try_admit(device, 50).unwrap();
        permit.wait(admission.try_wait(device).unwrap());
        assert_eq!((admission.requests(), admission.bytes()), (0, 0));
        assert_eq!(admission.waiting(), 1);
        drop(permit);
        assert_eq!(admission.waiting(), 0);
        assert!(admission.state().waits.is_empty());
    }

    /// One device took all waits, and other devices got no commands.
    #[test]
    fn a_newcomer_ends_the_oldest_wait_of_the_device_that_has_most() {
        let admission = admission(64, 262_144, 10);
        let hog = admission.device("T", 0);
        let mut waits = flood(|_| admission.try_wait(hog));
        assert_eq!(waits.len(), 10, "alone, it may take all");
        assert_eq!(admission.displaced(), 0, "and ends none of its own");
        let newcomer = admission.try_wait(admission.device("T", 1)).unwrap();
        let closed = |wait: &mut WaitPermit| {
            wait.displaced.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        };
        assert!(closed(&mut waits[0]));
        assert!(!closed(&mut waits[1]));
        assert_eq!((admission.waiting(), admission.displaced()), (10, 1));
        drop(waits);
        assert_eq!(
            admission.waiting(),
            1,
            "a displaced wait is not released twice"
        );
        drop(newcomer);
        assert_eq!(admission.waiting(), 0);
    }

    #[test]
    fn devices_that_wait_once_each_end_no_wait_of_another() {
        let admission = admission(64, 262_144, 10);
        let _waits = flood(|number| admission.try_wait(admission.device("T", number)));
        assert_eq!((admission.waiting(), admission.displaced()), (10, 0));
        let other = admission.try_wait(admission.device("U", 0));
        assert!(other.is_some(), "but a tenant that has all makes room");
        assert_eq!(admission.displaced(), 1);
    }

    #[test]
    fn an_address_without_authentication_never_ends_the_wait_of_a_device() {
        let admission = admission(64, 262_144, 8);
        let _waits = flood(|_| admission.try_wait(admission.device("T", 0)));
        assert!(admission.try_wait(admission.address("10.0.0.1")).is_none());
        assert_eq!((admission.waiting(), admission.displaced()), (8, 0));
    }

    #[test]
    fn a_device_ends_the_wait_of_an_address() {
        let admission = Arc::new(AdmissionControl::new(AdmissionLimits {
            requests: 64,
            bytes: 262_144,
            waiting: 8,
            reserve: Reserve::Nothing,
        }));
        let _waits =
            flood(|number| admission.try_wait(admission.address(&format!("10.{number}.0.1"))));
        assert_eq!(admission.waiting(), 8);
        assert!(admission.try_wait(admission.device("T", 0)).is_some());
    }

    /// Any order of requests, waits and their ends: bounds hold, and nothing stays counted.
    #[test]
    fn counts_are_right_whatever_comes() {
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below).unwrap()
        };
        let admission = admission(40, 4000, 20);
        let (mut permits, mut waits) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let source = match next(3) {
                0 => admission.address(&format!("10.0.{}.{}", next(3), next(5))),
                tenant => admission.device(&tenant.to_string(), next(6)),
            };
            match next(8) {
                0 | 4 => permits.extend(admission.try_admit(source, next(300))),
                1 | 5 => waits.extend(admission.try_wait(source)),
                6 | 7 => waits.extend(admission.try_wait(admission.device("1", 0))),
                2 if !permits.is_empty() => {
                    let mut permit: RequestPermit = permits.swap_remove(next(40) % permits.len());
                    if let Some(wait) = waits.pop() {
                        permit.wait(wait);
                        assert!(permit.displaced().is_some());
                    }
                }
                3 if !waits.is_empty() => drop(waits.swap_remove(next(20) % waits.len())),
                _ => {}
            }
            assert_eq!(admission.requests(), permits.len());
            assert!(admission.requests() <= 40 && admission.bytes() <= 4000);
            assert!(admission.waiting() <= 20.min(waits.len()));
        }
        assert!(admission.displaced() > 0, "some waits were displaced");
        drop((permits, waits));
        let state = admission.state();
        assert_eq!((state.requests.total, state.bytes), (0, 0));
        assert_eq!((state.waiting.total, state.waits.len()), (0, 0));
        for class in [&state.requests, &state.waiting] {
            assert_eq!(class.authenticated.groups(), 0);
            assert_eq!(class.unauthenticated.groups(), 0);
            assert_eq!(class.total_unauthenticated, 0);
        }
    }
}
