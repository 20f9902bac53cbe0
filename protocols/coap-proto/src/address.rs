//! Proof that a peer receives what is sent to its address, so that a request with a forged source
//! address brings few bytes to its victim (RFC 7252 §11.3, RFC 9175 §2.4).
//!
//! The value of the Echo option is a MAC over the peer and the time: it needs no state. `SipHash-2-4`
//! is made for such short-lived MACs.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// Issues and verifies values of the Echo option.
#[derive(Debug)]
pub(crate) struct AddressValidation {
    key: [u64; 2],
    /// When the periods of validity begin to count.
    epoch: Option<Instant>,
}

impl AddressValidation {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            key: words(key),
            epoch: None,
        }
    }

    /// A value for the Echo option of a response.
    pub(crate) fn issue(&mut self, now: Instant, peer: &impl Hash) -> [u8; 8] {
        let period = self.period(now);
        self.mac(peer, period)
    }

    /// Whether a value was issued to this peer in this period or the last one.
    pub(crate) fn verify(&mut self, now: Instant, peer: &impl Hash, value: &[u8]) -> bool {
        let period = self.period(now);
        let periods = [Some(period), period.checked_sub(1)];
        let mut values = periods.into_iter().flatten();
        values.any(|period| is_equal(&self.mac(peer, period), value))
    }

    fn period(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        let passed = now.saturating_duration_since(epoch).as_secs();
        passed.checked_div(PERIOD.as_secs()).unwrap_or_default()
    }

    fn mac(&self, peer: &impl Hash, period: u64) -> [u8; 8] {
        let mut hasher = SipHasher::new(self.key);
        peer.hash(&mut hasher);
        hasher.write_u64(period);
        hasher.finish().to_be_bytes()
    }
}

/// Compares in constant time.
fn is_equal(expected: &[u8], value: &[u8]) -> bool {
    let pairs = expected.iter().zip(value);
    let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
    expected.len() == value.len() && difference == 0
}

/// A value is valid for one to two periods.
const PERIOD: Duration = Duration::from_secs(60);

fn words(key: [u8; 16]) -> [u64; 2] {
    let key = u128::from_le_bytes(key);
    let [low, high] = [key, key >> 64].map(|word| word & u128::from(u64::MAX));
    [low, high].map(|word| u64::try_from(word).unwrap_or_default())
}

/// `SipHash-2-4` (Aumasson, Bernstein, 2012).
#[derive(Debug)]
struct SipHasher {
    state: [u64; 4],
    /// Bytes that do not make a word yet, the first one lowest.
    tail: u64,
    length: u64,
}

impl SipHasher {
    const fn new([k0, k1]: [u64; 2]) -> Self {
        Self {
            state: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            tail: 0,
            length: 0,
        }
    }
}

impl Hasher for SipHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.tail |= u64::from(*byte) << ((self.length & 7) << 3);
            self.length = self.length.wrapping_add(1);
            if self.length & 7 == 0 {
                compress(&mut self.state, self.tail);
                self.tail = 0;
            }
        }
    }

    fn finish(&self) -> u64 {
        let mut state = self.state;
        compress(&mut state, self.tail | (self.length << 56));
        let [_, _, v2, _] = &mut state;
        *v2 ^= 0xff;
        for _ in 0..4 {
            round(&mut state);
        }
        state.into_iter().fold(0, |hash, word| hash ^ word)
    }
}

fn compress(state: &mut [u64; 4], word: u64) {
    let [_, _, _, v3] = state;
    *v3 ^= word;
    round(state);
    round(state);
    let [v0, ..] = state;
    *v0 ^= word;
}

const fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v3);
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.wrapping_add(*v3);
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> [u8; 16] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    /// The values of the paper and of its reference implementation.
    #[test]
    fn the_published_vectors_come_out() {
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5_u64),
        ] {
            let input: Vec<u8> = (0..length).collect();
            let mut hasher = SipHasher::new(words(key()));
            hasher.write(&input);
            assert_eq!(hasher.finish(), expected, "{length}");
        }
    }

    #[test]
    fn a_value_proves_its_peer_for_one_to_two_minutes() {
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time must begin somewhere"
        )]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut validation = AddressValidation::new(key());
        let value = validation.issue(start, &"peer");
        for (seconds, peer, expected) in [
            (0, "peer", true),
            (119, "peer", true),
            (120, "peer", false),
            (0, "other", false),
        ] {
            let found = validation.verify(at(seconds), &peer, &value);
            assert_eq!(found, expected, "{seconds} {peer}");
        }
        assert!(!validation.verify(start, &"peer", &value[..7]));
        assert!(!validation.verify(start, &"peer", &[]));
        let mut other = AddressValidation::new([1; 16]);
        assert!(!other.verify(start, &"peer", &value));
    }
}
