//! The Device Registration API: does the device exist, and may this gateway act for it (spec: registry-apis A.4).

mod assertion;

pub use self::assertion::Assertion;
