//! A server on a real socket that knows one identity and sends back what it gets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dtls_proto::{Config, Event, Psk, Server, Statistics, Verdict};

pub(crate) const IDENTITY: &str = "sensor1@DEFAULT_TENANT";

/// In hexadecimal, as the command lines of other stacks want it.
pub(crate) const KEY: &str = "73656372657431";

/// What the server's caller saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Identity,
    Certificate,
    Established,
    Data,
    Closed,
}

/// A server that knows one identity and sends back what it gets.
pub(crate) struct RunningServer {
    pub(crate) address: SocketAddr,
    pub(crate) received: Receiver<Seen>,
    stop: Sender<()>,
    thread: JoinHandle<Statistics>,
}

impl RunningServer {
    pub(crate) fn start(config: Config) -> Self {
        Self::answering(config, <[u8]>::to_vec)
    }

    /// Sends back not what it gets, but this.
    pub(crate) fn answering(config: Config, reply: fn(&[u8]) -> Vec<u8>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = channel::<()>();
        let (sender, received) = channel();
        let thread = std::thread::spawn(move || {
            let mut server = Server::new(config, [42; 32]);
            let mut buffer = [0; 2048];
            while stopped.try_recv() != Err(TryRecvError::Disconnected) {
                if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    server.handle_datagram(Instant::now(), peer, &mut buffer[..length]);
                }
                server.handle_timeout(Instant::now());
                while let Some(event) = server.poll_event() {
                    if let Some(seen) = answer(&mut server, event, reply) {
                        // The test may have seen enough and gone.
                        let _gone = sender.send(seen);
                    }
                }
                while let Some(transmit) = server.poll_transmit() {
                    socket.send_to(&transmit.payload, transmit.peer).unwrap();
                }
            }
            *server.statistics()
        });
        Self {
            address,
            received,
            stop,
            thread,
        }
    }

    /// Waits until the caller saw this.
    pub(crate) fn wait_for(&self, seen: &Seen) {
        let end = Instant::now() + TIMEOUT;
        while self.received.recv_timeout(TIMEOUT).as_ref() != Ok(seen) {
            assert!(Instant::now() < end, "the server did not see {seen:?}");
        }
    }

    pub(crate) fn stop(self) -> Statistics {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

fn answer(server: &mut Server, event: Event, reply: fn(&[u8]) -> Vec<u8>) -> Option<Seen> {
    Some(match event {
        Event::PskRequested {
            association,
            identity,
            ..
        } => {
            let key = (identity == IDENTITY.as_bytes()).then(|| Psk::from(b"secret1".as_slice()));
            server.provide_psk(Instant::now(), association, key);
            Seen::Identity
        }
        Event::VerdictRequested {
            association, chain, ..
        } => {
            assert!(!chain.is_empty());
            server.provide_verdict(Instant::now(), association, Verdict::Accepted);
            Seen::Certificate
        }
        Event::Established { .. } => Seen::Established,
        Event::ApplicationData {
            association, data, ..
        } => {
            server
                .send(Instant::now(), association, &reply(&data))
                .unwrap();
            Seen::Data
        }
        Event::Closed { .. } => Seen::Closed,
        // It was on its way to an end, which is told as well.
        Event::HandshakeFailed { .. } => return None,
        other => panic!("unknown event {other:?}"),
    })
}

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
