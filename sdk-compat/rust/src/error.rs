//! What can go wrong, one variant per thing that a program may do about it.

/// The error of every call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is missing or unusable.
    #[error("{message}")]
    Setting {
        /// The environment variable that gives the setting.
        variable: &'static str,
        /// What is wrong with it, and what it may be.
        message: String,
    },
    /// No call can take this argument.
    #[error("{0}")]
    Argument(String),
    /// The command did not reach the node: it has not run and may be tried again.
    #[error("{0}")]
    NotSent(String),
    /// The node does not answer. A read may simply be tried again.
    #[error("{0}")]
    Unreachable(String),
    /// A write was sent and its reply was lost, so it may or may not have run. Read before you repeat it, or use a
    /// server that knows `MISO.ONCE`, where the SDK repeats it safely by itself.
    #[error(
        "a write was sent and its reply was lost ({0}): it may or may not have run; read first"
    )]
    UnknownOutcome(String),
    /// The connection speaks for another function than the one asked for: the user name was dropped on the way.
    #[error("{0}")]
    FunctionMismatch(String),
    /// The server refuses the login, or the user may not do this.
    #[error("{0}; check the user and password in MISO_URL")]
    Access(String),
    /// The name holds another type.
    #[error("{0}; take another name, or the getter of its type")]
    WrongType(String),
    /// `MISO.ONCE` refuses: its window is full, or the command cannot run once.
    #[error("{0}; see once-window and once-max in the server's settings")]
    Once(String),
    /// Any other error that the server answered.
    #[error("{0}")]
    Reply(String),
    /// The codec cannot hold the value.
    #[error("no JSON form: {0}")]
    Unencodable(String),
    /// What is stored was not written by the codec of an SDK; read it by a raw proxy.
    #[error("not written by an SDK: {0}")]
    Undecodable(String),
}

/// What every call answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The typed error for an error reply: its first word, and the rest.
    pub(crate) fn of_reply(code: &str, detail: &str) -> Error {
        let text = format!("{code} {detail}");
        match code {
            "WRONGTYPE" => Error::WrongType(text),
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Error::Access(text),
            "ERR" if detail.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("once")) => {
                Error::Once(text)
            }
            _ => Error::Reply(text),
        }
    }
}
