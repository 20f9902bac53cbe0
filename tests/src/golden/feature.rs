//! Which of the adapter's abilities a case needs, told by what is in it.

use std::fmt;

use super::{Case, Exchange};

/// An ability of the adapter that has its own time of coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Waiting for a command, handing it over, and taking the response.
    Commands,
    /// Block-wise transfer (RFC 7959).
    BlockWise,
    /// Limits on how much a tenant may send.
    MessageLimits,
}

impl Feature {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Commands, Self::BlockWise, Self::MessageLimits];

    /// Whether `case` cannot come out as recorded without it.
    #[must_use]
    pub fn is_needed_by(self, case: &Case) -> bool {
        let any = |needs: fn(&Exchange) -> bool| case.exchanges.iter().any(needs);
        match self {
            Self::Commands => !case.commands.is_empty() || any(answers_a_command) || any(waits),
            Self::BlockWise => any(has_block_options),
            Self::MessageLimits => any(is_over_the_limit),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Commands => "commands",
            Self::BlockWise => "block-wise transfer",
            Self::MessageLimits => "message limits",
        })
    }
}

fn answers_a_command(exchange: &Exchange) -> bool {
    let first = exchange.request.uri_path.first();
    first.is_some_and(|segment| segment == "cr" || segment == "command_response")
}

/// A device that says how long it waits (the application is told by `ttd`) and is not answered before.
fn waits(exchange: &Exchange) -> bool {
    let told = |message: &serde_json::Value| !message["application-properties"]["ttd"].is_null();
    exchange.downstream.iter().any(told)
        && exchange
            .response
            .as_ref()
            .is_some_and(|response| response.code == "2.04")
}

fn has_block_options(exchange: &Exchange) -> bool {
    let response = exchange
        .response
        .iter()
        .flat_map(|response| &response.options);
    let mut numbers = exchange
        .request
        .options
        .iter()
        .chain(response)
        .map(|(number, ..)| number);
    numbers.any(|number| BLOCK_OPTIONS.contains(number))
}

fn is_over_the_limit(exchange: &Exchange) -> bool {
    exchange
        .response
        .as_ref()
        .is_some_and(|response| response.code == "4.29")
}

/// Block2, Block1, Size2, Size1 (RFC 7959 §2.1, §4).
const BLOCK_OPTIONS: [u16; 4] = [23, 27, 28, 60];
