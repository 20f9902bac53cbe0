//! The Credentials API: by what a device proves who it is (spec: registry-apis A.5).

mod client;
mod json;
mod object;
mod secret;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::client::is_outdated;
pub use self::{
    client::CredentialsClient,
    object::{Credentials, Secret},
    secret::SecretKey,
};

/// A kind of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialsType {
    /// A pre-shared key.
    Psk,
    /// A certificate that a trusted authority signed.
    X509Cert,
    /// A password, known by its hash.
    HashedPassword,
    /// A raw public key.
    Rpk,
}

impl CredentialsType {
    /// The name in the Credentials API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::X509Cert => "x509-cert",
            Self::HashedPassword => "hashed-password",
            Self::Rpk => "rpk",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Psk, Self::X509Cert, Self::HashedPassword, Self::Rpk];
        all.into_iter().find(|kind| kind.name() == name)
    }
}
