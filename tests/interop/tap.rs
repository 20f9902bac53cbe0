//! A place on the path between a device and the adapter that keeps copies of all datagrams.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    net::UdpSocket,
    sync::Mutex,
    task::JoinHandle,
    time::{Duration, sleep},
};

/// Passes datagrams both ways; ends when dropped.
pub(crate) struct Tap {
    inside: SocketAddr,
    outside: Arc<UdpSocket>,
    copies: Arc<Mutex<Copies>>,
    task: JoinHandle<()>,
}

/// What passed, in its order.
#[derive(Default)]
struct Copies {
    of_device: Vec<Vec<u8>>,
    of_server: Vec<Vec<u8>>,
}

impl Tap {
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let inside = socket.local_addr()?;
        let outside = UdpSocket::bind("127.0.0.1:0").await?;
        outside.connect(server).await?;
        let (outside, copies) = (Arc::new(outside), Arc::default());
        let task = tokio::spawn(pass(socket, Arc::clone(&outside), Arc::clone(&copies)));
        Ok(Self {
            inside,
            outside,
            copies,
            task,
        })
    }

    /// Where the device finds the server.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.inside
    }

    /// What the server has sent so far.
    pub(crate) async fn of_server(&self) -> Vec<Vec<u8>> {
        self.copies.lock().await.of_server.clone()
    }

    /// Waits until an acknowledgement of the device has passed.
    pub(crate) async fn acknowledged(&self) {
        let is_ack = |datagram: &Vec<u8>| datagram.first().is_some_and(|it| it >> 4 & 3 == 2);
        while !self.copies.lock().await.of_device.iter().any(is_ack) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends the first datagram of the device once more, and returns what the server sends for it.
    pub(crate) async fn repeat_first(&self) -> Result<Vec<Vec<u8>>, String> {
        let mut copies = self.copies.lock().await;
        let first = copies.of_device.first().cloned();
        copies.of_server.clear();
        drop(copies);
        let first = first.ok_or("the device has sent nothing")?;
        let sent = self.outside.send(&first).await;
        sent.map_err(|error| error.to_string())?;
        sleep(ANSWERED_WITHIN).await;
        Ok(self.of_server().await)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(inside: UdpSocket, outside: Arc<UdpSocket>, copies: Arc<Mutex<Copies>>) {
    let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
    let mut device = None;
    loop {
        // What cannot be received or sent is a lost datagram.
        tokio::select! {
            received = inside.recv_from(&mut up) => if let Ok((length, from)) = received {
                device = Some(from);
                drop(outside.send(&up[..length]).await);
                copies.lock().await.of_device.push(up[..length].to_vec());
            },
            received = outside.recv(&mut down) => if let (Ok(length), Some(to)) = (received, device) {
                copies.lock().await.of_server.push(down[..length].to_vec());
                drop(inside.send_to(&down[..length], to).await);
            },
        }
    }
}

/// Long enough for a first retransmission, which comes after two to three seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);
