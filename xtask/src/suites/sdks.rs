//! The suites of the SDKs whose languages bring their own test runner. Each starts the nodes it needs itself.
//!
//! The tools of these languages are large, and only these suites need them: what is missing is not installed, its suite
//! is skipped, and the sum at the end says so.

use crate::process::{Line, installed, program, root};
use crate::tally::Runner;

/// A suite: a command line in a folder of `sdk-compat`.
pub(super) struct Sdk {
    pub(super) name: &'static str,
    pub(super) runner: Runner,
    folder: &'static str,
    line: &'static [&'static str],
}

/// All of them.
pub(super) const SDKS: [Sdk; 2] = [
    // Without `-count=1` an unchanged test would not run against a changed server.
    Sdk {
        name: "go",
        runner: Runner::Go,
        folder: "go",
        line: &["go", "test", "-v", "-count=1", "./..."],
    },
    Sdk {
        name: "java",
        runner: Runner::Maven,
        folder: "java",
        line: &["mvn", "-B", "-ntp", "test"],
    },
];

impl Sdk {
    /// The tool that is missing, if one is.
    pub(super) fn missing(&self) -> Option<&'static str> {
        Some(self.line[0]).filter(|tool| !installed(tool))
    }

    /// How it runs.
    pub(super) fn line(&self) -> Line {
        program(self.line[0])
            .args(&self.line[1..])
            .folder(root().join("sdk-compat").join(self.folder))
    }
}
