//! Cookies that prove an address without our keeping anything of it (RFC 6347 §4.2.1).
//!
//! A cookie is an HMAC over the address and over what of the ClientHello must not change between the two times it is sent. The
//! secret of the HMAC is new for each time span of [`crate::Config::cookie_lifetime`], derived from the seed and the span's number;
//! cookies of this span and of the one before are good.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::hmac;
use subtle::ConstantTimeEq;

use crate::codec::extension::HelloExtensions;
use crate::codec::hello::ClientHello;

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
        compute(&self.spans(now).current, peer, hello)
    }

    /// Whether the hello carries the cookie issued for it, to this address, not long ago.
    pub(crate) fn accepts(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        hello: &ClientHello<'_>,
    ) -> bool {
        let spans = self.spans(now);
        [&spans.current, &spans.previous].into_iter().any(|key| {
            compute(key, peer, hello)
                .as_slice()
                .ct_eq(hello.cookie)
                .into()
        })
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

fn compute(key: &hmac::Key, peer: SocketAddr, hello: &ClientHello<'_>) -> [u8; COOKIE_LENGTH] {
    let mut context = hmac::Context::with_key(key);
    let mut part = |bytes: &[u8]| {
        context.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        context.update(bytes);
    };
    match peer.ip() {
        IpAddr::V4(address) => part(&address.octets()),
        IpAddr::V6(address) => part(&address.octets()),
    }
    part(&peer.port().to_be_bytes());
    part(&hello.version.0.to_be_bytes());
    part(&hello.random);
    part(if brings_ticket(hello) {
        &[]
    } else {
        hello.session_id
    });
    part(hello.cipher_suites);
    part(hello.compression_methods);
    let tag = context.sign();
    let mut cookie = [0; COOKIE_LENGTH];
    for (byte, source) in cookie.iter_mut().zip(tag.as_ref()) {
        *byte = *source;
    }
    cookie
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

/// Half an HMAC-SHA256. The HelloVerifyRequest around it has 44 bytes; the shortest ClientHello has 67.
pub(crate) const COOKIE_LENGTH: usize = 16;

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
