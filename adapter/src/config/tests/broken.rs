//! Broken configurations: all errors are reported at once, with their places and remedies.

use super::*;

/// The errors of a file, with a short name for it.
fn mistakes(text: &str, more: &[(&str, &str)]) -> String {
    let file = File::new(text);
    let problems = file.load(more).unwrap_err();
    messages(&problems)
        .join("\n")
        .replace(file.text(), "application.yml")
}

#[test]
fn misspelt_names() {
    let text = "
hono:
  coap:
    maxPaylodSize: 4096
    max-connections: 7
    tiemoutToAck: 500
    gatherTime: 4
    dtlsHandshakesPerNeighbourhood: 9
  mesaging:
    host: broker
  tenant.hosst: registry
  nonsense: 1
quarkus:
  http:
    prot: 8088
hono.coap.defaultsenabled: false
";
    insta::assert_snapshot!(mistakes(text, &[]));
}

#[test]
fn values_of_the_wrong_kind() {
    let text = "
hono:
  coap:
    authenticationRequired: maybe
    bindAddress: here
    idSplitRegex: '[@'
    maxPayloadSize: 128
    timeoutToAck: -2
    tenantIdleTimeout: two hours
    maxConnections: 1e3
  tenant:
    port: 70000
    requestTimeout: 0
    responseCacheDefaultTimeout: 0
  messaging:
    addressRewriteRule: '['
    host: ${BROKER:localhost}
    password: ${PASSWORD}
quarkus:
  log:
    level: LOUD
    category:
      adapter:
        level: QUIET
";
    insta::assert_snapshot!(mistakes(text, &[("QUARKUS_HTTP_PORT", "http")]));
}

#[test]
fn settings_that_do_not_go_together() {
    let text = "
hono:
  coap:
    port: 5683
    insecurePortEnabled: true
    authenticationRequired: false
    keyPath: key.pem
  messaging:
    username: hono
    trustStorePath: trust.jks
  command:
    credentialsPath: /does/not/exist.properties
  tenant:
    keyStorePath: client.p12
    secureProtocols: [TLSv1.1, TLSv1.2]
  registration:
    reconnectMinDelay: 100
    reconnectMaxDelay: 10
  credentials.certPath: cert.pem
quarkus.smallrye-health.liveness-path: readiness
quarkus.smallrye-health.startup-path: /prometheus
";
    insta::assert_snapshot!(mistakes(text, &[]));
}

#[test]
fn paths_that_cannot_be_served() {
    let text = "quarkus.smallrye-health.root-path: '/{all}'\n";
    insta::assert_snapshot!(mistakes(text, &[]));
}

#[test]
fn structure_that_is_no_setting() {
    let text = "
hono:
  coap:
    port: [5684, 5685]
    port: 5684
    maxPayloadSize:
      bytes: 2048
  coap.port: 5686
";
    insta::assert_snapshot!(mistakes(text, &[]));
}

#[test]
fn no_yaml() {
    let text = "
hono:
  coap:
    timeoutToAck: soon
    port: 5684
   maxPayloadSize: 4096
";
    insta::assert_snapshot!(mistakes(text, &[]));
    insta::assert_snapshot!(mistakes("- hono\n", &[]));
    insta::assert_snapshot!(mistakes(
        "hono: {coap: {port: &port 5684, insecurePort: *port}}\n",
        &[]
    ));
    insta::assert_snapshot!(mistakes(
        "hono.coap.timeoutToAck: 1\n---\nhono.coap.timeoutToAck: 2\n",
        &[]
    ));
    insta::assert_snapshot!(mistakes(&"{a: ".repeat(1000), &[]));
}

/// Symptom: seven lines about settings that are not configured came before this one. Cause: the
/// adapter went on without the file.
#[test]
fn a_file_that_is_not_there_is_the_only_problem() {
    let path = Path::new("/does/not/exist.yml");
    let (config, problems) = Config::inspect(Some(path), std::iter::empty());
    assert_eq!(
        messages(&problems),
        ["/does/not/exist.yml: cannot be read: No such file or directory (os error 2)"]
    );
    assert_eq!(config.effective, []);
}

/// What seems to be missing may stand behind the place where the file breaks off.
#[test]
fn nothing_is_missing_in_a_file_that_is_no_yaml() {
    let file = File::new("hono:\n  coap: {port: 0}\n messaging: {host: h}\n");
    let problems = Config::load(Some(&file.0), std::iter::empty()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].text.starts_with("this is not YAML"),
        "{problems:?}"
    );
}

#[test]
fn secrets_in_broken_files_are_not_told() {
    let text = "hono:\n  tenant:\n    password: {v3ry: secret}\n    pasword: v3ry-secret\n    keyStorePassword: [v3ry, secret]\n";
    let messages = mistakes(text, &[]);
    assert!(!messages.contains("v3ry-secret"), "{messages}");
}
