//! The pseudo-random function of TLS 1.2 (RFC 5246 §5).

use ring::hmac;

use crate::crypto::HashAlgorithm;

/// Fills `out` with `P_hash(secret, label + seed)`.
pub fn prf(hash: HashAlgorithm, secret: &[u8], label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let key = hmac::Key::new(hash.hmac(), secret);
    let with_seed = |mut context: hmac::Context| {
        context.update(label);
        for part in seed {
            context.update(part);
        }
        context.sign()
    };
    // A(1) = HMAC(secret, seed), A(i) = HMAC(secret, A(i - 1))
    let mut a = with_seed(hmac::Context::with_key(&key));
    for chunk in out.chunks_mut(hash.digest().output_len()) {
        let mut context = hmac::Context::with_key(&key);
        context.update(a.as_ref());
        let block = with_seed(context);
        for (byte, source) in chunk.iter_mut().zip(block.as_ref()) {
            *byte = *source;
        }
        a = hmac::sign(&key, a.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().as_chunks::<2>().0;
        digits
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn check(hash: HashAlgorithm, secret: &str, seed: &str, expected: &str) {
        let expected = hex(expected);
        let mut out = vec![0; expected.len()];
        prf(hash, &hex(secret), b"test label", &[&hex(seed)], &mut out);
        assert_eq!(out, expected);
    }

    /// The test vectors that were published on the TLS working group's list and are used by most stacks.
    #[test]
    fn the_published_vector_for_sha_256_comes_out() {
        check(
            HashAlgorithm::Sha256,
            "9bbe436ba940f017b17652849a71db35",
            "a0ba9f936cda311827a6f796ffd5198c",
            "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af\
             0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
             87347b66",
        );
    }

    #[test]
    fn the_published_vector_for_sha_384_comes_out() {
        check(
            HashAlgorithm::Sha384,
            "b80b733d6ceefcdc71566ea48e5567df",
            "cd665cf6a8447dd6ff8b27555edb7465",
            "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0\
             e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd\
             4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f",
        );
    }
}
