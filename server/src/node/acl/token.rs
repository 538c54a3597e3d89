//! Tokens: words that stand for a user's name and password.
//!
//! A REST token is for callers that can send one word only. It is base64url of
//! `HMAC-SHA256(password, "miso resttoken 1" | name) | name`. It tells the name, so that the user is found
//! without a search. It does not tell the password, and the hash of the password does not suffice to make
//! it. The user keeps the token's SHA-256.
//!
//! A token of a function is `misot_` and base64url of `32 random bytes | name of the function`. What is kept of it:
//! [`grants`](crate::node::grants).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use miso_protocol::names;
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

/// What a function's token begins with, so that tools that look for secrets find it.
const PREFIX: &str = "misot_";

/// A function's token of these random bytes.
pub(crate) fn of_function(function: &[u8], random: &[u8; MARK]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([random, function].concat()))
}

/// The function whose token a text may be; none if it is no such token. Whether it is good, the cluster says.
pub(crate) fn function(text: &[u8]) -> Option<Vec<u8>> {
    let name = name(text.strip_prefix(PREFIX.as_bytes())?)?;
    names::is_name(&name).then_some(name)
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
    fn a_token_of_a_function_tells_it() {
        let token = of_function(b"cart", &[7; MARK]);
        assert!(token.starts_with(PREFIX));
        assert_eq!(function(token.as_bytes()), Some(b"cart".to_vec()));
        let unnamed = of_function(b"a b", &[7; MARK]);
        for none in [&b""[..], b"misot_", b"cart", unnamed.as_bytes(), make(b"u", b"pw").as_bytes()]
        {
            assert_eq!(function(none), None);
        }
    }

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
