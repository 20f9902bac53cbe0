//! What the devices do: a small YAML file, of which the command line may change numbers.

use std::time::Duration;

use saphyr::{LoadableYamlNode, Yaml};

/// All that is to be known before devices start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) operation: Operation,
    pub(crate) secure: bool,
    pub(crate) confirmable: bool,
    pub(crate) devices: u32,
    /// Of all devices together, a second.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    /// Bytes.
    pub(crate) payload: usize,
    /// Seconds that events wait for a command; none if they do not.
    pub(crate) ttd: Option<u32>,
    /// The share of datagrams that are lost in each direction.
    pub(crate) loss: f64,
    /// How long to wait for answers when no more requests are sent.
    pub(crate) patience: Duration,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Telemetry,
    Event,
    /// A new DTLS session from the address of the one before.
    Handshake,
}

impl Scenario {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
        let mapping = documents.first().and_then(Yaml::as_mapping);
        let mapping = mapping.ok_or("a scenario is a mapping that starts with `operation:`")?;
        let mut scenario = Self::default();
        for (key, value) in mapping {
            let key = key.as_str().ok_or("a key is no text")?;
            let wrong = || format!("`{key}` has a value that it cannot have");
            let number = value
                .as_floating_point()
                .or_else(|| value.as_integer().map(|whole| whole as f64));
            let whole = value.as_integer().and_then(|it| u32::try_from(it).ok());
            let seconds = number.and_then(|it| Duration::try_from_secs_f64(it).ok());
            match key {
                "operation" => {
                    scenario.operation = match value.as_str() {
                        Some("telemetry") => Operation::Telemetry,
                        Some("event") => Operation::Event,
                        Some("handshake") => Operation::Handshake,
                        _ => return Err(wrong()),
                    }
                }
                "port" => {
                    scenario.secure = match value.as_str() {
                        Some("coaps") => true,
                        Some("coap") => false,
                        _ => return Err(wrong()),
                    }
                }
                "confirmable" => scenario.confirmable = value.as_bool().ok_or_else(wrong)?,
                "devices" => scenario.devices = whole.ok_or_else(wrong)?,
                "rate" => scenario.rate = number.ok_or_else(wrong)?,
                "duration" => scenario.duration = seconds.ok_or_else(wrong)?,
                "payload" => scenario.payload = whole.ok_or_else(wrong)? as usize,
                "ttd" => scenario.ttd = Some(whole.ok_or_else(wrong)?),
                "loss" => scenario.loss = number.ok_or_else(wrong)?,
                "patience" => scenario.patience = seconds.ok_or_else(wrong)?,
                _ => return Err(format!("a scenario has no `{key}`")),
            }
        }
        Ok(scenario)
    }

    /// What is out of bounds: a mistake must not become an endless run.
    pub(crate) fn check(&self) -> Result<(), String> {
        let bounds = [
            ("devices", f64::from(self.devices), 1.0, 100_000.0),
            ("rate", self.rate, 0.001, 200_000.0),
            ("duration", self.duration.as_secs_f64(), 0.1, 3_600.0),
            ("patience", self.patience.as_secs_f64(), 0.0, 600.0),
            ("payload", self.payload as f64, 8.0, 1_024.0),
            ("ttd", f64::from(self.ttd.unwrap_or(0)), 0.0, 300.0),
            ("loss", self.loss, 0.0, 0.9),
            (
                "rate x duration",
                self.rate * self.duration.as_secs_f64(),
                0.0,
                5e7,
            ),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("`{name}` is {value}; it may be {least} to {most}"));
            }
        }
        if self.operation == Operation::Handshake && !self.secure {
            return Err("handshakes need `port: coaps`".to_owned());
        }
        Ok(())
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            operation: Operation::Telemetry,
            secure: true,
            confirmable: true,
            devices: 100,
            rate: 100.0,
            duration: Duration::from_secs(10),
            payload: 20,
            ttd: None,
            loss: 0.0,
            patience: Duration::from_secs(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Scenario;

    #[test]
    fn every_scenario_in_the_folder_can_be_played() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut seen = 0;
        for file in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            Scenario::parse(&text).unwrap().check().unwrap();
            seen += 1;
        }
        assert!(seen >= 5, "{seen}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for text in [
            "",
            "operation: dance",
            "colour: red",
            "devices: -1",
            "loss: x",
            "port: 5684",
        ] {
            assert!(Scenario::parse(text).is_err(), "{text}");
        }
        for text in [
            "devices: 0",
            "loss: 1.0",
            "payload: 4",
            "rate: 100000\nduration: 3600",
        ] {
            assert!(Scenario::parse(text).unwrap().check().is_err(), "{text}");
        }
    }
}
