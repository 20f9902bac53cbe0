//! What `cargo xtask counts` runs under valgrind: `counts list` tells the operations, `counts NAME` does one of them many times and tells
//! how many times, `counts processor` tells what the processor offers to code that looks at it.
#![expect(clippy::print_stdout, reason = "its output is for another program")]

mod processor;

use std::{hint::black_box, process::ExitCode};

use counts::{Meter, subjects};

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    match word.as_str() {
        "list" => {
            for subject in subjects() {
                println!("{}\t{}", subject.name, subject.what);
            }
        }
        "processor" => println!("{}", processor::features()),
        name => {
            let subjects = subjects();
            let Some(subject) = subjects.iter().find(|subject| subject.name == name) else {
                println!("usage: counts list | processor | NAME");
                return ExitCode::from(EX_USAGE);
            };
            let mut count_in = instructions_counted;
            let mut meter = Meter::new(&mut count_in);
            (subject.run)(&mut meter);
            println!("{}", meter.operations());
        }
    }
    ExitCode::SUCCESS
}

/// Valgrind counts from when this function is entered until it returns (`--toggle-collect`): `cargo xtask counts` knows its name.
#[inline(never)]
fn instructions_counted(work: &mut dyn FnMut()) {
    black_box(work)();
}

/// A command was used wrongly (`sysexits.h`).
const EX_USAGE: u8 = 64;
