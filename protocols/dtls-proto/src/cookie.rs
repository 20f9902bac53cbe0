//! Cookies that prove an address without our keeping anything of it (RFC 6347 §4.2.1).
//!
//! A cookie has two halves, each the start of an HMAC. The first is over the address and what the
//! first fragment of a ClientHello shows, so that it can be checked before the rest has come. The
//! second is over all that must not change between the two times the hello is sent, or, if it was
//! issued for a fragment, says so. The secret of the HMAC is new for each time span of
//! [`crate::Config::cookie_lifetime`], derived from the seed and the span's number; cookies of this
//! span and of the one before are good.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::hmac;
use subtle::ConstantTimeEq;

use crate::codec::extension::HelloExtensions;
use crate::codec::hello::{ClientHello, ClientHelloStart};

/// Makes and checks cookies.
pub(crate) struct Cookies {
    seed: hmac::Key,
    lifetime: Duration,
    spans: Option<Spans>,
}

/// The secrets in use.
struct Spans {
    origin: Instant,
    number: u128,
    current: hmac::Key,
    previous: hmac::Key,
}

impl Cookies {
    pub(crate) fn new(seed: &[u8; 32], lifetime: Duration) -> Self {
        Self {
            seed: hmac::Key::new(hmac::HMAC_SHA256, seed),
            lifetime: lifetime.max(Duration::from_secs(1)),
            spans: None,
        }
    }

    /// The cookie this client must return.
    pub(crate) fn issue(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> [u8; COOKIE_LENGTH] {
        let key = &self.spans(now).current;
        join(
            of_start(key, START, peer, &hello.start()),
            of_hello(key, peer, hello),
        )
    }

    /// The cookie that a client must return of whose hello only the start is known.
    pub(crate) fn issue_for_start(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        start: &ClientHelloStart<'_>,
    ) -> [u8; COOKIE_LENGTH] {
        let key = &self.spans(now).current;
        join(
            of_start(key, START, peer, start),
            of_start(key, FRAGMENT, peer, start),
        )
    }

    /// Whether the hello carries the cookie issued for it, to this address, not long ago.
    pub(crate) fn accepts(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> bool {
        let start = hello.start();
        self.find_key(now, peer, &start).is_some_and(|(key, rest)| {
            equal(&of_hello(key, peer, hello), rest)
                || equal(&of_start(key, FRAGMENT, peer, &start), rest)
        })
    }

    /// Whether a hello that begins like this may carry a good cookie: its address is proved, and
    /// all else is to be checked when the hello is whole.
    pub(crate) fn accepts_start(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        start: &ClientHelloStart<'_>,
    ) -> bool {
        self.find_key(now, peer, start).is_some()
    }

    /// The key that made the first half of a cookie, and the second half.
    fn find_key<'c>(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        start: &ClientHelloStart<'c>,
    ) -> Option<(&hmac::Key, &'c [u8])> {
        if start.cookie.len() != COOKIE_LENGTH {
            return None;
        }
        let (first, second) = start.cookie.split_at_checked(HALF)?;
        let spans = self.spans(now);
        let key = [&spans.current, &spans.previous]
            .into_iter()
            .find(|key| equal(&of_start(key, START, peer, start), first))?;
        Some((key, second))
    }

    fn spans(&mut self, now: Instant) -> &Spans {
        let origin = self.spans.as_ref().map_or(now, |spans| spans.origin);
        let elapsed = now.saturating_duration_since(origin).as_nanos();
        let number = elapsed.checked_div(self.lifetime.as_nanos()).unwrap_or(0);
        let spans = match self.spans.take() {
            Some(spans) if spans.number >= number => spans,
            _ => Spans {
                origin,
                number,
                current: self.secret(number.saturating_add(1)),
                previous: self.secret(number),
            },
        };
        self.spans.insert(spans)
    }

    fn secret(&self, number: u128) -> hmac::Key {
        let tag = hmac::sign(&self.seed, &number.to_be_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
    }
}

/// An HMAC over the address and over what never changes at the start of a hello.
fn of_start(
    key: &hmac::Key,
    purpose: u8,
    peer: SocketAddr,
    start: &ClientHelloStart<'_>,
) -> [u8; HALF] {
    half(key, purpose, peer, |part| {
        part(&start.version.0.to_be_bytes());
        part(&start.random);
    })
}

/// An HMAC over the address and over all of a hello that must not change.
fn of_hello(key: &hmac::Key, peer: SocketAddr, hello: &ClientHello<'_>) -> [u8; HALF] {
    half(key, WHOLE, peer, |part| {
        part(&hello.version.0.to_be_bytes());
        part(&hello.random);
        part(if brings_ticket(hello) {
            &[]
        } else {
            hello.session_id
        });
        part(hello.cipher_suites);
        part(hello.compression_methods);
    })
}

fn half(
    key: &hmac::Key,
    purpose: u8,
    peer: SocketAddr,
    parts: impl FnOnce(&mut dyn FnMut(&[u8])),
) -> [u8; HALF] {
    let mut context = hmac::Context::with_key(key);
    context.update(&[purpose]);
    let mut part = |bytes: &[u8]| {
        context.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        context.update(bytes);
    };
    match peer.ip() {
        IpAddr::V4(address) => part(&address.octets()),
        IpAddr::V6(address) => part(&address.octets()),
    }
    part(&peer.port().to_be_bytes());
    parts(&mut part);
    let tag = context.sign();
    let mut half = [0; HALF];
    for (byte, source) in half.iter_mut().zip(tag.as_ref()) {
        *byte = *source;
    }
    half
}

fn join(first: [u8; HALF], second: [u8; HALF]) -> [u8; COOKIE_LENGTH] {
    let mut cookie = [0; COOKIE_LENGTH];
    for (byte, source) in cookie.iter_mut().zip(first.into_iter().chain(second)) {
        *byte = source;
    }
    cookie
}

fn equal(computed: &[u8; HALF], received: &[u8]) -> bool {
    computed.as_slice().ct_eq(received).into()
}

/// Whether the session id was made up, to learn from its echo that the ticket was taken (RFC 5077 §3.4). Mbed TLS 2.28 makes up
/// another one for the hello that returns the cookie, so that the cookie cannot depend on it.
fn brings_ticket(hello: &ClientHello<'_>) -> bool {
    HelloExtensions::decode(hello.extensions).is_ok_and(|extensions| {
        extensions
            .session_ticket
            .is_some_and(|ticket| !ticket.is_empty())
    })
}

/// The HelloVerifyRequest around it has 44 bytes; the shortest ClientHello has 67, the shortest
/// fragment that shows a cookie's place 61.
pub(crate) const COOKIE_LENGTH: usize = 2 * HALF;

/// Enough that nobody guesses one within its lifetime.
const HALF: usize = 8;

/// What an HMAC is for: the first half of a cookie,
const START: u8 = 1;
/// the second half for a whole hello,
const WHOLE: u8 = 2;
/// the second half for a hello of which only the first fragment has come.
const FRAGMENT: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ProtocolVersion;

    const HELLO: ClientHello<'_> = ClientHello {
        version: ProtocolVersion::DTLS_1_2,
        random: [7; 32],
        session_id: &[],
        cookie: &[],
        cipher_suites: &[0xc0, 0xa8],
        compression_methods: &[0],
        extensions: &[],
    };

    fn peer(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_cookie_is_good_for_its_address_and_hello_only() {
        let mut cookies = Cookies::new(&[1; 32], Duration::from_secs(60));
        let now = Instant::now_for_tests();
        let cookie = cookies.issue(now, peer(1), &HELLO);
        let returned = ClientHello {
            cookie: &cookie,
            ..HELLO
        };
        assert!(cookies.accepts(now, peer(1), &returned));
        assert!(!cookies.accepts(now, peer(2), &returned));
        assert!(!cookies.accepts(now, peer(1), &HELLO));
        for other in [
            ClientHello {
                random: [8; 32],
                ..returned
            },
            ClientHello {
                session_id: &[1],
                ..returned
            },
            ClientHello {
                cipher_suites: &[0xc0, 0xa4],
                ..returned
            },
            ClientHello {
                compression_methods: &[0, 1],
                ..returned
            },
            ClientHello {
                version: ProtocolVersion::DTLS_1_0,
                ..returned
            },
        ] {
            assert!(!cookies.accepts(now, peer(1), &other), "{other:?}");
        }
    }

    /// A client may send its hello in one piece at first, and with the cookie in it in two.
    #[test]
    fn a_cookie_can_be_checked_before_the_rest_of_the_hello_has_come() {
        let mut cookies = Cookies::new(&[1; 32], Duration::from_secs(60));
        let now = Instant::now_for_tests();
        let of_whole = cookies.issue(now, peer(1), &HELLO);
        let of_start = cookies.issue_for_start(now, peer(1), &HELLO.start());
        assert_eq!(of_whole[..HALF], of_start[..HALF]);
        assert_ne!(of_whole[HALF..], of_start[HALF..]);
        for cookie in [of_whole, of_start] {
            let returned = ClientHello {
                cookie: &cookie,
                ..HELLO
            };
            assert!(cookies.accepts_start(now, peer(1), &returned.start()));
            assert!(cookies.accepts(now, peer(1), &returned));
            assert!(!cookies.accepts_start(now, peer(2), &returned.start()));
            for at in 0..COOKIE_LENGTH {
                let mut other = cookie;
                other[at] ^= 1;
                let forged = ClientHello {
                    cookie: &other,
                    ..HELLO
                };
                assert!(!cookies.accepts(now, peer(1), &forged), "{at}");
                let start = cookies.accepts_start(now, peer(1), &forged.start());
                assert_eq!(start, at >= HALF, "{at}");
            }
            for length in [0, HALF, COOKIE_LENGTH - 1] {
                let cut = ClientHello {
                    cookie: &cookie[..length],
                    ..HELLO
                };
                assert!(!cookies.accepts(now, peer(1), &cut));
                assert!(!cookies.accepts_start(now, peer(1), &cut.start()));
            }
        }
    }

    /// Mbed TLS 2.28 changes it, and would go on for ever asking for a cookie with another one.
    #[test]
    fn a_hello_with_a_ticket_may_change_its_session_id() {
        let mut cookies = Cookies::new(&[1; 32], Duration::from_secs(60));
        let now = Instant::now_for_tests();
        for (ticket, accepted) in [(&[0, 35, 0, 1, 9][..], true), (&[0, 35, 0, 0], false)] {
            let first = ClientHello {
                session_id: &[1; 32],
                extensions: ticket,
                ..HELLO
            };
            let cookie = cookies.issue(now, peer(1), &first);
            let returned = ClientHello {
                session_id: &[2; 32],
                cookie: &cookie,
                ..first
            };
            assert_eq!(cookies.accepts(now, peer(1), &returned), accepted);
        }
    }

    #[test]
    fn a_cookie_outlives_one_change_of_the_secret_but_not_two() {
        let lifetime = Duration::from_secs(60);
        let mut cookies = Cookies::new(&[1; 32], lifetime);
        let start = Instant::now_for_tests();
        let cookie = cookies.issue(start, peer(1), &HELLO);
        let returned = ClientHello {
            cookie: &cookie,
            ..HELLO
        };
        assert!(cookies.accepts(start + lifetime, peer(1), &returned));
        assert!(!cookies.accepts(start + 2 * lifetime, peer(1), &returned));
    }

    trait Clock {
        fn now_for_tests() -> Self;
    }

    impl Clock for Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "there is no other way to make an Instant"
        )]
        fn now_for_tests() -> Self {
            Self::now()
        }
    }
}
