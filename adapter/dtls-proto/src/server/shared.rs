//! What all associations of a server have in common: settings, timers, counters, and what waits to be drained.

use std::collections::VecDeque;

use crate::codec::handshake::{Fragment, read_fragments};
use crate::config::Config;
use crate::event::{Event, Transmit};
use crate::path::Path;
use crate::statistics::{Statistics, count};
use crate::timer::Timers;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) statistics: Statistics,
    pub(crate) timers: Timers,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            statistics: Statistics::default(),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
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
