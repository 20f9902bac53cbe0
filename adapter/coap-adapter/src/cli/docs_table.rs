//! `docs-table`: prints what pages of documentation take from the code.

use clap::ValueEnum;
use observability::{metrics, reason};

use super::{Error, print};

/// What there is a table of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// All metrics.
    Metrics,
    /// All reasons why devices are not served: those of handshakes, then those of requests.
    Reasons,
}

pub(crate) fn execute(table: Table) -> Result<(), Error> {
    print(&match table {
        Table::Metrics => metrics::table(),
        Table::Reasons => {
            let of_handshakes = reason::table(reason::Reason::is_of_handshakes);
            let of_requests = reason::table(reason::Reason::is_of_requests);
            format!("{of_handshakes}\n{of_requests}")
        }
    })
}
