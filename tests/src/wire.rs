//! A TCP connection between the adapter and a part of the network, that suffers what connections suffer: the part dies, falls
//! silent, or is cut off in the middle of a message.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::stand::anywhere;

/// A local port that forwards to another one while enabled.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All goes through.
    Through(SocketAddr),
    /// Connections stay and new ones are taken, but nothing goes through any more.
    Silent,
    /// All connections, also new ones, are reset.
    Dead,
    /// After this many more bytes of a connection, in whatever message, it is reset, as new ones are.
    CutAfter(usize),
}

impl Wire {
    /// A port that leads to `part`.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn to(part: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(anywhere()).await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State::Through(part));
        let task = tokio::spawn(accept(listener, seen));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Where the adapter connects to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The part's machine is there and says nothing any more.
    pub fn fall_silent(&self) {
        self.state.send_replace(State::Silent);
    }

    /// The part's process is gone.
    pub fn die(&self) {
        self.state.send_replace(State::Dead);
    }

    /// The part's process goes when it has got or sent so many more bytes on a connection.
    pub fn cut_after(&self, bytes: usize) {
        self.state.send_replace(State::CutAfter(bytes));
    }

    /// There is a part again; what was connected before is reset.
    pub fn lead_to(&self, part: SocketAddr) {
        self.state.send_replace(State::Through(part));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(client, state.clone()));
    }
}

/// One connection of the adapter, until its end.
async fn connect(client: TcpStream, mut state: watch::Receiver<State>) {
    let now = *state.borrow_and_update();
    match now {
        State::Through(part) => {
            if let Ok(part) = TcpStream::connect(part).await {
                pass(client, part, state).await;
                return;
            }
        }
        State::Silent => drop(state.wait_for(|state| *state != State::Silent).await),
        State::Dead | State::CutAfter(_) => {}
    }
    reset(&client);
}

async fn pass(client: TcpStream, part: TcpStream, state: watch::Receiver<State>) {
    let (from_client, to_client) = client.into_split();
    let (from_part, to_part) = part.into_split();
    let ends = tokio::select! {
        end = carry(from_client, to_part, state.clone()) => end,
        end = carry(from_part, to_client, state) => end,
    };
    let Some((from, to)) = ends else {
        return;
    };
    for stream in [from.as_ref(), to.as_ref()] {
        reset(stream);
    }
}

/// Carries bytes one way. Returns the ends that are to be reset, or none where the stream ended by itself.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> Option<(OwnedReadHalf, OwnedWriteHalf)> {
    let begun = *state.borrow_and_update();
    let mut left = usize::MAX;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = tokio::select! {
            biased;
            changed = state.changed() => {
                let now = *state.borrow_and_update();
                match now {
                    State::Silent if changed.is_ok() => {
                        drop(state.wait_for(|state| *state != State::Silent).await);
                        return Some((from, to));
                    }
                    State::CutAfter(bytes) if changed.is_ok() => {
                        left = bytes;
                        continue;
                    }
                    State::Through(_) if now == begun => continue,
                    _ => return Some((from, to)),
                }
            }
            read = from.read(&mut buffer) => read.ok().filter(|length| *length > 0)?,
        };
        let part = buffer.get(..length.min(left)).unwrap_or_default();
        to.write_all(part).await.ok()?;
        left -= part.len();
        if left == 0 {
            return Some((from, to));
        }
    }
}

fn reset(stream: &TcpStream) {
    // Where it does not work, the stream ends in order.
    drop(stream.set_zero_linger());
}
