//! The Command Router API: where commands for a device are to be sent (spec: registry-apis A.6).

mod client;
mod batch;
mod reporter;
mod routing;
#[cfg(test)]
mod tests;

pub use self::client::CommandRouterClient;
