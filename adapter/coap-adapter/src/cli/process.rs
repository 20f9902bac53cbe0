//! What the process asks of the operating system before it serves: file descriptors, pages of the
//! usual size, and no memory dumps, as its memory holds keys of devices.

use nix::sys::prctl::{get_thp_disable, set_thp_disable};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Raises the limit of open files to what is allowed, and keeps memory out of core dumps and from
/// debuggers of the same user.
pub(crate) fn prepare() {
    let files = raise_open_files();
    let dumpable = match set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        Ok(()) => false,
        Err(error) => {
            tracing::warn!(%error, "cannot disable core dumps, which would contain keys of devices");
            true
        }
    };
    // Some sandboxes filter prctl(2); where it cannot be asked, huge pages may be on.
    let huge_pages = !get_thp_disable().unwrap_or(false);
    if huge_pages {
        tracing::warn!(
            "transparent huge pages are on: the process may exceed `hono.app.maxMemory`"
        );
    }
    tracing::info!(
        open_files = files,
        core_dumps = dumpable,
        huge_pages,
        "process limits"
    );
}

/// Keeps the kernel from backing memory with transparent huge pages (prctl(2), `PR_SET_THP_DISABLE`).
/// With them the first byte of an allocator's page makes 2 MiB resident, and tables that hold half of
/// what they may exceed `hono.app.maxMemory`. [`prepare`] warns if this has failed.
pub(crate) fn disable_huge_pages() {
    set_thp_disable(true).unwrap_or_default();
}

/// Many systems give 1,024 and allow far more. Returns the limit; `None` if there is none.
pub(crate) fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, limit = current, "cannot raise the limit of open files");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 1,024 open files, the usual soft limit outside of containers, idle connections or many
    /// tenants' links used up all descriptors although the system allows far more.
    #[test]
    fn the_limit_of_open_files_is_the_hard_one() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        assert_eq!(raise_open_files(), maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
