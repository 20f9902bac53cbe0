//! The programs of others, where they are and how to get them.

use std::{
    env, fmt, fs,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::LazyLock,
    time::Duration,
};

use crate::{compiled, lab};

/// A program, or a family of them, that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// libcoap's client over OpenSSL.
    LibcoapOpenssl,
    /// libcoap's client over GnuTLS.
    LibcoapGnutls,
    /// libcoap's client without DTLS.
    LibcoapPlain,
    /// libcoap itself, for a program of ours.
    Libcoap,
    /// `openssl s_client`.
    Openssl,
    /// `gnutls-cli`.
    Gnutls,
    /// Mbed TLS, for a program of ours.
    MbedTls,
    /// go-coap, in a program of ours.
    GoCoap,
    /// aiocoap.
    Aiocoap,
    /// Network namespaces, and Mbed TLS for a device in one of them.
    Namespaces,
    /// Californium and Scandium; its "program" is the folder of jars.
    Californium,
    /// qpid-proton for Python.
    Proton,
    /// ActiveMQ Artemis, and qpid-proton to look into its queues.
    Artemis,
    /// Prometheus.
    Prometheus,
    /// `jsonschema` for Python.
    JsonSchema,
}

impl Tool {
    pub(crate) const ALL: [Self; 15] = [
        Self::LibcoapOpenssl,
        Self::LibcoapGnutls,
        Self::LibcoapPlain,
        Self::Libcoap,
        Self::Openssl,
        Self::Gnutls,
        Self::MbedTls,
        Self::GoCoap,
        Self::Aiocoap,
        Self::Namespaces,
        Self::Californium,
        Self::Proton,
        Self::Artemis,
        Self::Prometheus,
        Self::JsonSchema,
    ];

    /// What to start.
    pub(crate) fn program(self) -> PathBuf {
        match self {
            Self::LibcoapOpenssl => "coap-client-openssl".into(),
            Self::LibcoapGnutls => "coap-client-gnutls".into(),
            Self::LibcoapPlain => "coap-client-notls".into(),
            Self::Libcoap => compiled::LIBCOAP.clone().unwrap_or_default(),
            Self::Openssl => "openssl".into(),
            Self::Gnutls => "gnutls-cli".into(),
            Self::MbedTls | Self::Namespaces => compiled::MBED_TLS.clone().unwrap_or_default(),
            Self::GoCoap => place("INTEROP_GOCOAP", "gocoap"),
            Self::Californium => place("INTEROP_CALIFORNIUM", "californium"),
            Self::Proton | Self::Aiocoap => place("INTEROP_VENV", "venv").join("bin/python"),
            Self::Artemis => artemis().unwrap_or_default().join("bin/artemis"),
            Self::Prometheus => "prometheus".into(),
            Self::JsonSchema => "python3".into(),
        }
    }

    /// Whether it can be started.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::LibcoapOpenssl
            | Self::LibcoapGnutls
            | Self::LibcoapPlain
            | Self::Openssl
            | Self::Gnutls
            | Self::Prometheus => starts(self.program(), &["--version"]),
            Self::Libcoap => compiled::LIBCOAP.is_some(),
            Self::MbedTls => compiled::MBED_TLS.is_some(),
            Self::GoCoap => self.program().is_file(),
            Self::Aiocoap => {
                run(self.program(), &["-c", "import aiocoap"]).is_some_and(|end| end.success())
            }
            Self::Namespaces => *NAMESPACES && Self::MbedTls.is_there(),
            Self::Californium => {
                self.program().join("scandium-3.14.0.jar").exists()
                    && starts("javac".into(), &["-version"])
            }
            Self::Proton => {
                run(self.program(), &["-c", "import proton"]).is_some_and(|end| end.success())
            }
            Self::JsonSchema => run(self.program(), &["-c", "import jsonschema, yaml"])
                .is_some_and(|end| end.success()),
            Self::Artemis => {
                self.program().exists()
                    && starts("java".into(), &["-version"])
                    && Self::Proton.is_there()
            }
        }
    }

    /// What a person would do to have it.
    pub(crate) const fn how_to_get(self) -> &'static str {
        match self {
            Self::LibcoapOpenssl | Self::LibcoapGnutls | Self::LibcoapPlain => {
                "apt-get install libcoap3-bin, or cargo xtask interop"
            }
            Self::Libcoap => "apt-get install libcoap3-dev build-essential, or cargo xtask interop",
            Self::Gnutls => "apt-get install gnutls-bin, or cargo xtask interop",
            Self::MbedTls => {
                "apt-get install libmbedtls-dev build-essential, or cargo xtask interop"
            }
            Self::GoCoap => {
                "go build tests/interop/gocoap to where INTEROP_GOCOAP says, or cargo xtask interop"
            }
            Self::Aiocoap => {
                "pip install aiocoap into the venv that INTEROP_VENV names, or cargo xtask interop"
            }
            Self::Namespaces => {
                "apt-get install iproute2 libmbedtls-dev, and root that may make namespaces"
            }
            Self::Prometheus => "apt-get install prometheus, or cargo xtask interop",
            Self::Openssl => "apt-get install openssl, or cargo xtask interop",
            Self::Californium => {
                "apt-get install default-jdk-headless, put Californium's jars where INTEROP_CALIFORNIUM says, or cargo xtask interop"
            }
            Self::JsonSchema => {
                "apt-get install python3-jsonschema python3-yaml, or cargo xtask interop"
            }
            Self::Proton => {
                "pip install python-qpid-proton into the venv that INTEROP_VENV names, or cargo xtask interop"
            }
            Self::Artemis => {
                "unpack Apache Artemis and let INTEROP_ARTEMIS name its folder, or cargo xtask interop"
            }
        }
    }

    /// Whether `cargo xtask interop` can bring it. A container may forbid namespaces.
    pub(crate) const fn is_installable(self) -> bool {
        !matches!(self, Self::Namespaces)
    }

    /// How long a test with it may take.
    pub(crate) const fn patience(self) -> Duration {
        match self {
            Self::Artemis | Self::Namespaces => Duration::from_secs(240),
            _ => Duration::from_secs(60),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LibcoapOpenssl => "libcoap on OpenSSL",
            Self::LibcoapGnutls => "libcoap on GnuTLS",
            Self::LibcoapPlain => "libcoap without DTLS",
            Self::Libcoap => "libcoap",
            Self::Openssl => "openssl",
            Self::Gnutls => "gnutls-cli",
            Self::MbedTls => "Mbed TLS",
            Self::GoCoap => "go-coap",
            Self::Aiocoap => "aiocoap",
            Self::Namespaces => "network namespaces",
            Self::Californium => "Californium",
            Self::Proton => "qpid-proton",
            Self::Artemis => "ActiveMQ Artemis",
            Self::Prometheus => "Prometheus",
            Self::JsonSchema => "jsonschema for Python",
        })
    }
}

/// The folder that a variable names, else the one in which `cargo xtask interop` installs.
fn place(variable: &str, name: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| installed().join(name), PathBuf::from)
}

fn artemis() -> Option<PathBuf> {
    if let Some(named) = env::var_os("INTEROP_ARTEMIS") {
        return Some(named.into());
    }
    let mut found: Vec<PathBuf> = fs::read_dir(installed())
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    found.retain(|path| path.join("bin/artemis").exists());
    found.sort();
    found.pop()
}

/// `interop` in cargo's target folder, in which this program lies, two folders deeper.
fn installed() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .nth(3)
        .map(|target| target.join("interop"))
        .unwrap_or_default()
}

/// Whether it is there; libcoap's clients do not know any word that would make them succeed.
fn starts(program: PathBuf, words: &[&str]) -> bool {
    run(program, words).is_some()
}

fn run(program: PathBuf, words: &[&str]) -> Option<ExitStatus> {
    let mut trial = Command::new(program);
    trial.args(words);
    trial
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    trial.status().ok()
}

static NAMESPACES: LazyLock<bool> = LazyLock::new(lab::is_possible);
