//! What all associations of a server have in common: settings, timers, counters, and what waits to be drained.

use std::collections::VecDeque;

use crate::codec::handshake::{Fragment, read_fragments};
use crate::config::Config;
use crate::event::{Event, Transmit};
use crate::path::Path;
use crate::statistics::{Statistics, count};
use crate::timer::Timers;

pub(crate) struct Shared {
    /// What has been answered in the current datagram.
    pub(crate) answered: Answered,
    pub(crate) config: Config,
    /// The wall clock in Unix seconds, as the caller said last.
    pub(crate) wall_seconds: Option<u64>,
    pub(crate) statistics: Statistics,
    pub(crate) timers: Timers,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
}

/// Answers that a datagram gets at most once, however many messages in it ask for them: else one
/// datagram brings many, and its source address may be forged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answered {
    /// A ClientHello was answered, or has begun a handshake.
    pub(crate) hello: bool,
    /// The last flight of a session was sent again.
    pub(crate) last_flight: bool,
    /// A renegotiation was refused by a warning.
    pub(crate) renegotiation: bool,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            answered: Answered::default(),
            config,
            wall_seconds: None,
            statistics: Statistics::default(),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether a ticket issued at this time is young enough; 0 is one without a time.
    pub(crate) fn is_ticket_fresh(&self, issued: u64) -> bool {
        let Some(now) = self.wall_seconds.filter(|_| issued > 0) else {
            return true;
        };
        let lifetime = self.config.resumption.ticket_lifetime.as_secs();
        // Another server may have issued it, by a clock that is somewhat ahead.
        issued <= now.saturating_add(CLOCK_SKEW) && now.saturating_sub(issued) < lifetime
    }

    pub(crate) fn transmit(&mut self, path: Path, payload: Vec<u8>) {
        self.transmits.push_back(Transmit {
            peer: path.remote,
            local: path.local,
            payload,
        });
    }

    /// The fragments in a handshake record; what is malformed ends the list and is counted.
    pub(crate) fn fragments<'a>(&mut self, record: &'a [u8]) -> Vec<Fragment<'a>> {
        read_fragments(record)
            .filter_map(|fragment| {
                if fragment.is_err() {
                    count(&mut self.statistics.malformed_messages);
                }
                fragment.ok()
            })
            .collect()
    }
}

/// How far the clocks of servers with the same ticket keys may be apart, in seconds.
const CLOCK_SKEW: u64 = 300;
