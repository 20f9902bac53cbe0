//! A table of what operations cost, as it is pinned and as it was counted.

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result};

/// What is in the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pinned {
    /// What the processor offers on which it was counted.
    pub(super) processor: String,
    pub(super) rows: Vec<Row>,
}

/// One operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    /// On average of one operation.
    pub(super) instructions: u64,
    /// What one operation is.
    pub(super) what: String,
}

impl Pinned {
    /// Reads what [`Display`] writes; what is no part of the table is passed over.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut pinned = Self::default();
        for line in text.lines() {
            if let Some(processor) = line.strip_prefix(PROCESSOR) {
                processor
                    .trim_matches('`')
                    .clone_into(&mut pinned.processor);
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let ["", name, instructions, what, ""] = *cells
                && let Some(name) = name.strip_prefix('`')
            {
                pinned.rows.push(Row {
                    name: name.trim_end_matches('`').to_owned(),
                    instructions: instructions
                        .parse()
                        .with_context(|| format!("{name} is pinned to `{instructions}`"))?,
                    what: what.to_owned(),
                });
            }
        }
        Ok(pinned)
    }

    /// Replaces the pinned values by the new counts.
    pub(super) fn with(mut self, counted: Self) -> Self {
        self.processor = counted.processor;
        for row in counted.rows {
            match self.rows.iter_mut().find(|known| known.name == row.name) {
                Some(known) => *known = row,
                None => self.rows.push(row),
            }
        }
        self
    }

    /// What costs more than it may.
    pub(super) fn dearer(&self, counted: &Self) -> Vec<String> {
        self.compared(counted, |percent, tolerance| percent > tolerance)
    }

    /// What costs so much less that it should be pinned.
    pub(super) fn cheaper(&self, counted: &Self) -> Vec<String> {
        self.compared(counted, |percent, tolerance| percent < -tolerance)
    }

    fn compared(&self, counted: &Self, is_told: fn(f64, f64) -> bool) -> Vec<String> {
        let pairs = counted
            .rows
            .iter()
            .filter_map(|row| self.row(&row.name).map(|pinned| (row, pinned)));
        pairs
            .filter(|(row, pinned)| {
                is_told(
                    change_percent(pinned.instructions, row.instructions),
                    tolerance_percent(&row.name),
                )
            })
            .map(|(row, pinned)| {
                format!(
                    "{} takes {} instructions, {:+.1} % of the {} pinned",
                    row.name,
                    row.instructions,
                    change_percent(pinned.instructions, row.instructions),
                    pinned.instructions
                )
            })
            .collect()
    }

    /// What is in one of both only.
    pub(super) fn strangers(&self, counted: &Self) -> Vec<String> {
        let new = counted
            .rows
            .iter()
            .filter(|row| self.row(&row.name).is_none());
        let gone = self
            .rows
            .iter()
            .filter(|row| counted.row(&row.name).is_none());
        new.map(|row| format!("{} is not pinned", row.name))
            .chain(
                gone.map(|row| format!("{} is pinned, but there is no such operation", row.name)),
            )
            .collect()
    }

    /// What costs more than a little more if more is remembered.
    pub(super) fn growing(&self) -> Vec<String> {
        let pairs = GROWTH
            .iter()
            .filter_map(|(few, many)| self.row(few).zip(self.row(many)));
        pairs
            .filter(|(few, many)| {
                change_percent(few.instructions, many.instructions) > GROWTH_PERCENT
            })
            .map(|(few, many)| {
                format!(
                    "{} takes {} instructions, more than {GROWTH_PERCENT} % above the {} of {}",
                    many.name, many.instructions, few.instructions, few.name
                )
            })
            .collect()
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage is printed with one decimal"
)]
fn change_percent(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / from as f64 * 100.0
}

impl Display for Pinned {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{HEAD}\n\n{PROCESSOR}`{}`\n\n{TABLE}", self.processor)?;
        for row in &self.rows {
            writeln!(
                out,
                "| `{}` | {} | {} |",
                row.name, row.instructions, row.what
            )?;
        }
        Ok(())
    }
}

/// How much more or less than what is pinned is still the same.
fn tolerance_percent(name: &str) -> f64 {
    // The order in which hash tables give sessions shows in what it costs to free them.
    if name.starts_with("session_") {
        6.0
    } else {
        3.0
    }
}

/// The same operation among few and among a thousand times as many.
const GROWTH: [(&str, &str); 1] = [("exchange_among_100", "exchange_among_100000")];

/// How much dearer it may be among many.
const GROWTH_PERCENT: f64 = 25.0;

const HEAD: &str = "\
# Instructions of one operation

Written by `UPDATE_COUNTS=1 cargo xtask counts`, and held to by `cargo xtask counts`; `../README.md` describes it.";
const PROCESSOR: &str = "Processor, as valgrind plays it: ";
const TABLE: &str = "| operation | instructions | what |\n| --- | ---: | --- |";

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(rows: &[(&str, u64)]) -> Pinned {
        let row = |(name, instructions): &(&str, u64)| Row {
            name: (*name).to_owned(),
            instructions: *instructions,
            what: "a -> b, at once".to_owned(),
        };
        Pinned {
            processor: "x86_64 aes".to_owned(),
            rows: rows.iter().map(row).collect(),
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let table = pinned(&[("open", 1000), ("seal", 7)]);
        assert_eq!(Pinned::parse(&table.to_string()).unwrap(), table);
        assert!(Pinned::parse("| `open` | many | x |").is_err());
    }

    #[test]
    fn more_than_the_tolerance_is_a_fault_and_less_is_told() {
        let before = pinned(&[("open", 1000)]);
        for (now, dearer, cheaper) in [(1030, 0, 0), (1031, 1, 0), (970, 0, 0), (969, 0, 1)] {
            let now = pinned(&[("open", now)]);
            assert_eq!(before.dearer(&now).len(), dearer, "{now:?}");
            assert_eq!(before.cheaper(&now).len(), cheaper, "{now:?}");
        }
        assert_eq!(
            before.dearer(&pinned(&[("open", 1250)])),
            ["open takes 1250 instructions, +25.0 % of the 1000 pinned"]
        );
    }

    #[test]
    fn an_operation_is_pinned_and_what_is_pinned_is_an_operation() {
        let faults = pinned(&[("open", 1)]).strangers(&pinned(&[("seal", 1)]));
        assert_eq!(
            faults,
            [
                "seal is not pinned",
                "open is pinned, but there is no such operation"
            ]
        );
    }

    #[test]
    fn what_is_counted_alone_takes_the_place_of_its_row_only() {
        let joined = pinned(&[("open", 1), ("seal", 2)]).with(pinned(&[("seal", 3)]));
        assert_eq!(joined, pinned(&[("open", 1), ("seal", 3)]));
    }

    #[test]
    fn an_operation_that_grows_with_what_is_remembered_is_a_fault() {
        let few = "exchange_among_100";
        let many = "exchange_among_100000";
        assert!(pinned(&[(few, 100), (many, 125)]).growing().is_empty());
        assert_eq!(pinned(&[(few, 100), (many, 126)]).growing().len(), 1);
    }
}
