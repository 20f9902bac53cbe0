//! A thread that drives many devices: when they speak, their timers, what is lost on the way, and what came of it.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    iter,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mio::{Events, Poll};

use crate::{
    coap,
    credentials::Credentials,
    device::{Device, Event, Job, Why},
    network::{Batch, Network, Place},
    progress::Progress,
    random::Random,
    scenario::{Operation, Scenario},
    tally::{StormTally, Tally},
};

/// What a worker is to do.
pub(crate) struct Order {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) server: SocketAddr,
    pub(crate) seed: u64,
    /// Numbers of its devices.
    pub(crate) devices: Range<u32>,
    /// Whether they are those that come in a storm; they are behind all others.
    pub(crate) part: Part,
    /// How far the storm is, of all workers.
    pub(crate) storming: Arc<Storming>,
    /// Its part of all requests, a second.
    pub(crate) rate: f64,
    /// Passed when every device of every worker has its session.
    pub(crate) ready: Arc<Barrier>,
    pub(crate) progress: Arc<Progress>,
}

/// What the devices of a worker do. None has both, so that handshakes of a storm hold up nobody else's datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What the scenario's rates say, in sessions that are there before.
    Rates,
    /// They shake hands once.
    Storm,
}

/// How far a storm is.
pub(crate) struct Storming {
    /// Devices that have not got their sessions, nor given up.
    left: AtomicUsize,
    /// Since its beginning, when the last of them had; in microseconds.
    drained: AtomicU64,
}

impl Storming {
    pub(crate) fn new(devices: u32) -> Self {
        Self {
            left: AtomicUsize::new(devices as usize),
            drained: AtomicU64::new(0),
        }
    }

    /// One more device has its session, or gave up, so long after the beginning.
    fn less(&self, since: Duration) {
        let since = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.drained.fetch_max(since, Relaxed);
        self.left.fetch_sub(1, Relaxed);
    }

    /// How long after its beginning the storm was over; `None`: it is not.
    fn drained(&self) -> Option<Duration> {
        let is_over = self.left.load(Relaxed) == 0;
        is_over.then(|| Duration::from_micros(self.drained.load(Relaxed)))
    }
}

struct Seat {
    device: Device,
    place: Place,
    timer: Option<Instant>,
    loss: Random,
    moves: Random,
    sent: u32,
}

impl Seat {
    /// Whether a datagram of its device is lost on the way, of which so many are.
    fn loses(&mut self, fraction: f64) -> bool {
        let lost = fraction > 0.0 && self.loss.fraction() < fraction;
        if lost {
            self.device.lose();
        }
        lost
    }
}

struct Worker {
    order: Order,
    poll: Poll,
    network: Network,
    seats: Vec<Seat>,
    timers: BTreeSet<(Instant, usize)>,
    ready: usize,
    outstanding: u64,
    start: Instant,
    tally: Tally,
    /// Taken out while it is worked at.
    batch: Option<Batch>,
    /// Ports that may have more to read.
    readable: Vec<usize>,
    events: Events,
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
                place: Place::of(number),
                timer: None,
                loss: random(2),
                moves: random(3),
                sent: 0,
            });
        }
        let mut tally = Tally::new();
        tally.storm = order.scenario.storm.map(|_| StormTally::new());
        Ok(Self {
            network: Network::open(order.server, poll.registry())?,
            order,
            poll,
            seats,
            timers: BTreeSet::new(),
            ready: 0,
            outstanding: 0,
            start: Instant::now(),
            tally,
            batch: Some(Batch::new()),
            readable: Vec::new(),
            events: Events::with_capacity(EVENTS),
        })
    }

    /// Gives every device its session, a few at a time.
    fn set_up(&mut self) -> io::Result<()> {
        if self.order.part == Part::Storm || !self.order.scenario.sets_up() {
            return Ok(());
        }
        let wanted = self.order.devices.len();
        let within = SET_UP_WITHIN + Duration::from_millis(wanted as u64);
        let (started, mut begun) = (Instant::now(), 0);
        while self.ready < wanted {
            if started.elapsed() > within {
                let text = format!("only {} of {wanted} sessions", self.ready);
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            while begun < wanted && begun - self.ready < HANDSHAKES_AT_A_TIME {
                let now = Instant::now();
                self.with(now, begun, |device| device.connect(now));
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
        let order = arrivals.shuffled(self.order.devices.len());
        let mut turns = order.into_iter().cycle();
        let end = self.start + scenario.duration;
        let mut next = match self.order.part {
            Part::Rates => self.start + arrivals.gap(self.order.rate),
            Part::Storm => end,
        };
        let mut storm = self.storm(&mut arrivals).into_iter().peekable();
        while next < end || storm.peek().is_some() {
            let now = Instant::now();
            while next <= now && next < end {
                // All in turn, so that each has done its part before one does more.
                let operation = scenario.rates.choose(arrivals.fraction());
                if let Some(place) = turns.next() {
                    self.begin(now, place, operation, next);
                }
                next += arrivals.gap(self.order.rate);
            }
            while let Some((when, place)) = storm.next_if(|(when, _)| *when <= now) {
                self.begin(now, place, Operation::Handshake, when);
            }
            let storm = storm.peek().map(|(when, _)| *when);
            self.wait(storm.into_iter().chain([next, end]).min().unwrap_or(end))?;
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

    /// When which device of the storm comes: evenly, but for chance.
    fn storm(&self, random: &mut Random) -> Vec<(Instant, usize)> {
        let (Part::Storm, Some(storm)) = (self.order.part, self.order.scenario.storm) else {
            return Vec::new();
        };
        let mut times: Vec<_> = iter::repeat_with(|| storm.within.mul_f64(random.fraction()))
            .take(self.order.devices.len())
            .collect();
        times.sort_unstable();
        let start = self.start + storm.after;
        times.into_iter().map(|it| start + it).zip(0..).collect()
    }

    fn begin(&mut self, now: Instant, place: usize, operation: Operation, intended: Instant) {
        let rebind = self.order.scenario.rebind;
        let Some(seat) = self.seats.get_mut(place) else {
            return;
        };
        let job = Job {
            operation,
            sequence: seat.sent,
            intended,
        };
        seat.sent += 1;
        self.outstanding += 1;
        self.tally.intended += 1;
        // With a handshake from elsewhere, nobody would ever speak in the session before.
        let may_move = operation != Operation::Handshake && seat.device.may_move();
        if rebind > 0.0 && may_move && seat.moves.fraction() < rebind {
            seat.place = seat.place.moved();
            self.tally.moved += 1;
        }
        self.with(now, place, |device| device.take(now, job));
    }

    /// Waits for datagrams and timers, at most until `until`.
    fn wait(&mut self, until: Instant) -> io::Result<()> {
        let first = self.timers.first().map_or(until, |(when, _)| *when);
        let timeout = match self.readable.is_empty() {
            true => until.min(first).saturating_duration_since(Instant::now()),
            false => Duration::ZERO,
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let ports = self.events.iter().map(|event| event.token().0);
        let new: Vec<_> = ports.filter(|port| !self.readable.contains(port)).collect();
        self.readable.extend(new);
        for port in std::mem::take(&mut self.readable) {
            self.receive(port)?;
        }
        // Answers that are there already must not look like answers that did not come.
        while self.readable.is_empty() {
            let now = Instant::now();
            match self.timers.first().copied() {
                Some((when, seat)) if when <= now => {
                    self.with(now, seat, |device| device.handle_timeout(now));
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Reads what has come to a port, up to a bound.
    fn receive(&mut self, port: usize) -> io::Result<()> {
        let Some(mut batch) = self.batch.take() else {
            return Ok(());
        };
        let mut left = BATCHES;
        let read = loop {
            match self.network.receive(port, &mut batch) {
                Ok(true) => {}
                other => break other,
            }
            self.hand_on(&mut batch);
            left -= 1;
            if left == 0 {
                self.readable.push(port);
                break Ok(false);
            }
        };
        self.batch = Some(batch);
        read.map(drop)
    }

    fn hand_on(&mut self, batch: &mut Batch) {
        let (now, loss) = (Instant::now(), self.order.scenario.loss);
        batch.for_each(self.order.server, |place, datagram| {
            let Some(number) = self.seat_of(place.device) else {
                return;
            };
            let Some(seat) = self.seats.get_mut(number) else {
                return;
            };
            // Sent to where the device is no more, or lost on the way.
            if seat.place != place || seat.loses(loss) {
                return;
            }
            self.with(now, number, |device| device.handle_datagram(now, datagram));
        });
    }

    /// Lets a device do something, then sends what it sends and notes what it tells.
    fn with(&mut self, now: Instant, number: usize, act: impl FnOnce(&mut Device)) {
        let loss = self.order.scenario.loss;
        let Some(seat) = self.seats.get_mut(number) else {
            return;
        };
        act(&mut seat.device);
        while let Some(datagram) = seat.device.poll_transmit() {
            if !seat.loses(loss) {
                self.network.send(seat.place, &datagram);
            }
        }
        let timer = seat.device.poll_timeout();
        if timer != seat.timer {
            if let Some(before) = std::mem::replace(&mut seat.timer, timer) {
                self.timers.remove(&(before, number));
            }
            self.timers.extend(timer.map(|when| (when, number)));
        }
        while let Some(event) = self
            .seats
            .get_mut(number)
            .and_then(|seat| seat.device.poll_event())
        {
            self.note(now, number, &event);
        }
    }

    fn note(&mut self, now: Instant, place: usize, event: &Event) {
        let number = self.number(place);
        if self.order.part == Part::Storm {
            self.note_storm(now, place, event);
        }
        let (job, good) = match *event {
            Event::Ready if self.order.part == Part::Rates && self.ready < self.seats.len() => {
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
            Event::Executed(origin) => {
                let executed = origin.map(|origin| (origin.device, origin.sequence));
                self.tally.executed.extend(executed);
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
            Event::GaveUp(_, why) => {
                self.tally.gave_up += 1;
                self.tally.all_lost += u64::from(why == Why::AllLost);
                self.tally.second(now - self.start).bad += 1;
                self.outstanding -= 1;
                return self.order.progress.bad();
            }
        };
        self.outstanding -= 1;
        let latency = now.saturating_duration_since(job.intended);
        let since = now - self.start;
        self.tally.record(job.operation, latency, since, good);
        if self.order.part == Part::Rates {
            self.tally.feel_storm(
                &self.order.scenario,
                job.intended - self.start,
                latency,
                self.order.storming.drained(),
            );
        }
        if good {
            self.order.progress.good();
        } else {
            self.order.progress.bad();
        }
    }
}

impl Worker {
    /// The device in that seat.
    fn number(&self, seat: usize) -> u32 {
        self.order.devices.clone().nth(seat).unwrap_or(u32::MAX)
    }

    /// Where a device of this worker sits.
    fn seat_of(&self, device: u32) -> Option<usize> {
        let devices = &self.order.devices;
        let seat = devices.contains(&device).then(|| device - devices.start)?;
        usize::try_from(seat).ok()
    }

    /// Notes how a device of the storm got its session, or that it got none.
    fn note_storm(&mut self, now: Instant, place: usize, event: &Event) {
        let timeouts = self.seats.get(place).map_or(0, |it| it.device.timeouts());
        let scenario = &self.order.scenario;
        let (Some(tally), Some(storm)) = (&mut self.tally.storm, scenario.storm) else {
            return;
        };
        match event {
            Event::Established(_) => {
                let count = tally.timeouts.len() - 1;
                tally.timeouts[count.min(timeouts as usize)] += 1;
                tally.most_timeouts = tally.most_timeouts.max(timeouts);
            }
            Event::GaveUp(..) => tally.without += 1,
            _ => return,
        }
        tally.drained = now.saturating_duration_since(self.start + storm.after);
        self.order.storming.less(tally.drained);
    }
}

/// Readable sockets that are looked at in one go.
const EVENTS: usize = 64;
/// Batches of one socket before the others have their turn.
const BATCHES: usize = 8;
const HANDSHAKES_AT_A_TIME: usize = 64;
const SET_UP_WITHIN: Duration = Duration::from_secs(120);
