//! What a DTLS port is about to send. Sessions come before peers that have proved nothing: when the
//! kernel has no room, records of sessions wait for the next turn, and strangers are answered only while
//! less than half of the send buffer is in use. So nobody without a session uses up the buffer, for
//! instance by hellos from vacant addresses of the same link, whose answers wait for ARP.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use dtls_proto::Path;

use crate::udp::{Sent, UdpSocket};

/// A payload and where it goes.
pub(crate) type Datagram = (Path, Vec<u8>);

/// Datagrams of one socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Of sessions, and of handshakes whose client has proved itself.
    sessions: Vec<Datagram>,
    /// Of everybody else.
    strangers: Vec<Datagram>,
    /// When the kernel is asked for room again.
    retry_at: Option<Instant>,
    /// Datagrams that were given up.
    unsent: u64,
    /// Peers whose datagrams of the last flush were larger than what the path carries.
    too_large: Vec<SocketAddr>,
}

impl Outbox {
    pub(crate) fn push(&mut self, path: Path, payload: Vec<u8>) {
        match is_for_stranger(&payload) {
            true => self.strangers.push((path, payload)),
            false => self.sessions.push((path, payload)),
        }
    }

    /// When to flush again, although nothing has happened.
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// How many datagrams were given up so far.
    pub(crate) const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Peers whose datagrams were larger than what the path carries (EMSGSIZE), with the size that every
    /// path carries.
    pub(crate) fn take_too_large(&mut self) -> impl Iterator<Item = (SocketAddr, usize)> {
        let peers = std::mem::take(&mut self.too_large);
        peers.into_iter().map(|peer| match peer {
            SocketAddr::V4(_) => (peer, SMALLEST_IPV4),
            SocketAddr::V6(_) => (peer, SMALLEST_IPV6),
        })
    }

    /// Sends what there is room for.
    pub(crate) fn flush(&mut self, socket: &impl Transmitter) {
        self.retry_at = None;
        if !self.sessions.is_empty() {
            let sent = socket.send_all(&self.sessions);
            self.too_large.extend(sent.too_large);
            self.give_up(sent.lost);
            let done = self.sessions.len().saturating_sub(sent.no_room);
            self.sessions.drain(..done);
            if !self.sessions.is_empty() {
                self.retry_at = Some(Instant::now() + RETRY);
                let dropped = bound(&mut self.sessions);
                self.give_up(dropped);
            }
        }
        if !self.strangers.is_empty() {
            self.flush_strangers(socket);
        }
    }

    fn flush_strangers(&mut self, socket: &impl Transmitter) {
        let mut rest = self.strangers.as_slice();
        let mut lost = 0;
        while !rest.is_empty() && self.retry_at.is_none() && socket.has_room() {
            let (some, others) = rest.split_at(rest.len().min(STRANGERS_AT_ONCE));
            let sent = socket.send_all(some);
            lost += sent.unsent();
            self.too_large.extend(sent.too_large);
            rest = others;
            if sent.no_room > 0 {
                break;
            }
        }
        lost += rest.len();
        self.strangers.clear();
        self.give_up(lost);
    }

    fn give_up(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.unsent = self.unsent.saturating_add(count);
    }
}

/// What datagrams are given to.
pub(crate) trait Transmitter {
    fn send_all(&self, datagrams: &[Datagram]) -> Sent;

    /// Whether less than half of the send buffer is in use.
    fn has_room(&self) -> bool;
}

impl Transmitter for UdpSocket {
    fn send_all(&self, datagrams: &[Datagram]) -> Sent {
        Self::send_all(self, datagrams)
    }

    fn has_room(&self) -> bool {
        Self::has_room(self)
    }
}

/// Drops what is beyond the bounds: the newest of each peer that has many, then the oldest of all.
/// Returns how many.
fn bound(waiting: &mut Vec<Datagram>) -> usize {
    let before = waiting.len();
    let mut of_peers: HashMap<SocketAddr, usize> = HashMap::new();
    waiting.retain(|(path, _)| {
        let count = of_peers.entry(path.remote).or_default();
        *count += 1;
        *count <= MAX_WAITING_OF_PEER
    });
    let excess = waiting.len().saturating_sub(MAX_WAITING);
    waiting.drain(..excess);
    before.saturating_sub(waiting.len())
}

/// Whether a datagram begins with a plaintext handshake message or alert (RFC 6347 §4.1): a
/// `HelloVerifyRequest`, a flight to a client that has not shown its key yet, or its refusal.
fn is_for_stranger(datagram: &[u8]) -> bool {
    matches!(datagram, [ALERT | HANDSHAKE, _, _, 0, 0, ..])
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Payloads that fit the packets every host takes: 576 bytes of IPv4 (RFC 791), 1,280 of IPv6 (RFC 8200).
const SMALLEST_IPV4: usize = 548;
const SMALLEST_IPV6: usize = 1232;

/// Datagrams that wait for room in the kernel, in all and for one peer.
const MAX_WAITING: usize = 512;
const MAX_WAITING_OF_PEER: usize = 16;

/// How many datagrams go to strangers between two looks at the send buffer: in the kernel they take
/// some 40 KB of at least 100.
const STRANGERS_AT_ONCE: usize = 16;

/// Delay before the kernel is asked for room again.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn path(port: u16) -> Path {
        SocketAddr::from(([192, 0, 2, 1], port)).into()
    }

    #[test]
    fn plaintext_handshakes_and_alerts_are_for_strangers() {
        for (line, datagram, expected) in [
            ("HelloVerifyRequest", &[22, 254, 255, 0, 0, 0][..], true),
            ("alert of epoch 0", &[21, 254, 253, 0, 0, 0], true),
            ("ChangeCipherSpec", &[20, 254, 253, 0, 0, 0], false),
            ("data", &[23, 254, 253, 0, 1, 0], false),
            ("data with a connection id", &[25, 254, 253, 0, 1, 0], false),
            ("sealed alert", &[21, 254, 253, 0, 1, 0], false),
            ("nothing", &[], false),
        ] {
            assert_eq!(is_for_stranger(datagram), expected, "{line}");
        }
    }

    /// EMSGSIZE was a lost datagram, again with each repetition.
    #[test]
    fn peers_of_datagrams_that_are_too_large_are_named_once() {
        let mut outbox = Outbox::default();
        let kernel = Kernel {
            too_large: true,
            ..Kernel::default()
        };
        outbox.push(path(1), vec![23, 254, 253, 0, 1, 0]);
        outbox.flush(&kernel);
        let named: Vec<_> = outbox.take_too_large().collect();
        assert_eq!(named, [(path(1).remote, SMALLEST_IPV4)]);
        assert_eq!(outbox.take_too_large().count(), 0);
        assert_eq!(outbox.unsent(), 1);
    }

    #[test]
    fn what_waits_is_bounded_for_each_peer_and_in_all() {
        let mut waiting: Vec<Datagram> = (0..40).map(|byte| (path(1), vec![byte])).collect();
        waiting.push((path(2), vec![2]));
        assert_eq!(bound(&mut waiting), 40 - MAX_WAITING_OF_PEER);
        assert_eq!(waiting.len(), MAX_WAITING_OF_PEER + 1);
        assert_eq!(waiting[0].1, [0], "the oldest of a peer stay in order");
        waiting.extend((0..600).map(|port| (path(1000 + port), vec![3])));
        bound(&mut waiting);
        assert_eq!(waiting.len(), MAX_WAITING);
        assert_eq!(waiting.last().unwrap().0, path(1599));
    }

    /// A kernel with room for so many datagrams, of twice as many.
    #[derive(Default)]
    struct Kernel {
        room: Cell<usize>,
        sent: RefCell<Vec<Vec<u8>>>,
        /// Whether it refuses all datagrams for their size.
        too_large: bool,
    }

    impl Transmitter for Kernel {
        fn send_all(&self, datagrams: &[Datagram]) -> Sent {
            if self.too_large {
                return Sent {
                    lost: datagrams.len(),
                    too_large: datagrams.iter().map(|(path, _)| path.remote).collect(),
                    ..Sent::default()
                };
            }
            let fit = datagrams.len().min(self.room.get());
            self.room.set(self.room.get() - fit);
            let sent = datagrams.iter().take(fit);
            self.sent
                .borrow_mut()
                .extend(sent.map(|(_, payload)| payload.clone()));
            Sent {
                no_room: datagrams.len() - fit,
                ..Sent::default()
            }
        }

        fn has_room(&self) -> bool {
            self.room.get() > 16
        }
    }

    /// A full send buffer dropped the rest of a batch, records of sessions among them: hellos from vacant
    /// addresses of the same link, whose answers wait for ARP, silenced all devices for seconds.
    #[test]
    fn sessions_wait_for_room_and_strangers_do_not_use_it_up() {
        let record = |byte| vec![23, 254, 253, 0, 1, byte];
        let hello_verify_request = vec![22, 254, 255, 0, 0, 0];
        let kernel = Kernel::default();
        kernel.room.set(17);
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(path(1), hello_verify_request.clone());
        }
        outbox.push(path(2), record(1));
        outbox.flush(&kernel);
        // The record came first; then there was less than half of the room.
        assert_eq!(*kernel.sent.borrow(), [record(1)]);
        assert_eq!((outbox.unsent(), outbox.retry_at()), (100, None));
        kernel.room.set(1);
        outbox.push(path(2), record(2));
        outbox.push(path(2), record(3));
        outbox.push(path(1), hello_verify_request);
        outbox.flush(&kernel);
        assert!(outbox.retry_at().is_some());
        assert_eq!(outbox.unsent(), 101, "of strangers only");
        kernel.room.set(32);
        outbox.flush(&kernel);
        assert_eq!(*kernel.sent.borrow(), [record(1), record(2), record(3)]);
        assert_eq!(outbox.retry_at(), None);
    }
}
