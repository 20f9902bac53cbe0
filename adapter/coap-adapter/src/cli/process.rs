//! What the process asks of the operating system before it serves: file descriptors, and no memory
//! dumps, as its memory holds keys of devices.

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
    tracing::info!(open_files = files, core_dumps = dumpable, "process limits");
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
