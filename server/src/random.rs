//! Randomness from the operating system.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io::Read as _;

/// A random number that is good enough for an id or the seed of a hash; no secret.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// `bits` random bits as hexadecimal digits, rounded up to whole digits; good enough for a password.
pub(crate) fn generate(bits: usize) -> String {
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    fill_with_random(&mut bytes);
    let mut text = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    text.truncate(digits);
    text
}

/// Fills `bytes` from the operating system's generator, good enough for a key.
pub(crate) fn fill_with_random(bytes: &mut [u8]) {
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(bytes))
        .expect("the system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_have_as_many_digits_as_asked_for() {
        for (bits, digits) in [(1, 1), (4, 1), (5, 2), (12, 3), (256, 64)] {
            let text = generate(bits);
            assert_eq!(text.len(), digits, "{bits} bits");
            assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        }
    }
}
