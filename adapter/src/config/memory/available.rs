//! What memory there is, and how many DTLS sessions it allows when nobody says a number (spec: coap-adapter §9, max connections).

use std::fs;

/// Memory of this machine or container in bytes, less `spare` percent; `None` if unknown.
pub(super) fn bytes(spare: u32) -> Option<u64> {
    let bytes = container().into_iter().chain(machine()).min();
    bytes.map(|bytes| bytes / 100 * u64::from(100_u32.saturating_sub(spare)))
}

/// Number of sessions that fit into this memory by Hono's formula: 100 MB for everything else, 10
/// kB each.
pub(super) fn connections(usable: Option<u64>) -> usize {
    let Some(usable) = usable else {
        return FALLBACK;
    };
    let sessions = usable.saturating_sub(100_000_000) / 10_000;
    usize::try_from(sessions).unwrap_or(MOST).clamp(1, MOST)
}

/// The limit of the control group, if there is one.
fn container() -> Option<u64> {
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?;
    limit.trim().parse().ok()
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Assumed memory where it is unknown.
const FALLBACK: usize = 10_000;

/// More must be asked for by number.
const MOST: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_of_the_reference_holds() {
        assert_eq!(connections(Some(384_000_000)), 28_400);
        assert_eq!(connections(Some(50_000_000)), 1, "one at least");
        assert_eq!(connections(Some(u64::MAX)), MOST);
    }

    #[test]
    fn some_number_comes_out_on_any_machine() {
        assert!((1..=MOST).contains(&connections(bytes(25))));
        assert_eq!(connections(bytes(100)), 1, "nothing is to be used");
    }
}
