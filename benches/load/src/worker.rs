//! A thread that is the network of many devices: their sockets, their timers, and what is lost on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};

use crate::{
    coap,
    credentials::Credentials,
    device::{Device, Event, Job},
    histogram::Histogram,
    progress::Progress,
    random::Random,
    scenario::{Operation, Scenario},
};

/// What a worker is to do.
pub(crate) struct Order {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) server: SocketAddr,
    pub(crate) seed: u64,
    /// Numbers of its devices.
    pub(crate) devices: std::ops::Range<u32>,
    /// Its part of all requests, a second.
    pub(crate) rate: f64,
    /// Whether devices that are idle give their sockets back, as there may not be one for each.
    pub(crate) lends_sockets: bool,
    /// Passed when every device of every worker has its session.
    pub(crate) ready: Arc<Barrier>,
    pub(crate) progress: Arc<Progress>,
}

/// What its devices saw.
pub(crate) struct Tally {
    pub(crate) intended: u64,
    pub(crate) latencies: BTreeMap<Operation, Histogram>,
    /// By code; handshakes are not in it.
    pub(crate) codes: BTreeMap<u8, u64>,
    pub(crate) established: u64,
    /// Sessions that were lost without a scenario that wants it, and made anew.
    pub(crate) reconnected: u64,
    /// How often a device with a connection id got another address.
    pub(crate) moved: u64,
    pub(crate) gave_up: u64,
    pub(crate) repeated: u64,
    /// Device and sequence number of the messages that were answered 2.04.
    pub(crate) acknowledged: Vec<(u32, u32)>,
    /// Likewise of responses to commands.
    pub(crate) responded: Vec<(u32, u32)>,
    /// Events that were to bring a command, and did not.
    pub(crate) no_command: u64,
    /// By second since the start: what went well, what did not, and how long it took.
    pub(crate) seconds: Vec<Second>,
    /// From the start to the last answer.
    pub(crate) lasted: Duration,
    /// How long all its sessions took, before the start.
    pub(crate) set_up: Duration,
}

pub(crate) struct Second {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    pub(crate) latencies: Histogram,
}

struct Seat {
    device: Device,
    /// None while it is lent to nobody.
    socket: Option<UdpSocket>,
    /// Where the server knows it.
    address: SocketAddr,
    timer: Option<Instant>,
    loss: Random,
    moves: Random,
    sent: u32,
}

struct Worker {
    order: Order,
    poll: Poll,
    seats: Vec<Seat>,
    timers: BTreeSet<(Instant, usize)>,
    ready: usize,
    outstanding: u64,
    start: Instant,
    tally: Tally,
    buffer: Vec<u8>,
}

/// Opens the sockets and the sessions, waits for the others, and plays.
pub(crate) fn run(order: Order) -> io::Result<Tally> {
    let (barrier, progress) = (Arc::clone(&order.ready), Arc::clone(&order.progress));
    let prepared = Worker::new(order).and_then(|mut worker| {
        worker.set_up()?;
        Ok(worker)
    });
    // The others must not wait for one that failed.
    progress.prepared();
    barrier.wait();
    let mut worker = prepared?;
    worker.play()?;
    worker.tally.repeated = worker.seats.iter().map(|seat| seat.device.repeated()).sum();
    Ok(worker.tally)
}

impl Worker {
    fn new(order: Order) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut seats = Vec::new();
        for number in order.devices.clone() {
            let random = |use_of_it| Random::new(order.seed, u64::from(number) * 4 + use_of_it);
            let (scenario, credentials) = (&order.scenario, &order.credentials);
            let device = Device::new(
                number,
                Arc::clone(scenario),
                Arc::clone(credentials),
                random(1),
            );
            seats.push(Seat {
                device,
                socket: None,
                address: address(number, order.lends_sockets),
                timer: None,
                loss: random(2),
                moves: random(3),
                sent: 0,
            });
        }
        Ok(Self {
            order,
            poll,
            seats,
            timers: BTreeSet::new(),
            ready: 0,
            outstanding: 0,
            start: Instant::now(),
            tally: Tally::new(),
            buffer: vec![0; 65_535],
        })
    }

    /// Gives a device its socket, if it has none.
    fn open_socket(&mut self, place: usize) -> io::Result<()> {
        let Some(seat) = self.seats.get_mut(place) else {
            return Ok(());
        };
        if seat.socket.is_none() {
            let mut socket = UdpSocket::bind(seat.address)?;
            socket.connect(self.order.server)?;
            self.poll
                .registry()
                .register(&mut socket, Token(place), Interest::READABLE)?;
            seat.address = socket.local_addr()?;
            seat.socket = Some(socket);
        }
        Ok(())
    }

    /// Takes it away; the device has the same address when it gets one again.
    fn close_socket(&mut self, place: usize) {
        let seat = self.seats.get_mut(place);
        if let Some(mut socket) = seat.and_then(|seat| seat.socket.take()) {
            // Closing it takes it off the list, too.
            drop(self.poll.registry().deregister(&mut socket));
        }
    }

    /// Gives a device another address, as a NAT does that has forgotten it.
    fn move_device(&mut self, place: usize) {
        self.close_socket(place);
        if let Some(seat) = self.seats.get_mut(place) {
            seat.address.set_port(0);
            self.tally.moved += 1;
        }
    }

    /// Gives every device its session, a few at a time.
    fn set_up(&mut self) -> io::Result<()> {
        if !self.order.scenario.sets_up() {
            return Ok(());
        }
        let within = SET_UP_WITHIN + Duration::from_millis(self.seats.len() as u64);
        let (started, mut begun) = (Instant::now(), 0);
        while self.ready < self.seats.len() {
            if started.elapsed() > within {
                let text = format!("only {} of {} sessions", self.ready, self.seats.len());
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            while begun < self.seats.len() && begun - self.ready < HANDSHAKES_AT_A_TIME {
                let now = Instant::now();
                self.with(now, begun, |device| device.connect(now))?;
                begun += 1;
            }
            self.wait(Instant::now() + Duration::from_millis(100))?;
        }
        self.tally.set_up = started.elapsed();
        Ok(())
    }

    fn play(&mut self) -> io::Result<()> {
        self.start = Instant::now();
        let scenario = Arc::clone(&self.order.scenario);
        let mut arrivals = Random::new(self.order.seed ^ u64::from(self.order.devices.start), 0);
        let order = arrivals.shuffled(self.seats.len());
        let mut turns = order.into_iter().cycle();
        let end = self.start + scenario.duration;
        let mut next = self.start + arrivals.gap(self.order.rate);
        while next < end {
            let now = Instant::now();
            while next <= now && next < end {
                // All in turn, so that each has done its part before one does more.
                let operation = scenario.rates.choose(arrivals.fraction());
                if let Some(place) = turns.next() {
                    self.begin(now, place, operation, next)?;
                }
                next += arrivals.gap(self.order.rate);
            }
            self.wait(next.min(end))?;
        }
        let waits = [Operation::Wait, Operation::Command].map(|it| scenario.rates.of(it));
        let ttd = if waits == [0.0, 0.0] { 0 } else { scenario.ttd };
        let last = end + Duration::from_secs(ttd.into()) + scenario.patience;
        while self.outstanding > 0 && Instant::now() < last {
            self.wait(last)?;
        }
        self.tally.gave_up += self.outstanding;
        Ok(())
    }

    fn begin(
        &mut self,
        now: Instant,
        place: usize,
        operation: Operation,
        intended: Instant,
    ) -> io::Result<()> {
        let rebind = self.order.scenario.rebind;
        let Some(seat) = self.seats.get_mut(place) else {
            return Ok(());
        };
        let job = Job {
            operation,
            sequence: seat.sent,
            intended,
        };
        seat.sent += 1;
        self.outstanding += 1;
        self.tally.intended += 1;
        if rebind > 0.0 && seat.moves.fraction() < rebind && seat.device.may_move() {
            self.move_device(place);
        }
        self.with(now, place, |device| device.take(now, job))
    }

    /// Waits for datagrams and timers, at most until `until`.
    fn wait(&mut self, until: Instant) -> io::Result<()> {
        let first = self.timers.first().map_or(until, |(when, _)| *when);
        let timeout = until.min(first).saturating_duration_since(Instant::now());
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            self.receive(event.token().0)?;
        }
        let now = Instant::now();
        while let Some((when, place)) = self.timers.first().copied()
            && when <= now
        {
            self.with(now, place, |device| device.handle_timeout(now))?;
        }
        Ok(())
    }

    fn receive(&mut self, place: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let loss = self.order.scenario.loss;
        while let Some(seat) = self.seats.get_mut(place)
            && let Some(socket) = &seat.socket
        {
            match socket.recv(&mut buffer) {
                Ok(length) if loss == 0.0 || seat.loss.fraction() >= loss => {
                    let (now, datagram) = (Instant::now(), buffer.get_mut(..length));
                    let datagram = datagram.unwrap_or_default();
                    self.with(now, place, |device| device.handle_datagram(now, datagram))?;
                }
                // Lost on the way, or word that nobody listens: requests are sent again.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Lets a device do something, then sends what it sends and notes what it tells.
    fn with(
        &mut self,
        now: Instant,
        place: usize,
        act: impl FnOnce(&mut Device),
    ) -> io::Result<()> {
        self.open_socket(place)?;
        let loss = self.order.scenario.loss;
        let Some(seat) = self.seats.get_mut(place) else {
            return Ok(());
        };
        act(&mut seat.device);
        while let Some(datagram) = seat.device.poll_transmit() {
            if let Some(socket) = &seat.socket
                && (loss == 0.0 || seat.loss.fraction() >= loss)
            {
                // What the kernel does not take is lost, as it may be in any network.
                drop(socket.send(&datagram));
            }
        }
        let timer = seat.device.poll_timeout();
        if timer != seat.timer {
            if let Some(before) = std::mem::replace(&mut seat.timer, timer) {
                self.timers.remove(&(before, place));
            }
            self.timers.extend(timer.map(|when| (when, place)));
        }
        if self.order.lends_sockets && seat.device.is_idle() {
            self.close_socket(place);
        }
        while let Some(event) = self
            .seats
            .get_mut(place)
            .and_then(|seat| seat.device.poll_event())
        {
            self.note(now, place, &event);
        }
        Ok(())
    }

    fn note(&mut self, now: Instant, place: usize, event: &Event) {
        let number = self.order.devices.start + u32::try_from(place).unwrap_or(0);
        let (job, good) = match *event {
            Event::Ready if self.ready < self.seats.len() => {
                self.ready += 1;
                return self.order.progress.established();
            }
            Event::Ready => {
                self.tally.reconnected += 1;
                return;
            }
            Event::Uploaded(job) => {
                self.tally.acknowledged.push((number, job.sequence));
                return;
            }
            Event::Established(job) => {
                self.tally.established += 1;
                (job, true)
            }
            Event::Answered(job, code) => {
                *self.tally.codes.entry(code).or_default() += 1;
                let good = code == coap::CHANGED;
                let list = match job.operation {
                    Operation::Command => &mut self.tally.responded,
                    _ => &mut self.tally.acknowledged,
                };
                list.extend(good.then_some((number, job.sequence)));
                (job, good)
            }
            Event::NoCommand(job) => {
                self.tally.no_command += 1;
                (job, false)
            }
            Event::GaveUp(_) => {
                self.tally.gave_up += 1;
                self.tally.second(now - self.start).bad += 1;
                self.outstanding -= 1;
                return self.order.progress.bad();
            }
        };
        self.outstanding -= 1;
        let latency = now.saturating_duration_since(job.intended);
        let since = now - self.start;
        self.tally.record(job.operation, latency, since, good);
        if good {
            self.order.progress.good();
        } else {
            self.order.progress.bad();
        }
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            intended: 0,
            latencies: BTreeMap::new(),
            codes: BTreeMap::new(),
            established: 0,
            reconnected: 0,
            moved: 0,
            gave_up: 0,
            repeated: 0,
            acknowledged: Vec::new(),
            responded: Vec::new(),
            no_command: 0,
            seconds: Vec::new(),
            lasted: Duration::ZERO,
            set_up: Duration::ZERO,
        }
    }

    /// Notes that something was answered, so long after it was meant to be done, and so long after the start.
    pub(crate) fn record(
        &mut self,
        operation: Operation,
        latency: Duration,
        since: Duration,
        good: bool,
    ) {
        self.latencies
            .entry(operation)
            .or_insert_with(Histogram::new)
            .record(latency);
        self.lasted = since;
        let second = self.second(since);
        second.latencies.record(latency);
        if good {
            second.good += 1;
        } else {
            second.bad += 1;
        }
    }

    fn second(&mut self, since: Duration) -> &mut Second {
        let place = usize::try_from(since.as_secs()).unwrap_or(0);
        if self.seconds.len() <= place {
            self.seconds.resize_with(place + 1, Second::new);
        }
        &mut self.seconds[place]
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.intended += other.intended;
        for (operation, histogram) in &other.latencies {
            self.latencies
                .entry(*operation)
                .or_insert_with(Histogram::new)
                .add(histogram);
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.established += other.established;
        self.reconnected += other.reconnected;
        self.moved += other.moved;
        self.no_command += other.no_command;
        self.responded.extend(other.responded);
        self.gave_up += other.gave_up;
        self.repeated += other.repeated;
        self.acknowledged.extend(other.acknowledged);
        let length = self.seconds.len().max(other.seconds.len());
        self.seconds.resize_with(length, Second::new);
        for (second, more) in self.seconds.iter_mut().zip(other.seconds) {
            second.good += more.good;
            second.bad += more.bad;
            second.latencies.add(&more.latencies);
        }
        self.lasted = self.lasted.max(other.lasted);
        self.set_up = self.set_up.max(other.set_up);
    }
}

impl Second {
    fn new() -> Self {
        Self {
            good: 0,
            bad: 0,
            latencies: Histogram::new(),
        }
    }
}

/// Where a device sends from: some thousands share an address of this machine. One that gives its socket back has a port of its own.
fn address(device: u32, lends_sockets: bool) -> SocketAddr {
    let (host, port) = (
        device / DEVICES_AT_AN_ADDRESS,
        device % DEVICES_AT_AN_ADDRESS,
    );
    let [.., high, low] = (host + 1).to_be_bytes();
    let port = if lends_sockets {
        u16::try_from(FIRST_PORT + port).unwrap_or(0)
    } else {
        0
    };
    SocketAddr::from((Ipv4Addr::new(127, 1, high, low), port))
}

const DEVICES_AT_AN_ADDRESS: u32 = 20_000;
/// The first port of those that are given out by number.
const FIRST_PORT: u32 = 10_000;
const HANDSHAKES_AT_A_TIME: usize = 64;
const SET_UP_WITHIN: Duration = Duration::from_secs(120);
