//! What happens to the adapter itself, whoever sends.

use std::collections::BTreeMap;

use super::{labels::Reloaded, page::Page};

/// Counted since the start.
#[derive(Debug, Default)]
pub(super) struct Operation {
    reloads: BTreeMap<(Reloaded, bool), u64>,
}

impl Operation {
    pub(super) fn reloaded(&mut self, what: Reloaded, used: bool) {
        let count = self.reloads.entry((what, used)).or_default();
        *count = count.saturating_add(1);
    }

    /// Every kind of file stands there from the start, so that the first failure is an increase.
    pub(super) fn write(&self, page: &mut Page) {
        for what in Reloaded::ALL {
            for (used, result) in [(false, "failed"), (true, "used")] {
                let count = self.reloads.get(&(*what, used)).copied();
                let labels = [("result", result), ("what", what.as_str())];
                page.counter(RELOADS, RELOADS_HELP, &labels, count.unwrap_or_default());
            }
        }
    }
}

const RELOADS: &str = "coap_adapter_reloads_total";
const RELOADS_HELP: &str = "Files that changed while the adapter ran, and whether they are used.";
