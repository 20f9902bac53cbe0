//! A network of two ends, with virtual time and a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Whose datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    Server,
    Client,
}

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Of a hundred datagrams, how many are lost.
    pub(crate) loss: u64,
    /// Of a hundred datagrams, how many come twice.
    pub(crate) duplication: u64,
    /// The longest way, in milliseconds; the shortest takes one. More than a little makes datagrams overtake each other.
    pub(crate) delay: u64,
}

impl Weather {
    pub(crate) const FINE: Self = Self {
        loss: 0,
        duplication: 0,
        delay: 1,
    };
}

/// Datagrams on their way.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    random: u64,
    on_the_way: BTreeMap<(Instant, u64), (Towards, Vec<u8>)>,
    sent: u64,
    /// Largest UDP payload that arrives.
    pub(crate) path_mtu: usize,
}

impl Network {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            random: seed,
            on_the_way: BTreeMap::new(),
            sent: 0,
            path_mtu: usize::MAX,
        }
    }

    pub(crate) fn send(&mut self, now: Instant, towards: Towards, payload: &[u8]) {
        let copies = match self.percent() {
            _ if payload.len() > self.path_mtu => 0,
            percent if percent < self.weather.loss => 0,
            percent if percent < self.weather.loss + self.weather.duplication => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(1 + self.next() % self.weather.delay);
            self.sent += 1;
            self.on_the_way
                .insert((now + delay, self.sent), (towards, payload.to_vec()));
        }
    }

    /// From now on.
    pub(crate) fn change(&mut self, weather: Weather) {
        self.weather = weather;
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn arrive(&mut self, now: Instant) -> Option<(Towards, Vec<u8>)> {
        let entry = self.on_the_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    fn percent(&mut self) -> u64 {
        self.next() % 100
    }

    /// The splitmix64 generator.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
