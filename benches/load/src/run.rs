//! A run, from what is asked for to what came of it.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use crate::{
    application::Consumer,
    credentials::{Authority, Credentials},
    library,
    options::Options,
    picture,
    process::{self, Usage},
    progress::Progress,
    report::{Cost, North, Report},
    scenario::Scenario,
    stage::Stage,
    tell,
    worker::{self, Order, Tally},
};

/// Whether all went well.
pub(crate) fn execute(options: &Options) -> Result<bool, String> {
    let scenario = Arc::new(scenario(options)?);
    let stage = match options.names_a_server() {
        true => None,
        false => Some(Stage::start(&scenario)?),
    };
    let server = server(options, &scenario, stage.as_ref())?;
    let amqp = stage
        .as_ref()
        .map_or(options.amqp, |stage| stage.addresses.amqp);
    for address in [server, amqp] {
        if !address.ip().is_loopback() {
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
    let (tally, cost) = play.run()?;
    let arrived = consumer.map(Consumer::stop);
    let report = Report {
        north: arrived.map(|arrived| North::of(&tally, &arrived)),
        scenario: Scenario::clone(&play.scenario),
        seed: options.seed,
        tally,
        cost,
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
        let text = format!("{:#}\n", report.to_json());
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
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
    if let Some(seconds) = options.duration {
        let duration = Duration::try_from_secs_f64(seconds);
        scenario.duration = duration.map_err(|error| format!("--duration: {error}"))?;
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

impl Play {
    fn run(&self) -> Result<(Tally, Option<Cost>), String> {
        let scenario = &self.scenario;
        let lends_sockets =
            process::open_files().is_some_and(|it| it < scenario.devices + SPARE_FILES);
        let workers = self.workers.min(scenario.devices);
        let ready = Arc::new(Barrier::new(workers as usize + 1));
        let progress = Arc::new(Progress::new(scenario));
        let start = self.usage();
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let share =
                    |worker| u64::from(scenario.devices) * u64::from(worker) / u64::from(workers);
                let place = |worker| u32::try_from(share(worker)).unwrap_or(u32::MAX);
                let devices = place(worker)..place(worker + 1);
                let order = Order {
                    credentials: Arc::clone(&self.credentials),
                    lends_sockets,
                    rate: scenario.rates.total() * f64::from(devices.end - devices.start)
                        / f64::from(scenario.devices),
                    scenario: Arc::clone(scenario),
                    server: self.server,
                    seed: self.seed,
                    devices,
                    ready: Arc::clone(&ready),
                    progress: Arc::clone(&progress),
                };
                thread::spawn(move || worker::run(order))
            })
            .collect();
        while !progress.are_prepared(workers) {
            thread::sleep(TICK);
            tell(&progress.line());
        }
        let before = self.usage();
        progress.play();
        ready.wait();
        let mut peak = 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(TICK);
            peak = peak.max(self.usage().map_or(0, |usage| usage.resident));
            tell(&progress.line());
        }
        tell("\n");
        let cost = start.zip(before).zip(self.usage());
        let cost = cost.map(|((start, before), after)| Cost {
            start,
            before,
            after,
            peak,
        });
        let mut all = Tally::new();
        for thread in threads {
            let tally = thread.join().map_err(|_| "a worker failed")?;
            all.add(tally.map_err(|error| error.to_string())?);
        }
        Ok((all, cost))
    }

    fn usage(&self) -> Option<Usage> {
        self.process.and_then(Usage::of)
    }
}

/// How often it is looked what came of it so far.
const TICK: Duration = Duration::from_millis(200);
/// Files that this process has open beside the devices' sockets, and some more.
const SPARE_FILES: u32 = 100;
