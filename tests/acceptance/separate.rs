//! The broker, the registry and the command router go away one at a time, in each way that connections end, while devices send and
//! wait for commands: what was answered 2.04 has arrived, nothing is blamed on a device, no command is executed of which the
//! application was told otherwise, and all is well again without a restart of the adapter.

#![expect(clippy::print_stdout, reason = "the run tells what was answered")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use acceptance::{
    stand::{anywhere, config},
    wire::Wire,
};
use adapter::app::App;
use sandbox::{
    Sandbox, SandboxConfig,
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour, Body, Outcome, Sender, command},
    world::{Device as Known, Tenant, World},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::scene::SOON;

const DEVICES: usize = 40;
const SEED: u64 = 1860;
/// How long a part is away after devices have noticed.
const AWAY: Duration = Duration::from_secs(1);
/// In this time all has to be as before.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Broker,
    Registry,
    Router,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    Silent,
    Cut,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_killed_and_comes_back() {
    outage(Part::Broker, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_falls_silent_and_comes_back() {
    outage(Part::Broker, End::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_cut_off_within_a_message_and_comes_back() {
    outage(Part::Broker, End::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_is_killed_and_comes_back() {
    outage(Part::Registry, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_falls_silent_and_comes_back() {
    outage(Part::Registry, End::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_router_is_killed_and_comes_back() {
    outage(Part::Router, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_router_falls_silent_and_comes_back() {
    outage(Part::Router, End::Silent).await;
}

async fn outage(part: Part, end: End) {
    let mut network = Network::start().await;
    let app = network.adapter().await;
    let ledger = Arc::new(Ledger::default());
    let (finish, finishing) = watch::channel(false);
    let mut applications = JoinSet::new();
    applications.spawn(network.receive(&ledger).await);
    let mut devices = JoinSet::new();
    let server = app.coaps_address().unwrap();
    for number in 0..DEVICES {
        devices.spawn(speak(
            server,
            number,
            Arc::clone(&ledger),
            finishing.clone(),
        ));
    }
    let well =
        |ledger: &Ledger| ledger.look(|it| it.served >= DEVICES * 5 && !it.executed.is_empty());
    ledger.wait_until("all is well at first", well).await;
    network.end(part, end).await;
    let noticed = |ledger: &Ledger| ledger.look(|it| it.refused >= DEVICES / 2);
    ledger.wait_until("devices notice", noticed).await;
    sleep(AWAY).await;
    network.restore(part).await;
    if part == Part::Broker {
        applications.spawn(network.receive(&ledger).await);
    }
    finish.send_replace(true);
    let served = timeout(RECOVERED_WITHIN, async {
        while devices.join_next().await.transpose().unwrap().is_some() {}
    });
    assert!(served.await.is_ok(), "not all devices are served again");
    app.stop().await;
    network.stop().await;
    timeout(SOON, applications.join_all()).await.unwrap();
    ledger.judge(part, end);
}

/// What devices and applications saw.
#[derive(Default)]
struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// By code and text.
    answers: BTreeMap<(String, String), usize>,
    served: usize,
    refused: usize,
    /// Bodies answered 2.04 to messages that had to be accepted by the application.
    accepted: BTreeSet<String>,
    arrived: BTreeSet<String>,
    /// Commands that devices got, and how often.
    executed: BTreeMap<String, usize>,
    /// What applications were told of their commands; none if they were told nothing.
    told: BTreeMap<String, Option<Outcome>>,
}

impl Ledger {
    fn look<R>(&self, look: impl FnOnce(&mut Book) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    async fn wait_until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + RECOVERED_WITHIN;
        while !reached(self) {
            let answers = self.look(|book| book.answers.clone());
            assert!(Instant::now() < deadline, "{what}: {answers:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn judge(&self, part: Part, end: End) {
        let book = self.0.lock().unwrap();
        println!(
            "outage: {part:?} {end:?}, {DEVICES} devices, seed {SEED}: {:?}; {} commands executed of {}",
            book.answers,
            book.executed.len(),
            book.told.len()
        );
        let blamed: Vec<_> = book
            .answers
            .keys()
            .filter(|(code, _)| !["2.04", "5.03"].contains(&code.as_str()))
            .collect();
        assert!(blamed.is_empty(), "{blamed:?}");
        let lost: Vec<_> = book.accepted.difference(&book.arrived).collect();
        assert!(lost.is_empty(), "answered 2.04 and not received: {lost:?}");
        // The way to the router may have ended between a command and its outcome, which no message can make up for.
        let may_miss_outcomes = part == Part::Router;
        for (command, times) in &book.executed {
            assert_eq!(*times, 1, "{command}");
            let agrees = match book.told.get(command) {
                Some(Some(Outcome::Accepted) | None) => true,
                Some(Some(Outcome::Released)) => may_miss_outcomes,
                _ => false,
            };
            assert!(
                agrees,
                "{command} was executed: {:?}",
                book.told.get(command)
            );
        }
        for (command, told) in &book.told {
            if *told == Some(Outcome::Accepted) {
                assert!(book.executed.contains_key(command), "{command} was lost");
            }
        }
    }
}

/// A device that sends this and that and waits for commands now and then, until all is well again.
async fn speak(
    server: SocketAddr,
    number: usize,
    ledger: Arc<Ledger>,
    finishing: watch::Receiver<bool>,
) {
    let mut dice = Dice(SEED ^ u64::try_from(number).unwrap());
    let mut device = Device::connect(server, &format!("d-{number}@T"), b"k", SOON)
        .await
        .unwrap();
    let (mut sent, mut got_command) = (0, false);
    loop {
        let body = format!("{number}-{sent}");
        sent += 1;
        let resource = ["e", "e", "t"][dice.below(3)];
        let waits = dice.below(3) == 0;
        let mut request = CoapRequest::post(resource).body(0, body.as_str());
        if waits {
            request = request.query("hono-ttd=2");
        }
        let restored = *finishing.borrow();
        // Whatever is away, there is an answer.
        let response = device.request(&request, SOON).await.unwrap();
        let text = String::from_utf8_lossy(&response.payload).into_owned();
        let is_served = response.code() == "2.04";
        let is_command = is_served && !response.options.is_empty();
        ledger.look(|book| {
            let shown = if is_command {
                String::new()
            } else {
                text.clone()
            };
            *book.answers.entry((response.code(), shown)).or_default() += 1;
            if is_served {
                book.served += 1;
                book.accepted.insert(body);
            } else {
                book.refused += 1;
            }
            if is_command {
                *book.executed.entry(text).or_default() += 1;
            }
        });
        got_command |= restored && is_command;
        if restored && is_served && got_command {
            return;
        }
        sleep(Duration::from_millis(
            50 + u64::try_from(dice.below(200)).unwrap(),
        ))
        .await;
    }
}

/// Throws numbers by a seed.
struct Dice(u64);

impl Dice {
    const fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The parts, each a sandbox of its own behind a wire.
struct Network {
    broker: Place,
    registry: Place,
    router: Place,
    /// Sends commands; another one when the router is another one.
    commands: watch::Sender<Sender>,
    instructor: Application,
}

struct Place {
    wire: Wire,
    sandbox: Option<Sandbox>,
}

impl Place {
    async fn start() -> Self {
        let sandbox = begin().await;
        let wire = Wire::to(sandbox.amqp_address()).await.unwrap();
        Self {
            wire,
            sandbox: Some(sandbox),
        }
    }

    fn direct(&self) -> SocketAddr {
        self.sandbox.as_ref().unwrap().amqp_address()
    }
}

async fn begin() -> Sandbox {
    let mut tenant = Tenant::default();
    for number in 0..DEVICES {
        let id = format!("d-{number}");
        tenant = tenant.with_device(&id, Known::default().with_psk(&id, "k"));
    }
    let mut world = World::empty();
    world.tenants.insert("T".to_owned(), tenant);
    Sandbox::start(SandboxConfig::new(anywhere(), world))
        .await
        .unwrap()
}

impl Network {
    async fn start() -> Self {
        let (broker, registry, router) = (
            Place::start().await,
            Place::start().await,
            Place::start().await,
        );
        let instructor = instructor(router.direct()).await;
        Self {
            broker,
            registry,
            router,
            commands: watch::Sender::new(instructor.sender()),
            instructor,
        }
    }

    /// An adapter that asks the registry anew for each request.
    async fn adapter(&self) -> App {
        let mut settings = vec![
            (
                "HONO_TENANT_RESPONSECACHEMAXSIZE".to_owned(),
                "0".to_owned(),
            ),
            (
                "HONO_REGISTRATION_RESPONSECACHEMAXSIZE".to_owned(),
                "0".to_owned(),
            ),
        ];
        for (services, place) in [
            (&["COMMAND", "COMMANDROUTER"][..], &self.router),
            (&["TENANT", "REGISTRATION", "CREDENTIALS"], &self.registry),
        ] {
            let port = place.wire.address().port().to_string();
            settings.extend(
                services
                    .iter()
                    .map(|service| (format!("HONO_{service}_PORT"), port.clone())),
            );
        }
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let config = config(self.broker.wire.address(), &settings).unwrap();
        let app = App::start(config).await.unwrap();
        let deadline = Instant::now() + SOON;
        while !app.is_ready() {
            assert!(Instant::now() < deadline, "the adapter does not get ready");
            sleep(Duration::from_millis(10)).await;
        }
        app
    }

    /// An application that takes what the broker of now has, and sends a command to each device that waits.
    async fn receive(&self, ledger: &Arc<Ledger>) -> impl Future<Output = ()> + use<> {
        let mut application =
            Application::attach(self.broker.direct(), "T", &[], Behaviour::Accept)
                .await
                .unwrap();
        let (ledger, commands) = (Arc::clone(ledger), self.commands.subscribe());
        async move {
            let mut sending = JoinSet::new();
            while let Some(received) = application.next().await {
                let body = String::from_utf8(received.payload.clone()).unwrap();
                if received.application_property("ttd", "int").is_number() {
                    let sender = commands.borrow().clone();
                    sending.spawn(instruct(sender, body.clone(), Arc::clone(&ledger)));
                }
                ledger.look(|book| book.arrived.insert(body));
            }
            sending.join_all().await;
        }
    }

    fn place(&mut self, part: Part) -> &mut Place {
        match part {
            Part::Broker => &mut self.broker,
            Part::Registry => &mut self.registry,
            Part::Router => &mut self.router,
        }
    }

    async fn end(&mut self, part: Part, end: End) {
        let place = self.place(part);
        match end {
            End::Killed => place.wire.die(),
            End::Silent => return place.wire.fall_silent(),
            End::Cut => place.wire.cut_after(1000),
        }
        if let (End::Killed, Some(sandbox)) = (end, place.sandbox.take()) {
            sandbox.stop().await;
        }
    }

    /// Another process takes the part's place: it remembers nothing but the world.
    async fn restore(&mut self, part: Part) {
        let new = begin().await;
        let address = new.amqp_address();
        if part == Part::Router {
            self.instructor = instructor(address).await;
            self.commands.send_replace(self.instructor.sender());
        }
        let place = self.place(part);
        place.wire.lead_to(address);
        if let Some(old) = place.sandbox.replace(new) {
            old.stop().await;
        }
    }

    async fn stop(self) {
        for place in [self.broker, self.registry, self.router] {
            if let Some(sandbox) = place.sandbox {
                sandbox.stop().await;
            }
        }
    }
}

async fn instructor(router: SocketAddr) -> Application {
    Application::attach(router, "T", &[], Behaviour::Accept)
        .await
        .unwrap()
}

/// Sends the command for a waiting device, named by the body of its message.
async fn instruct(sender: Sender, body: String, ledger: Arc<Ledger>) {
    let device = format!("d-{}", body.split('-').next().unwrap());
    let mut message = command("T", &device, "go");
    message.body = Body::Data(body.clone().into_bytes());
    let sent = sender.send("command/T", &message, SOON).await;
    ledger.look(|book| book.told.insert(body, sent.ok().flatten()));
}
