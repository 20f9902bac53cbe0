//! The configuration, from text to fields.

use super::*;

#[test]
fn every_default_is_read_by_its_row() {
    let config = Config::default();
    assert_eq!(config.coap.max_payload_size, 2048);
    assert_eq!(config.coap.secure, None);
    let (config, _) = Config::inspect(None, std::iter::empty());
    assert!(config.effective.len() > 250, "six clients share their rows");
}
