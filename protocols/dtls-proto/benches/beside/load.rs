//! Clients, each with a socket of its own, many at a time in one thread.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use dtls_client::{Client, Config, Event};
use dtls_proto::flight::Backoff;
use dtls_proto::{CipherSuite, Group, Identity};

use crate::process::ServerProcess;
use crate::{IDENTITY, KEY, PEM};

/// Clients of one server.
pub(crate) struct Load {
    server: SocketAddr,
    config: Config,
    /// How many handshakes go on at a time.
    at_a_time: u32,
    /// How many there have been.
    devices: AtomicU16,
    /// With sessions that live.
    open: Vec<Device>,
}

/// A client at its socket.
struct Device {
    client: Client,
    socket: UdpSocket,
}

impl Load {
    pub(crate) fn new(server: &ServerProcess, suite: CipherSuite, at_a_time: u32) -> Self {
        let mut config = Config::new(IDENTITY, KEY);
        if server.certified {
            let pem = std::fs::read(PEM).unwrap();
            let identity = Identity::from_pem(&pem, &pem).unwrap();
            config = Config::with_certificate(Arc::new(identity));
        }
        config.suites = vec![suite];
        // All of them have it, and it is that of the certificates.
        config.groups = vec![Group::Secp256r1];
        // On a busy machine an answer may be late, and is not lost.
        config.backoff = Backoff {
            initial: Duration::from_secs(3),
            maximum: PATIENCE,
            retransmissions: 5,
        };
        Self {
            server: server.address,
            config,
            at_a_time,
            devices: AtomicU16::new(0),
            open: Vec::new(),
        }
    }

    /// So many sessions are opened and closed again.
    pub(crate) fn shake(&self, count: u32) {
        let mut left = count;
        while left > 0 {
            let batch = left.min(self.at_a_time);
            for mut device in self.open(batch) {
                device.client.close(Instant::now());
                device.step();
            }
            left -= batch;
        }
    }

    /// There are so many open sessions.
    pub(crate) fn prepare(&mut self, count: u32) {
        let count = usize::try_from(count).unwrap();
        while self.open.len() < count {
            let missing = u32::try_from(count - self.open.len()).unwrap();
            let opened = self.open(missing.min(self.at_a_time));
            self.open.extend(opened);
        }
    }

    /// So many records go there and come back, one for each session at a time.
    pub(crate) fn echo(&mut self, count: u32) {
        let mut left = usize::try_from(count).unwrap();
        while left > 0 {
            for devices in self.open.chunks_mut(50) {
                let share = devices.len().min(left);
                let devices = &mut devices[..share];
                for device in &mut *devices {
                    device.client.send(Instant::now(), &[7; 64]).unwrap();
                }
                until_all(devices, |device| {
                    let got = device.client.poll_event();
                    matches!(got, Some(Event::ApplicationData(_)))
                });
                left -= share;
            }
        }
    }

    fn open(&self, count: u32) -> Vec<Device> {
        let mut devices: Vec<_> = (0..count).map(|_| self.device()).collect();
        until_all(&mut devices, |device| device.client.is_established());
        for device in &mut devices {
            while device.client.poll_event().is_some() {}
        }
        devices
    }

    fn device(&self) -> Device {
        // Each has an address of its own, as the listener of the crate `dtls` serves none twice.
        let number = self.devices.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let socket = UdpSocket::bind(SocketAddr::from(([127, 1, high, low], 0))).unwrap();
        socket.connect(self.server).unwrap();
        socket.set_nonblocking(true).unwrap();
        Device {
            client: Client::new(Instant::now(), self.config.clone()).unwrap(),
            socket,
        }
    }

    /// A client that has returned its cookie, and says no more.
    pub(crate) fn stop_half_way(&self) -> impl Sized + use<> {
        let mut device = self.device();
        for _ in 0..2 {
            let hello = device.client.poll_transmit().unwrap();
            device.socket.send(&hello).unwrap();
            let end = Instant::now() + PATIENCE;
            while device.client.poll_timeout().is_some() && !device.receive() {
                assert!(Instant::now() < end, "no answer to a hello");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        device
    }

    /// Whether a new client has a session within this time.
    pub(crate) fn gets_through(&self, time: Duration) -> bool {
        let (mut device, end) = (self.device(), Instant::now() + time);
        while !device.client.is_established() && Instant::now() < end {
            if !device.step() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        device.client.is_established()
    }
}

impl Device {
    /// Takes what has come, and sends what is to be sent; whether anything came.
    fn step(&mut self) -> bool {
        let (came, now) = (self.receive(), Instant::now());
        if self.client.poll_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now);
        }
        while let Some(datagram) = self.client.poll_transmit() {
            self.socket.send(&datagram).unwrap();
        }
        came
    }

    fn receive(&mut self) -> bool {
        let mut buffer = [0; 2048];
        let mut came = false;
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.client
                .handle_datagram(Instant::now(), &mut buffer[..length]);
            came = true;
        }
        came
    }
}

/// Goes on with all of them until each has done what it should.
fn until_all(devices: &mut [Device], done: impl Fn(&mut Device) -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut waiting: Vec<_> = devices.iter_mut().collect();
    while !waiting.is_empty() {
        let mut came = false;
        waiting.retain_mut(|device| {
            came |= device.step();
            !done(device)
        });
        if !came {
            assert!(Instant::now() < end, "{} got no answer", waiting.len());
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
