//! What a command answers when it cannot do what was asked.

use std::borrow::Cow;

use miso_store::WrongType;

/// A client's mistake. What it prints is the error line of the reply, in Redis's words where Redis
/// has words; nothing else formats errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(Cow<'static, str>),
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR a grow-only counter cannot decrease")]
    CannotDecrease,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR invalid cursor")]
    InvalidCursor,
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> CommandError {
        CommandError::WrongType
    }
}

impl CommandError {
    /// An error that is made of parts.
    pub(crate) fn text(line: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError::Other(line.into())
    }
}
