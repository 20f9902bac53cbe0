//! Which moments a time in a message may tell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a time is compared with.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// The message is a recording: any time is right.
    Recorded,
    /// The message was made after this moment and before it was looked at.
    Since(SystemTime),
}

impl Moment {
    /// Whether these milliseconds since 1970 can be meant.
    #[must_use]
    pub fn fits(self, milliseconds: u64) -> bool {
        let Self::Since(start) = self else {
            return true;
        };
        let reported = UNIX_EPOCH + Duration::from_millis(milliseconds);
        // Milliseconds are cut off, and a clock may be set a little while the test runs.
        reported + LEEWAY >= start && reported <= SystemTime::now() + LEEWAY
    }
}

const LEEWAY: Duration = Duration::from_secs(1);
