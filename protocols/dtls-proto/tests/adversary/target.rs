//! The server under attack, and what can be seen of it from outside.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls_proto::{AssociationId, CloseReason, Config, Event, Psk, Server, Transmit, Verdict};

use crate::pki;

pub(crate) const IDENTITY: &[u8] = b"sensor1@DEFAULT_TENANT";
pub(crate) const KEY: &[u8] = b"secret1";

/// A server whose caller knows one identity, and believes in every certificate whose key was proved.
pub(crate) struct Target {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) established: Vec<AssociationId>,
    pub(crate) closed: Vec<CloseReason>,
    pub(crate) data: Vec<Vec<u8>>,
    /// How often the caller was asked for a key or a verdict.
    pub(crate) requests: usize,
}

impl Target {
    /// All suites, with a certificate.
    pub(crate) fn new() -> Self {
        Self::with(pki::server_config())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self {
            now: start(),
            server: Server::new(config, [42; 32]),
            established: Vec::new(),
            closed: Vec::new(),
            data: Vec::new(),
            requests: 0,
        }
    }

    /// Gives it a datagram; what it answers at once.
    pub(crate) fn give(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<Transmit> {
        self.server
            .handle_datagram(self.now, from, &mut datagram.to_vec());
        self.drain()
    }

    /// Lets time pass, with what falls due in it.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Every handshake that gets no further is forgotten, and nothing is left of it.
    pub(crate) fn forget_all(&mut self) {
        self.wait(Duration::from_secs(24 * 3600));
        assert_eq!(self.server.handshaking(), 0);
        assert_eq!(self.server.poll_timeout(), None);
    }

    /// The same, with all sessions ended too.
    pub(crate) fn end_all(&mut self) {
        self.forget_all();
        for association in std::mem::take(&mut self.established) {
            self.server.close(self.now, association);
        }
        self.drain();
        assert_eq!(self.server.established(), 0);
        assert_eq!(self.server.connection_ids(), 0);
        assert_eq!(self.server.resumable(), 0);
        assert_eq!(self.server.poll_event(), None);
        assert_eq!(self.server.poll_transmit(), None);
    }

    pub(crate) fn drain(&mut self) -> Vec<Transmit> {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::PskRequested {
                    association,
                    identity,
                    ..
                } => {
                    self.requests += 1;
                    let key = (identity == IDENTITY).then(|| Psk::from(KEY));
                    self.server.provide_psk(self.now, association, key);
                }
                Event::VerdictRequested { association, .. } => {
                    self.requests += 1;
                    let verdict = Verdict::Accepted;
                    self.server.provide_verdict(self.now, association, verdict);
                }
                Event::Established { association, .. } => self.established.push(association),
                Event::ApplicationData { data, .. } => self.data.push(data),
                Event::Closed { reason, .. } => self.closed.push(reason),
                _ => {}
            }
        }
        std::iter::from_fn(|| self.server.poll_transmit()).collect()
    }
}

/// One of many addresses.
pub(crate) fn address(number: u16) -> SocketAddr {
    ([198, 51, 100, 7], number).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to make an Instant"
)]
fn start() -> Instant {
    Instant::now()
}
