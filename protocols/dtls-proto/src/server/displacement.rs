//! Who makes room when places are taken: handshakes for newcomers ([`crate::server::places`]), and
//! sessions for authenticated newcomers.
//!
//! A session gives its place up only for a client that has proved itself by its Finished. With all
//! places taken, room is made by, in this order:
//!
//! 1. the principal that holds most, if it holds more than the newcomer's would: its oldest session;
//! 2. of the sessions idle for [`crate::Config::idle_threshold`], one of the tenant that holds most;
//! 3. the newcomer's own principal: its oldest session.
//!
//! Otherwise the newcomer is refused by a fatal alert. A principal that has as many sessions as it may
//! have ([`crate::Config::max_sessions_of_one`]) gives up its oldest for each further one.

use std::time::Instant;

use fair_share::Holder;

use crate::codec::alert::{Alert, AlertDescription};
use crate::event::{AssociationId, CloseReason, Event, HandshakeFailure};
use crate::server::Server;
use crate::server::common::{Displaced, Location};
use crate::server::session::Session;
use crate::statistics::count;

impl Server {
    pub(super) fn location(&self, association: AssociationId) -> Location {
        Location {
            association,
            server: self.number,
        }
    }

    /// Makes room for the session of a client that has proved itself; `false` if there is none.
    pub(super) fn make_session_place(&mut self, now: Instant, owner: Option<Holder>) -> bool {
        let config = &self.shared.config;
        let (max, max_of_one) = (config.max_associations, config.max_sessions_of_one);
        if let Some(owner) = owner {
            let mut owners = self.common.owners();
            let has_its_share = max_of_one > 0 && owners.held_by(owner) >= max_of_one;
            let displaced = if has_its_share {
                owners.displace_own(owner)
            } else if self.common.sessions() >= max {
                owners.displace_from_most(owner)
            } else {
                None
            };
            drop(owners);
            self.displace_session(displaced);
        }
        if self.common.sessions() < max {
            return true;
        }
        if let Some(idle) = self.idle_session_of_most(now) {
            count(&mut self.shared.statistics.evictions);
            self.forget_session(idle, CloseReason::Evicted);
        } else if let Some(owner) = owner {
            let displaced = self.common.owners().displace_own(owner);
            self.displace_session(displaced);
        }
        self.common.sessions() < max
    }

    /// The place of a session is free, unless it was given away before.
    pub(super) fn release_session_place(&self, association: AssociationId, owner: Option<Holder>) {
        let location = self.location(association);
        let is_held = owner.is_none_or(|owner| self.common.owners().remove(owner, location));
        if is_held {
            self.common.sessions_end(1);
        }
    }

    /// There is no place for the session of a client that has proved itself.
    pub(super) fn refuse_session(&mut self, association: AssociationId, mut session: Session) {
        count(&mut self.shared.statistics.sessions_over_limit);
        let alert = Alert::fatal(AlertDescription::INTERNAL_ERROR);
        session.send_alert(alert, &mut self.shared);
        self.shared.events.push_back(Event::HandshakeFailed {
            association: Some(association),
            peer: session.peer(),
            failure: HandshakeFailure::OverLimit,
        });
        self.shared.events.push_back(Event::Closed {
            association,
            reason: CloseReason::Evicted,
        });
    }

    /// Drops what other servers have displaced.
    pub(super) fn drop_displaced(&mut self) {
        for displaced in self.mailbox.take() {
            self.drop_one_displaced(displaced);
        }
    }

    /// Of the sessions that have been idle longest, for long enough, one of the tenant with most.
    fn idle_session_of_most(&mut self, now: Instant) -> Option<AssociationId> {
        let threshold = self.shared.config.idle_threshold.as_secs();
        let limit = u64::from(self.seconds(now)).checked_sub(threshold)?;
        let limit = u32::try_from(limit).ok()?;
        let idle = self.idle.idle_since(limit, &mut self.sessions);
        let owners = self.common.owners();
        let held = |association: &AssociationId| {
            let owner = self.sessions.get(association)?.owner?;
            Some(owners.held_by_tenant(owner))
        };
        // The first is the one idle longest, and stays where others have no more.
        idle.into_iter().rev().max_by_key(held)
    }

    /// A handshake has lost its place, with this server or another one.
    pub(super) fn displace_handshake(&mut self, displaced: Option<Location>) {
        if let Some(location) = displaced {
            self.displace(location.server, Displaced::Handshake(location.association));
        }
    }

    /// A session has lost its place, with this server or another one.
    fn displace_session(&mut self, displaced: Option<Location>) {
        if let Some(location) = displaced {
            self.common.sessions_end(1);
            self.displace(location.server, Displaced::Session(location.association));
        }
    }

    fn displace(&mut self, server: usize, displaced: Displaced) {
        if server == self.number {
            self.drop_one_displaced(displaced);
        } else if self.common.displace(server, displaced) {
            self.shared.events.push_back(Event::Wake { server });
        }
    }

    fn drop_one_displaced(&mut self, displaced: Displaced) {
        match displaced {
            Displaced::Handshake(association) => {
                if let Some(handshake) = self.handshakes.get_mut(&association) {
                    count(&mut self.shared.statistics.handshakes_displaced);
                    handshake.tell_failure(HandshakeFailure::Displaced, &mut self.shared);
                    self.forget_handshake(association, CloseReason::Displaced);
                }
            }
            Displaced::Session(association) => {
                if let Some(session) = self.sessions.get_mut(&association) {
                    count(&mut self.shared.statistics.sessions_displaced);
                    session.send_alert(Alert::CLOSE_NOTIFY, &mut self.shared);
                    self.forget_session(association, CloseReason::Evicted);
                }
            }
        }
    }
}
