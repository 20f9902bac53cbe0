//! The application that takes the devices' messages, gives commands to those that wait for one, and remembers what came.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sandbox::northbound::{
    Application, ApplicationConfig, Behaviour, Body, Detail, Outcome, Received, Sender, command,
};
use tokio::{runtime::Builder, sync::oneshot, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    device::Origin,
    world::{self, TENANT},
};

/// What the application got.
#[derive(Default)]
pub(crate) struct Arrived {
    /// How often each message came, by device and sequence number.
    pub(crate) messages: HashMap<(u32, u32), u32>,
    /// Likewise for responses to commands.
    pub(crate) responses: HashMap<(u32, u32), u32>,
    /// Commands that were sent, of these accepted.
    pub(crate) commands: u64,
    pub(crate) accepted: u64,
}

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
        let (attached, reported) = oneshot::channel();
        let thread = thread::spawn(move || runtime.block_on(consume(peer, attached, stopped)));
        match reported.blocking_recv() {
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
    let mut arrived = Arrived::default();
    let mut attached = Some(attached);
    let commander = Commander::default();
    let responses = responses();
    loop {
        let mut config = ApplicationConfig::of_tenant(peer, TENANT, Behaviour::Accept);
        config.addresses.push(responses.clone());
        config.detail = Detail::Payload;
        let application = Application::start(config).await;
        let reported = application.as_ref().map(drop).map_err(ToString::to_string);
        let failed = reported.is_err();
        if let Some(attached) = attached.take()
            && (attached.send(reported).is_err() || failed)
        {
            return arrived;
        }
        if let Ok(application) = application {
            take_all(application, &leave, &mut arrived, &commander).await;
        }
        if leave.is_cancelled() {
            commander.finish(&mut arrived).await;
            return arrived;
        }
        sleep(AGAIN).await;
    }
}

async fn take_all(
    mut application: Application,
    leave: &CancellationToken,
    arrived: &mut Arrived,
    commander: &Commander,
) {
    let sender = application.sender();
    loop {
        let received = tokio::select! {
            received = application.next() => received,
            () = leave.cancelled() => application.receive(SILENCE).await,
        };
        let Some(received) = received else {
            return application.detach().await;
        };
        take(&received, &sender, arrived, commander);
    }
}

fn take(received: &Received, sender: &Sender, arrived: &mut Arrived, commander: &Commander) {
    let Some(origin) = Origin::of(&received.payload) else {
        return;
    };
    let key = (origin.device, origin.sequence);
    if received.link == responses() {
        *arrived.responses.entry(key).or_default() += 1;
        return;
    }
    *arrived.messages.entry(key).or_default() += 1;
    if origin.wants_command {
        commander.send(origin, sender.clone());
    }
}

/// Sends commands, each in a task.
#[derive(Default)]
struct Commander {
    tasks: TaskTracker,
    sent: AtomicU64,
    accepted: Arc<AtomicU64>,
}

impl Commander {
    /// One request for each event that asks for it, also if the event came twice.
    fn send(&self, origin: Origin, sender: Sender) {
        let mut message = command(TENANT, &world::device_id(origin.device), "measure");
        message.properties.reply_to = Some(responses());
        let correlation = format!("{}-{}", origin.device, origin.sequence);
        // So that the device can tell one command from another.
        message.body = Body::Data(origin.payload(ORIGIN));
        message.properties.correlation_id = Some(correlation.into());
        self.sent.fetch_add(1, Relaxed);
        let accepted = Arc::clone(&self.accepted);
        self.tasks.spawn(async move {
            let address = format!("command/{TENANT}");
            let outcome = sender.send(&address, &message, SETTLED_WITHIN).await;
            if let Ok(Some(Outcome::Accepted)) = outcome {
                accepted.fetch_add(1, Relaxed);
            }
        });
    }

    async fn finish(self, arrived: &mut Arrived) {
        self.tasks.close();
        self.tasks.wait().await;
        arrived.commands = self.sent.load(Relaxed);
        arrived.accepted = self.accepted.load(Relaxed);
    }
}

fn responses() -> String {
    format!("command_response/{TENANT}/load")
}

/// Bytes that a command carries.
const ORIGIN: usize = 9;
/// When to attach again.
const AGAIN: Duration = Duration::from_millis(100);
/// After this nothing comes any more.
const SILENCE: Duration = Duration::from_millis(500);
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
