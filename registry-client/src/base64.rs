//! Base64 as registries write public values. Secrets are decoded by `SecretKey`, which takes the standard alphabet only, as Hono does.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The standard alphabet. As with Java's basic decoder, padding may be missing and unused bits may be set.
const BASIC: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

/// The alphabet for URLs and file names (RFC 4648 §5), with or without padding.
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Decodes either alphabet: some registries write JSON binaries in the one for URLs, as Vert.x does by default.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASIC.decode(text).or_else(|_| URL.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trust anchor was skipped when the registry wrote its key in the alphabet for URLs or without padding, as only padded
    /// standard base64 was decoded.
    #[test]
    fn both_alphabets_are_decoded_with_and_without_padding() {
        let bytes = [0xfb, 0xef, 0xff, 0x01];
        for text in ["++//AQ==", "++//AQ", "--__AQ==", "--__AQ"] {
            assert_eq!(decode(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        for text in [
            "++__AQ==",
            "++//A",
            "++//AQ==AQ==",
            "++ //",
            "++//AQ==\n",
            "%%%%",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode("").as_deref(), Some(&[][..]));
    }
}
