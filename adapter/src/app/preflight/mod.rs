//! Loads every file that the configuration names, as the start does, but connects to nothing: what
//! cannot be used is an error, what soon cannot or is unwise is a warning.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use amqp_client::{ConfigError, Connector, TlsConfig};
use dtls_server::{Certificate, CertificateError, IdentityError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;

use super::{StartError, ports, sessions};
use crate::config::{Config, KeyAndCertificate, Problem};
use crate::monitoring::operator;
use observability::spans::Traces;

/// What is wrong with the files of a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// The adapter does not start with these.
    pub problems: Vec<Problem>,
    /// It starts, but an operator should know.
    pub warnings: Vec<String>,
}

/// Loads all files. `known` are problems with settings that were found before; a setting has one.
#[must_use]
pub fn check(config: &Config, known: Vec<Problem>, now: SystemTime) -> Findings {
    let mut preflight = Preflight {
        config,
        now,
        findings: Findings {
            problems: known,
            warnings: Vec::new(),
        },
    };
    for problem in config.unreadable_files() {
        preflight.add(problem);
    }
    preflight.identity();
    preflight.session_keys();
    preflight.operator_token();
    preflight.tracing();
    preflight.services();
    preflight.permissions();
    preflight.findings.problems.sort();
    preflight.findings
}

struct Preflight<'c> {
    config: &'c Config,
    now: SystemTime,
    findings: Findings,
}

impl Preflight<'_> {
    /// The server's certificate and key.
    fn identity(&mut self) {
        let coap = &self.config.coap;
        let Some(files) = coap.identity.as_ref().filter(|_| coap.secure.is_some()) else {
            return;
        };
        match ports::read_identity(files) {
            Ok(_) => self.validity("hono.coap.certPath", &files.certificate),
            Err(StartError::Identity { source, .. })
                if source.downcast_ref() == Some(&IdentityError::RsaKey) =>
            {
                self.findings.warnings.push(
                    "`hono.coap.keyPath`: the key is for RSA, with which DTLS suites here cannot sign; devices with certificates are not served, only those with pre-shared keys".to_owned(),
                );
                self.validity("hono.coap.certPath", &files.certificate);
            }
            Err(error) => {
                let setting = identity_setting(&error, files);
                self.refuse(&setting, &error);
            }
        }
    }

    fn session_keys(&mut self) {
        let sessions = &self.config.sessions;
        if let Some(path) = &sessions.ticket_keys
            && let Err(error) = sessions::ticket_keys(path)
        {
            self.refuse("hono.coap.ticketKeyPath", &error);
        }
        if let Some(store) = &sessions.store
            && let Err(error) = sessions::save_key(&store.key)
        {
            self.refuse("hono.coap.sessionStoreKeyPath", &error);
        }
    }

    fn operator_token(&mut self) {
        let Some(operator) = &self.config.coap.operator else {
            return;
        };
        if let Err(error) = operator::read_token(&operator.token) {
            self.refuse("hono.coap.operatorTokenPath", &error);
        }
    }

    fn tracing(&mut self) {
        if let Err(error) = Traces::check(self.config.tracing.endpoint.as_deref()) {
            self.refuse("quarkus.otel.exporter.otlp.endpoint", &error);
        }
    }

    /// Trust stores, certificates and keys of the services.
    fn services(&mut self) {
        let config = self.config;
        let clients = [
            ("hono.messaging", &config.messaging),
            ("hono.command", &config.command),
            ("hono.tenant", &config.tenant),
            ("hono.registration", &config.registration),
            ("hono.credentials", &config.credentials),
            ("hono.commandRouter", &config.command_router),
        ];
        for (prefix, client) in clients {
            if let Some(client) = client
                && let Some(tls) = &client.tls
            {
                self.tls(prefix, &client.host, client.port, tls);
            }
        }
        if let Some(limits) = &config.resource_limits
            && let Some(tls) = &limits.tls
        {
            let prefix = "hono.resourceLimits.prometheusBased";
            self.tls(prefix, &limits.host, limits.port, tls);
        }
    }

    fn tls(&mut self, prefix: &str, host: &str, port: u16, tls: &TlsConfig) {
        match Connector::new(host, port, Some(tls)) {
            Ok(_) => {
                if let Some(own) = &tls.identity {
                    self.validity(&format!("{prefix}.certPath"), &own.certificate);
                }
            }
            Err(error) => {
                let setting = tls_setting(host, port, tls, &error);
                self.refuse(&format!("{prefix}.{setting}"), &error);
            }
        }
    }

    /// Warns of certificates that are not valid now or soon.
    fn validity(&mut self, setting: &str, chain: &Path) {
        let Ok(pem) = std::fs::read(chain) else {
            return;
        };
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        for (place, der) in certificates.enumerate() {
            let Ok(certificate) = Certificate::from_der(&der) else {
                continue;
            };
            let end = certificate.not_after();
            let what = match place {
                0 => "the certificate".to_owned(),
                place => format!("certificate {} of the chain", place + 1),
            };
            let told = match certificate.check_validity(self.now) {
                Err(CertificateError::Expired) => format!("{what} expired on {}", date(end)),
                Err(_) => format!("{what} is not valid yet"),
                Ok(()) if end < self.now + SOON => format!("{what} expires on {}", date(end)),
                Ok(()) => continue,
            };
            let warning = format!("`{setting}`: {told} ({})", chain.display());
            self.findings.warnings.push(warning);
        }
    }

    /// Warns of secrets that every user of the machine can read or change.
    fn permissions(&mut self) {
        for setting in &self.config.effective {
            let Some(path) = setting.value.as_deref() else {
                continue;
            };
            let key = setting.name.rsplit('.').next().unwrap_or_default();
            if !SECRETS.contains(&key) {
                continue;
            }
            let mode = std::fs::metadata(path).as_ref().map_or(0, Metadata::mode);
            if mode & OTHERS != 0 {
                self.findings.warnings.push(format!(
                    "`{}`: every user of this machine can read or change {path}; use `chmod o= {path}`",
                    setting.name
                ));
            }
        }
    }

    fn refuse(&mut self, setting: &str, error: &dyn std::error::Error) {
        let problem = self.config.problem_with(setting, &chain(error));
        self.add(problem);
    }

    /// A setting that has a problem already gets no second one.
    fn add(&mut self, problem: Problem) {
        let setting = |problem: &Problem| problem.text.split('`').nth(1).map(str::to_owned);
        let known = self.findings.problems.iter();
        let is_known = known
            .filter(|it| it.origin == problem.origin)
            .any(|it| setting(it) == setting(&problem));
        if !is_known {
            self.findings.problems.push(problem);
        }
    }
}

/// The setting that an error of the server's identity is about.
fn identity_setting(error: &StartError, files: &KeyAndCertificate) -> String {
    let is_key = matches!(error, StartError::Identity { path, .. } if *path == files.key);
    let key = if is_key { "keyPath" } else { "certPath" };
    format!("hono.coap.{key}")
}

/// The setting of a client that an error of TLS is about.
fn tls_setting(host: &str, port: u16, tls: &TlsConfig, error: &ConfigError) -> &'static str {
    let identity = tls.identity.as_ref();
    match error {
        ConfigError::HostName(_) => "host",
        ConfigError::File { path, .. } | ConfigError::Pem { path, .. } => {
            let is_key = identity.is_some_and(|own| own.key == *path);
            match identity {
                Some(_) if is_key => "keyPath",
                Some(own) if own.certificate == *path => "certPath",
                _ => "trustStorePath",
            }
        }
        _ => {
            let mut without_identity = tls.clone();
            without_identity.identity = None;
            let mut without_files = without_identity.clone();
            without_files.trust_store = None;
            let is_good = |tls: &TlsConfig| Connector::new(host, port, Some(tls)).is_ok();
            if is_good(&without_identity) {
                "keyPath"
            } else if is_good(&without_files) {
                "trustStorePath"
            } else {
                "supportedCipherSuites"
            }
        }
    }
}

/// The error and its causes; what repeats is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The day in UTC, as `2026-06-30`.
#[must_use]
pub fn date(time: SystemTime) -> String {
    OffsetDateTime::from(time).date().to_string()
}

/// Before a certificate expires, there should be time to replace it.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// Settings whose files nobody else should read.
const SECRETS: &[&str] = &[
    "keyPath",
    "credentialsPath",
    "ticketKeyPath",
    "sessionStoreKeyPath",
    "operatorTokenPath",
];

/// Reading and writing by users who are neither the owner nor in the group.
const OTHERS: u32 = 0o006;

#[cfg(test)]
mod tests;
