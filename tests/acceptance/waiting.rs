//! Many devices wait for a command at once over a network that loses datagrams: each gets its own, once, and the application is
//! told of no other outcome than devices saw.
//!
//! `WAITING_DEVICES=10000` makes it the size of a town, which begins at once, too; by default it is a village, so that it takes
//! seconds. `WAITING_SESSIONS` does the same for devices in DTLS sessions.

#![expect(clippy::print_stdout, reason = "the run tells of what size it was")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use acceptance::stand::Stand;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use sandbox::{
    device::{CoapRequest, Device as Session},
    northbound::{Application, Behaviour, Body, Outcome, Sender, command},
    world::{Device, Tenant, World},
};
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Instant, sleep_until},
};

const DEFAULT_DEVICES: usize = 300;
const DEFAULT_SESSIONS: usize = 150;
/// As many share a socket, and so a peer: few, for each may begin anew several times, and the adapter remembers 64 messages of one.
const DEVICES_EACH: usize = 5;
/// Of a hundred datagrams, each way.
const LOST: u64 = 5;
const SEED: u64 = 7959;
/// What a device does not get in this time it does not get at all.
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_waiting_devices_gets_its_own_command_once_though_datagrams_are_lost() {
    let wanted = env::var("WAITING_DEVICES").ok();
    let devices = wanted.map_or(DEFAULT_DEVICES, |devices| devices.parse().unwrap());
    println!("waiting: {devices} devices, {LOST} % of datagrams lost each way, seed {SEED}");
    let stand = Stand::start(world(devices), &[]).await.unwrap();
    let application = Application::attach(stand.amqp(), "T", &[], Behaviour::Accept);
    let application = tokio::spawn(instruct(application.await.unwrap(), devices));
    let mut fleets = JoinSet::new();
    for first in (0..devices).step_by(DEVICES_EACH) {
        let ids = (first..devices.min(first + DEVICES_EACH)).collect();
        fleets.spawn(Fleet::run(stand.coap(), ids));
    }
    let (mut told, mut without_command) = (BTreeMap::new(), 0);
    for (answers, without) in fleets.join_all().await {
        told.extend(answers);
        without_command += without;
    }
    println!("waiting: {without_command} waits ended with nothing and were begun anew");
    judge(devices, &told, &application.await.unwrap());
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_each_of_many_in_dtls_sessions() {
    let wanted = env::var("WAITING_SESSIONS").ok();
    let devices = wanted.map_or(DEFAULT_SESSIONS, |devices| devices.parse().unwrap());
    println!("waiting: {devices} sessions, {LOST} % of datagrams lost each way, seed {SEED}");
    let stand = Stand::start(world(devices), &[]).await.unwrap();
    let application = Application::attach(stand.amqp(), "T", &[], Behaviour::Accept);
    let application = tokio::spawn(instruct(application.await.unwrap(), devices));
    let (mut relays, mut sessions) = (JoinSet::new(), JoinSet::new());
    for id in 0..devices {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let lossy = front.local_addr().unwrap();
        relays.spawn(relay(front, stand.coaps(), id));
        sessions.spawn(async move { (id, wait_in_session(lossy, id).await) });
    }
    let told = sessions.join_all().await.into_iter().collect();
    judge(devices, &told, &application.await.unwrap());
    stand.stop().await;
}

/// What a device is told in a session of its own until it is told a command, and shortly after.
async fn wait_in_session(server: SocketAddr, id: usize) -> Vec<String> {
    let mut session = Session::connect(server, &format!("{}@T", name(id)), b"k", PATIENCE)
        .await
        .unwrap();
    let request = CoapRequest::post("e").query("hono-ttd=60").query("empty");
    loop {
        let response = session.request(&request, PATIENCE).await.unwrap();
        if response.code() == SERVICE_UNAVAILABLE {
            tokio::time::sleep(MAX_AGE).await;
            continue;
        }
        if response.code() == CHANGED && response.options.is_empty() {
            continue;
        }
        let mut told = vec![String::from_utf8_lossy(&response.payload).into_owned()];
        // A response whose acknowledgement was lost comes again as it was: with the same message id.
        let mut again = BTreeSet::new();
        while let Some(bytes) = session.receive(Duration::from_secs(3)).await.unwrap() {
            let packet = Packet::from_bytes(&bytes).unwrap();
            if packet.header.get_code() == CHANGED
                && again.insert(packet.header.message_id)
                && (again.len() > 1 || packet.payload != response.payload)
            {
                told.push(body(&packet));
            }
        }
        return told;
    }
}

/// Stands between a device and the server, and loses datagrams.
async fn relay(front: UdpSocket, server: SocketAddr, id: usize) {
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(server).await.unwrap();
    let mut loss = Loss(SEED ^ u64::try_from(id).unwrap());
    let mut device = None;
    let (mut up, mut down) = ([0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            received = front.recv_from(&mut up) => {
                let (length, from) = received.unwrap();
                device = Some(from);
                if !loss.takes_one() {
                    back.send(&up[..length]).await.unwrap();
                }
            }
            received = back.recv(&mut down) => {
                let length = received.unwrap();
                if let Some(device) = device && !loss.takes_one() {
                    front.send_to(&down[..length], device).await.unwrap();
                }
            }
        }
    }
}

/// Each device was told its own command and nothing else, and each command was accepted once.
fn judge(devices: usize, told: &BTreeMap<usize, Vec<String>>, accepted: &BTreeMap<usize, usize>) {
    let without: Vec<_> = (0..devices)
        .filter(|id| told[id] != [body_for(*id)])
        .collect();
    assert!(
        without.is_empty(),
        "not exactly their own command: {:?}",
        without.iter().map(|id| (id, &told[id])).collect::<Vec<_>>()
    );
    assert!(
        (0..devices).all(|id| accepted.get(&id) == Some(&1)),
        "accepted: {accepted:?}"
    );
    println!(
        "waiting: each of {devices} got its own command once; {} were accepted",
        accepted.len()
    );
}

fn world(devices: usize) -> World {
    let mut tenant = Tenant::default();
    for id in 0..devices {
        tenant = tenant.with_device(name(id), Device::default().with_psk(name(id), "k"));
    }
    let mut world = World::empty();
    world.tenants.insert("T".to_owned(), tenant);
    world
}

fn name(id: usize) -> String {
    format!("d-{id}")
}

fn body_for(id: usize) -> String {
    format!("command for {id}")
}

/// Sends each device its command when its event comes, and tells how often each was accepted.
async fn instruct(mut application: Application, devices: usize) -> BTreeMap<usize, usize> {
    let mut sending = JoinSet::new();
    let mut instructed = BTreeSet::new();
    let mut accepted = BTreeMap::new();
    while instructed.len() < devices {
        let received = application.receive(PATIENCE).await.unwrap();
        let device = received.sections["application-properties"]["device_id"]["string"].clone();
        let id: usize = device.as_str().unwrap()[2..].parse().unwrap();
        // A device that was told to come back may send a second event.
        if instructed.insert(id) {
            sending.spawn(send_until_accepted(application.sender(), id));
        }
    }
    while let Some(id) = sending.join_next().await {
        *accepted.entry(id.unwrap()).or_default() += 1;
    }
    application.detach().await;
    accepted
}

async fn send_until_accepted(sender: Sender, id: usize) -> usize {
    let mut message = command("T", &name(id), "go");
    message.body = Body::Data(body_for(id).into_bytes());
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < deadline,
            "nobody takes the command of {id}"
        );
        match sender
            .send("command/T", &message, Duration::from_secs(30))
            .await
            .unwrap()
        {
            Some(Outcome::Accepted) => return id,
            Some(Outcome::Released) | None => tokio::time::sleep(Duration::from_millis(50)).await,
            Some(other) => panic!("device {id}: {other:?}"),
        }
    }
}

/// Devices behind one socket, each with one request under way.
struct Fleet {
    socket: Arc<UdpSocket>,
    loss: Loss,
    open: HashMap<Vec<u8>, Request>,
    /// The bodies that each device was given.
    told: BTreeMap<usize, Vec<String>>,
    /// Message ids of separate responses, to tell a repeated one.
    seen: Vec<u16>,
    last_message_id: u16,
    /// Waits that ended with nothing, as the adapter had its command back from the router: each was begun anew.
    without_command: usize,
}

struct Request {
    id: usize,
    message: Vec<u8>,
    message_id: u16,
    /// When it is sent again, and after what wait again; none once it is acknowledged.
    again: Option<(Instant, Duration)>,
}

impl Fleet {
    /// What each device was told, and how many waits ended with nothing.
    async fn run(server: SocketAddr, ids: Vec<usize>) -> (BTreeMap<usize, Vec<String>>, usize) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        let mut fleet = Self {
            socket: Arc::new(socket),
            loss: Loss(SEED ^ u64::try_from(ids[0]).unwrap()),
            open: HashMap::new(),
            told: ids.iter().map(|id| (*id, Vec::new())).collect(),
            seen: Vec::new(),
            last_message_id: 0,
            without_command: 0,
        };
        for id in ids {
            fleet.start(id, Instant::now());
        }
        let deadline = Instant::now() + PATIENCE;
        while !fleet.open.is_empty() && Instant::now() < deadline {
            fleet.step().await;
        }
        // Whatever would come twice comes now, while our acknowledgements were lost.
        let quiet = Instant::now() + Duration::from_secs(3);
        while Instant::now() < quiet {
            fleet.step().await;
        }
        (fleet.told, fleet.without_command)
    }

    /// Lets a device send its request at a time to come.
    fn start(&mut self, id: usize, at: Instant) {
        self.last_message_id += 1;
        let message_id = self.last_message_id;
        // Another one each time: an answer to the request before may come again.
        let mut token = u32::try_from(id).unwrap().to_be_bytes().to_vec();
        token.extend(message_id.to_be_bytes());
        let request = CoapRequest::put(&format!("e/T/{}", name(id)))
            .query("hono-ttd=60")
            .query("empty");
        let message = request.encode(message_id, &token);
        let again = Some((at, ACK_TIMEOUT));
        self.open.insert(
            token,
            Request {
                id,
                message,
                message_id,
                again,
            },
        );
    }

    async fn send(&mut self, datagram: &[u8]) {
        if !self.loss.takes_one() {
            self.socket.send(datagram).await.unwrap();
        }
    }

    /// Takes a datagram, or sends again what is due.
    async fn step(&mut self) {
        let due = self
            .open
            .values()
            .filter_map(|it| it.again)
            .map(|(due, _)| due)
            .min();
        let due = due.unwrap_or_else(|| Instant::now() + Duration::from_millis(500));
        let mut buffer = [0; 1500];
        let socket = Arc::clone(&self.socket);
        tokio::select! {
            length = socket.recv(&mut buffer) => {
                let length = length.unwrap();
                if !self.loss.takes_one() {
                    self.take(&buffer[..length]).await;
                }
            }
            () = sleep_until(due) => self.send_again().await,
        }
    }

    async fn send_again(&mut self) {
        let now = Instant::now();
        let mut messages = Vec::new();
        for request in self.open.values_mut() {
            if let Some((due, wait)) = request.again
                && due <= now
            {
                request.again = Some((now + wait, wait * 2));
                messages.push(request.message.clone());
            }
        }
        for message in messages {
            self.send(&message).await;
        }
    }

    async fn take(&mut self, datagram: &[u8]) {
        let packet = Packet::from_bytes(datagram).unwrap();
        let (kind, message_id) = (packet.header.get_type(), packet.header.message_id);
        if kind == MessageType::Confirmable {
            let [high, low] = message_id.to_be_bytes();
            self.send(&[EMPTY_ACK, 0, high, low]).await;
            if self.seen.contains(&message_id) {
                return;
            }
            self.seen.push(message_id);
        }
        match packet.header.code {
            MessageClass::Empty => {
                let mut open = self.open.values_mut();
                if let Some(request) = open.find(|request| request.message_id == message_id) {
                    request.again = None;
                }
            }
            // A piggy-backed answer to a request that was sent again is the same answer.
            _ => {
                if let Some(request) = self.open.remove(packet.get_token()) {
                    if packet.header.get_code() == SERVICE_UNAVAILABLE {
                        return self.start(request.id, Instant::now() + MAX_AGE);
                    }
                    if is_empty_change(&packet) {
                        self.without_command += 1;
                        return self.start(request.id, Instant::now());
                    }
                    let told = self.told.entry(request.id).or_default();
                    told.push(body(&packet));
                } else if kind == MessageType::Confirmable {
                    panic!("a second answer with a message id of its own");
                }
            }
        }
    }
}

/// A command that the router took back meanwhile is not told: the device waits again.
fn is_empty_change(packet: &Packet) -> bool {
    packet.header.get_code() == CHANGED && packet.get_option(CoapOption::LocationQuery).is_none()
}

fn body(packet: &Packet) -> String {
    let has_command = packet.get_option(CoapOption::LocationQuery).is_some();
    let body = String::from_utf8_lossy(&packet.payload).into_owned();
    if has_command {
        body
    } else {
        format!("{} without command {body}", packet.header.get_code())
    }
}

/// Loses datagrams by a seed.
struct Loss(u64);

impl Loss {
    const fn takes_one(&mut self) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100 < LOST
    }
}

/// What a device gets that is to come back (spec: coap-adapter §4), and when it does.
const SERVICE_UNAVAILABLE: &str = "5.03";
const CHANGED: &str = "2.04";
const MAX_AGE: Duration = Duration::from_secs(2);
/// RFC 7252 §4.8.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Version 1, acknowledgement, no token (RFC 7252 §3).
const EMPTY_ACK: u8 = 0x60;
