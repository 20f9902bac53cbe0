//! The comparison run: adapter, floor, Eclipse Hono's adapter and Californium under the same devices on the same CPU, in turn, several times.
//!
//! Devices, AMQP network and application have one CPU, the server under test has the other, so that all servers are seen
//! under the same load. Latencies are those of two busy CPUs; the cost of a server is its own CPU
//! time.

mod field;
mod hono;

use anyhow::{Context, Result};

use self::field::{Field, Load, Server};

/// `bench [RATE]...`: telemetry at each rate, the servers in turn; then what their sessions take.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let rates: Vec<u32> = match words {
        [] => RATES.to_vec(),
        words => words
            .iter()
            .map(|word| word.parse().with_context(|| format!("`{word}` is no rate")))
            .collect::<Result<_>>()?,
    };
    let (field, servers) = Field::prepare()?;
    let _network = field.start_network()?;
    let mut lines = Vec::new();
    for round in 1..=ROUNDS {
        for rate in &rates {
            for server in &servers {
                let row = uploads(&field, *server, *rate)
                    .with_context(|| format!("{server:?} at {rate}/s"))?;
                println!("xtask: round {round}, {server:?} at {rate}/s: {row}");
                lines.push(format!("| {server:?} | {rate} | {round} | {row} |"));
            }
        }
    }
    lines.sort();
    let mut sessions = Vec::new();
    for server in &servers {
        let row = memory(&field, *server).with_context(|| format!("sessions of {server:?}"))?;
        sessions.push(format!("| {server:?} | {row} |"));
    }
    println!("\n{UPLOADS}\n{}", lines.join("\n"));
    println!("\n{SESSIONS}\n{}", sessions.join("\n"));
    Ok(())
}

/// What telemetry costs, and how long it takes.
fn uploads(field: &Field, server: Server, rate: u32) -> Result<String> {
    let running = field.start_server(server)?;
    let load = |seconds| Load {
        rate,
        seconds,
        devices: DEVICES,
    };
    if server.is_java() {
        // The machine's own compiler has to see the code often before it is at its best.
        field.load(server, &running, load(WARM_UP))?;
    }
    let numbers = field.load(server, &running, load(SECONDS))?;
    let latency = &numbers["latency_ms"]["telemetry"];
    let good = numbers["codes"]["2.04"].as_i64().unwrap_or(0);
    Ok(format!(
        "{good} | {} | {:.0} | {} | {} | {} | {} | {}",
        numbers["intended"].as_i64().unwrap_or(0) - good,
        numbers["answered_per_cpu_second"].as_f64().unwrap_or(0.0),
        latency["p50"],
        latency["p99"],
        latency["p99.9"],
        numbers["rss_kb"]["before"],
        numbers["rss_kb"]["peak"],
    ))
}

/// What is resident without sessions, with some, and with many more.
fn memory(field: &Field, server: Server) -> Result<String> {
    let running = field.start_server(server)?;
    let empty = running.resident()?;
    let with = |devices| -> Result<u64> {
        let load = Load {
            rate: IDLE,
            seconds: 1,
            devices,
        };
        let numbers = field.load(server, &running, load)?;
        numbers["rss_kb"]["before"]
            .as_u64()
            .context("the load generator does not tell the memory")
    };
    // The first ones pay for what all need.
    let some = with(DEVICES)?;
    let many = with(MANY_DEVICES)?;
    let each = many.saturating_sub(some) * 1024 / u64::from(MANY_DEVICES);
    Ok(format!("{empty} | {some} | {many} | {each}"))
}

const UPLOADS: &str = "\
| server | rate | round | 2.04 | not | answers a CPU-second | p50 ms | p99 ms | p99.9 ms | RSS kB with 1000 sessions | at most |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";
const SESSIONS: &str = "\
| server | RSS kB without sessions | with 1000 | with 10000 more | bytes a session of those |
| --- | --- | --- | --- | --- |";
const ROUNDS: u32 = 3;
const RATES: [u32; 3] = [1000, 2000, 8000];
const SECONDS: u32 = 10;
const WARM_UP: u32 = 20;
/// A rate at which next to nothing is sent.
const IDLE: u32 = 10;
const DEVICES: u32 = 1000;
const MANY_DEVICES: u32 = 10_000;
