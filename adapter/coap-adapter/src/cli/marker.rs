//! How `doctor` knows that a sandbox serves a port of this machine: the sandbox holds a local socket
//! whose name has the port in it. It is gone with the process, whatever ends it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as LocalAddress, UnixDatagram};

/// Marks a port as that of a sandbox, as long as it is kept.
#[cfg(any(test, feature = "sandbox"))]
#[derive(Debug)]
pub(super) struct Marker {
    _socket: UnixDatagram,
}

#[cfg(any(test, feature = "sandbox"))]
impl Marker {
    pub(super) fn new(port: u16) -> io::Result<Self> {
        let socket = UnixDatagram::bind_addr(&name(port)?)?;
        Ok(Self { _socket: socket })
    }
}

/// Whether a sandbox serves this address.
pub(super) fn is_sandbox(address: SocketAddr) -> bool {
    let marked = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&name(address.port())?)
    };
    is_of_this_machine(address.ip()) && marked().is_ok()
}

/// Only own addresses can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// A name without a file (unix(7), "abstract"); each network namespace has its own names.
fn name(port: u16) -> io::Result<LocalAddress> {
    LocalAddress::from_abstract_name(format!("coap-adapter/sandbox/{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_marked_as_long_as_the_marker_is_kept() {
        let own = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(!is_sandbox(own));
        let marker = Marker::new(own.port()).unwrap();
        assert!(is_sandbox(own));
        assert!(
            !is_sandbox(SocketAddr::from(([192, 0, 2, 1], own.port()))),
            "elsewhere"
        );
        drop(marker);
        assert!(!is_sandbox(own));
    }
}
