//! The Device Registration API: does the device exist, and may this gateway act for it (spec: registry-apis A.4).

mod client;
mod assertion;

#[cfg(test)]
pub(crate) use self::client::{Key, is_outdated};
pub use self::{assertion::Assertion, client::RegistrationClient};
