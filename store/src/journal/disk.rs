//! What the journal asks of a disk, and the real one. Names are names of entries of one directory;
//! `quarantine/name` is the only deeper one. Nothing here decides anything.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// What tells whether a directory is where it was, and whether the kernel is the one of last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Names one run of the kernel; none if it cannot be known.
    pub boot: Option<String>,
    /// Names the directory itself: a copy has another.
    pub directory: String,
}

/// One directory, and the only way to it.
pub trait Disk: Send + Sync + Debug {
    /// Keeps other processes out until the result is dropped. `ErrorKind::WouldBlock` if one is in.
    /// `shared` is for a caller that only reads: it writes nothing, and succeeds where there is no lock
    /// file.
    fn lock(&self, shared: bool) -> io::Result<Box<dyn Any + Send + Sync>>;
    /// The names of all entries.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file of this name, also if there was one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file, for reading and writing if `write`.
    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, and takes the name from the file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes the name from a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes a directory, unless there is one.
    fn make_dir(&self, name: &str) -> io::Result<()>;
    /// Makes durable what was created, renamed and removed.
    fn sync_dir(&self) -> io::Result<()>;
    /// Where and under which kernel this is.
    fn environment(&self) -> Environment;
    /// For error messages: the path.
    fn describe(&self) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Writes all of it at `offset`. After an error any part of it may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills `bytes` from `offset`, or says `ErrorKind::UnexpectedEof`.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Makes durable what was written, with the length.
    fn sync(&self) -> io::Result<()>;
    /// How long it is.
    fn size(&self) -> io::Result<u64>;
    /// Cuts it, or lengthens it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Names this very file: a copy of it has another stamp.
    fn stamp(&self) -> io::Result<String>;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// The directory `path`, made now (readable by its owner alone) if there is none.
    ///
    /// # Errors
    /// It is not a directory, or cannot be made.
    pub fn new(path: &Path) -> io::Result<RealDisk> {
        use std::os::unix::fs::DirBuilderExt;
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            if let Some(parent) = path.canonicalize()?.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(RealDisk { path: path.to_owned() })
    }

    /// The directory `path`, which must be there.
    ///
    /// # Errors
    /// It is not there or not a directory.
    pub fn existing(path: &Path) -> io::Result<RealDisk> {
        if !fs::metadata(path)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(RealDisk { path: path.to_owned() })
    }
}

/// The file whose lock is the directory's lock.
pub(super) const LOCK: &str = "lock";

impl Disk for RealDisk {
    fn lock(&self, shared: bool) -> io::Result<Box<dyn Any + Send + Sync>> {
        let path = self.path.join(LOCK);
        let file = if shared {
            match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Box::new(())),
                Err(error) => return Err(error),
            }
        } else {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?
        };
        let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(&self.path)?.map(name).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(write).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        match fs::create_dir(self.path.join(name)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn environment(&self) -> Environment {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let directory = fs::metadata(&self.path).map(|data| stamp(&data)).unwrap_or_default();
        Environment { boot: boot.ok().map(|id| id.trim().to_owned()), directory }
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

/// Number and birth of a file. Not the device: its number may change when the machine restarts.
fn stamp(data: &fs::Metadata) -> String {
    let born = data.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}-{}", data.ino(), born.map_or(0, |born| born.as_nanos()))
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn stamp(&self) -> io::Result<String> {
        Ok(stamp(&self.metadata()?))
    }
}
