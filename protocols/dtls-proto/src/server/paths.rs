//! Clients that show up at another address, and prove that they can be reached there (RFC 9853, basic path validation).
//!
//! A client that does not offer that is believed, but not at once: until a newer record comes from the
//! new address, no more than three bytes for one go there, and the rest to the address it had before
//! (RFC 9146 §6). Somebody who forwards one record of a client cannot turn its data on a third party.
//!
//! ```text
//!   client, elsewhere              server
//!   newest authentic record ─────▶ keeps the address that is proved, asks the new one
//!                           ◀───── path_challenge (cookie)
//!                           ◀───── answers to the client, but no more than three bytes for one of its own
//!   path_response (cookie)  ─────▶ the new address is the client's
//!                                  no response in time: all stays as it was
//! ```

use std::time::Instant;

use crate::codec::path::{PathMessage, PathMessageType};
use crate::codec::record::ContentType;
use crate::crypto::random;
use crate::event::{AssociationId, AssociationMap};
use crate::path::Path;
use crate::server::Server;
use crate::statistics::count;
use crate::timer::Timer;

/// The clients that are to prove a new address.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    probes: AssociationMap<Probe>,
    /// Clients that have moved without a proof, as long as one record has come from there.
    moves: AssociationMap<Move>,
}

/// A client has moved, on the word of one record.
#[derive(Debug)]
struct Move {
    /// Where it was before.
    from: Path,
    allowance: Allowance,
}

/// What may be sent to an address that is not proved (RFC 9000 §8.1, which RFC 9853 refers to).
#[derive(Debug, Default)]
struct Allowance {
    /// Bytes of authentic records that came from there.
    received: usize,
    /// Bytes that were sent there.
    sent: usize,
}

impl Allowance {
    fn takes(&mut self, length: usize) -> bool {
        let sent = self.sent.saturating_add(length);
        let fits = sent <= self.received.saturating_mul(AMPLIFICATION_LIMIT);
        if fits {
            self.sent = sent;
        }
        fits
    }
}

/// What is known of an address that is not proved yet.
#[derive(Debug)]
struct Probe {
    path: Path,
    cookie: [u8; 8],
    allowance: Allowance,
    /// How often it was asked.
    challenges: u32,
}

impl Server {
    /// The newest record of a client came from an address that is not the one it has proved.
    pub(super) fn doubt(
        &mut self,
        now: Instant,
        association: AssociationId,
        from: Path,
        length: usize,
    ) {
        if let Some(probe) = self.paths.probes.get_mut(&association)
            && probe.path.remote == from.remote
        {
            probe.path = from;
            let allowance = &mut probe.allowance;
            allowance.received = allowance.received.saturating_add(length);
            return;
        }
        let Some([a, b, c, d, e, f, g, h, ..]) = random() else {
            return;
        };
        let probe = Probe {
            path: from,
            cookie: [a, b, c, d, e, f, g, h],
            allowance: Allowance {
                received: length,
                sent: 0,
            },
            challenges: 0,
        };
        self.paths.probes.insert(association, probe);
        self.challenge(now, association);
    }

    /// A client that proves nothing has moved, and was at `from` before.
    pub(super) fn believe(&mut self, association: AssociationId, from: Path, length: usize) {
        let allowance = Allowance {
            received: length,
            sent: 0,
        };
        let moved = Move { from, allowance };
        self.paths.moves.insert(association, moved);
    }

    /// The newest record of a client came from the address it has proved: it is, or is back, where it was.
    pub(super) fn trust(&mut self, association: AssociationId) {
        self.paths.moves.remove(&association);
        if self.paths.probes.remove(&association).is_some() {
            self.shared.timers.stop(association, Timer::Path);
        }
    }

    /// The address did not answer so far: asks once more, or gives it up.
    pub(super) fn path_is_silent(&mut self, now: Instant, association: AssociationId) {
        let probe = self.paths.probes.get(&association);
        if probe.is_some_and(|probe| probe.challenges < CHALLENGES) {
            self.challenge(now, association);
        } else if self.paths.probes.remove(&association).is_some() {
            count(&mut self.shared.statistics.paths_unproved);
        }
    }

    /// A message about paths, which came from `from`.
    pub(super) fn handle_path_message(
        &mut self,
        association: AssociationId,
        from: Path,
        content: &[u8],
    ) {
        let Ok(message) = PathMessage::decode(content) else {
            return count(&mut self.shared.statistics.malformed_messages);
        };
        match message.kind {
            // One answer, over the same path (RFC 9853); it is no longer than the challenge.
            PathMessageType::Challenge => {
                let response = PathMessage {
                    kind: PathMessageType::Response,
                    ..message
                };
                self.send_path_message(association, from, response);
            }
            PathMessageType::Response => self.path_is_proved(association, message.cookie),
            // Only the old address would be answered so, and that is not asked.
            PathMessageType::Drop => count(&mut self.shared.statistics.unexpected_messages),
        }
    }

    /// Where the next record to a client goes, if its content has so many bytes: to its new address as far as an unproved one may be
    /// sent to, else to the one that is proved.
    pub(super) fn destination(
        &mut self,
        association: AssociationId,
        length: usize,
    ) -> Option<Path> {
        let session = self.sessions.get(&association)?;
        let length = length.saturating_add(session.record_overhead());
        if let Some(moved) = self.paths.moves.get_mut(&association) {
            let fits = moved.allowance.takes(length);
            return Some(if fits { session.path() } else { moved.from });
        }
        let probe = self.paths.probes.get_mut(&association);
        let unproved = probe.filter(|probe| probe.challenges > 0);
        let unproved =
            unproved.and_then(|probe| probe.allowance.takes(length).then_some(probe.path));
        Some(unproved.unwrap_or(session.path()))
    }

    fn challenge(&mut self, now: Instant, association: AssociationId) {
        let Some(session) = self.sessions.get(&association) else {
            return;
        };
        let length = PATH_MESSAGE_LENGTH.saturating_add(session.record_overhead());
        let Some(probe) = self.paths.probes.get_mut(&association) else {
            return;
        };
        probe.challenges = probe.challenges.saturating_add(1);
        let (path, cookie) = (probe.path, probe.cookie);
        if probe.allowance.takes(length) {
            let kind = PathMessageType::Challenge;
            self.send_path_message(association, path, PathMessage { kind, cookie });
            count(&mut self.shared.statistics.path_challenges);
        }
        let wait = self.shared.config.path_timeout.checked_div(CHALLENGES);
        let timers = &mut self.shared.timers;
        timers.set(association, Timer::Path, now, wait.unwrap_or_default());
    }

    fn path_is_proved(&mut self, association: AssociationId, cookie: [u8; 8]) {
        let probe = self.paths.probes.get(&association);
        let Some(to) = probe
            .filter(|probe| probe.cookie == cookie)
            .map(|probe| probe.path)
        else {
            // Late, or made up; it is discarded in silence.
            return count(&mut self.shared.statistics.unexpected_messages);
        };
        self.trust(association);
        count(&mut self.shared.statistics.paths_proved);
        if let Some(session) = self.sessions.get_mut(&association) {
            let home = session.peer();
            session.set_path(to);
            self.move_session(association, home, to.remote);
        }
    }

    fn send_path_message(&mut self, association: AssociationId, to: Path, message: PathMessage) {
        if let Some(session) = self.sessions.get_mut(&association) {
            let kind = ContentType::RETURN_ROUTABILITY_CHECK;
            // Without a number left the next data ends the association.
            session
                .seal(to, kind, &message.encode(), &mut self.shared)
                .unwrap_or(());
        }
    }
}

/// How many bytes may be sent for one that came from an address that is not proved.
const AMPLIFICATION_LIMIT: usize = 3;

/// How often an address is asked in [`crate::Config::path_timeout`].
const CHALLENGES: u32 = 3;

const PATH_MESSAGE_LENGTH: usize = 9;
