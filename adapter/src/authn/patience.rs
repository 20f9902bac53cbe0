//! A registry that is away for a moment costs no device its handshake.
//!
//! A device that gets no answer to the flight in which it names itself sends the same flight again, several times, before it begins
//! anew; meanwhile there is time to ask the registry once more.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

use super::Refusal;
use observability::reason::Reason;

/// What `ask` gets; it is asked again while the registry cannot be reached, for [`PATIENCE`] at most.
pub(super) async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Refusal>>,
{
    let until = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        let told = ask().await;
        let unreachable =
            matches!(&told, Err(refusal) if refusal.reason == Reason::RegistryUnreachable);
        if !unreachable || Instant::now() + pause > until {
            return told;
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Less than a handshake waits for a key or a verdict (`psk_deadline`, `verdict_deadline`), so that it ends with a reason.
const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::authn::Claim;

    /// What is told in the end, how often was asked, and how long that took.
    async fn asked(reasons: &[Option<Reason>]) -> (Result<(), Reason>, usize, Duration) {
        let (times, started) = (Cell::new(0), Instant::now());
        let told = patiently(|| {
            let reason = reasons[times.get().min(reasons.len() - 1)];
            times.set(times.get() + 1);
            async move { reason.map_or(Ok(()), |it| Err(Claim::default().refused(it))) }
        });
        let told = told.await.map_err(|refusal| refusal.reason);
        (told, times.get(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_cannot_be_reached_is_asked_again() {
        let (away, no) = (
            Some(Reason::RegistryUnreachable),
            Some(Reason::UnknownIdentity),
        );
        for (reasons, told, times, millis) in [
            ([None].as_slice(), Ok(()), 1, 0),
            (&[no], Err(Reason::UnknownIdentity), 1, 0),
            (&[away, None], Ok(()), 2, 250),
            (
                &[away, away, away, no],
                Err(Reason::UnknownIdentity),
                4,
                1750,
            ),
        ] {
            let expected = (told, times, Duration::from_millis(millis));
            assert_eq!(asked(reasons).await, expected, "{reasons:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_before_the_handshake_does() {
        let (told, times, waited) = asked(&[Some(Reason::RegistryUnreachable)]).await;
        assert_eq!((told, times), (Err(Reason::RegistryUnreachable), 10));
        let config = dtls_server::Config::default();
        assert!(waited < config.psk_deadline.min(config.verdict_deadline));
        assert!(waited > PATIENCE - LONGEST_PAUSE);
    }
}
