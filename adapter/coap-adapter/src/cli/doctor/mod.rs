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
    /// URL of the adapter: `coaps://host[:port][/path][?query]`, or `coap://` for the port without
    /// security.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// PSK identity of the device: auth-id@tenant.
    #[arg(short = 'u', long, value_name = "IDENTITY")]
    pub(crate) identity: Option<String>,
    /// Pre-shared key. Other users of this machine can see it: prefer --psk-file or the variable
    /// `COAP_PSK`.
    #[arg(short = 'k', long, value_name = "KEY", conflicts_with = "psk_file")]
    pub(crate) key: Option<String>,
    /// File with the pre-shared key; a trailing newline is stripped.
    #[arg(long, value_name = "FILE")]
    pub(crate) psk_file: Option<PathBuf>,
    /// Format of the pre-shared key.
    #[arg(long, value_enum, default_value_t = KeyFormat::Text)]
    pub(crate) key_format: KeyFormat,
    /// PEM file with the device's certificate chain.
    #[arg(long, value_name = "FILE", requires = "key_file", conflicts_with_all = ["identity", "key", "psk_file"])]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate (PKCS #8, EC).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key_file: Option<PathBuf>,
    /// PEM file with the authorities trusted for the server's certificate; default: those of this
    /// machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// Method of the request. Without --method, --path and --payload, doctor sends an empty
    /// notification, which is harmless.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) method: Option<Method>,
    /// Path of the request, such as `telemetry`; default: that of the URL.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Query argument such as hono-ttd=10; may be repeated.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) query: Vec<String>,
    /// Payload of the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) payload: Option<String>,
    /// Content-Format of the payload (RFC 7252 §12.3): 0 text, 42 bytes, 50 JSON, 60 CBOR.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) content_format: u16,
    /// Send the request as a non-confirmable message.
    #[arg(long)]
    pub(crate) non: bool,
    /// Timeout of the handshake, and of the response, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Print the report as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Omits key and payload.
impl fmt::Debug for DoctorOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DoctorOptions")
            .field("url", &self.url)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Format of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyFormat {
    /// Plain bytes.
    Text,
    /// Hexadecimal.
    Hex,
    /// Base64, as in the registry.
    Base64,
}

/// A method of CoAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// GET.
    Get,
    /// POST: a device in a DTLS session.
    Post,
    /// PUT: a gateway, or a device without a session; the path names tenant and device.
    Put,
    /// DELETE.
    Delete,
}

pub(crate) async fn execute(options: DoctorOptions) -> Result<(), Error> {
    if options.key.is_some() && !options.json {
        tell(
            "note: other users of this machine can see a key on the command line; use --psk-file or the variable COAP_PSK",
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

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every step succeeded.
    pub(super) ok: bool,
    pub(super) server: String,
    pub(super) steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Answer>,
}

/// One step of connecting.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) step: &'static str,
    pub(super) ok: bool,
    /// The observation.
    pub(super) detail: String,
    /// Its meaning and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) advice: Vec<String>,
}

/// The server's response to the request.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) code: String,
    pub(super) payload: String,
    /// Location-Path and Location-Query, which describe the command, if there is one.
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
            // The step has reported the failure.
            if self.ok && !answer.payload.is_empty() {
                writeln!(formatter, "{}", answer.payload)?;
            }
        }
        Ok(())
    }
}
