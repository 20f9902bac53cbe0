//! What the devices do: a small YAML file, of which the command line may change numbers.

use std::time::Duration;

use saphyr::{LoadableYamlNode, Yaml};

/// All that is to be known before devices start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) rates: Rates,
    pub(crate) secure: bool,
    pub(crate) confirmable: bool,
    pub(crate) devices: u32,
    pub(crate) duration: Duration,
    /// Bytes.
    pub(crate) payload: usize,
    /// Seconds that `wait` and `command` wait for a command.
    pub(crate) ttd: u32,
    /// The share of datagrams that are lost in each direction.
    pub(crate) loss: f64,
    /// The share of devices that offer connection ids (RFC 9146).
    pub(crate) connection_ids: f64,
    /// The share of requests before which a device that has a connection id gets another port, as from a NAT that forgot it.
    pub(crate) rebind: f64,
    /// The share of devices that prove themselves with a certificate.
    pub(crate) certificates: f64,
    /// Further devices that all shake hands in a short time, while the others go on.
    pub(crate) storm: Option<Storm>,
    /// How long the network runs before it is killed and started again; `None`: it is left alone.
    pub(crate) restart_network: Option<Duration>,
    /// How much memory the adapter may take, in MiB (`hono.app.maxMemory`); `None`: what there is.
    pub(crate) max_memory: Option<u32>,
    /// How long nothing is sent after the load, so that it is seen what the adapter gives back.
    pub(crate) rest: Duration,
    /// How long to wait for answers when no more requests are sent.
    pub(crate) patience: Duration,
}

/// Devices that come all together, as after a failure of the power or of their network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Storm {
    pub(crate) devices: u32,
    /// Since the start.
    pub(crate) after: Duration,
    /// From the first to the last.
    pub(crate) within: Duration,
}

impl Storm {
    fn parse(value: &Yaml<'_>) -> Option<Self> {
        let mapping = value.as_mapping()?;
        let mut storm = Self {
            devices: 0,
            after: Duration::ZERO,
            within: Duration::ZERO,
        };
        for (name, value) in mapping {
            let seconds = || number(value).and_then(|it| Duration::try_from_secs_f64(it).ok());
            match name.as_str()? {
                "devices" => storm.devices = u32::try_from(value.as_integer()?).ok()?,
                "after" => storm.after = seconds()?,
                "within" => storm.within = seconds()?,
                _ => return None,
            }
        }
        Some(storm)
    }
}

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operation {
    Telemetry,
    Event,
    /// An event that waits for a command which does not come.
    Wait,
    /// An event that waits for a command, gets it, and answers it: done when the response is answered.
    Command,
    /// A new DTLS session from the address of the one before.
    Handshake,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [
        Self::Telemetry,
        Self::Event,
        Self::Wait,
        Self::Command,
        Self::Handshake,
    ];

    /// As scenarios write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Event => "event",
            Self::Wait => "wait",
            Self::Command => "command",
            Self::Handshake => "handshake",
        }
    }
}

/// How often devices do what, all together, a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rates([f64; Operation::ALL.len()]);

impl Rates {
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) const fn of(&self, operation: Operation) -> f64 {
        self.0[operation as usize]
    }

    /// Nothing else is done.
    pub(crate) fn only(&self, operation: Operation) -> bool {
        self.of(operation) > 0.0 && self.total() <= self.of(operation)
    }

    /// The same mixture, so many a second together.
    pub(crate) fn scaled_to(mut self, total: f64) -> Self {
        let factor = total / self.total();
        for rate in &mut self.0 {
            *rate *= factor;
        }
        self
    }

    /// What is done at `place`, a number from 0 up to but without 1.
    pub(crate) fn choose(&self, place: f64) -> Operation {
        let mut left = place * self.total();
        for operation in Operation::ALL {
            left -= self.of(operation);
            if left < 0.0 {
                return operation;
            }
        }
        Operation::Telemetry
    }

    fn parse(value: &Yaml<'_>) -> Option<Self> {
        let mut rates = Self::default();
        for (name, rate) in value.as_mapping()? {
            let name = name.as_str()?;
            let operation = Operation::ALL.into_iter().find(|it| it.name() == name)?;
            rates.0[operation as usize] = number(rate)?;
        }
        Some(rates)
    }
}

impl Scenario {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
        let mapping = documents.first().and_then(Yaml::as_mapping);
        let mapping = mapping.ok_or("a scenario is a mapping that starts with `rates:`")?;
        let mut scenario = Self::default();
        for (key, value) in mapping {
            let key = key.as_str().ok_or("a key is no text")?;
            let wrong = || format!("`{key}` has a value that it cannot have");
            let whole = value.as_integer().and_then(|it| u32::try_from(it).ok());
            let seconds = || number(value).and_then(|it| Duration::try_from_secs_f64(it).ok());
            match key {
                "rates" => scenario.rates = Rates::parse(value).ok_or_else(wrong)?,
                "port" => {
                    scenario.secure = match value.as_str() {
                        Some("coaps") => true,
                        Some("coap") => false,
                        _ => return Err(wrong()),
                    }
                }
                "confirmable" => scenario.confirmable = value.as_bool().ok_or_else(wrong)?,
                "devices" => scenario.devices = whole.ok_or_else(wrong)?,
                "duration" => scenario.duration = seconds().ok_or_else(wrong)?,
                "payload" => scenario.payload = whole.ok_or_else(wrong)? as usize,
                "ttd" => scenario.ttd = whole.ok_or_else(wrong)?,
                "loss" => scenario.loss = number(value).ok_or_else(wrong)?,
                "connection-ids" => scenario.connection_ids = number(value).ok_or_else(wrong)?,
                "rebind" => scenario.rebind = number(value).ok_or_else(wrong)?,
                "certificates" => scenario.certificates = number(value).ok_or_else(wrong)?,
                "storm" => scenario.storm = Some(Storm::parse(value).ok_or_else(wrong)?),
                "restart-network" => scenario.restart_network = Some(seconds().ok_or_else(wrong)?),
                "max-memory" => scenario.max_memory = Some(whole.ok_or_else(wrong)?),
                "rest" => scenario.rest = seconds().ok_or_else(wrong)?,
                "patience" => scenario.patience = seconds().ok_or_else(wrong)?,
                _ => return Err(format!("a scenario has no `{key}`")),
            }
        }
        Ok(scenario)
    }

    /// What is out of bounds: a mistake must not become an endless run.
    pub(crate) fn check(&self) -> Result<(), String> {
        let rate = self.rates.total();
        let seconds = self.duration.as_secs_f64();
        let between = self.restart_network.unwrap_or(Duration::from_secs(3_600));
        let bounds = [
            ("devices", f64::from(self.devices), 1.0, 1_000_000.0),
            ("rates", rate, 0.001, 200_000.0),
            ("duration", seconds, 0.1, 3_600.0),
            ("patience", self.patience.as_secs_f64(), 0.0, 600.0),
            ("rest", self.rest.as_secs_f64(), 0.0, 3_600.0),
            ("restart-network", between.as_secs_f64(), 10.0, 3_600.0),
            ("payload", self.payload as f64, 9.0, 1_024.0),
            ("ttd", f64::from(self.ttd), 1.0, 300.0),
            ("loss", self.loss, 0.0, 0.9),
            ("connection-ids", self.connection_ids, 0.0, 1.0),
            ("rebind", self.rebind, 0.0, 1.0),
            ("certificates", self.certificates, 0.0, 1.0),
            ("rates x duration", rate * seconds, 0.0, 5e7),
        ];
        let storm = self.storm.map_or([0.0; 2], |storm| {
            let end = (storm.after + storm.within).as_secs_f64();
            [f64::from(storm.devices), end]
        });
        let of_storm = [
            ("storm: devices", storm[0], 0.0, 1_000_000.0),
            ("storm: after + within", storm[1], 0.0, seconds),
        ];
        for (name, value, least, most) in bounds.into_iter().chain(of_storm) {
            if !(least..=most).contains(&value) {
                return Err(format!("`{name}` is {value}; it may be {least} to {most}"));
            }
        }
        let of_sessions =
            self.rates.of(Operation::Handshake) + self.connection_ids + self.certificates;
        if (of_sessions > 0.0 || self.storm.is_some()) && !self.secure {
            return Err(
                "handshakes, storms, connection ids and certificates need `port: coaps`".to_owned(),
            );
        }
        Ok(())
    }

    /// All devices.
    pub(crate) fn population(&self) -> u32 {
        self.devices + self.storm.map_or(0, |storm| storm.devices)
    }

    /// Whether every device, but those of a storm, has a session before anything is measured.
    pub(crate) fn sets_up(&self) -> bool {
        self.secure && !self.rates.only(Operation::Handshake)
    }

    /// Whether that device is among such a share of all.
    pub(crate) fn is_among(share: f64, device: u32) -> bool {
        f64::from(device % 100) < share * 100.0
    }
}

impl Default for Scenario {
    fn default() -> Self {
        let mut rates = Rates::default();
        rates.0[Operation::Telemetry as usize] = 100.0;
        Self {
            rates,
            secure: true,
            confirmable: true,
            devices: 100,
            duration: Duration::from_secs(10),
            payload: 20,
            ttd: 30,
            loss: 0.0,
            connection_ids: 0.0,
            rebind: 0.0,
            certificates: 0.0,
            storm: None,
            restart_network: None,
            max_memory: None,
            rest: Duration::ZERO,
            patience: Duration::from_secs(100),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of a scenario are far from 2^53"
)]
fn number(value: &Yaml<'_>) -> Option<f64> {
    let whole = || value.as_integer().map(|whole| whole as f64);
    value.as_floating_point().or_else(whole)
}

#[cfg(test)]
mod tests {
    use super::{Operation, Scenario};

    #[test]
    fn what_is_wrong_is_told() {
        for text in [
            "",
            "rates: { dance: 1 }",
            "rates: 5",
            "colour: red",
            "devices: -1",
            "loss: x",
            "port: 5684",
            "storm: { devices: 10, when: 5 }",
        ] {
            assert!(Scenario::parse(text).is_err(), "{text}");
        }
        for text in [
            "devices: 0",
            "loss: 1.0",
            "payload: 4",
            "rates: { event: 0 }",
            "rates: { event: 100000 }\nduration: 3600",
            "rates: { handshake: 1 }\nport: coap",
            "storm: { devices: 10, after: 5, within: 6 }",
            "storm: { devices: 10 }\nport: coap",
        ] {
            assert!(Scenario::parse(text).unwrap().check().is_err(), "{text}");
        }
    }

    #[test]
    fn each_operation_has_its_share_of_the_whole() {
        let rates = Scenario::parse("rates: { telemetry: 10, command: 30 }")
            .unwrap()
            .rates
            .scaled_to(400.0);
        assert!((rates.of(Operation::Command) - 300.0).abs() < 1e-9);
        assert_eq!(rates.choose(0.24), Operation::Telemetry);
        assert_eq!(rates.choose(0.26), Operation::Command);
        assert!(!rates.only(Operation::Command) && !rates.only(Operation::Event));
    }
}
