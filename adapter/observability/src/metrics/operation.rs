//! What happens to the adapter itself, whoever sends.

use std::collections::BTreeMap;

use super::{
    labels::{BudgetOf, Reloaded, Spent},
    page::{Meter, Page},
};

/// Counted since the start.
#[derive(Debug, Default)]
pub(super) struct Operation {
    reloads: BTreeMap<(Reloaded, bool), u64>,
    over_budget: BTreeMap<(BudgetOf, Spent), u64>,
    turns_expired: u64,
    waits_displaced: u64,
}

impl Operation {
    pub(super) fn reloaded(&mut self, what: Reloaded, used: bool) {
        let count = self.reloads.entry((what, used)).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn over_budget(&mut self, of: BudgetOf, what: Spent) {
        let count = self.over_budget.entry((of, what)).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn turn_expired(&mut self) {
        self.turns_expired = self.turns_expired.saturating_add(1);
    }

    pub(super) fn wait_displaced(&mut self) {
        self.waits_displaced = self.waits_displaced.saturating_add(1);
    }

    /// Every counter stands there from the start, so that the first failure is an increase.
    pub(super) fn write(&self, page: &mut Page) {
        let (name, help) = RELOADS;
        for what in Reloaded::ALL {
            for (used, result) in [(false, "failed"), (true, "used")] {
                let count = self.reloads.get(&(*what, used)).copied();
                let labels = [("result", result), ("what", what.as_str())];
                page.counter(name, help, &labels, count.unwrap_or_default());
            }
        }
        let (name, help) = TURNS_EXPIRED;
        page.counter(name, help, &[], self.turns_expired);
        let (name, help) = WAITS_DISPLACED;
        page.counter(name, help, &[], self.waits_displaced);
        let (name, help) = OVER_BUDGET;
        for of in BudgetOf::ALL {
            for what in Spent::ALL {
                let count = self.over_budget.get(&(*of, *what)).copied();
                let labels = [("of", of.as_str()), ("what", what.as_str())];
                let count = count.unwrap_or_default();
                page.counter(name, help, &labels, count);
            }
        }
    }
}

/// The meters with their labels.
pub(super) const RELOADS_TOTAL: (Meter, &[&str]) = (RELOADS, &["result", "what"]);

pub(super) const OVER_BUDGET_TOTAL: (Meter, &[&str]) = (OVER_BUDGET, &["of", "what"]);

pub(super) const TURNS_EXPIRED_TOTAL: (Meter, &[&str]) = (TURNS_EXPIRED, &[]);

pub(super) const WAITS_DISPLACED_TOTAL: (Meter, &[&str]) = (WAITS_DISPLACED, &[]);

const WAITS_DISPLACED: Meter = (
    "coap_adapter_waits_displaced_total",
    "Waits for commands ended early to make room for those of another device or tenant.",
);
const TURNS_EXPIRED: Meter = (
    "coap_adapter_order_turns_expired_total",
    "Requests overtaken by later messages of the same device because their lookups took too long.",
);
const RELOADS: Meter = (
    "coap_adapter_reloads_total",
    "Reloads of changed files by result.",
);
const OVER_BUDGET: Meter = (
    "coap_adapter_over_budget_total",
    "Messages and handshakes refused because the budget of a device or tenant was used up.",
);
