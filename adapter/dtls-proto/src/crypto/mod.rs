//! What the handshake and the record layer compute; the primitives themselves are `ring`'s and RustCrypto's.

mod suite;
mod secret;
mod prf;
mod aead;
mod schedule;
mod transcript;

pub use aead::{Aead, RecordKey};
pub use prf::prf_sha256;
pub use schedule::{Keys, MasterSecret, Side, VERIFY_DATA_LENGTH};
pub use secret::Psk;
pub use suite::{CipherSuite, KeyExchange};
pub use transcript::Transcript;
