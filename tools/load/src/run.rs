//! A run, from what is asked for to what came of it.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    ops::Range,
    path::Path,
    sync::{Arc, Barrier},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    application::Consumer,
    credentials::{Authority, Credentials},
    library,
    options::Options,
    picture,
    process::Usage,
    progress::Progress,
    report::{Cost, North, Report},
    scenario::Scenario,
    show,
    stage::Stage,
    tally::Tally,
    tell,
    watch::{GAUGES_LAG, Steadiness, Watch},
    worker::{self, Order, Part, Storming},
};

/// Whether all went well.
pub(crate) fn execute(options: &Options) -> Result<bool, String> {
    let scenario = Arc::new(scenario(options)?);
    let mut stage = match options.names_a_server() {
        true => None,
        false => Some(Stage::start(&scenario)?),
    };
    let server = server(options, &scenario, stage.as_ref())?;
    let amqp = stage
        .as_ref()
        .map_or(options.amqp, |stage| stage.addresses.amqp);
    for address in [server, amqp] {
        if !(address.is_ipv4() && address.ip().is_loopback()) {
            return Err(format!(
                "{address} is not an address of this machine alone, such as 127.0.0.1"
            ));
        }
    }
    let consumer = match options.no_consumer {
        true => None,
        false => Some(Consumer::start(amqp)?),
    };
    let authority = stage.as_ref().and_then(|stage| stage.authority.clone());
    let authority = authority.as_ref().or(options.authority.as_ref());
    let authority = authority.map(|path| Authority::read(path)).transpose()?;
    let play = Play {
        credentials: Arc::new(credentials(options, &scenario, authority)?),
        process: stage.as_ref().map(Stage::process).or(options.pid),
        scenario,
        server,
        seed: options.seed,
        workers: options.workers,
    };
    let mut watch = match &stage {
        Some(stage) if options.csv.is_some() || !play.scenario.rest.is_zero() => {
            Some(Watch::new(stage.addresses.health, stage.process()))
        }
        _ => None,
    };
    let played = play.run(stage.as_mut(), watch.as_mut())?;
    if let (Some(path), Some(watch)) = (&options.csv, &watch) {
        write_to(path, &watch.to_csv())?;
    }
    let arrived = consumer.map(Consumer::stop);
    let Played {
        tally,
        cost,
        restarts,
        steadiness,
    } = played;
    let report = Report {
        north: arrived.map(|arrived| North::of(&tally, &arrived)),
        scenario: Scenario::clone(&play.scenario),
        seed: options.seed,
        tally,
        cost,
        restarts,
        steadiness,
    };
    tell_all(options, &report)?;
    match (report.is_clean(), stage) {
        (true, Some(stage)) => stage.clear(),
        (false, Some(stage)) => tell(&format!("logs are in {}\n", stage.folder().display())),
        (_, None) => {}
    }
    Ok(report.is_clean())
}

/// On standard output, and where it is wanted.
fn tell_all(options: &Options, report: &Report) -> Result<(), String> {
    write!(io::stdout(), "{report}").map_err(|error| error.to_string())?;
    if let Some(path) = &options.json {
        write_to(path, &format!("{:#}\n", report.to_json()))?;
    }
    if let Some(path) = &options.svg {
        let name = options.scenario.rsplit('/').next().unwrap_or_default();
        let title = format!(
            "{}: {:.0}/s, {} devices",
            name.trim_end_matches(".yaml"),
            report.scenario.rates.total(),
            report.scenario.devices
        );
        picture::draw(&report.tally, &title, path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn write_to(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Where the devices send to.
fn server(
    options: &Options,
    scenario: &Scenario,
    stage: Option<&Stage>,
) -> Result<SocketAddr, String> {
    let (named, missing) = match scenario.secure {
        true => (options.coaps, "--coaps"),
        false => (options.coap, "--coap"),
    };
    match stage {
        Some(stage) if scenario.secure => Ok(stage.addresses.coaps),
        Some(stage) => Ok(stage.addresses.coap),
        None => named.ok_or_else(|| format!("this scenario needs {missing} ADDR")),
    }
}

fn credentials(
    options: &Options,
    scenario: &Scenario,
    authority: Option<Authority>,
) -> Result<Credentials, String> {
    let certificates = match (authority, scenario.certificates) {
        (Some(authority), share) if share > 0.0 => Some((share, authority)),
        (None, share) if share > 0.0 => {
            return Err(
                "certificates need `--authority`; `load world --authority` makes one".into(),
            );
        }
        _ => None,
    };
    Ok(Credentials {
        identity: options.identity.clone(),
        key: options.key.clone(),
        certificates,
    })
}

fn scenario(options: &Options) -> Result<Scenario, String> {
    let name = &options.scenario;
    let text = match library::find(name) {
        Some(text) => text.to_owned(),
        None => fs::read_to_string(name).map_err(|error| {
            format!(
                "{name} is neither one of `load scenarios` nor a file that can be read: {error}"
            )
        })?,
    };
    let mut scenario = Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    scenario.devices = options.devices.unwrap_or(scenario.devices);
    if let Some(rate) = options.rate {
        scenario.rates = scenario.rates.scaled_to(rate);
    }
    scenario.loss = options.loss.unwrap_or(scenario.loss);
    let seconds = |flag: &str, seconds: Option<f64>| {
        let duration = seconds.map(Duration::try_from_secs_f64).transpose();
        duration.map_err(|error| format!("{flag}: {error}"))
    };
    if let Some(duration) = seconds("--duration", options.duration)? {
        scenario.duration = duration;
    }
    if let Some(rest) = seconds("--rest", options.rest)? {
        scenario.rest = rest;
    }
    let restart = seconds("--restart-network", options.restart_network)?;
    scenario.restart_network = restart.or(scenario.restart_network);
    if options.names_a_server() && (scenario.restart_network.is_some() || options.csv.is_some()) {
        return Err(
            "what is restarted or watched must have been started here, without --coaps and --coap"
                .into(),
        );
    }
    scenario.check()?;
    Ok(scenario)
}

/// All that devices need to play.
struct Play {
    scenario: Arc<Scenario>,
    credentials: Arc<Credentials>,
    server: SocketAddr,
    seed: u64,
    workers: u32,
    /// The server's.
    process: Option<u32>,
}

/// What came of it, but for what the application got.
struct Played {
    tally: Tally,
    cost: Option<Cost>,
    /// How often the network was killed and started again.
    restarts: u32,
    steadiness: Option<Steadiness>,
}

impl Play {
    fn run(
        &self,
        mut stage: Option<&mut Stage>,
        mut watch: Option<&mut Watch>,
    ) -> Result<Played, String> {
        let scenario = &self.scenario;
        let crews = self.crews();
        let workers = crews.len();
        let ready = Arc::new(Barrier::new(workers + 1));
        let progress = Arc::new(Progress::new(scenario));
        let start = self.usage();
        let threads = self.start(crews, &ready, &progress);
        while !progress.are_prepared(workers) {
            thread::sleep(TICK);
            show(&progress.line());
        }
        let before = self.usage();
        let first_look = watch.as_mut().map(|watch| {
            // All sessions are to be in it.
            thread::sleep(GAUGES_LAG);
            watch.look()
        });
        progress.play();
        ready.wait();
        let (mut peak, mut restarts, begun) = (0, 0, Instant::now());
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(TICK);
            peak = peak.max(self.usage().map_or(0, |usage| usage.resident));
            if let Some(watch) = &mut watch {
                watch.look_when_due();
            }
            if let (Some(stage), Some(every)) = (&mut stage, scenario.restart_network)
                && begun.elapsed() >= every * (restarts + 1)
                && begun.elapsed() + every / 4 < scenario.duration
            {
                restarts += 1;
                stage.restart_network(AWAY)?;
            }
            show(&progress.line());
        }
        let last_look = watch.as_mut().map(|watch| watch.look());
        let rested = Instant::now();
        while let Some(left) = scenario.rest.checked_sub(rested.elapsed())
            && let Some(watch) = &mut watch
        {
            watch.look_when_due();
            show(&format!(
                "\rresting, {:.0} s left                                     ",
                left.as_secs_f64()
            ));
            thread::sleep(TICK);
        }
        let steadiness = watch.and_then(|watch| {
            watch.look();
            watch.steadiness(first_look?, last_look?)
        });
        show("\n");
        let cost = start.zip(before).zip(self.usage());
        let cost = cost.map(|((start, before), after)| Cost {
            start,
            before,
            after,
            peak,
        });
        let mut tally = Tally::new();
        for thread in threads {
            let of_worker = thread.join().map_err(|_| "a worker failed")?;
            tally.add(of_worker.map_err(|error| error.to_string())?);
        }
        Ok(Played {
            tally,
            cost,
            restarts,
            steadiness: steadiness.filter(|_| !scenario.rest.is_zero()),
        })
    }

    /// Which devices each worker has, and what they do.
    fn crews(&self) -> Vec<(Range<u32>, Part)> {
        let (first, last) = (self.scenario.devices, self.scenario.population());
        let workers = self.workers.min(first);
        let devices = (0..workers).map(|worker| (part(0..first, worker, workers), Part::Rates));
        let storm = (0..workers).map(|worker| (part(first..last, worker, workers), Part::Storm));
        let storm = storm.filter(|(devices, _)| !devices.is_empty());
        devices.chain(storm).collect()
    }

    fn start(
        &self,
        crews: Vec<(Range<u32>, Part)>,
        ready: &Arc<Barrier>,
        progress: &Arc<Progress>,
    ) -> Vec<JoinHandle<io::Result<Tally>>> {
        let scenario = &self.scenario;
        let storming = Arc::new(Storming::new(scenario.population() - scenario.devices));
        let start = |(devices, part): (Range<u32>, Part)| {
            let order = Order {
                credentials: Arc::clone(&self.credentials),
                rate: match part {
                    Part::Rates => {
                        scenario.rates.total() * f64::from(devices.end - devices.start)
                            / f64::from(scenario.devices)
                    }
                    Part::Storm => 0.0,
                },
                scenario: Arc::clone(scenario),
                server: self.server,
                seed: self.seed,
                devices,
                part,
                storming: Arc::clone(&storming),
                ready: Arc::clone(ready),
                progress: Arc::clone(progress),
            };
            thread::spawn(move || worker::run(order))
        };
        crews.into_iter().map(start).collect()
    }

    fn usage(&self) -> Option<Usage> {
        self.process.and_then(Usage::of)
    }
}

/// The part of a range that one of several workers has.
fn part(whole: Range<u32>, worker: u32, workers: u32) -> Range<u32> {
    let count = u64::from(whole.end - whole.start);
    let before = |worker| count * u64::from(worker) / u64::from(workers);
    let place = |worker| whole.start + u32::try_from(before(worker)).unwrap_or(u32::MAX);
    place(worker)..place(worker + 1)
}

/// How long the network stays away when it is restarted.
const AWAY: Duration = Duration::from_secs(3);
/// How often it is looked what came of it so far.
const TICK: Duration = Duration::from_millis(200);
