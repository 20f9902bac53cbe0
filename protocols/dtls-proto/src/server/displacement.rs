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
use crate::server::owners::{Admission, Limits};
use crate::server::session::Session;
use crate::statistics::count;

impl Server {
    pub(super) fn location(&self, association: AssociationId) -> Location {
        Location {
            association,
            server: self.number,
        }
    }

    /// Admits the session of a client that has proved itself; `false` if there is no room. Room is
    /// made and taken in one step, as other servers of the port do the same at that time.
    pub(super) fn admit_session(
        &mut self,
        now: Instant,
        association: AssociationId,
        owner: Option<Holder>,
    ) -> bool {
        let location = self.location(association);
        let limits = self.session_limits();
        let mut admission = self.common.owners().admit(owner, location, limits);
        if matches!(admission, Admission::Denied)
            && let Some(idle) = self.idle_session_of_most(now)
        {
            count(&mut self.shared.statistics.evictions);
            self.forget_session(idle, CloseReason::Evicted);
            admission = self.common.owners().admit(owner, location, limits);
        }
        if let (Admission::Denied, Some(owner)) = (&admission, owner) {
            admission = self.common.owners().replace_oldest(owner, location);
        }
        match admission {
            Admission::Granted { displaced } => {
                if let Some(Location {
                    association,
                    server,
                }) = displaced
                {
                    self.displace(server, Displaced::Session(association));
                }
                true
            }
            Admission::Denied => false,
        }
    }

    /// Admits a restored session, whose owner is not known yet; `false` if there is no room.
    pub(super) fn admit_restored_session(&mut self, association: AssociationId) -> bool {
        let (location, limits) = (self.location(association), self.session_limits());
        let admission = self.common.owners().admit(None, location, limits);
        matches!(admission, Admission::Granted { .. })
    }

    fn session_limits(&self) -> Limits {
        Limits {
            total: self.shared.config.max_associations,
            of_one: self.shared.config.max_sessions_of_one,
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
