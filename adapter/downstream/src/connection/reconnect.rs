//! Connecting, and connecting again (spec: amqp-messages §8).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use amqp_proto::{CloseReason, Config, Sasl};
use tokio::time::{sleep, timeout_at};

use super::{Phase, Shared, drive::drive};
use crate::ConnectionConfig;

/// Keeps the connection until told to stop, or until there were too many failures.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut failures = 0;
    let mut layer = Layer::Sasl;
    loop {
        shared.phase.send_replace(Phase::Connecting);
        let started = Instant::now();
        let reason = attempt(&shared, layer).await;
        let was_connected = *shared.phase.borrow() == Phase::Connected;
        if shared.stop.is_cancelled() {
            break;
        }
        if reason == Some(CloseReason::NoSasl)
            && layer == Layer::Sasl
            && matches!(sasl(&shared.config), Sasl::Anonymous)
        {
            layer = Layer::None;
            continue;
        }
        failures = match was_connected && started.elapsed() > STABLE {
            true => 1,
            false => failures + 1,
        };
        if shared
            .config
            .reconnect_attempts
            .is_some_and(|limit| failures > limit)
        {
            tracing::error!(role = shared.role, "gave up to connect");
            break;
        }
        let delay = delay(&shared.config, failures, random());
        if !delay.is_zero() {
            shared.phase.send_replace(Phase::Waiting);
        }
        tokio::select! {
            () = sleep(delay) => {}
            () = shared.stop.cancelled() => break,
        }
    }
    shared.phase.send_replace(Phase::Ended);
}

/// Connects once and speaks until the end of it. Tells why it ended, if it began.
async fn attempt(shared: &Shared, layer: Layer) -> Option<CloseReason> {
    let config = &shared.config;
    let open_by = tokio::time::Instant::now() + config.connect_timeout;
    let connecting = tokio::select! {
        connecting = timeout_at(open_by, shared.connector.connect()) => connecting,
        () = shared.stop.cancelled() => return None,
    };
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(role = shared.role, host = config.host, port = config.port, %error, "cannot connect");
            return None;
        }
        Err(_) => {
            tracing::warn!(
                role = shared.role,
                host = config.host,
                port = config.port,
                "cannot connect in time"
            );
            return None;
        }
    };
    shared.install(Instant::now(), core_config(shared, layer));
    drive(shared, stream, open_by).await;
    let reason = shared.uninstall();
    match &reason {
        Some(CloseReason::Local) => tracing::info!(role = shared.role, "closed"),
        Some(reason) => tracing::warn!(role = shared.role, %reason, "the connection ended"),
        None => {}
    }
    reason
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

/// A connection that lasted shorter has failed again.
const STABLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::delay;
    use crate::ConnectionConfig;

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
