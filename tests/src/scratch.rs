//! Directories of a test's own.

use std::ops::Deref;
use std::path::Path;

use tempfile::TempDir;

/// A new directory in the temporary one, removed with all that is in it when the value is dropped: at
/// the end of a test, however that ends.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// An empty directory that no other test uses.
    ///
    /// # Panics
    /// If the temporary directory cannot be written to.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    #[must_use]
    pub fn new() -> Scratch {
        let directory = tempfile::Builder::new().prefix("miso-test-").tempdir();
        Scratch(directory.expect("the temporary directory is writable"))
    }

    /// The path of a file or directory in it, which need not exist, as a command line takes it.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.0.path()
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::panic::catch_unwind;
    use std::sync::Mutex;

    #[test]
    fn nothing_stays_of_it_even_after_a_panic() {
        let path = Mutex::new(None);
        let panicked = catch_unwind(|| {
            let scratch = Scratch::new();
            fs::create_dir(scratch.join("sub")).expect("writable");
            fs::write(scratch.path("sub/file"), "text").expect("writable");
            *path.lock().expect("one thread") = Some(scratch.to_owned());
            panic!("as a test that fails");
        });
        let path = path.into_inner().expect("one thread").expect("it was made");
        assert!(panicked.is_err() && !path.exists(), "{} is left", path.display());
    }
}
