//! REST tokens: one word that stands for a user's name and password, for callers that can send one word
//! only.
//!
//! A token is base64url of `HMAC-SHA256(password, "miso resttoken 1" | name) | name`. It tells the name,
//! so that the user is found without a search. It does not tell the password, and the hash of the password
//! does not suffice to make it. The user keeps the token's SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What makes tokens differ from other uses of a password.
const LABEL: &[u8] = b"miso resttoken 1";
/// The bytes before the name.
const MARK: usize = 32;
/// The longest text that is read as a token.
const LONGEST: usize = 4096;

/// The token of a user's name and password.
pub(super) fn make(name: &[u8], password: &[u8]) -> String {
    let mut mark = Hmac::<Sha256>::new_from_slice(password).expect("HMAC takes keys of any length");
    mark.update(LABEL);
    mark.update(name);
    URL_SAFE_NO_PAD.encode([&*mark.finalize().into_bytes(), name].concat())
}

/// The name that a token tells; none if the text is not a token. Whether the token is good, the user
/// says.
pub(crate) fn name(token: &[u8]) -> Option<Vec<u8>> {
    if token.len() > LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    bytes.get(MARK..).filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_user_and_differs_by_user_and_password() {
        let token = make(b"u", b"pw");
        assert_eq!(name(token.as_bytes()), Some(b"u".to_vec()));
        assert!(token != make(b"u", b"pw2") && token != make(b"v", b"pw"));
        assert_eq!(name(make(b"\xff", b"pw").as_bytes()), Some(b"\xff".to_vec()));
        for none in [&b""[..], b"short", b"user:password", &[b'A'; LONGEST + 1]] {
            assert_eq!(name(none), None);
        }
    }
}
