//! The rule for names of functions, replicas and nodes: 1 to 256 bytes of 0x21 to 0x7e, without `#`.
//!
//! Names stand in lines that people and tools read (INFO, CLIENT LIST, logs, labels of metrics), and in
//! messages between nodes. So a client is refused a name that would break such a line, or that peers
//! could not be told.

use std::borrow::Cow;
use std::fmt;

/// The longest name, in bytes.
pub const NAME_MAX: usize = 256;

/// How many databases a function has at most.
pub const DATABASES_MAX: u32 = 1024;

/// The function in which the nodes of a cluster keep what is known of tokens. All of them carry it once there is
/// one, and no client can speak for it.
pub const RESERVED: &[u8] = b"__miso__";

/// What is wrong with a name. Shown as a part of an error, after what the name is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    /// It has no bytes.
    #[error("an empty name, expected 1 to {NAME_MAX} bytes")]
    Empty,
    /// It has more than [`NAME_MAX`] bytes.
    #[error("a name of {0} bytes, expected 1 to {NAME_MAX}")]
    Long(usize),
    /// A byte that it may not have.
    #[error("a name with the byte 0x{0:02x}, expected printable ASCII without blanks and '#'")]
    Byte(u8),
}

/// Checks a name.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(name: &[u8]) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > NAME_MAX {
        return Err(BadName::Long(name.len()));
    }
    match name.iter().find(|byte| !is_name_byte(**byte)) {
        Some(byte) => Err(BadName::Byte(*byte)),
        None => Ok(()),
    }
}

/// The name under which a database of a function is stored and replicated: the function's own for 0,
/// `function#n` for others. Clients cannot say such a name, since a name has no `#`.
#[must_use]
pub fn with_database(function: &[u8], database: u32) -> Cow<'_, [u8]> {
    match database {
        0 => Cow::Borrowed(function),
        n => Cow::Owned([function, b"#", n.to_string().as_bytes()].concat()),
    }
}

/// The function and the database that a stored name is of: what [`with_database`] was given.
#[must_use]
pub fn split_database(name: &[u8]) -> (&[u8], u32) {
    let parts = || {
        let at = name.iter().rposition(|byte| *byte == b'#')?;
        let digits = name.get(at + 1..).filter(|digits| digits.first() != Some(&b'0'))?;
        let plain = digits.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
        (1..DATABASES_MAX).contains(&number).then_some((&name[..at], number))
    };
    parts().unwrap_or((name, 0))
}

/// The function whose database this is.
#[must_use]
pub fn owner(name: &[u8]) -> &[u8] {
    split_database(name).0
}

/// Checks the name under which a function, or a database of it, is stored and replicated.
///
/// # Errors
/// The first rule that the function's name breaks.
pub fn check_stored(name: &[u8]) -> Result<(), BadName> {
    check(owner(name))
}

/// Whether this may be a name.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    check(name).is_ok()
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'#'
}

/// A name for a line of text: bytes that the rule forbids are escaped as `\xNN`, and what is beyond
/// [`NAME_MAX`] bytes is cut off. For names that were stored before the rule, and those of others.
#[must_use]
pub fn escape(name: &[u8]) -> Cow<'_, str> {
    let cut = &name[..name.len().min(NAME_MAX)];
    match std::str::from_utf8(cut) {
        Ok(text) if cut.len() == name.len() && cut.iter().all(|byte| is_name_byte(*byte)) => {
            Cow::Borrowed(text)
        }
        _ => Cow::Owned(Escaped(cut, cut.len() < name.len()).to_string()),
    }
}

struct Escaped<'a>(&'a [u8], bool);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            if is_name_byte(*byte) {
                write!(f, "{}", char::from(*byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if self.1 { f.write_str("..") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        for name in [&b"a"[..], b"~", b"!", b"cart/v2@eu", &[b'x'; NAME_MAX]] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        assert_eq!(check(b""), Err(BadName::Empty));
        assert_eq!(check(&[b'x'; NAME_MAX + 1]), Err(BadName::Long(NAME_MAX + 1)));
        for byte in [0, b'\r', b'\n', b' ', b'#', 0x7f, 0x80, 0xff] {
            assert_eq!(check(&[b'a', byte]), Err(BadName::Byte(byte)));
        }
    }

    #[test]
    fn a_database_is_stored_under_a_name_of_its_own() {
        for (function, database) in [(&b"cart"[..], 0), (b"cart", 1), (b"a", 15), (b"a", 1023)] {
            let name = with_database(function, database);
            assert_eq!(split_database(&name), (function, database));
            assert_eq!(check_stored(&name), Ok(()));
        }
        for name in
            [&b"cart#"[..], b"cart#0", b"cart#01", b"cart#1024", b"cart#x", b"cart#+1", b"#"]
        {
            assert_eq!(split_database(name), (name, 0));
            assert_eq!(check_stored(name), Err(BadName::Byte(b'#')));
        }
        assert_eq!(check_stored(b"a#1#2"), Err(BadName::Byte(b'#')));
        assert_eq!(check_stored(b"#1"), Err(BadName::Empty));
    }

    #[test]
    fn an_escaped_name_keeps_to_the_rule_or_shows_that_it_does_not() {
        assert!(matches!(escape(b"cart"), Cow::Borrowed("cart")));
        assert_eq!(escape(b"z\r\nloading:1"), "z\\x0d\\x0aloading:1");
        assert_eq!(escape("b\u{fc}ro".as_bytes()), "b\\xc3\\xbcro");
        let long = escape(&[b'x'; 10_000]).into_owned();
        assert!(long.ends_with("x..") && long.len() == NAME_MAX + 2);
    }
}
