//! The application that takes the devices' messages, and remembers which ones came.

use std::{
    collections::HashMap,
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::Duration,
};

use sandbox::northbound::{Application, Behaviour};
use tokio::{runtime::Builder, sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{device, world::TENANT};

/// How often each message came, by device and sequence number.
pub(crate) type Arrived = HashMap<(u32, u32), u32>;

/// An application in a thread of its own.
pub(crate) struct Consumer {
    leave: CancellationToken,
    thread: JoinHandle<Arrived>,
}

impl Consumer {
    /// Returns when it is attached.
    pub(crate) fn start(peer: SocketAddr) -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let leave = CancellationToken::new();
        let stopped = leave.clone();
        let (attached, told) = oneshot::channel();
        let thread = thread::spawn(move || runtime.block_on(consume(peer, attached, stopped)));
        match told.blocking_recv() {
            Ok(Ok(())) => Ok(Self { leave, thread }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("the application ended".to_owned()),
        }
    }

    /// Waits until nothing comes any more.
    pub(crate) fn stop(self) -> Arrived {
        self.leave.cancel();
        self.thread.join().unwrap_or_default()
    }
}

/// Attaches again when the network was away.
async fn consume(
    peer: SocketAddr,
    attached: oneshot::Sender<Result<(), String>>,
    leave: CancellationToken,
) -> Arrived {
    let mut arrived = Arrived::new();
    let mut attached = Some(attached);
    loop {
        let application = Application::attach(peer, TENANT, &[], Behaviour::Accept).await;
        let told = application.as_ref().map(drop).map_err(ToString::to_string);
        let failed = told.is_err();
        if let Some(attached) = attached.take()
            && (attached.send(told).is_err() || failed)
        {
            return arrived;
        }
        if let Ok(application) = application {
            take_all(application, &leave, &mut arrived).await;
        }
        if leave.is_cancelled() {
            return arrived;
        }
        sleep(AGAIN).await;
    }
}

async fn take_all(mut application: Application, leave: &CancellationToken, arrived: &mut Arrived) {
    loop {
        let received = tokio::select! {
            received = application.next() => received,
            () = leave.cancelled() => application.receive(SILENCE).await,
        };
        let Some(received) = received else {
            return application.detach().await;
        };
        if let Some(origin) = device::origin(&received.payload) {
            *arrived.entry(origin).or_default() += 1;
        }
    }
}

/// When to attach again.
const AGAIN: Duration = Duration::from_millis(100);
/// After this nothing comes any more.
const SILENCE: Duration = Duration::from_millis(500);
