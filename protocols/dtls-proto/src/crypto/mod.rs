//! What the handshake and the record layer compute; the primitives themselves are `ring`'s and RustCrypto's.

mod hash;
mod suite;
mod secret;
mod agreement;
mod premaster;
mod prf;
mod aead;
mod schedule;
mod transcript;
mod ecdsa;
mod signature;

use ring::rand::{SecureRandom, SystemRandom};

pub use aead::{Aead, RecordKey};
pub use agreement::{EphemeralKey, Group, SharedSecret};
pub use ecdsa::{Curve, SigningKey};
pub use hash::{HashAlgorithm, TranscriptHash};
pub use premaster::PremasterSecret;
pub use prf::prf;
pub use schedule::{Keys, MasterSecret, Side, VERIFY_DATA_LENGTH};
pub use secret::Psk;
pub use signature::{PublicKeyInfo, SignatureError};
pub use suite::{CipherSuite, KeyExchange};
pub use transcript::Transcript;

/// The random bytes of a hello, from the system; `None` if it has none to give.
#[must_use]
pub fn random() -> Option<[u8; 32]> {
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(random)
}
