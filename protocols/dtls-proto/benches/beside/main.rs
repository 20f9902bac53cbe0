//! The engine beside other DTLS servers, under the same clients: what each takes of the processor and of memory.
//!
//! `cargo bench -p dtls-proto --bench beside`. Every server is a process of its own with one UDP socket, and sends back what it gets:
//! this engine and OpenSSL in a plain loop round that socket, Scandium and the crate `dtls` (webrtc-rs) in the shells that they bring.
//! CPU time is that of all threads of the server's process, its part of the kernel's work included, as the kernel accounts it. The
//! servers take turns, round by round. A server that is not there is left out, loudly.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench needs a clock, and these servers sockets"
)]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod server;
mod others;
mod process;
mod load;

use std::ops::Range;
use std::time::Duration;

use dtls_proto::CipherSuite;

use self::load::Load;
use self::others::Kind;
use self::process::ServerProcess;

/// In the tests' folder: key and certificate, the same for both sides.
const PEM: &str = "tests/identities/p256.pem";
const IDENTITY: &str = "sensor1@DEFAULT_TENANT";
const KEY: &[u8] = b"secret1";

/// What is done in one turn.
struct Subject {
    name: &'static str,
    suite: CipherSuite,
    /// `-`: none, the server knows a key.
    pem: &'static str,
    work: Work,
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Handshakes,
    /// Records of 64 bytes to the server and back.
    Echoes,
}

const SUBJECTS: [Subject; 4] = [
    Subject {
        name: "handshake_psk_ccm8",
        suite: CipherSuite::PskAes128Ccm8,
        pem: "-",
        work: Work::Handshakes,
        count: 1_000,
    },
    Subject {
        name: "handshake_ecdsa_mutual_ccm8",
        suite: CipherSuite::EcdheEcdsaAes128Ccm8,
        pem: PEM,
        work: Work::Handshakes,
        count: 500,
    },
    Subject {
        name: "echo_64b_ccm8",
        suite: CipherSuite::PskAes128Ccm8,
        pem: "-",
        work: Work::Echoes,
        count: 10_000,
    },
    Subject {
        name: "echo_64b_gcm",
        suite: CipherSuite::PskAes128GcmSha256,
        pem: "-",
        work: Work::Echoes,
        count: 10_000,
    },
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, port, pem] = words.as_slice()
        && first == "serve"
    {
        return server::serve(port.parse().unwrap(), pem);
    }
    let test = words.iter().any(|word| word == "--test");
    let (warm_up, rounds, scale) = if test {
        (0, 1, 50)
    } else {
        (WARM_UP, ROUNDS, 1)
    };
    let kinds = others::all();
    println!(
        "{:<28} {:<10} {:>12} {:>10} {:>10}",
        "a second of the server's CPU", "server", "lowest", "median", "highest"
    );
    for subject in &SUBJECTS {
        turns(
            &kinds,
            subject,
            warm_up..warm_up + rounds,
            subject.count / scale,
        );
    }
    println!(
        "\n{:<28} {:>12} {:>26}",
        "", "bytes a session", "beside a silent client"
    );
    for kind in &kinds {
        let count = 2_000 / scale;
        let bytes = memory(kind, count);
        let served = if silence(kind) {
            "handshakes go on"
        } else {
            "none for 3 s"
        };
        println!("{:<28} {bytes:>12} {served:>26}", kind.name);
    }
}

/// How often each server has its turn.
const ROUNDS: u32 = 5;

/// How many turns before do not count: Java compiles what runs often, and the others pay nothing for it.
const WARM_UP: u32 = 15;

/// How many sessions have records on their way at a time.
const SESSIONS: u32 = 50;

fn turns(kinds: &[Kind], subject: &Subject, counted: Range<u32>, count: u32) {
    let mut servers: Vec<(&Kind, ServerProcess, Load, Vec<f64>)> = kinds
        .iter()
        .map(|kind| {
            let server = kind.start(subject.pem);
            let load = Load::new(&server, subject.suite, kind.at_a_time);
            (kind, server, load, Vec::new())
        })
        .collect();
    for round in 0..counted.end {
        for (_, server, load, rates) in &mut servers {
            let before = match subject.work {
                Work::Handshakes => {
                    let before = server.cpu_time();
                    load.shake(count);
                    before
                }
                Work::Echoes => {
                    load.prepare(SESSIONS);
                    let before = server.cpu_time();
                    load.echo(count);
                    before
                }
            };
            let worked = server.cpu_time() - before;
            if counted.contains(&round) {
                rates.push(f64::from(count) / worked.as_secs_f64().max(f64::MIN_POSITIVE));
            }
        }
    }
    for (kind, _, _, rates) in &mut servers {
        rates.sort_by(f64::total_cmp);
        println!(
            "{:<28} {:<10} {:>12.0} {:>10.0} {:>10.0}",
            subject.name,
            kind.name,
            rates[0],
            rates[rates.len() / 2],
            rates[rates.len() - 1]
        );
    }
}

/// What the process takes for each of so many idle sessions that have sent one record.
fn memory(kind: &Kind, count: u32) -> u64 {
    let mut server = kind.start("-");
    let mut load = Load::new(&server, CipherSuite::PskAes128Ccm8, kind.at_a_time);
    // What it needs in passing is there before the first count.
    load.prepare(count / 4);
    load.echo(count / 4);
    let before = server.memory();
    load.prepare(count);
    load.echo(count);
    let grown = server.memory().saturating_sub(before);
    grown / u64::from(count - count / 4)
}

/// Whether a handshake gets through while another client has stopped in the middle of its own.
fn silence(kind: &Kind) -> bool {
    let server = kind.start("-");
    let load = Load::new(&server, CipherSuite::PskAes128Ccm8, kind.at_a_time);
    let _silent = load.stop_half_way();
    load.gets_through(Duration::from_secs(3))
}
