//! `floor`: what an upload costs when nothing is done that is not on the wire.
//!
//! ```text
//! recvmmsg ─> AEAD open ─> AMQP transfer ─> write        (one thread, no task, no look-up, no check)
//! sendmmsg <─ AEAD seal <── 2.04 <── disposition <─ read
//! ```
//!
//! It serves the devices of `load` by their keys, says 2.04 to whatever they send when the application has accepted it, and knows no
//! duplicates, no separate responses and no options. It is no adapter. It is a yardstick: how far the adapter is from it is what can
//! be gained at all with this DTLS engine and this AMQP endpoint.

mod udp;
mod north;
mod south;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use mio::{Events, Interest, Poll, Token};

use self::{north::North, south::South};

/// Answers the devices of `load` at the least cost.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to listen for DTLS.
    #[arg(long, value_name = "ADDR", default_value_t = local(7684))]
    coaps: SocketAddr,
    /// The AMQP network.
    #[arg(long, value_name = "ADDR", default_value_t = local(5672))]
    amqp: SocketAddr,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(io::Write::write_fmt(
                &mut io::stderr(),
                format_args!("floor: {error}\n"),
            ));
            ExitCode::FAILURE
        }
    }
}

/// Serves until the network ends.
fn run(options: &Options) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut south = South::bind(options.coaps)?;
    let mut north = North::connect(options.amqp)?;
    let readable = Interest::READABLE;
    poll.registry()
        .register(&mut south.socket, SOUTH, readable)?;
    poll.registry()
        .register(&mut north.stream, NORTH, readable | Interest::WRITABLE)?;
    let mut events = Events::with_capacity(16);
    loop {
        poll.poll(&mut events, Some(TICK))?;
        let now = Instant::now();
        let has_come = |token| {
            events
                .iter()
                .any(|event| event.token() == token && event.is_readable())
        };
        if has_come(SOUTH) {
            south.receive(now)?;
        }
        if has_come(NORTH) {
            north.receive(now)?;
        }
        while let Some(upload) = south.uploads.pop_front() {
            north.send(now, upload);
        }
        while let Some(answer) = north.answers.pop_front() {
            south.answer(now, &answer);
        }
        south.handle_timeout(now);
        south.flush();
        north.finish_turn(now)?;
    }
}

const SOUTH: Token = Token(0);
const NORTH: Token = Token(1);
/// How late a timer may be.
const TICK: Duration = Duration::from_millis(100);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
