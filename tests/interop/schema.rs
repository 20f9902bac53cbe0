//! The shipped JSON Schema before a validator that others wrote: it takes what the adapter takes, and refuses what it refuses.

use std::time::Duration;

use adapter::config::{Config, schema};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::process::Command;

use crate::{Outcome, Runner, process::Program, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "the_schema_takes_and_refuses_what_the_adapter_does";
    trials.push(runner.trial(Tool::JsonSchema, name, judged));
}

async fn judged() -> Outcome {
    let files: Vec<&str> = GOOD.iter().chain(BAD).copied().collect();
    let verdicts = validate(&files).await?;
    let wrong: Vec<String> = files
        .iter()
        .zip(&verdicts)
        .enumerate()
        .filter(|(number, (file, verdict))| {
            let good = *number < GOOD.len();
            verdict.is_empty() != good || accepted(file) != good
        })
        .map(|(_, (file, verdict))| format!("schema: {verdict:?}, file:\n{file}"))
        .collect();
    if wrong.is_empty() && verdicts.len() == files.len() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// What is wrong with each file by the schema; an empty text for nothing.
async fn validate(files: &[&str]) -> Result<Vec<String>, String> {
    let mut python = Command::new(Tool::JsonSchema.program());
    python.args(["-c", VALIDATOR]);
    let mut python = Program::start(python)?;
    let input = json!({"schema": schema(), "files": files});
    python.write(input.to_string().as_bytes()).await?;
    let output = python.rest(Duration::from_secs(30)).await?;
    serde_json::from_str(&output).map_err(|_| output)
}

/// Whether the adapter finds nothing wrong with the file, but that services are not named in it.
fn accepted(file: &str) -> bool {
    let path = std::env::temp_dir().join(format!("interop-schema-{}.yml", std::process::id()));
    if std::fs::write(&path, file).is_err() {
        return false;
    }
    let services = sandbox::variables(acceptance::stand::anywhere(), &[])
        .filter(|(name, _)| name.ends_with("_HOST"));
    let port = ("HONO_COAP_PORT".to_owned(), "5684".to_owned());
    let result = Config::load(Some(&path), services.chain([port]));
    std::fs::remove_file(&path).is_ok() && result.is_ok()
}

/// The meta-schema first, then each file.
const VALIDATOR: &str = "
import sys, json, yaml, jsonschema
given = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(given['schema'])
judge = jsonschema.Draft7Validator(given['schema'], format_checker=jsonschema.FormatChecker())
def printed(text):
    return '; '.join(e.json_path + ': ' + e.message[:80] for e in judge.iter_errors(yaml.safe_load(text)))
json.dump([printed(text) for text in given['files']], sys.stdout)
";

const GOOD: &[&str] = &[
    "hono: {coap: {port: 5684, maxPayloadSize: 4096, bindAddress: 0.0.0.0}}",
    "hono.coap.port: 5684\nhono.messaging.host: broker\nquarkus.log.level: debug",
    "hono: {coap: {port: null, tenantIdleTimeout: PT2H30M, authenticationRequired: false}}",
    "hono: {coap: {tenantIdleTimeout: 2h, idSplitRegex: '@', bindAddress: '::1'}}",
    "hono: {coap: {tenantIdleTimeout: 90}}",
    "hono: {messaging: {host: broker, secureProtocols: [TLSv1.3], connectTimeout: 1, username: u, password: x}}",
    "hono: {messaging: {secureProtocols: 'TLSv1.2,TLSv1.3'}}",
    "hono: {coap: {dtlsThreads: 4}, kafka: {commonClientConfig: {a.b: c}}}",
    "quarkus: {vertx: {prefer-native-transport: true}, http: {port: 8088}}",
    "quarkus: {log: {level: INFO, console: {json: true}, category: {dtls_server: {level: DEBUG}}}}",
    "quarkus: {log: {console: {json: {enabled: true}, level: WARN}}}",
    "otel: {traces: {sampler: always_on}}",
    "otel: {traces: {sampler: {arg: '0.5'}}}",
];

const BAD: &[&str] = &[
    "hono: {coap: {prot: 5684}}",
    "hono: {cop: {port: 5684}}",
    "hono.coap.prot: 5684",
    "nono: {coap: 1}",
    "hono: {coap: {port: 65536}}",
    "hono: {coap: {port: -2}}",
    "hono: {coap: {port: high}}",
    "hono.coap.port: 1.5",
    "hono: {coap: {maxPayloadSize: 128}}",
    "hono: {coap: {authenticationRequired: perhaps}}",
    "hono: {coap: {idSplitRegex: '('}}",
    "hono: {coap: {bindAddress: example.org}}",
    "hono: {coap: {tenantIdleTimeout: soon}}",
    "hono: {messaging: {connectTimeout: 0}}",
    "hono: {resourceLimits: {prometheusBased: {cacheTimeout: 0}}}",
    "quarkus: {log: {level: LOUD}}",
    "quarkus: {log: {category: {dtls_server: {level: LOUD}}}}",
    "- hono",
];
