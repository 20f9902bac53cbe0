//! What is asked of the image's recipe, as hadolint and the benchmarks of container security ask it.

/// What is wrong in a Dockerfile.
pub(super) fn faults(text: &str) -> Vec<String> {
    let all = instructions(text);
    let mut faults = Vec::new();
    for it in &all {
        judge(it, |wrong| {
            faults.push(format!("Dockerfile:{}: {wrong}", it.line));
        });
    }
    faults.extend(of_stages(&all).map(|wrong| format!("Dockerfile: {wrong}")));
    faults
}

/// One instruction.
fn judge(it: &Instruction, mut tell: impl FnMut(&str)) {
    let words = it.words.as_str();
    match it.name.as_str() {
        "FROM" => {
            let image = words.split_whitespace().next().unwrap_or_default();
            let tag = image.rsplit_once(':').map(|(_, tag)| tag);
            if image != "scratch" && tag.is_none_or(|tag| tag == "latest") {
                tell("an image should have a version");
            }
        }
        "ADD" => tell("COPY says what it does, ADD unpacks and fetches"),
        "MAINTAINER" => tell("is long gone; use a label"),
        "WORKDIR" if !words.starts_with('/') => tell("should be an absolute path"),
        "ENV" | "ARG"
            if SECRETS
                .iter()
                .any(|word| words.to_uppercase().contains(word)) =>
        {
            tell("a secret stays in the image's history");
        }
        "RUN" => run(words, tell),
        "ENTRYPOINT" | "CMD" if !words.starts_with('[') => {
            tell("a shell would get the signals: write a list");
        }
        "USER"
            if !words
                .split(':')
                .all(|id| id.parse::<u32>().is_ok_and(|id| id > 10_000)) =>
        {
            tell("only a number shows that it is not root's, and small ones may be the node's");
        }
        _ => {}
    }
}

/// The stages, of which the last is the image.
fn of_stages(all: &[Instruction]) -> impl Iterator<Item = &'static str> {
    let stages = all.iter().filter(|it| it.name == "FROM").count();
    let last = all
        .iter()
        .rposition(|it| it.name == "FROM")
        .unwrap_or_default();
    let image = all.get(last..).unwrap_or_default();
    let words = |name: &str| {
        image
            .iter()
            .find(|it| it.name == name)
            .map(|it| it.words.as_str())
    };
    let exposed: Vec<&str> = words("EXPOSE")
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    [
        (words("USER").is_some(), "it runs as root"),
        (words("ENTRYPOINT").is_some(), "it has no entry point"),
        (
            stages > 1 && words("FROM") == Some("scratch"),
            "what builds should stay behind: the last stage should begin with nothing",
        ),
        (
            PORTS.iter().all(|port| exposed.contains(port)),
            "the ports should be listed with their protocols",
        ),
    ]
    .into_iter()
    .filter_map(|(holds, wrong)| (!holds).then_some(wrong))
}

fn run(words: &str, mut tell: impl FnMut(&str)) {
    if words.contains("apt-get install") {
        for (wanted, otherwise) in [
            (
                "--no-install-recommends",
                "packages that nobody asked for are installed",
            ),
            ("-y", "nobody is there to answer"),
            (
                "rm -rf /var/lib/apt/lists",
                "lists of packages stay in the layer",
            ),
        ] {
            if !words.contains(wanted) {
                tell(otherwise);
            }
        }
    }
    if words.contains("curl ") || words.contains("wget ") {
        tell("what is fetched is not checked");
    }
    if words.contains("sudo ") {
        tell("a build is root already");
    }
    if words.contains(" | ") && !words.contains("pipefail") {
        tell("a pipe hides that its first command failed");
    }
    if words.contains("cargo ") && !words.contains("--locked") {
        tell("what is built should be what was tested: `--locked`");
    }
}

struct Instruction {
    line: usize,
    name: String,
    words: String,
}

/// The instructions, each in one line.
fn instructions(text: &str) -> Vec<Instruction> {
    let mut all: Vec<Instruction> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let plain = line.trim_end_matches('\\').trim();
        match all.last_mut().filter(|_| goes_on) {
            Some(before) => before.words += &format!(" {plain}"),
            None => {
                let (name, words) = plain.split_once(' ').unwrap_or((plain, ""));
                all.push(Instruction {
                    line: number + 1,
                    name: name.to_uppercase(),
                    words: words.trim().to_owned(),
                });
            }
        }
        goes_on = line.ends_with('\\');
    }
    all
}

const SECRETS: [&str; 4] = ["PASSWORD", "SECRET", "TOKEN", "KEY"];
const PORTS: [&str; 3] = ["5684/udp", "5683/udp", "8088/tcp"];

#[cfg(test)]
mod tests {
    use super::faults;

    #[test]
    fn each_careless_line_is_told() {
        let careless = "FROM debian\nMAINTAINER me\nADD x /x\nWORKDIR x\nENV API_TOKEN=1\nRUN apt-get update && \\\n  apt-get install curl | tee log\n\
             RUN sudo curl http://x\nRUN cargo build\nUSER nobody\nCMD run\n";
        let found = faults(careless).join("\n");
        for wrong in [
            ":1: an image should have",
            ":2: is long gone",
            ":3: COPY",
            ":4: should be an absolute",
            ":5: a secret",
            ":6: packages that",
            ":6: nobody is there",
            ":6: lists",
            ":6: a pipe",
            ":8: what is fetched",
            ":8: a build is root",
            ":9: what is built",
            ":10: only a number",
            ":11: a shell",
            "no entry point",
            "begin with nothing",
            "ports",
        ] {
            assert!(found.contains(wrong), "{wrong} is not in:\n{found}");
        }
    }

    #[test]
    fn ours_is_in_order() {
        let none: [String; 0] = [];
        assert_eq!(faults(include_str!("../../../../deploy/Dockerfile")), none);
    }
}
