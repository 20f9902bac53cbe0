//! What all associations of a server have in common: settings, timers, counters, and what waits to be drained.

use std::collections::VecDeque;
use std::net::SocketAddr;

use ring::rand::{SecureRandom, SystemRandom};

use crate::codec::hello::Random;
use crate::config::Config;
use crate::event::{Event, Transmit};
use crate::statistics::Statistics;
use crate::timer::Timers;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) statistics: Statistics,
    pub(crate) timers: Timers,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    random: SystemRandom,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            statistics: Statistics::default(),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            random: SystemRandom::new(),
        }
    }

    pub(crate) fn transmit(&mut self, peer: SocketAddr, payload: Vec<u8>) {
        self.transmits.push_back(Transmit { peer, payload });
    }

    /// Fresh random bytes; `None` if the system has none to give.
    pub(crate) fn random(&self) -> Option<Random> {
        let mut random = [0; 32];
        self.random.fill(&mut random).ok()?;
        Some(random)
    }
}
