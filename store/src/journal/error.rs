//! What may go wrong.

use std::io;

/// A record is not on the disk, for now or for ever; what it tells stands in memory alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl Failed {
    pub(super) fn io(what: &str, error: &io::Error) -> Failed {
        Failed(format!("{what}: {error}"))
    }
}

/// Why a data directory cannot be used. One line each, without the directory's path.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is locked.
    #[error("in use by another process")]
    InUse,
    /// Nothing can be written there.
    #[error("cannot be written to: {0}")]
    ReadOnly(io::Error),
    /// There is something else in it.
    #[error("holds `{0}`, which is no file of a MISO data directory; choose an empty directory")]
    Foreign(String),
    /// Something in it is not as it was written.
    #[error("{file}, offset {offset}: {what}; run `miso-server --repair` on it")]
    Damaged {
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A newer version of MISO wrote it. Nothing is wrong with it.
    #[error(
        "{file}: written by a newer version of MISO (format {version}, this one reads up to {known}); \
         start that version, or restore a backup of this one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
        /// The newest format that this build reads.
        known: u32,
    },
    /// The caller cannot make sense of a record.
    #[error("{file}, offset {offset}: {what}")]
    Refused {
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What the caller said.
        what: String,
    },
    /// The disk says no.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the disk says.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(file: &str, error: io::Error) -> OpenError {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                OpenError::ReadOnly(error)
            }
            io::ErrorKind::WouldBlock => OpenError::InUse,
            _ => OpenError::Io { file: file.to_owned(), error },
        }
    }

    pub(super) fn damaged(file: &str, offset: u64, what: &str) -> OpenError {
        OpenError::Damaged { file: file.to_owned(), offset, what: what.to_owned() }
    }
}
