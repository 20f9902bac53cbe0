//! Sending: as many datagrams by one system call as the platform can take (sendmmsg(2)).

use std::{io, os::fd::AsFd};

use dtls_proto::Path;
use rustix::net::{SendFlags, sendto};

/// Sends some of these datagrams, from the first on, at once, and does not wait for room. Tells how many, [`MOST_AT_ONCE`] at most.
/// The source is the one that `socket` is bound to, or what the system chooses; the local address of a path is passed over.
///
/// # Errors
/// What the operating system says; it concerns the first datagram. `WouldBlock` if there is no room for it.
pub fn send_some(
    socket: &impl AsFd,
    datagrams: &[(impl Copy + Into<Path>, impl AsRef<[u8]>)],
) -> io::Result<usize> {
    match datagrams {
        [] => Ok(0),
        [(peer, payload)] => {
            let peer = (*peer).into().remote;
            sendto(socket, payload.as_ref(), SendFlags::DONTWAIT, &peer)?;
            Ok(1)
        }
        many => send_many(socket, many.get(..MOST_AT_ONCE).unwrap_or(many)),
    }
}

#[cfg(target_os = "linux")]
fn send_many(
    socket: &impl AsFd,
    datagrams: &[(impl Copy + Into<Path>, impl AsRef<[u8]>)],
) -> io::Result<usize> {
    use std::io::IoSlice;

    use rustix::net::{MMsgHdr, SendAncillaryBuffer, addr::SocketAddrArg, sendmmsg};

    let mut parts: Vec<_> = datagrams
        .iter()
        .map(|(peer, payload)| {
            let payload = [IoSlice::new(payload.as_ref())];
            let peer = (*peer).into().remote;
            (peer.as_any(), payload, SendAncillaryBuffer::default())
        })
        .collect();
    let mut messages: Vec<_> = parts
        .iter_mut()
        .map(|(peer, payload, control)| MMsgHdr::new_with_addr(peer, payload, control))
        .collect();
    Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?)
}

/// One at a time, elsewhere.
#[cfg(not(target_os = "linux"))]
fn send_many(
    socket: &impl AsFd,
    datagrams: &[(impl Copy + Into<Path>, impl AsRef<[u8]>)],
) -> io::Result<usize> {
    send_some(socket, datagrams.get(..1).unwrap_or_default())
}

/// The most datagrams that one system call takes.
pub const MOST_AT_ONCE: usize = 64;
