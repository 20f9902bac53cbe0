//! Files of a configuration, good and bad, and what is found.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A folder of this test's own with files that only their owner can read, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coap-adapter-preflight-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes `NAME.crt` and `NAME.key`, valid for so many days from now on.
    fn identity(&self, name: &str, days: (i64, i64)) -> (String, String) {
        let day = |days: i64| OffsetDateTime::from(NOW()) + time::Duration::days(days);
        let mut params = CertificateParams::new(vec!["adapter".to_owned()]).unwrap();
        params.not_before = day(days.0);
        params.not_after = day(days.1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (
            self.file(&format!("{name}.crt"), &certificate.pem()),
            self.file(&format!("{name}.key"), &key.serialize_pem()),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// 2026-06-01.
const NOW: fn() -> SystemTime = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_272_000);

/// What is found with the least configuration and these variables.
fn findings(more: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let services = [
        "MESSAGING",
        "COMMAND",
        "TENANT",
        "REGISTRATION",
        "CREDENTIALS",
        "COMMANDROUTER",
    ];
    let hosts = services.map(|service| (format!("HONO_{service}_HOST"), "peer".to_owned()));
    let port = [("HONO_COAP_PORT".to_owned(), "0".to_owned())];
    let more = more
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let (config, problems) = Config::inspect(None, hosts.into_iter().chain(port).chain(more));
    let findings = check(&config, problems, NOW());
    let problems = findings.problems.iter().map(Problem::to_string);
    (problems.collect(), findings.warnings)
}

fn identity<'p>(certificate: &'p str, key: &'p str) -> [(&'static str, &'p str); 2] {
    [
        ("HONO_COAP_CERTPATH", certificate),
        ("HONO_COAP_KEYPATH", key),
    ]
}

/// Symptom: a certificate and a key that do not belong together passed `check-config`, and `run`
/// connected to all services before it ended. Cause: only whether files can be opened was checked.
#[test]
fn an_identity_that_cannot_be_used_is_a_problem_of_its_setting() {
    let folder = Folder::new();
    let (certificate, key) = folder.identity("good", (-1, 365));
    let (_, other) = folder.identity("other", (-1, 365));
    assert_eq!(findings(&identity(&certificate, &key)), (vec![], vec![]));
    let no_pem = folder.file("none", "none");
    for (certificate, key, setting, expected) in [
        (
            &certificate,
            &other,
            "KEYPATH",
            "the key does not belong to the first certificate",
        ),
        (&certificate, &no_pem, "KEYPATH", "no private key"),
        (&certificate, &certificate, "KEYPATH", "no private key"),
        (&no_pem, &key, "CERTPATH", "no certificate"),
    ] {
        let (problems, warnings) = findings(&identity(certificate, key));
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert!(
            problem.starts_with(&format!("HONO_COAP_{setting}: ")),
            "{problem}"
        );
        assert!(problem.contains(expected), "{problem}");
        let file = if setting == "KEYPATH" {
            key
        } else {
            certificate
        };
        assert!(problem.contains(file.as_str()), "{problem}");
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn a_file_that_is_not_there_is_one_problem() {
    let folder = Folder::new();
    let (certificate, _) = folder.identity("good", (-1, 365));
    let (problems, _) = findings(&identity(&certificate, "/does/not/exist.key"));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("HONO_COAP_KEYPATH: "),
        "{problems:?}"
    );
    // Symptom: it was told twice. Cause: the settings and the files were looked at separately.
    let (problems, _) = findings(&[("HONO_COMMAND_CREDENTIALSPATH", "/does/not/exist")]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    // A folder can be opened, but not read.
    let (problems, _) = findings(&identity(&certificate, "/"));
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn certificates_that_are_not_valid_now_or_soon_are_warned_of() {
    let folder = Folder::new();
    for (name, days, expected) in [
        (
            "expired",
            (-10, -1),
            Some("the certificate expired on 2026-05-31"),
        ),
        (
            "soon",
            (-10, 29),
            Some("the certificate expires on 2026-06-30"),
        ),
        ("good", (-10, 31), None),
        ("later", (1, 365), Some("the certificate is not valid yet")),
    ] {
        let (certificate, key) = folder.identity(name, days);
        let (problems, warnings) = findings(&identity(&certificate, &key));
        assert_eq!(problems, [""; 0]);
        let expected = expected.map(|text| format!("`hono.coap.certPath`: {text} ({certificate})"));
        assert_eq!(warnings, Vec::from_iter(expected), "{name}");
        // The same for a certificate that is shown to a service.
        let client = [
            ("HONO_TENANT_CERTPATH", certificate.as_str()),
            ("HONO_TENANT_KEYPATH", key.as_str()),
        ];
        let (problems, of_client) = findings(&client);
        assert_eq!(problems, [""; 0]);
        let renamed = warnings
            .iter()
            .map(|it| it.replace("hono.coap", "hono.tenant"));
        assert_eq!(of_client, Vec::from_iter(renamed), "{name}");
    }
}

#[test]
fn an_rsa_key_is_warned_of_before_the_start() {
    let folder = Folder::new();
    let read = |name: &str| {
        let path = format!(
            "{}/../protocols/dtls-proto/tests/identities/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        fs::read_to_string(path).unwrap()
    };
    let certificate = folder.file("rsa.crt", &read("rsa.crt"));
    let key = folder.file("rsa.key", &read("rsa.key"));
    let (problems, warnings) = findings(&identity(&certificate, &key));
    assert_eq!(problems, [""; 0]);
    assert!(warnings[0].contains("the key is for RSA"), "{warnings:?}");
}

#[test]
fn trust_stores_and_keys_of_services_are_loaded() {
    let folder = Folder::new();
    let (certificate, key) = folder.identity("good", (-1, 365));
    let (_, other) = folder.identity("other", (-1, 365));
    let none = folder.file("none.pem", "none");
    let trust = |path: &str| findings(&[("HONO_MESSAGING_TRUSTSTOREPATH", path)]).0;
    assert_eq!(trust(&certificate), [""; 0]);
    assert!(trust(&none)[0].starts_with("HONO_MESSAGING_TRUSTSTOREPATH: "));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = folder.file("broken.pem", broken);
    assert!(trust(&broken)[0].starts_with("HONO_MESSAGING_TRUSTSTOREPATH: "));
    let own = |certificate: &str, key: &str| {
        findings(&[
            ("HONO_COMMAND_CERTPATH", certificate),
            ("HONO_COMMAND_KEYPATH", key),
        ])
        .0
    };
    assert_eq!(own(&certificate, &key), [""; 0]);
    assert!(own(&certificate, &other)[0].starts_with("HONO_COMMAND_KEYPATH: "));
    assert!(own(&none, &key)[0].starts_with("HONO_COMMAND_CERTPATH: "));
    let suites = [
        ("HONO_COMMAND_TLSENABLED", "true"),
        ("HONO_COMMAND_SUPPORTEDCIPHERSUITES", "NONE"),
    ];
    let (problems, _) = findings(&suites);
    assert!(
        problems[0].starts_with("HONO_COMMAND_SUPPORTEDCIPHERSUITES: "),
        "{problems:?}"
    );
}

#[test]
fn keys_of_sessions_and_the_token_of_operators_are_read() {
    let folder = Folder::new();
    let key = folder.file("key", &"0a".repeat(32));
    let short = folder.file("short", "0a0a");
    for variable in [
        "HONO_COAP_TICKETKEYPATH",
        "HONO_COAP_SESSIONSTOREKEYPATH",
        "HONO_COAP_OPERATORTOKENPATH",
    ] {
        let all = |path| {
            [
                (variable, path),
                ("HONO_COAP_SESSIONSTOREPATH", "/nowhere/sessions"),
                (
                    "HONO_COAP_SESSIONSTOREKEYPATH",
                    if variable.contains("STORE") {
                        path
                    } else {
                        &key
                    },
                ),
            ]
        };
        assert_eq!(findings(&all(&key)), (vec![], vec![]), "{variable}");
        let (problems, _) = findings(&all(&short));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with(&format!("{variable}: ")),
            "{problems:?}"
        );
    }
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let folder = Folder::new();
    let (certificate, key) = folder.identity("open", (-1, 365));
    for (mode, warned) in [(0o644, true), (0o602, true), (0o440, false), (0o400, false)] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let (problems, warnings) = findings(&identity(&certificate, &key));
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            warnings.len(),
            usize::from(warned),
            "{mode:o}: {warnings:?}"
        );
    }
    fs::set_permissions(&certificate, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        findings(&identity(&certificate, &key)).1,
        [""; 0],
        "a certificate is public"
    );
}

#[test]
fn an_endpoint_for_spans_that_is_no_url_is_a_problem() {
    let (problems, _) = findings(&[("QUARKUS_OTEL_EXPORTER_OTLP_ENDPOINT", "collector")]);
    assert!(problems[0].contains("OTLP/HTTP receiver"), "{problems:?}");
}
