//! What the adapter's probes ask: the connections to services, the link for commands, the ports (spec: metrics-health §3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amqp_client::Connection;
use tokio_util::sync::CancellationToken;

use crate::command::consumer::ConsumerState;
use crate::monitoring::health::{Check, Status};
use crate::serve::Pulse;

/// Up while the connection is there.
#[derive(Debug)]
pub(super) struct ConnectionCheck(pub(super) Connection);

impl Check for ConnectionCheck {
    fn name(&self) -> String {
        let id = self.0.container_id();
        let without_name = id.strip_prefix(self.0.config().name.as_str());
        let without_name = without_name.and_then(|id| id.strip_prefix('-'));
        format!("connection-to-{}", without_name.unwrap_or(id))
    }

    fn status(&self) -> Status {
        Status::of(self.0.is_connected())
    }
}

/// Up while commands can come.
#[derive(Debug)]
pub(super) struct CommandConsumerCheck(pub(super) Arc<ConsumerState>);

impl Check for CommandConsumerCheck {
    fn name(&self) -> String {
        "command-consumer-factory".to_owned()
    }

    fn status(&self) -> Status {
        Status::of(self.0.is_attached())
    }
}

/// Up while all ports are served and nothing is being ended (spec: metrics-health §3).
#[derive(Debug)]
pub(super) struct DeploymentCheck {
    /// The ports with the signs of life of their tasks.
    pub(super) ports: Vec<(&'static str, Vec<Arc<Pulse>>)>,
    /// Cancelled from the first moment of ending.
    pub(super) drain: CancellationToken,
}

impl Check for DeploymentCheck {
    fn name(&self) -> String {
        // The name that probes of Hono's deployments expect.
        "Vert.x deployment".to_owned()
    }

    fn status(&self) -> Status {
        let mut pulses = self.ports.iter().flat_map(|(_, pulses)| pulses);
        let served = pulses.all(|pulse| !pulse.is_over());
        Status::of(served && !self.drain.is_cancelled())
    }

    fn data(&self) -> BTreeMap<String, String> {
        let told = |(name, pulses): &(&'static str, Vec<Arc<Pulse>>)| {
            let is_over = pulses.iter().any(|pulse| pulse.is_over());
            let state = match (is_over, self.drain.is_cancelled()) {
                (true, _) => "ended",
                (false, true) => "draining",
                (false, false) => "successfully deployed",
            };
            ((*name).to_owned(), state.to_owned())
        };
        self.ports.iter().map(told).collect()
    }
}

/// Up while tasks give signs of life.
#[derive(Debug)]
pub(super) struct PulseCheck {
    /// What the tasks do.
    pub(super) name: &'static str,
    /// The signs of life of each.
    pub(super) pulses: Vec<Arc<Pulse>>,
    /// How old the last one may be.
    pub(super) tolerance: Duration,
}

impl Check for PulseCheck {
    fn name(&self) -> String {
        format!("event-loop-blocked-check-{}", self.name)
    }

    fn status(&self) -> Status {
        let lives = |pulse: &Arc<Pulse>| !pulse.is_over() && pulse.age() <= self.tolerance;
        Status::of(self.pulses.iter().all(lives))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_task_that_is_stuck_is_down_until_it_goes_on() {
        let pulse = Arc::new(Pulse::new());
        let check = PulseCheck {
            name: "coaps",
            pulses: vec![Arc::new(Pulse::new()), Arc::clone(&pulse)],
            tolerance: Duration::from_millis(300),
        };
        let other = Arc::clone(&check.pulses[0]);
        assert_eq!(check.name(), "event-loop-blocked-check-coaps");
        let (release, stuck) = mpsc::channel::<()>();
        let task = thread::spawn(move || {
            // Something blocks it, as nothing should.
            while stuck.try_recv() == Err(mpsc::TryRecvError::Empty) {
                other.beat();
                thread::sleep(Duration::from_millis(5));
            }
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end {
                pulse.beat();
                other.beat();
                thread::sleep(Duration::from_millis(5));
            }
            pulse.end();
        });
        wait_until("it is noticed", || check.status() == Status::Down);
        drop(release);
        wait_until("it is well again", || check.status() == Status::Up);
        task.join().unwrap();
        assert_eq!(check.status(), Status::Down, "it has ended");
    }

    #[test]
    fn nobody_is_to_be_sent_here_from_the_first_moment_of_ending() {
        let (pulse, drain) = (Arc::new(Pulse::new()), CancellationToken::new());
        let check = |pulse: &Arc<Pulse>| DeploymentCheck {
            ports: vec![("coaps", vec![Arc::new(Pulse::new()), Arc::clone(pulse)])],
            drain: drain.clone(),
        };
        let states = |check: &DeploymentCheck| (check.status(), check.data()["coaps"].clone());
        assert_eq!(
            states(&check(&pulse)),
            (Status::Up, "successfully deployed".to_owned())
        );
        let ended = Arc::new(Pulse::new());
        ended.end();
        assert_eq!(states(&check(&ended)), (Status::Down, "ended".to_owned()));
        drain.cancel();
        assert_eq!(
            states(&check(&pulse)),
            (Status::Down, "draining".to_owned())
        );
    }
}
