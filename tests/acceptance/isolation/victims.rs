//! Devices that go on with their work while somebody else attacks.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use acceptance::stand::Stand;
use dtls_client::Config;
use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{ATTACKER, ConnectionIds, ELSEWHERE, NEIGHBOUR, Setting, gauges};
use crate::scene::application;

/// All victims of a run.
pub(super) struct Victims {
    /// Each ends with what it failed at, and never otherwise.
    running: JoinSet<String>,
    served: Vec<(&'static str, Arc<AtomicUsize>)>,
    consumers: Vec<AbortHandle>,
}

/// What a victim does again and again.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Sends telemetry in the session it has.
    InSession,
    /// Shakes hands, sends telemetry and closes the session.
    Newcomer,
    /// Sends telemetry without security.
    Plain,
}

#[rustfmt::skip]
const VICTIMS: [(&str, Work, &str, IpAddr); 8] = [
    ("a session of another tenant",                       Work::InSession, "victim@other",   ELSEWHERE),
    ("a session of the same tenant at the same address",  Work::InSession, "victim@acme",    ATTACKER),
    ("a newcomer of another tenant elsewhere",            Work::Newcomer,  "newcomer@other", ELSEWHERE),
    ("a newcomer of the same tenant in the same prefix",  Work::Newcomer,  "newcomer@acme",  NEIGHBOUR),
    ("a newcomer of another tenant at the same address",  Work::Newcomer,  "newcomer@other", ATTACKER),
    ("a plain device of another tenant elsewhere",        Work::Plain,     "victim@other",   ELSEWHERE),
    ("a plain device of the same tenant, same prefix",    Work::Plain,     "victim@acme",    NEIGHBOUR),
    ("a plain device of another tenant, same prefix",     Work::Plain,     "newcomer@other", NEIGHBOUR),
];

impl Victims {
    /// Starts all of them, and returns once each has been served.
    pub(super) async fn start(stand: &Stand, setting: Setting) -> Self {
        let mut consumers = Vec::new();
        for tenant in ["acme", "other"] {
            let consumer = application(stand, tenant, Behaviour::Accept).await;
            consumers.push(tokio::spawn(consume(consumer)).abort_handle());
        }
        let (mut running, mut served) = (JoinSet::new(), Vec::new());
        for (name, work, identity, local) in VICTIMS {
            let counter = Arc::new(AtomicUsize::new(0));
            served.push((name, Arc::clone(&counter)));
            let (coap, coaps) = (stand.coap(), stand.coaps());
            running.spawn(async move {
                let config = config(identity, setting);
                let failure = match work {
                    Work::InSession => in_session(local, coaps, config, &counter).await,
                    Work::Newcomer => newcomer(local, coaps, config, &counter).await,
                    Work::Plain => plain(local, coap, identity, &counter).await,
                };
                format!("{name}: {failure}")
            });
        }
        let mut victims = Self {
            running,
            served,
            consumers,
        };
        victims.serve_once_more().await;
        victims
    }

    /// Asserts that nobody failed during the attack, and that each is served after it.
    pub(super) async fn assert_served(mut self, stand: &Stand, setting: Setting) {
        for _ in 0..3 {
            self.serve_once_more().await;
        }
        serve_latecomers(stand, setting).await;
        let failed = self.running.try_join_next();
        assert!(failed.is_none(), "{setting:?}: {failed:?}");
        self.running.shutdown().await;
        // Consumers go on: what is on its way to them is to be settled.
        gauges::assert_return(stand, setting).await;
        for consumer in &self.consumers {
            consumer.abort();
        }
    }

    /// Waits until each victim was served once more than now.
    async fn serve_once_more(&mut self) {
        let counts = |served: &[(&str, Arc<AtomicUsize>)]| -> Vec<usize> {
            let counts = served
                .iter()
                .map(|(_, count)| count.load(Ordering::Relaxed));
            counts.collect()
        };
        let before = counts(&self.served);
        while let Some(late) =
            (counts(&self.served).iter().zip(&before)).position(|(now, before)| now <= before)
        {
            let wait = timeout(Duration::from_millis(20), self.running.join_next());
            if let Ok(failed) = wait.await {
                panic!("{failed:?}, while waiting for {}", self.served[late].0);
            }
        }
    }
}

/// Asserts that the first devices of a tenant are served, with a session and without.
async fn serve_latecomers(stand: &Stand, setting: Setting) {
    let _consumer = application(stand, "late", Behaviour::Accept).await;
    let served = AtomicUsize::new(0);
    let config = config("latecomer@late", setting);
    let mut device = Device::connect_from(ELSEWHERE, stand.coaps(), config, BOUND)
        .await
        .unwrap_or_else(|error| panic!("{setting:?}, no session for a latecomer: {error}"));
    let request = CoapRequest::post("t").body(0, "late");
    let in_session = upload(&mut device, &request, &served).await;
    let mut device = Device::plain_from(ELSEWHERE, stand.coap()).await.unwrap();
    let request = CoapRequest::put("t/late/latecomer").body(0, "late");
    let plain = upload(&mut device, &request, &served).await;
    assert_eq!((in_session, plain), (Ok(()), Ok(())), "{setting:?}");
}

/// The client's side of a victim's or an attacker's session.
pub(super) fn config(identity: &str, setting: Setting) -> Config {
    let mut config = Config::new(identity, b"k");
    if setting.connection_ids == ConnectionIds::On {
        config.connection_id = Some(Vec::new());
    }
    config
}

async fn consume(mut application: Application) {
    loop {
        application.receive(Duration::from_secs(60)).await;
    }
}

async fn in_session(
    local: IpAddr,
    server: std::net::SocketAddr,
    config: Config,
    served: &AtomicUsize,
) -> String {
    let mut device = match Device::connect_from(local, server, config, BOUND).await {
        Ok(device) => device,
        Err(error) => return format!("no session: {error}"),
    };
    let request = CoapRequest::post("t").body(0, "in session");
    loop {
        if let Err(failure) = upload(&mut device, &request, served).await {
            return failure;
        }
        sleep(PAUSE).await;
    }
}

async fn newcomer(
    local: IpAddr,
    server: std::net::SocketAddr,
    config: Config,
    served: &AtomicUsize,
) -> String {
    let request = CoapRequest::post("t").body(0, "new session");
    loop {
        let started = Instant::now();
        let mut device = match Device::connect_from(local, server, config.clone(), BOUND).await {
            Ok(device) => device,
            Err(error) => return format!("no session after {:?}: {error}", started.elapsed()),
        };
        if let Err(failure) = upload(&mut device, &request, served).await {
            return failure;
        }
        device.close().await;
        sleep(PAUSE).await;
    }
}

async fn plain(
    local: IpAddr,
    server: std::net::SocketAddr,
    identity: &str,
    served: &AtomicUsize,
) -> String {
    let Some((device, tenant)) = identity.split_once('@') else {
        return "no identity".to_owned();
    };
    let request = CoapRequest::put(&format!("t/{tenant}/{device}")).body(0, "plain");
    let mut device = match Device::plain_from(local, server).await {
        Ok(device) => device,
        Err(error) => return format!("no socket: {error}"),
    };
    loop {
        if let Err(failure) = upload(&mut device, &request, served).await {
            return failure;
        }
        sleep(PAUSE).await;
    }
}

async fn upload(
    device: &mut Device,
    request: &CoapRequest,
    served: &AtomicUsize,
) -> Result<(), String> {
    let response = device.request(request, BOUND).await;
    let response = response.map_err(|error| format!("request without response: {error}"))?;
    if response.code() != "2.04" {
        let text = String::from_utf8_lossy(&response.payload);
        return Err(format!("request answered {}: {text}", response.code()));
    }
    served.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Within this time a victim is served, on a busy machine, retransmissions included.
const BOUND: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
