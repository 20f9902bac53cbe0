//! How many handshakes may begin in a second from one neighbourhood of the network.
//!
//! Only a good cookie is counted: it proves the address, so nobody can use up what belongs to others. What is kept is the moment up
//! to which a neighbourhood has spent its share (the generic cell rate algorithm), and only as long as that lies ahead.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::HandshakeRate;

/// The neighbourhoods that have begun handshakes lately.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Up to when each has spent its share.
    spent: HashMap<u128, Instant>,
    /// When places were last sought for others.
    swept: Option<Instant>,
}

/// Whether one more handshake may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Granted,
    /// It may, as there was no place to count it.
    Uncounted,
    OverRate,
}

impl Rates {
    pub(crate) fn admit(&mut self, now: Instant, peer: IpAddr, rate: &HandshakeRate) -> Share {
        let Some(share) = Duration::from_secs(1).checked_div(rate.per_second) else {
            return Share::OverRate;
        };
        let neighbourhood = rate.neighbourhood(peer);
        let known = self.spent.get(&neighbourhood).copied();
        if known.is_none() && !self.has_place(now, rate.neighbourhoods) {
            return Share::Uncounted;
        }
        let from = known.map_or(now, |spent| spent.max(now));
        let Some(spent) = from.checked_add(share) else {
            return Share::OverRate;
        };
        let allowance = share.saturating_mul(rate.burst);
        if spent.saturating_duration_since(now) > allowance {
            return Share::OverRate;
        }
        self.spent.insert(neighbourhood, spent);
        Share::Granted
    }

    /// Those that have their whole share again are forgotten when room is needed, but not more than once in a second.
    fn has_place(&mut self, now: Instant, limit: usize) -> bool {
        if self.spent.len() < limit {
            return true;
        }
        let lately = self
            .swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < Duration::from_secs(1));
        if !lately {
            self.swept = Some(now);
            self.spent.retain(|_, spent| *spent > now);
        }
        self.spent.len() < limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32, neighbourhoods: usize) -> HandshakeRate {
        HandshakeRate {
            burst,
            neighbourhoods,
            ..HandshakeRate::new(per_second)
        }
    }

    fn granted(rates: &mut Rates, now: Instant, peer: &str, rate: &HandshakeRate) -> usize {
        let peer = peer.parse().unwrap();
        (0..100)
            .filter(|_| rates.admit(now, peer, rate) == Share::Granted)
            .count()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to make an Instant"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_neighbourhood_may_spend_its_burst_at_once_and_then_its_rate() {
        let (mut rates, rate, now) = (Rates::default(), rate(4, 10, 8), start());
        assert_eq!(granted(&mut rates, now, "192.0.2.1", &rate), 10);
        for second in 1..4 {
            let now = now + Duration::from_secs(second);
            assert_eq!(granted(&mut rates, now, "192.0.2.200", &rate), 4);
        }
        let later = now + Duration::from_secs(3600);
        assert_eq!(granted(&mut rates, later, "192.0.2.1", &rate), 10);
    }

    #[test]
    fn neighbourhoods_do_not_pay_for_each_other() {
        let (mut rates, rate, now) = (Rates::default(), rate(1, 3, 8), start());
        for (peer, expected) in [
            ("192.0.2.1", 3),
            ("192.0.2.255", 0),
            ("::ffff:192.0.2.7", 0),
            ("192.0.3.1", 3),
            ("2001:db8:0:100::1", 3),
            ("2001:db8:0:1ff::1", 0),
            ("2001:db8:0:200::1", 3),
        ] {
            assert_eq!(granted(&mut rates, now, peer, &rate), expected, "{peer}");
        }
    }

    /// The table is no way to shut others out, and does not grow.
    #[test]
    fn without_a_place_a_handshake_is_let_through_uncounted() {
        let (mut rates, rate, now) = (Rates::default(), rate(1, 1, 2), start());
        let peers = ["192.0.2.1", "192.0.3.1", "192.0.4.1"].map(|peer| peer.parse().unwrap());
        let admit = |rates: &mut Rates, now| peers.map(|peer| rates.admit(now, peer, &rate));
        let [one, two, three] = admit(&mut rates, now);
        assert_eq!(one, Share::Granted);
        assert_eq!(two, Share::Granted);
        assert_eq!(three, Share::Uncounted);
        assert_eq!(rates.spent.len(), 2);
        let later = now + Duration::from_secs(2);
        assert_eq!(rates.admit(later, peers[2], &rate), Share::Granted);
        assert_eq!(rates.spent.len(), 1);
    }
}
