//! `send`: a command to a device by AMQP, as a business application sends it, and what became of it.

use std::fmt;
use std::net::SocketAddr;

use clap::Args;
use sandbox::northbound::{SendLineError, send_command_line_noting};

use super::{Error, print};

#[derive(Args)]
pub(crate) struct SendOptions {
    /// Address of the AMQP 1.0 network.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5672")]
    pub(crate) amqp: String,
    /// Tenant of the device, if DEVICE names none.
    #[arg(long, value_name = "TENANT", default_value = "DEFAULT_TENANT")]
    pub(crate) tenant: String,
    /// Send a one-way command, to which the device does not respond.
    #[arg(long)]
    pub(crate) one_way: bool,
    /// The device.
    #[arg(value_name = "[TENANT/]DEVICE")]
    pub(crate) device: String,
    /// The command's name.
    pub(crate) name: String,
    /// Payload of the command; several words are joined by spaces.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) body: Vec<String>,
}

/// Does not show the body, which is only the device's business.
impl fmt::Debug for SendOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SendOptions")
            .field("amqp", &self.amqp)
            .field("device", &self.device)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

pub(crate) async fn execute(options: SendOptions) -> Result<(), Error> {
    let peer = resolve(&options.amqp).await?;
    let mut printed = Ok(());
    let mut is_waiting = false;
    let report = send_command_line_noting(peer, &line(&options), &options.tenant, |text| {
        is_waiting = true;
        printed = print(&format!("{text}\n"));
    })
    .await
    .map_err(|error| match error {
        SendLineError::Line(error) => Error::Wrong(error.to_string()),
        SendLineError::Network(source) => Error::Sandbox(source),
        other => Error::Failed(other.to_string()),
    })?;
    printed?;
    let text = if is_waiting {
        report.after_waiting()
    } else {
        report.to_string()
    };
    if report.is_success() {
        print(&format!("{text}\n"))
    } else {
        Err(Error::Failed(text))
    }
}

/// The command in the form of the sandbox's prompt.
fn line(options: &SendOptions) -> String {
    let words = [options.device.as_str(), options.name.as_str()]
        .into_iter()
        .chain(options.body.iter().map(String::as_str));
    let line = words.collect::<Vec<_>>().join(" ");
    if options.one_way {
        format!("--one-way {line}")
    } else {
        line
    }
}

/// Resolves `host:port` to its first address.
async fn resolve(amqp: &str) -> Result<SocketAddr, Error> {
    let port = amqp.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(Error::Wrong(format!(
            "--amqp is `{amqp}`, but should be like `127.0.0.1:5672`"
        )));
    }
    let mut found = tokio::net::lookup_host(amqp)
        .await
        .map_err(|error| Error::Failed(format!("cannot resolve the host of `{amqp}`: {error}")))?;
    found
        .next()
        .ok_or_else(|| Error::Failed(format!("`{amqp}` has no address")))
}
