//! A NAT between a client and the server that can forget its binding.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::server::TIMEOUT;

/// Passes datagrams both ways; ends when dropped.
pub(crate) struct Nat {
    /// Where the client finds the server.
    pub(crate) port: u16,
    /// How often the binding shall have been forgotten.
    wanted: Arc<AtomicU32>,
    /// How often it was.
    done: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Nat {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        inside
            .set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let mut nat = Self {
            port: inside.local_addr().unwrap().port(),
            wanted: Arc::default(),
            done: Arc::default(),
            stop: Arc::default(),
            thread: None,
        };
        let (wanted, done) = (Arc::clone(&nat.wanted), Arc::clone(&nat.done));
        let stopped = Arc::clone(&nat.stop);
        let thread = std::thread::spawn(move || {
            let mut outside = binding(server);
            let mut client = None;
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let times = wanted.load(Ordering::Acquire);
                if done.load(Ordering::Relaxed) != times {
                    outside = binding(server);
                    done.store(times, Ordering::Release);
                }
                if let Ok((length, from)) = inside.recv_from(&mut buffer) {
                    client = Some(from);
                    outside.send(&buffer[..length]).unwrap();
                }
                if let (Ok(length), Some(client)) = (outside.recv(&mut buffer), client) {
                    inside.send_to(&buffer[..length], client).unwrap();
                }
            }
        });
        nat.thread = Some(thread);
        nat
    }

    /// From now on the server sees the client at another address, and nothing sent to the old one arrives.
    pub(crate) fn rebind(&self) {
        let times = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        let end = Instant::now() + TIMEOUT;
        while self.done.load(Ordering::Acquire) != times {
            assert!(Instant::now() < end, "the NAT is stuck");
            std::thread::yield_now();
        }
    }
}

fn binding(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    socket.connect(server).unwrap();
    socket
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
