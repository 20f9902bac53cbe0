//! Many sessions under load while the adapter is replaced: nobody needs a new handshake, and every message can be accounted for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use sandbox::northbound::Application;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    SOON, Scene,
    adapter::Signal,
    device::{Answer, Device, Ids},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_and_no_event_is_lost_under_load() {
    let sessions = std::env::var("RESTART_SESSIONS").ok();
    let sessions: usize = sessions.map_or(40, |text| text.parse().unwrap());
    let scene = Arc::new(Scene::start("load", sessions).await);
    let application = scene.application().await;
    let adapter = scene.place.start().await;
    let devices = connect(&scene, sessions).await;

    let (phase, _) = watch::channel(Phase::Before);
    let mut running = JoinSet::new();
    let interval = Duration::from_millis(5);
    for (number, device) in devices.into_iter().enumerate() {
        let busy = Busy {
            number,
            device,
            phase: phase.subscribe(),
            pause: interval * u32::try_from(sessions).unwrap(),
        };
        running.spawn(busy.run());
        // One after the other, so that they do not all speak at once later, either.
        sleep(interval).await;
    }
    let gathering = tokio::spawn(gather(application, phase.subscribe()));
    sleep(Duration::from_secs(2)).await;

    let signalled = Instant::now();
    let ended = adapter.end(Signal::Terminate).await;
    let adapter = scene.place.spawn();
    phase.send_replace(Phase::After);
    adapter.is_ready().await;
    let ready = Instant::now();
    let accounts = running.join_all().await;
    assert_eq!(adapter.metric("handshakes_established_total").await, 0);
    assert_eq!(adapter.metric("sessions").await, sessions as u64);
    phase.send_replace(Phase::Over);
    let received = gathering.await.unwrap();
    let first = accounts.iter().filter_map(|it| it.first_after).min();
    let last = accounts.iter().filter_map(|it| it.first_after).max();
    let seconds = |at: Instant| at.duration_since(signalled).as_secs_f64();
    println!(
        "{sessions} sessions: ended {:.2} s after SIGTERM, the next was ready after {:.2} s; old sessions were answered again from {:.2} s \
         on, the last of them after {:.2} s",
        seconds(ended),
        seconds(ready),
        seconds(first.unwrap()),
        seconds(last.unwrap()),
    );
    check(&accounts, &received);
    adapter.end(Signal::Terminate).await;
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first process is there.
    Before,
    /// The second is, or soon will be.
    After,
    /// Nothing is sent any more.
    Over,
}

/// Half of them with connection ids, some at a time.
async fn connect(scene: &Arc<Scene>, sessions: usize) -> Vec<Device> {
    let turns = Arc::new(Semaphore::new(32));
    let mut connecting = JoinSet::new();
    for number in 0..sessions {
        let (scene, turns) = (Arc::clone(scene), Arc::clone(&turns));
        let ids = [Ids::None, Ids::Wanted][number % 2];
        connecting.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            (number, Device::connect(&scene.place, number, ids).await)
        });
    }
    let connected: BTreeMap<_, _> = connecting.join_all().await.into_iter().collect();
    connected.into_values().collect()
}

/// A device that sends event after event.
struct Busy {
    number: usize,
    device: Device,
    phase: watch::Receiver<Phase>,
    pause: Duration,
}

/// What became of a device's events.
#[derive(Debug, Default)]
struct Account {
    /// Answered 2.04.
    accepted: BTreeSet<String>,
    /// Answered 5.03.
    refused: BTreeSet<String>,
    /// When the second process first answered it 2.04.
    first_after: Option<Instant>,
}

impl Busy {
    /// Until the second process has accepted three events.
    async fn run(mut self) -> Account {
        let mut account = Account::default();
        let (mut after, mut next) = (0, 0);
        while after < 3 {
            let phase = *self.phase.borrow();
            let payload = format!("{}/{next}", self.number);
            next += 1;
            let event = self.device.event(payload.as_bytes());
            match self.device.ask(&event, SOON).await {
                Answer::Changed => {
                    account.accepted.insert(payload);
                    if phase == Phase::After {
                        after += 1;
                        account.first_after.get_or_insert_with(Instant::now);
                    }
                }
                Answer::Unavailable => {
                    account.refused.insert(payload);
                }
                answer => panic!("device {}: {answer:?}", self.number),
            }
            sleep(self.pause).await;
        }
        account
    }
}

/// How often each event arrived.
async fn gather(
    mut application: Application,
    phase: watch::Receiver<Phase>,
) -> BTreeMap<String, usize> {
    let mut received = BTreeMap::new();
    loop {
        match application.receive(Duration::from_millis(500)).await {
            Some(message) => {
                let payload = String::from_utf8(message.payload).unwrap();
                *received.entry(payload).or_default() += 1;
            }
            None if *phase.borrow() == Phase::Over => return received,
            None => {}
        }
    }
}

/// An event may arrive although its device got 5.03, if the disposition came too late; the device
/// retries.
fn check(accounts: &[Account], received: &BTreeMap<String, usize>) {
    let accepted: BTreeSet<_> = accounts.iter().flat_map(|it| &it.accepted).collect();
    let refused: BTreeSet<_> = accounts.iter().flat_map(|it| &it.refused).collect();
    let lost: Vec<_> = accepted
        .iter()
        .filter(|payload| !received.contains_key(**payload))
        .collect();
    let (explained, unexplained): (Vec<_>, Vec<_>) = received
        .keys()
        .filter(|payload| !accepted.contains(payload))
        .partition(|payload| refused.contains(payload));
    let twice: Vec<_> = received.iter().filter(|(_, times)| **times > 1).collect();
    println!(
        "{} events accepted, {} refused with 5.03; {} lost, {} delivered despite 5.03, {} delivered without an answer, {} delivered twice",
        accepted.len(),
        refused.len(),
        lost.len(),
        explained.len(),
        unexplained.len(),
        twice.len(),
    );
    assert_eq!(lost, Vec::<&&String>::new());
    assert_eq!(unexplained, Vec::<&String>::new());
    assert_eq!(twice, Vec::<(&String, &usize)>::new());
}
