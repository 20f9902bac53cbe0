//! The Command Router API: where commands for a device are to be sent (spec: registry-apis A.6).

mod client;
mod batch;
mod reporter;

pub use self::client::CommandRouterClient;
