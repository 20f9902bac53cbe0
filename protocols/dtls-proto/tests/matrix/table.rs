//! The matrix, and how it is printed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use crate::scenario::{Feature, Scenario, Stack, Suite};

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Passed,
    Failed,
    /// Left out by whoever started the run.
    NotRun,
    /// The client is not installed here.
    Missing,
    /// It cannot be tried, and why.
    Lacking(&'static str),
}

/// All places, by the name of the client.
#[derive(Default)]
pub(crate) struct Table {
    cells: Mutex<BTreeMap<(&'static str, Scenario), Cell>>,
}

impl Table {
    pub(crate) fn set(&self, place: (&'static str, Scenario), cell: Cell) {
        self.cells.lock().unwrap().insert(place, cell);
    }

    /// Whether somebody wanted something of this client to be tried.
    pub(crate) fn is_wanted(&self, stack: &dyn Stack) -> bool {
        let cells = self.cells.lock().unwrap();
        let own = cells.iter().filter(|((name, _), _)| *name == stack.name());
        let (tried, left) = own.fold((false, false), |(tried, left), (_, cell)| {
            let ran = matches!(cell, Cell::Passed | Cell::Failed);
            (tried || ran, left || *cell == Cell::NotRun)
        });
        tried || !left
    }

    /// One client's part: suites down, features across, and below why a place is empty.
    pub(crate) fn page(&self, stack: &dyn Stack, version: Option<&str>) -> String {
        let cells = self.cells.lock().unwrap();
        let mut page = format!(
            "\n{}: {}\n{:<36}",
            stack.name(),
            version.unwrap_or("SKIPPED, as it is not there"),
            ""
        );
        for feature in Feature::ALL {
            let _fits = write!(page, "{:>10}", feature.name());
        }
        let mut reasons = Vec::new();
        for suite in Suite::all() {
            let _fits = write!(page, "\n{suite:<36}");
            for feature in Feature::ALL {
                let place = (stack.name(), Scenario { suite, feature });
                let _fits = write!(page, "{:>10}", sign(cells[&place], &mut reasons));
            }
        }
        page.push('\n');
        for (number, reason) in (1..).zip(&reasons) {
            let _fits = writeln!(page, "  ({number}) {reason}");
        }
        if version.is_none() {
            let _fits = writeln!(page, "  SKIPPED: it needs {}", stack.needs());
        }
        page
    }

    pub(crate) fn summary(&self) -> String {
        let cells = self.cells.lock().unwrap();
        let count = |wanted: fn(&Cell) -> bool| cells.values().filter(|cell| wanted(cell)).count();
        format!(
            "\nmatrix: {} places, {} passed, {} failed, {} impossible, {} not run, {} SKIPPED for want of a client\n",
            cells.len(),
            count(|cell| *cell == Cell::Passed),
            count(|cell| *cell == Cell::Failed),
            count(|cell| matches!(cell, Cell::Lacking(_))),
            count(|cell| *cell == Cell::NotRun),
            count(|cell| *cell == Cell::Missing),
        )
    }
}

/// What is printed for a place; a reason gets the next number when it is met first.
fn sign(cell: Cell, reasons: &mut Vec<&'static str>) -> String {
    match cell {
        Cell::Passed => "ok".to_owned(),
        Cell::Failed => "FAILED".to_owned(),
        Cell::NotRun => "not run".to_owned(),
        Cell::Missing => "SKIPPED".to_owned(),
        Cell::Lacking(reason) => {
            let known = reasons.iter().position(|known| *known == reason);
            let index = known.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            format!("({})", index + 1)
        }
    }
}
