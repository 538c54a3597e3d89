//! What every benchmark answers.

/// What went wrong, in one line.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A report, or one line that says what went wrong.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
