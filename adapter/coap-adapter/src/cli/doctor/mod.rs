//! `doctor`: does what a device does, step by step, and tells in a device developer's words where and why it ends. Also a small client.

mod target;
mod credentials;
mod trust;
mod steps;
mod probe;
mod advice;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::steps::Examination;
use super::{Error, print, tell};

#[derive(Args)]
pub(crate) struct DoctorOptions {
    /// Where the adapter is: `coaps://host[:port][/path][?query]`, or `coap://` for the port without security.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// The PSK identity, as the device has it: auth-id@tenant.
    #[arg(short = 'u', long, value_name = "IDENTITY")]
    pub(crate) identity: Option<String>,
    /// The pre-shared key. Everybody on this machine can see it: better use --psk-file or the variable `COAP_PSK`.
    #[arg(short = 'k', long, value_name = "KEY", conflicts_with = "psk_file")]
    pub(crate) key: Option<String>,
    /// File with the pre-shared key; a line end behind it is left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) psk_file: Option<PathBuf>,
    /// How the pre-shared key is written.
    #[arg(long, value_enum, default_value_t = KeyFormat::Text)]
    pub(crate) key_format: KeyFormat,
    /// PEM file with the device's certificate, and those that lead to its authority.
    #[arg(long, value_name = "FILE", requires = "key_file", conflicts_with_all = ["identity", "key", "psk_file"])]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate (PKCS#8, EC).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key_file: Option<PathBuf>,
    /// PEM file with the authorities that the server's certificate may come from; without it, those of this machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// The request's method; without any of --method, --path and --payload an empty notification is sent, which does no harm.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) method: Option<Method>,
    /// The request's path, such as `telemetry`; the one of the URL without it.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// A query argument such as hono-ttd=10; may be given several times.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) query: Vec<String>,
    /// What to send.
    #[arg(long, value_name = "TEXT")]
    pub(crate) payload: Option<String>,
    /// What the payload is (RFC 7252 §12.3): 0 text, 42 bytes, 50 JSON, 60 CBOR.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) content_format: u16,
    /// Send the request as NON, to which no answer need come.
    #[arg(long)]
    pub(crate) non: bool,
    /// How many seconds the handshake may take, and then the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Neither key nor payload is anybody's business.
impl fmt::Debug for DoctorOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DoctorOptions")
            .field("url", &self.url)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyFormat {
    /// As it is.
    Text,
    /// Two digits a byte.
    Hex,
    /// As the registry has it.
    Base64,
}

/// A method of CoAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// To read.
    Get,
    /// What a device in a session sends.
    Post,
    /// What a gateway sends, or a device without a session: tenant and device stand in the path.
    Put,
    /// To delete.
    Delete,
}

pub(crate) async fn execute(options: DoctorOptions) -> Result<(), Error> {
    if options.key.is_some() && !options.json {
        tell(
            "note: others on this machine can see a key in the command line; --psk-file and the variable COAP_PSK are not seen",
        );
    }
    let report = Examination::new(&options)?.run().await;
    let text = if options.json {
        serde_json::to_string_pretty(&report).map_err(|error| Error::Failed(error.to_string()))?
            + "\n"
    } else {
        report.to_string()
    };
    print(&text)?;
    match report.steps.iter().find(|step| !step.ok) {
        Some(step) => Err(Error::Failed(format!("{}: {}", step.step, step.detail))),
        None => Ok(()),
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every step went well.
    pub(super) ok: bool,
    pub(super) server: String,
    pub(super) steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Answer>,
}

/// One step of a device's way.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) step: &'static str,
    pub(super) ok: bool,
    /// What was seen.
    pub(super) detail: String,
    /// What it means and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) advice: Vec<String>,
}

/// What the server answered to the request.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) code: String,
    pub(super) payload: String,
    /// Of Location-Path and Location-Query: the command, if there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) location: Vec<String>,
    pub(super) milliseconds: u128,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.server)?;
        for step in &self.steps {
            let mark = if step.ok { "ok  " } else { "FAIL" };
            writeln!(formatter, "{mark} {:<9} {}", step.step, step.detail)?;
            for advice in &step.advice {
                writeln!(formatter, "               {advice}")?;
            }
        }
        if let Some(answer) = &self.response {
            for location in &answer.location {
                writeln!(formatter, "{location}")?;
            }
            // Of a failure, the step has told it.
            if self.ok && !answer.payload.is_empty() {
                writeln!(formatter, "{}", answer.payload)?;
            }
        }
        Ok(())
    }
}
