//! The sockets of the peer: accepting, the protocol headers and SASL, reading and writing frames.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fe2o3_amqp_types::{
    primitives::{Array, Symbol},
    sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::{Notify, Semaphore},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{holds::CredentialsHold, router::Router};
use crate::{
    amqp::{frame, outbox::Outbox},
    services::Services,
    world::SharedWorld,
};

/// A listening peer. Dropping it closes everything.
pub(crate) struct Peer {
    address: SocketAddr,
    router: Arc<Mutex<Router>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Peer {
    pub(crate) async fn start(
        address: SocketAddr,
        world: SharedWorld,
        services: Services,
        link_credit: u32,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let router = Arc::new(Mutex::new(Router::new(
            world.clone(),
            services,
            link_credit,
        )));
        let listening = Arc::downgrade(&router);
        world.listen(move |change| {
            if let Some(router) = listening.upgrade() {
                lock(&router).on_change(change);
            }
        });
        let due = lock(&router).deadlines.changed();
        tasks.spawn(keep_time(Arc::clone(&router), due, stop.clone()));
        tasks.spawn(accept(
            listener,
            Arc::clone(&router),
            stop.clone(),
            tasks.clone(),
        ));
        Ok(Self {
            address,
            router,
            stop,
            tasks,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps back what the registry would answer about these credentials.
    pub(crate) fn hold_credentials(&self, auth_id: String) -> CredentialsHold {
        CredentialsHold::new(Arc::clone(&self.router), auth_id)
    }

    /// Closes all connections and the port.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(Duration::from_secs(5), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("connections did not end in time");
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    router: Arc<Mutex<Router>>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(
                limit = MAX_CONNECTIONS,
                "too many connections: closing a new one"
            );
            continue;
        };
        let (router, stop) = (Arc::clone(&router), stop.clone());
        tasks.spawn(async move {
            if let Err(error) = serve(stream, &router, &stop).await {
                tracing::debug!(%remote, %error, "connection ended");
            }
            drop(place);
        });
    }
}

/// Releases each command that no adapter settles in time, and sends each answer that is late.
async fn keep_time(router: Arc<Mutex<Router>>, changed: Arc<Notify>, stop: CancellationToken) {
    loop {
        let next = lock(&router).keep_time(Instant::now());
        let wait = async {
            match next {
                Some(next) => sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            () = wait => {}
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    router: &Mutex<Router>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    timeout(HANDSHAKE_TIMEOUT, negotiate(&mut stream)).await??;
    let (reader, mut writer) = stream.into_split();
    let outbox = Arc::new(Outbox::default());
    let connection = lock(router).connect(Arc::clone(&outbox));
    let connection = Connected { router, connection };
    let mut frames = frame::Frames::new(reader);
    let mut writing = std::pin::pin!(outbox.drain_into(&mut writer));
    loop {
        let frame = tokio::select! {
            written = &mut writing => return written,
            frame = timeout(IDLE_TIMEOUT * 2, frames.next()) => frame,
            () = stop.cancelled() => {
                lock(router).close(connection.connection, "amqp:connection:forced", "the sandbox is stopping");
                break;
            }
        };
        match frame {
            Ok(Ok(Some(frame))) => {
                let handled = handle_all(&connection, frame, &mut frames);
                if let Err(error) = handled {
                    connection.fail(&error);
                    break;
                }
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => {
                connection.fail(&error);
                break;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                lock(router).close(
                    connection.connection,
                    "amqp:resource-limit-exceeded",
                    "nothing was heard for too long",
                );
                break;
            }
        }
    }
    timeout(CLOSE_TIMEOUT, writing).await?
}

/// Handles a frame and all that came with it, so that what they set off goes out together.
fn handle_all(
    connection: &Connected<'_>,
    first: frame::Frame,
    frames: &mut frame::Frames<OwnedReadHalf>,
) -> Result<(), Error> {
    let mut router = lock(connection.router);
    router.handle(connection.connection, first);
    while let Some(frame) = frames.take_waiting()? {
        router.handle(connection.connection, frame);
    }
    Ok(())
}

/// The headers, and the SASL layer if the client wants one: any ANONYMOUS or PLAIN is welcome.
async fn negotiate(stream: &mut TcpStream) -> Result<(), Error> {
    let mut header = [0; 8];
    stream.read_exact(&mut header).await?;
    if header == frame::SASL_HEADER {
        let mut greeting = header.to_vec();
        let mechanisms = ["ANONYMOUS", "PLAIN"].map(Symbol::from).to_vec();
        frame::write_sasl(
            &mut greeting,
            &SaslMechanisms {
                sasl_server_mechanisms: Array(mechanisms),
            },
        );
        stream.write_all(&greeting).await?;
        let init: SaslInit =
            serde_amqp::from_slice(&frame::read_sasl(stream).await?).map_err(frame::malformed)?;
        let known = matches!(init.mechanism.as_str(), "ANONYMOUS" | "PLAIN");
        let code = if known { SaslCode::Ok } else { SaslCode::Auth };
        let mut outcome = Vec::new();
        frame::write_sasl(
            &mut outcome,
            &SaslOutcome {
                code,
                additional_data: None,
            },
        );
        stream.write_all(&outcome).await?;
        if !known {
            return Err(ErrorKind::PermissionDenied.into());
        }
        stream.read_exact(&mut header).await?;
    }
    stream.write_all(&frame::AMQP_HEADER).await?;
    if header == frame::AMQP_HEADER {
        Ok(())
    } else {
        Err(frame::malformed("a protocol other than AMQP 1.0"))
    }
}

/// Forgets the connection however its task ends.
struct Connected<'a> {
    router: &'a Mutex<Router>,
    connection: u64,
}

impl Connected<'_> {
    /// Ends it because of bytes that are no frame.
    fn fail(&self, error: &Error) {
        lock(self.router).close(self.connection, "amqp:decode-error", &error.to_string());
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        lock(self.router).disconnect(self.connection);
    }
}

pub(super) fn lock(router: &Mutex<Router>) -> MutexGuard<'_, Router> {
    router.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_CONNECTIONS: usize = 512;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What our open says; a client that keeps to it is heard at least twice in this time.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
