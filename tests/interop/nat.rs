//! A NAT between a device and the adapter that can forget its binding.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::UdpSocket, sync::watch, task::JoinHandle};

/// Passes datagrams both ways; ends when dropped.
pub(crate) struct Nat {
    inside: SocketAddr,
    /// The socket that the server sees.
    outside: watch::Sender<Arc<UdpSocket>>,
    task: JoinHandle<()>,
}

impl Nat {
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let inside = socket.local_addr()?;
        let (outside, seen) = watch::channel(binding().await?);
        Ok(Self {
            inside,
            outside,
            task: tokio::spawn(pass(socket, server, seen)),
        })
    }

    /// Where the device finds the server.
    pub(crate) fn port(&self) -> u16 {
        self.inside.port()
    }

    /// From now on the server sees the device at another address, and nothing sent to the old one arrives.
    pub(crate) async fn rebind(&self) -> io::Result<()> {
        self.outside.send_replace(binding().await?);
        Ok(())
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Not connected, so that a server that is away for a moment is no error.
async fn binding() -> io::Result<Arc<UdpSocket>> {
    UdpSocket::bind("127.0.0.1:0").await.map(Arc::new)
}

async fn pass(inside: UdpSocket, server: SocketAddr, mut seen: watch::Receiver<Arc<UdpSocket>>) {
    let (mut up, mut down) = (vec![0; 2048], vec![0; 2048]);
    let mut device = None;
    loop {
        let outside = Arc::clone(&seen.borrow_and_update());
        let sent = tokio::select! {
            Ok(()) = seen.changed() => continue,
            Ok((length, from)) = inside.recv_from(&mut up) => {
                device = Some(from);
                outside.send_to(&up[..length], server).await
            }
            Ok((length, _)) = outside.recv_from(&mut down) => match device {
                Some(device) => inside.send_to(&down[..length], device).await,
                None => continue,
            },
            else => return,
        };
        // What cannot be sent is a lost datagram.
        drop(sent);
    }
}
