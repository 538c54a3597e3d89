//! What the journal asks of a disk, and the real one. Names are names of entries of one directory;
//! `quarantine/name` is the only deeper one. Nothing here decides anything.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use rustix::fs::{Access, AtFlags, Mode, OFlags, openat};
use rustix::io::Errno;

/// What tells whether a directory is where it was, and whether the kernel is the one of last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Names one run of the kernel; none if it cannot be known.
    pub boot: Option<String>,
    /// Names one mount of the file system; none if it cannot be known.
    pub mount: Option<String>,
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
    /// Whether files can be made and changed here; the error says why not.
    fn writable(&self) -> io::Result<()>;
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
    /// Lengthens it to `len` and takes the room for that now. `ErrorKind::Unsupported` where the file
    /// system cannot.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Names this very file: a copy of it has another stamp.
    fn stamp(&self) -> io::Result<String>;
}

/// A directory of the file system. It is opened once, and all goes by that handle: whatever is mounted
/// or moved to its path later is never touched.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    /// Bytes that have been read from its files.
    read: Arc<AtomicU64>,
}

/// A file of a [`RealDisk`].
#[derive(Debug)]
struct RealFile {
    file: File,
    /// The disk's.
    read: Arc<AtomicU64>,
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
        RealDisk::existing(path)
    }

    /// The directory `path`, which must be there.
    ///
    /// # Errors
    /// It is not there or not a directory.
    pub fn existing(path: &Path) -> io::Result<RealDisk> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        Ok(RealDisk { path: path.to_owned(), directory, read: Arc::default() })
    }

    /// How many bytes have been read from files: with [`data_bytes`](super::data_bytes), how far a recovery is.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn file(&self, file: File) -> Arc<dyn DiskFile> {
        Arc::new(RealFile { file, read: Arc::clone(&self.read) })
    }

    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o666);
        Ok(File::from(openat(&self.directory, name, flags | OFlags::CLOEXEC, mode)?))
    }

    fn stamp(&self) -> io::Result<String> {
        if has_unstable_numbers(&self.directory) {
            return Ok(format!("fuse {}", self.path.canonicalize()?.display()));
        }
        Ok(stamp(&self.directory.metadata()?))
    }
}

/// The file whose lock is the directory's lock.
pub(super) const LOCK: &str = "lock";

impl Disk for RealDisk {
    fn lock(&self, shared: bool) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = if shared {
            match self.open_at(LOCK, OFlags::RDONLY) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Box::new(())),
                Err(error) => return Err(error),
            }
        } else {
            self.open_at(LOCK, OFlags::RDWR | OFlags::CREATE)?
        };
        let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        Ok(self.file(self.open_at(name, flags)?))
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.open_at(name, if write { OFlags::RDWR } else { OFlags::RDONLY })?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn writable(&self) -> io::Result<()> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(&self.directory, ".", access, AtFlags::empty())?)
    }

    fn environment(&self) -> Environment {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Environment {
            boot: boot.ok().map(|id| id.trim().to_owned()),
            mount: mount(&self.directory),
            directory: self.stamp().unwrap_or_default(),
        }
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

/// Names one mount of a file system. Since Linux 6.8 a mount has a number that is never used again.
/// Before, its number and the device may be those of an earlier mount; then a copy of the log that
/// lacks its end is found out only by what is in it, as on other systems.
#[cfg(target_os = "linux")]
fn mount(directory: &File) -> Option<String> {
    use rustix::fs::StatxFlags;
    /// `STATX_MNT_ID_UNIQUE`, which rustix does not name yet.
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let wanted = UNIQUE | StatxFlags::MNT_ID;
    let found = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, wanted).ok()?;
    let has = |flag: StatxFlags| found.stx_mask & flag.bits() != 0;
    if has(UNIQUE) {
        Some(format!("unique-{}", found.stx_mnt_id))
    } else if has(StatxFlags::MNT_ID) {
        let (major, minor) = (found.stx_dev_major, found.stx_dev_minor);
        Some(format!("{major}:{minor}-{}", found.stx_mnt_id))
    } else {
        None
    }
}

#[cfg(not(target_os = "linux"))]
fn mount(_: &File) -> Option<String> {
    None
}

/// Whether files have other numbers after each mount, as those of FUSE have: sshfs, mergerfs, exfat-fuse.
/// There a directory is known by its path. A copy put back in the same place is then not noticed here,
/// but by the peers, which know of events that it lacks.
#[cfg(target_os = "linux")]
fn has_unstable_numbers(file: &File) -> bool {
    const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type as u64 == FUSE_SUPER_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn has_unstable_numbers(_: &File) -> bool {
    false
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn stamp(&self) -> io::Result<String> {
        // On FUSE its number says nothing.
        if has_unstable_numbers(&self.file) {
            return Ok("fuse".to_owned());
        }
        Ok(stamp(&self.file.metadata()?))
    }
}
