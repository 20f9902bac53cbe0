//! Option values of format "uint" (RFC 7252 §3.2): big-endian, as few bytes as possible, zero is no byte at all.

/// The shortest form of `value`.
#[must_use]
pub fn encode(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// The number in `value`, which may have leading zeros; `None` if it does not fit.
#[must_use]
pub fn decode(value: &[u8]) -> Option<u64> {
    let leading = value.iter().take_while(|byte| **byte == 0).count();
    let digits = value.get(leading..)?;
    if digits.len() > size_of::<u64>() {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_few_bytes_as_possible() {
        for (value, bytes) in [
            (0, &[][..]),
            (1, &[1]),
            (255, &[255]),
            (256, &[1, 0]),
            (65_536, &[1, 0, 0]),
        ] {
            assert_eq!(encode(value), bytes, "{value}");
            assert_eq!(decode(bytes), Some(value), "{value}");
        }
        assert_eq!(decode(&encode(u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn leading_zeros_are_understood_and_nine_digits_are_too_many() {
        assert_eq!(decode(&[0, 0, 7]), Some(7));
        assert_eq!(decode(&[0; 40]), Some(0));
        assert_eq!(decode(&[1; 9]), None);
    }
}
