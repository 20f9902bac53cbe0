//! Sending: as many datagrams by one system call as the platform can take.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

/// Sends some of these datagrams, from the first on, at once. Tells how many; an error concerns the first.
pub(crate) fn send_some(
    socket: &UdpSocket,
    datagrams: &[(SocketAddr, impl AsRef<[u8]>)],
) -> io::Result<usize> {
    match datagrams {
        [] => Ok(0),
        [(peer, payload)] => socket.try_send_to(payload.as_ref(), *peer).map(|_| 1),
        many => send_many(socket, many.get(..MOST_AT_ONCE).unwrap_or(many)),
    }
}

#[cfg(target_os = "linux")]
fn send_many(
    socket: &UdpSocket,
    datagrams: &[(SocketAddr, impl AsRef<[u8]>)],
) -> io::Result<usize> {
    use std::{io::IoSlice, os::fd::AsRawFd};

    use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

    let payloads: Vec<_> = datagrams
        .iter()
        .map(|(_, payload)| [IoSlice::new(payload.as_ref())])
        .collect();
    let peers: Vec<_> = datagrams
        .iter()
        .map(|(peer, _)| Some(SockaddrStorage::from(*peer)))
        .collect();
    let mut headers = MultiHeaders::preallocate(datagrams.len(), None);
    let (socket, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
    let sent = sendmmsg(socket, &mut headers, &payloads, &peers, [], flags)?;
    Ok(sent.count())
}

/// One at a time, elsewhere.
#[cfg(not(target_os = "linux"))]
fn send_many(
    socket: &UdpSocket,
    datagrams: &[(SocketAddr, impl AsRef<[u8]>)],
) -> io::Result<usize> {
    send_some(socket, datagrams.get(..1).unwrap_or_default())
}

/// Datagrams that one system call takes.
pub(crate) const MOST_AT_ONCE: usize = 64;
