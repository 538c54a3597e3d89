//! A cursor over the words of a command, for arguments that are options: `[TTL seconds] [REPLICA id]`.

use miso_protocol::integer;
use miso_protocol::request::Args;

use crate::engine::error::CommandError;

/// The words of a command from some place on, taken one after the other.
#[derive(Debug)]
pub(super) struct Words<'a> {
    args: Args<'a>,
    at: usize,
}

impl<'a> Words<'a> {
    /// The words of `args` from the one at `from` on; the command's name is word 0.
    pub(super) fn from(args: Args<'a>, from: usize) -> Words<'a> {
        Words { args, at: from }
    }

    /// Whether all are taken.
    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.args.len()
    }

    /// Checks that at least `count` words are left.
    ///
    /// # Errors
    /// A syntax error if not.
    pub(super) fn check_left(&self, count: usize) -> Result<(), CommandError> {
        if self.at + count <= self.args.len() { Ok(()) } else { Err(CommandError::Syntax) }
    }

    /// Takes the next word.
    ///
    /// # Errors
    /// A syntax error if there is none.
    pub(super) fn word(&mut self) -> Result<&'a [u8], CommandError> {
        let word = self.args.get(self.at).ok_or(CommandError::Syntax)?;
        self.at += 1;
        Ok(word)
    }

    /// Takes the next word, which is an integer.
    ///
    /// # Errors
    /// If there is none, or it is no 64-bit integer.
    pub(super) fn integer(&mut self) -> Result<i64, CommandError> {
        integer::parse_i64(self.word()?).ok_or(CommandError::NotInteger)
    }

    /// Takes the next word if it is `token`, in upper or lower case.
    pub(super) fn token(&mut self, token: &str) -> bool {
        let next = self.args.get(self.at);
        let is = next.is_some_and(|word| word.eq_ignore_ascii_case(token.as_bytes()));
        self.at += usize::from(is);
        is
    }

    /// Takes `token` and the word after it; none if the next word is another.
    ///
    /// # Errors
    /// A syntax error if `token` is the last word.
    pub(super) fn option(&mut self, token: &str) -> Result<Option<&'a [u8]>, CommandError> {
        if self.token(token) { self.word().map(Some) } else { Ok(None) }
    }

    /// Checks that all words are taken.
    ///
    /// # Errors
    /// A syntax error if some are left.
    pub(super) fn end(&self) -> Result<(), CommandError> {
        if self.is_empty() { Ok(()) } else { Err(CommandError::Syntax) }
    }
}

#[cfg(test)]
mod tests {
    use miso_protocol::request::OwnedArgs;

    use super::*;

    fn with(line: &str, test: impl FnOnce(Words<'_>)) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let args = OwnedArgs::from_parts(&words);
        test(Words::from(args.as_args(), 1));
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        with("REGISTER ttl 30 replica pod-1", |mut words| {
            assert_eq!(words.option("REPLICA"), Ok(None));
            assert!(words.token("TTL"));
            assert_eq!(words.integer(), Ok(30));
            assert_eq!(words.end(), Err(CommandError::Syntax));
            assert_eq!(words.option("REPLICA"), Ok(Some(&b"pod-1"[..])));
            assert!(words.is_empty());
            assert_eq!(words.end(), Ok(()));
        });
    }

    #[test]
    fn what_is_missing_is_a_syntax_error_and_what_is_no_number_is_told_so() {
        with("SCAN 0 COUNT", |mut words| {
            assert_eq!(words.word(), Ok(&b"0"[..]));
            assert_eq!(words.option("COUNT"), Err(CommandError::Syntax));
        });
        with("SCAN x", |mut words| {
            assert_eq!(words.integer(), Err(CommandError::NotInteger));
            assert_eq!(words.integer(), Err(CommandError::Syntax));
        });
        with("QUIT", |mut words| {
            assert!(words.is_empty() && !words.token("NOW"));
            assert_eq!(words.word(), Err(CommandError::Syntax));
        });
    }
}
