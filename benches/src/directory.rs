//! Where the servers keep their data: on the disk that the workspace is on, for `/tmp` may be memory.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Instant;

use serde::Serialize;

use crate::error::Result;
use crate::statistics::{median, sorted};

/// The workspace that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    let crate_folder =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let crate_folder = PathBuf::from(crate_folder);
    crate_folder.parent().map_or_else(|| crate_folder.clone(), Path::to_owned)
}

/// Syncs from which the disk's own time is taken.
const SYNCS: usize = 200;

/// Gone with all that is in it when dropped.
pub(crate) struct Directory {
    path: PathBuf,
}

/// What the figures depend on most.
#[derive(Serialize)]
pub(crate) struct FileSystem {
    /// As the kernel calls it.
    pub(crate) kind: String,
    /// A write of 4 KiB at the end of a file with fdatasync, median.
    pub(crate) fsync_us: f64,
}

impl Directory {
    pub(crate) fn new() -> Result<Directory> {
        let path = workspace().join(format!("target/miso-benches-{}", process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Directory { path })
    }

    /// A new one in it.
    pub(crate) fn sub(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    pub(crate) fn file_system(&self) -> Result<FileSystem> {
        let mut file = File::create(self.path.join("syncs"))?;
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let began = Instant::now();
            file.write_all(&[1; 4096])?;
            file.sync_data()?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let kind = mounted(&mounts, &self.path.canonicalize()?).unwrap_or("unknown file system");
        Ok(FileSystem { kind: kind.to_owned(), fsync_us: median(&sorted(&times)) })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays is in `target`.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The type of the file system that `path` is on: of the longest mount point above it, and of the
/// last that was mounted there.
fn mounted<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

/// Bytes of all files below `path`.
pub(crate) fn bytes(path: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += if data.is_dir() { bytes(&entry.path())? } else { data.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::mounted;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(mounted(mounts, Path::new("/home/me")), Some("ext4"));
        assert_eq!(mounted(mounts, Path::new("/tmp/me")), Some("tmpfs"));
        assert_eq!(mounted("", Path::new("/tmp")), None);
    }
}
