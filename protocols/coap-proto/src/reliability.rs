//! Confirmable delivery: when to send again, when to give up, and under which message id (RFC 7252 §4.2, §4.4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::message::MessageId;

/// A confirmable message on its way.
#[derive(Debug)]
pub(crate) struct Retransmission {
    pub(crate) message: Arc<[u8]>,
    /// How often it was sent again.
    retransmitted: u32,
    timeout: Duration,
    /// The deadline of its [`Timer::Retransmit`](crate::timer::Timer::Retransmit).
    pub(crate) due: Instant,
}

impl Retransmission {
    pub(crate) fn start(now: Instant, message: Arc<[u8]>, timeout: Duration) -> Self {
        Self {
            message,
            retransmitted: 0,
            timeout,
            due: after(now, timeout),
        }
    }

    /// A message that is not sent again; it may be acknowledged within `patience`.
    pub(crate) fn once(now: Instant, message: Arc<[u8]>, patience: Duration) -> Self {
        Self {
            message,
            retransmitted: u32::MAX,
            timeout: patience,
            due: after(now, patience),
        }
    }

    /// Doubles the wait and tells that it is to be sent again, or that it was sent often enough.
    pub(crate) fn next_attempt(&mut self, now: Instant, max_retransmit: u32) -> Attempt {
        if self.retransmitted >= max_retransmit {
            return Attempt::GiveUp;
        }
        self.retransmitted = self.retransmitted.saturating_add(1);
        self.timeout = self.timeout.saturating_mul(2);
        self.due = after(now, self.timeout);
        Attempt::SendAgain
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    SendAgain,
    GiveUp,
}

/// The first wait: between `ACK_TIMEOUT` and `ACK_TIMEOUT` * `ACK_RANDOM_FACTOR` (RFC 7252 §4.2).
pub(crate) fn initial_timeout(config: &Config, random: &mut Random) -> Duration {
    let spread = config.ack_random_factor_percent.saturating_sub(100);
    let widest = config
        .ack_timeout
        .saturating_mul(spread)
        .checked_div(100)
        .unwrap_or_default();
    let widest = u64::try_from(widest.as_micros()).unwrap_or(u64::MAX);
    let extra = random
        .next()
        .checked_rem(widest.saturating_add(1))
        .unwrap_or_default();
    config
        .ack_timeout
        .saturating_add(Duration::from_micros(extra))
}

/// `now + duration`, or never later than the clock can tell.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration).unwrap_or(now)
}

/// Message ids for one peer, from a random start upwards, none twice within `EXCHANGE_LIFETIME` (RFC 7252 §4.4).
///
/// Ids are given out by the block; before a block comes round again, its last id must be a lifetime old.
#[derive(Debug)]
pub(crate) struct MessageIds {
    next: u16,
    left_in_block: u16,
    /// When the last id of each block before the current one was given out, oldest first.
    used_up: Vec<Instant>,
}

impl MessageIds {
    pub(crate) fn new(random: &mut Random) -> Self {
        let [high, low, ..] = random.next().to_be_bytes();
        Self {
            next: u16::from_be_bytes([high, low]),
            left_in_block: BLOCK,
            used_up: Vec::new(),
        }
    }

    /// Whether not all ids were given out within the last `lifetime`.
    pub(crate) fn has_next(&self, now: Instant, lifetime: Duration) -> bool {
        let oldest = self.used_up.first();
        self.left_in_block > 0
            || self.used_up.len() < BLOCKS
            || oldest.is_none_or(|oldest| after(*oldest, lifetime) <= now)
    }

    /// `None` if all ids were given out within the last `lifetime`.
    pub(crate) fn next(&mut self, now: Instant, lifetime: Duration) -> Option<MessageId> {
        if !self.has_next(now, lifetime) {
            return None;
        }
        if self.left_in_block == 0 {
            if self.used_up.len() >= BLOCKS {
                self.used_up.remove(0);
            }
            self.left_in_block = BLOCK;
        }
        let id = MessageId(self.next);
        self.next = self.next.wrapping_add(1);
        self.left_in_block = self.left_in_block.saturating_sub(1);
        if self.left_in_block == 0 {
            self.used_up.push(now);
        }
        Some(id)
    }
}

/// Ids in a block, and blocks in all.
const BLOCK: u16 = 4096;
const BLOCKS: usize = 16;

/// Numbers that need not be secret, only spread: `SplitMix64`.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
