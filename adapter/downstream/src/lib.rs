//! AMQP 1.0 links to the messaging network.

mod address;

mod config;

mod secret;

mod error;

pub use address::AddressRewriteRule;
pub use amqp_proto::{
    DecodeError, Outcome, Value,
    message::{Body, Header, Message, MessageId, Properties},
};
pub use config::{
    ClientIdentity, ConnectionConfig, HostnameVerification, TlsConfig, TlsVersion, UserCredentials,
};
pub use error::{ConfigError, LinkError, SendError};
pub use secret::Secret;
