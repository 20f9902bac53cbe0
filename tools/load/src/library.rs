//! The scenarios that come with the program, so that they are there wherever it is started.

/// Name and text of each.
const ALL: [(&str, &str); 14] = [
    scenario("telemetry", include_str!("../scenarios/telemetry.yaml")),
    scenario("events", include_str!("../scenarios/events.yaml")),
    scenario("plain", include_str!("../scenarios/plain.yaml")),
    scenario("commands", include_str!("../scenarios/commands.yaml")),
    scenario("waiting", include_str!("../scenarios/waiting.yaml")),
    scenario("mixture", include_str!("../scenarios/mixture.yaml")),
    scenario(
        "certificates",
        include_str!("../scenarios/certificates.yaml"),
    ),
    scenario("lossy", include_str!("../scenarios/lossy.yaml")),
    scenario("moving", include_str!("../scenarios/moving.yaml")),
    scenario("sleepers", include_str!("../scenarios/sleepers.yaml")),
    scenario("reconnect", include_str!("../scenarios/reconnect.yaml")),
    scenario("storm", include_str!("../scenarios/storm.yaml")),
    scenario("overload", include_str!("../scenarios/overload.yaml")),
    scenario("soak", include_str!("../scenarios/soak.yaml")),
];

const fn scenario(name: &'static str, text: &'static str) -> (&'static str, &'static str) {
    (name, text)
}

/// The text of a scenario.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|it| it.0 == name).map(|it| it.1)
}

/// A line for each: its name and what it does.
pub(crate) fn lines() -> impl Iterator<Item = String> {
    ALL.iter().map(|(name, text)| {
        let words = text.lines().next().unwrap_or_default();
        format!("{name:<13} {}\n", words.trim_start_matches("# "))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::scenario::Scenario;

    #[test]
    fn every_scenario_of_the_folder_is_in_it_and_can_be_played() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut seen = 0;
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let text = super::find(name).unwrap_or_else(|| panic!("{name}"));
            Scenario::parse(text).unwrap().check().unwrap();
            seen += 1;
        }
        assert_eq!(seen, super::ALL.len());
        for line in super::lines() {
            assert!(line.split_whitespace().count() > 3, "{line}");
        }
    }
}
