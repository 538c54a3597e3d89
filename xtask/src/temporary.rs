//! The temporary directory of the suites, which must leave nothing of ours in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// What names of our own temporary files and directories begin with.
const OURS: &str = "miso";

/// A directory that suites are given as their temporary one; removed with the value.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// An empty one.
    pub(crate) fn new() -> Result<Temporary, String> {
        let path = env::temp_dir().join(format!("xtask-{}", process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Temporary(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What is in it that our tests made and did not remove. Other programs may keep what they like.
    pub(crate) fn left(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).into_iter().flatten().flatten().map(|e| e.file_name());
        let mut ours: Vec<OsString> =
            names.filter(|name| name.as_encoded_bytes().starts_with(OURS.as_bytes())).collect();
        ours.sort();
        ours.iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The machine's temporary directory is emptied by others in time.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_found_and_all_of_it_goes() {
        let temporary = Temporary::new().expect("writable");
        assert_eq!(temporary.left(), [""; 0]);
        for name in ["miso-test-2", "miso-test-1", "pytest-of-root"] {
            fs::create_dir(temporary.path().join(name)).expect("writable");
        }
        assert_eq!(temporary.left(), ["miso-test-1", "miso-test-2"]);
        let path = temporary.path().to_owned();
        drop(temporary);
        assert!(!path.exists());
    }
}
