//! Deadlines in arguments: `EX seconds | PX milliseconds | EXAT time | PXAT time | KEEPTTL | PERSIST`.

use miso_protocol::command::Arg;
use miso_protocol::integer::parse_i64;

use crate::commands::args::Words;
use crate::engine::error::CommandError;

/// The four ways to say a deadline.
pub(super) const EX: Arg = Arg::integer("seconds").with_token("EX");
/// In milliseconds.
pub(super) const PX: Arg = Arg::integer("milliseconds").with_token("PX");
/// At a time in seconds.
pub(super) const EXAT: Arg = Arg::integer("unix-time-seconds").with_token("EXAT");
/// At a time in milliseconds.
pub(super) const PXAT: Arg = Arg::integer("unix-time-milliseconds").with_token("PXAT");

/// What a command says of a deadline.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Expiry<'a> {
    /// Nothing.
    #[default]
    None,
    /// It stays.
    Keep,
    /// It goes.
    Persist,
    /// It is set.
    Set(Deadline<'a>),
}

/// A deadline as the client says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Deadline<'a> {
    pub(super) text: &'a [u8],
    /// In seconds, or else in milliseconds.
    pub(super) seconds: bool,
    /// Since 1970, or else from now on.
    pub(super) absolute: bool,
}

impl<'a> Deadline<'a> {
    /// The deadline in milliseconds; `command` is the name for errors.
    ///
    /// # Errors
    /// If it is no number, is not positive, or is too far.
    pub(super) fn at(&self, now: u64, command: &str) -> Result<u64, CommandError> {
        let invalid = || CommandError::InvalidExpire(command.into());
        let n = parse_i64(self.text).ok_or(CommandError::NotInteger)?;
        let n = if self.seconds { n.checked_mul(1_000) } else { Some(n) };
        let n = n.filter(|n| *n > 0).ok_or_else(invalid)?;
        let from = if self.absolute { 0 } else { i64::try_from(now).unwrap_or(i64::MAX) };
        let at = n.checked_add(from).ok_or_else(invalid)?;
        Ok(at.unsigned_abs())
    }
}

impl<'a> Expiry<'a> {
    /// Takes the next words if they say a deadline; whether they did. `also` is the word that is allowed
    /// besides, and what it means.
    ///
    /// # Errors
    /// A syntax error if a deadline was said already, or its number is missing.
    pub(super) fn take(
        &mut self,
        words: &mut Words<'a>,
        also: (&str, Expiry<'a>),
    ) -> Result<bool, CommandError> {
        const UNITS: [(&str, bool, bool); 4] = [
            ("EX", true, false),
            ("PX", false, false),
            ("EXAT", true, true),
            ("PXAT", false, true),
        ];
        let new = if words.token(also.0) {
            also.1
        } else {
            let unit = UNITS.into_iter().find(|(word, ..)| words.token(word));
            let Some((_, seconds, absolute)) = unit else { return Ok(false) };
            Expiry::Set(Deadline { text: words.word()?, seconds, absolute })
        };
        if *self != Expiry::None {
            return Err(CommandError::Syntax);
        }
        *self = new;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_positive_and_fits() {
        let at = |text: &'static str, seconds, absolute| {
            Deadline { text: text.as_bytes(), seconds, absolute }.at(1_000, "set")
        };
        assert_eq!(at("10", true, false), Ok(11_000));
        assert_eq!(at("10", false, false), Ok(1_010));
        assert_eq!(at("10", true, true), Ok(10_000));
        assert_eq!(at("1", false, true), Ok(1));
        let invalid = Err(CommandError::InvalidExpire("set".into()));
        for text in ["0", "-1", "9223372036854775807"] {
            assert_eq!(at(text, true, false), invalid);
        }
        assert_eq!(at("9223372036854775807", false, false), invalid);
        assert_eq!(at("9223372036854775807", false, true), Ok(i64::MAX as u64));
        assert_eq!(at("x", true, false), Err(CommandError::NotInteger));
    }
}
