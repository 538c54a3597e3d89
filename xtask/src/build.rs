//! The one build: everything that suites and checks run, in one profile and with one set of features.
//!
//! Cargo compiles a crate again for each set of features that it is asked for, and which features the
//! dependencies have depends on the targets: those of tests ask for more. So the servers, the benchmarks
//! and the tests are built by one command, and `cargo test` afterwards finds all of it done.

use std::path::PathBuf;

use crate::process::{cargo, root};

/// What is built: no benches, which nothing here runs.
pub(crate) const TARGETS: [&str; 4] = ["--workspace", "--lib", "--bins", "--tests"];

/// Builds it.
///
/// # Errors
/// If something does not compile.
pub(crate) fn build() -> Result<(), String> {
    if cargo(&["build"]).args(TARGETS).run()? { Ok(()) } else { Err("the build failed".to_owned()) }
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program of the workspace, as [`build`] leaves it.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("debug").join(name)
}
