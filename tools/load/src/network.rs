//! The network between devices and server: every device has an address of this machine of its own, and a few sockets carry for all.
//!
//! All of 127.0.0.0/8 is this machine, and a socket without an address of its own may send from each and hears what comes to each. So
//! there may be a million devices without as many files, and one system call brings what many of them are sent.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use mio::{Interest, Registry, Token, net::UdpSocket};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// Where a device sends from: its number is its address, and the port is that of one of the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) device: u32,
    pub(crate) port: usize,
}

impl Place {
    /// Where a device is at first.
    pub(crate) const fn of(device: u32) -> Self {
        Self {
            device,
            port: device as usize % PORTS,
        }
    }

    /// The same device behind another port, as a NAT gives it that has forgotten it; what is sent to the one before is lost.
    pub(crate) const fn moved(self) -> Self {
        Self {
            port: (self.port + 1) % PORTS,
            ..self
        }
    }

    fn address(self) -> IpAddr {
        Ipv4Addr::from_bits(FIRST_ADDRESS + self.device).into()
    }

    /// None if no device is there.
    fn at(address: Option<IpAddr>, port: usize) -> Option<Self> {
        let Some(IpAddr::V4(address)) = address else {
            return None;
        };
        let device = address.to_bits().checked_sub(FIRST_ADDRESS)?;
        Some(Self { device, port })
    }
}

/// The sockets of a worker's devices.
pub(crate) struct Network {
    sockets: Vec<(UdpSocket, UdpSocketState)>,
    server: SocketAddr,
}

impl Network {
    /// Opens the sockets; the token of each is its port's place.
    pub(crate) fn open(server: SocketAddr, registry: &Registry) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(PORTS);
        for port in 0..PORTS {
            let mut socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
            let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
            // Answers wait in the kernel while their devices are busy; the system may grant less.
            drop(socket2::SockRef::from(&socket).set_recv_buffer_size(KERNEL_BUFFER));
            registry.register(&mut socket, Token(port), Interest::READABLE)?;
            sockets.push((socket, state));
        }
        Ok(Self { sockets, server })
    }

    /// What the kernel does not take is lost, as it may be in any network.
    pub(crate) fn send(&self, from: Place, datagram: &[u8]) {
        let Some((socket, state)) = self.sockets.get(from.port) else {
            return;
        };
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: Some(from.address()),
        };
        drop(state.try_send(UdpSockRef::from(socket), &transmit));
    }

    /// Reads what has come to a port; false if nothing is left there.
    pub(crate) fn receive(&self, port: usize, batch: &mut Batch) -> io::Result<bool> {
        batch.filled = 0;
        let Some((socket, state)) = self.sockets.get(port) else {
            return Ok(false);
        };
        let Batch { buffers, metas, .. } = batch;
        let mut slices: Vec<IoSliceMut<'_>> =
            buffers.iter_mut().map(|it| IoSliceMut::new(it)).collect();
        match state.recv(UdpSockRef::from(socket), &mut slices, metas) {
            Ok(filled) => {
                batch.port = port;
                batch.filled = filled;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Datagrams that were read by one system call, in buffers that are used again and again.
pub(crate) struct Batch {
    buffers: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
    filled: usize,
    port: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![vec![0; LARGEST_DATAGRAM]; BATCH_SIZE],
            metas: vec![RecvMeta::default(); BATCH_SIZE],
            filled: 0,
            port: 0,
        }
    }

    /// Hands on each datagram that `server` has sent, with where it was sent to.
    pub(crate) fn for_each(
        &mut self,
        server: SocketAddr,
        mut handle: impl FnMut(Place, &mut [u8]),
    ) {
        for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(self.filled) {
            let place = Place::at(meta.dst_ip, self.port);
            let Some(place) = place.filter(|_| meta.addr == server) else {
                continue;
            };
            let filled = buffer.get_mut(..meta.len).unwrap_or_default();
            // The kernel may have joined datagrams.
            for datagram in filled.chunks_mut(meta.stride.max(1)) {
                handle(place, datagram);
            }
        }
        self.filled = 0;
    }
}

/// Ports that the devices of a worker share: each has a buffer in the kernel, and a server that spreads its work by address and port
/// sees many of both.
const PORTS: usize = 32;
/// The address of device 0, 127.1.0.0.
const FIRST_ADDRESS: u32 = 0x7F01_0000;
/// Bytes.
const KERNEL_BUFFER: usize = 1 << 20;
/// Bytes; also the most that the kernel joins.
const LARGEST_DATAGRAM: usize = 65_535;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Batch, Network, Place};

    #[test]
    fn devices_have_addresses_of_their_own_and_get_what_is_sent_there() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let poll = mio::Poll::new().unwrap();
        let network = Network::open(server.local_addr().unwrap(), poll.registry()).unwrap();
        let places = [Place::of(3), Place::of(70_000), Place::of(70_000).moved()];
        let mut seen = Vec::new();
        for (number, place) in (0..).zip(places) {
            network.send(place, &[number]);
            let mut buffer = [0; 8];
            let (_, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..1], from).unwrap();
            seen.push(from);
        }
        assert_eq!(seen[0].ip().to_string(), "127.1.0.3");
        assert_eq!(seen[1].ip().to_string(), "127.2.17.112");
        assert!(seen[1].ip() == seen[2].ip() && seen[1].port() != seen[2].port());
        // A stranger is not heard.
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"x", seen[0]).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        let (mut batch, mut heard) = (Batch::new(), Vec::new());
        for place in places {
            while network.receive(place.port, &mut batch).unwrap() {
                batch.for_each(network.server, |place, bytes| {
                    heard.push((place, bytes.to_vec()));
                });
            }
        }
        let wanted: Vec<_> = places.into_iter().zip((0..).map(|it| vec![it])).collect();
        assert_eq!(heard, wanted);
    }
}
