//! Connecting, and connecting again (spec: amqp-messages §8).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use amqp_proto::{CloseReason, Config, Sasl};
use tokio::time::{sleep, timeout_at};

use super::{Phase, Shared, drive::drive};
use crate::{ConnectionConfig, service::Before};

/// Keeps the connection until a request to stop, or until too many failures.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut failures = 0;
    let mut layer = Layer::Sasl;
    loop {
        shared.phase.send_replace(Phase::Connecting);
        let started = Instant::now();
        let end = attempt(&shared, layer).await;
        let was_connected = *shared.phase.borrow() == Phase::Connected;
        let before = if was_connected {
            Before::Up
        } else {
            Before::Down
        };
        if shared.stop.is_cancelled() {
            shared.service.leave(before);
            break;
        }
        if matches!(end, End::Closed(CloseReason::NoSasl))
            && layer == Layer::Sasl
            && matches!(sasl(&shared.config), Sasl::Anonymous)
        {
            layer = Layer::None;
            continue;
        }
        shared.service.failed(before, &end.to_string());
        failures = match was_connected && started.elapsed() > STABLE {
            true => 1,
            false => failures + 1,
        };
        if shared
            .config
            .reconnect_attempts
            .is_some_and(|limit| failures > limit)
        {
            tracing::error!(role = shared.role, "giving up reconnecting");
            break;
        }
        if !pause(&shared, started, failures).await {
            shared.service.leave(Before::Down);
            break;
        }
    }
    shared.phase.send_replace(Phase::Ended);
}

/// Waits for the time of the next attempt, which comes sooner if a request wants the connection. False if there is to be none.
async fn pause(shared: &Shared, tried: Instant, failures: u32) -> bool {
    let random = random();
    let delay = delay(&shared.config, failures, random);
    if !delay.is_zero() {
        shared.phase.send_replace(Phase::Waiting { tried });
    }
    let wanted = async {
        sleep(wanted_delay(&shared.config, failures, random)).await;
        shared.wanted.notified().await;
    };
    tokio::select! {
        () = sleep(delay) => true,
        () = wanted => true,
        () = shared.service.another_connected() => true,
        () = shared.stop.cancelled() => false,
    }
}

/// Why an attempt came to its end.
enum End {
    /// There was no stream: the reason in words.
    NotConnected(String),
    /// The connection ended.
    Closed(CloseReason),
    /// The peer did not open the connection in time.
    NotOpened,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(reason) => formatter.write_str(reason),
            Self::Closed(reason) => reason.fmt(formatter),
            Self::NotOpened => {
                formatter.write_str("the peer did not open the AMQP connection in time")
            }
        }
    }
}

/// Connects once and speaks until the end of it.
async fn attempt(shared: &Shared, layer: Layer) -> End {
    let config = &shared.config;
    let (host, port) = (&config.host, config.port);
    let open_by = tokio::time::Instant::now() + config.connect_timeout;
    let connecting = tokio::select! {
        connecting = timeout_at(open_by, shared.connector.connect()) => connecting,
        () = shared.stop.cancelled() => return End::Closed(CloseReason::Local),
    };
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return End::NotConnected(format!("cannot connect to {host}:{port}: {error}"));
        }
        Err(_) => return End::NotConnected(format!("cannot connect to {host}:{port} in time")),
    };
    shared.install(Instant::now(), core_config(shared, layer));
    drive(shared, stream, open_by).await;
    let reason = shared.uninstall();
    tracing::debug!(role = shared.role, "the connection ended");
    reason.map_or(End::NotOpened, End::Closed)
}

fn core_config(shared: &Shared, layer: Layer) -> Config {
    let config = &shared.config;
    let mut core = Config::default();
    core.container_id.clone_from(&shared.container_id);
    core.hostname.clone_from(&config.amqp_hostname);
    core.sasl = match layer {
        Layer::Sasl => sasl(config),
        Layer::None => Sasl::None,
    };
    core.link_name = uuid::Uuid::new_v4().to_string();
    core.idle_timeout = Some(config.idle_timeout).filter(|idle| !idle.is_zero());
    core.delivery_timeout = config.send_message_timeout;
    if let Some(size) = config.max_frame_size {
        core.max_frame_size = size;
    }
    if let Some(size) = config.max_message_size {
        core.max_message_size = size;
    }
    core.max_outgoing = config.max_outgoing;
    core.max_unsettled = config.max_unsettled;
    core.max_incoming = config.max_incoming;
    core.sensitive = config.sensitive;
    if let Some(frames) = config.max_session_frames {
        core.incoming_window = frames.max(1);
    }
    core
}

/// PLAIN if there is a user name, else EXTERNAL if there is a client certificate, else ANONYMOUS.
fn sasl(config: &ConnectionConfig) -> Sasl {
    let identity = config.tls.as_ref().and_then(|tls| tls.identity.as_ref());
    match (&config.credentials, identity) {
        (Some(credentials), _) => Sasl::Plain {
            username: credentials.username.clone(),
            password: credentials.password.clone(),
        },
        (None, Some(_)) => Sasl::External,
        (None, None) => Sasl::Anonymous,
    }
}

/// How long to wait at least after that many failures in a row, if a request wants the connection: so a service that is back is
/// used within a second, and one that is away is not overrun. `random` is anything.
fn wanted_delay(config: &ConnectionConfig, failures: u32, random: u64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let longest = (config.reconnect_delay_increment / 2)
        .saturating_mul(doubled)
        .min(MAX_WANTED_DELAY);
    // Up to a fifth less, so that adapters do not all come at once.
    let jitter = longest / 5 * u32::try_from(random % 100).unwrap_or(0) / 100;
    longest
        .saturating_sub(jitter)
        .max(config.reconnect_min_delay)
}

/// Whether the peer is known to speak no SASL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Sasl,
    None,
}

/// How long to wait after that many failures in a row. `random` is anything.
fn delay(config: &ConnectionConfig, failures: u32, random: u64) -> Duration {
    let shortest = config.reconnect_min_delay;
    if failures <= 1 {
        return shortest;
    }
    let factor = 2_u32.saturating_pow(failures - 1);
    let longest = config
        .reconnect_delay_increment
        .saturating_mul(factor)
        .min(config.reconnect_max_delay);
    let span = longest.saturating_sub(shortest).as_millis() + 1;
    shortest + Duration::from_millis(u64::try_from(u128::from(random) % span).unwrap_or(0))
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

/// The longest wait before an attempt that a request wants.
const MAX_WANTED_DELAY: Duration = Duration::from_millis(500);

/// A connection that lasted shorter has failed again.
const STABLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{delay, wanted_delay};
    use crate::ConnectionConfig;

    #[test]
    fn an_attempt_that_is_wanted_comes_within_half_a_second_and_not_at_once() {
        let config = ConnectionConfig::default();
        for (failures, longest) in [(1, 50), (2, 100), (3, 200), (5, 500), (u32::MAX, 500)] {
            let longest = Duration::from_millis(longest);
            assert_eq!(
                wanted_delay(&config, failures, 0),
                longest,
                "{failures} failures"
            );
            for random in 0..1_000 {
                let delay = wanted_delay(&config, failures, random);
                assert!(delay <= longest && delay >= longest * 4 / 5, "{delay:?}");
            }
        }
        let patient = ConnectionConfig {
            reconnect_min_delay: Duration::from_secs(2),
            ..ConnectionConfig::default()
        };
        assert_eq!(wanted_delay(&patient, 9, 0), Duration::from_secs(2));
    }

    #[test]
    fn the_first_retry_waits_least_and_later_ones_at_random_up_to_a_growing_bound() {
        let config = ConnectionConfig::default();
        for (failures, longest) in [
            (1, 0),
            (2, 200),
            (3, 400),
            (7, 6400),
            (8, 7000),
            (u32::MAX, 7000),
        ] {
            let bound = Duration::from_millis(longest);
            assert!((0..10_000).all(|random| delay(&config, failures, random) <= bound));
            assert_eq!(
                delay(&config, failures, longest),
                bound,
                "{failures} failures"
            );
            assert_eq!(delay(&config, failures, 0), Duration::ZERO);
        }
    }

    #[test]
    fn no_retry_comes_before_the_shortest_delay() {
        let config = ConnectionConfig {
            reconnect_min_delay: Duration::from_millis(500),
            ..ConnectionConfig::default()
        };
        for failures in 1..20 {
            assert!(
                (0..1000).all(
                    |random| delay(&config, failures, random * 7) >= config.reconnect_min_delay
                )
            );
        }
    }
}
