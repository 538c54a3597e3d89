//! Running the Rust tests, by cargo-nextest if that is installed, else by `cargo test`.
//!
//! `.config/nextest.toml` says which tests want the machine for themselves, and how many others run at
//! once. `cargo test` knows nothing of it, so it is read here: such tests then run apart, one by one.

use std::fs;

use crate::build::TARGETS;
use crate::process::{cargo, installed, root};
use crate::tally::{Runner, Tally};
use crate::temporary::Temporary;

/// What of the configuration matters to `cargo test`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Config {
    /// How many tests run at once.
    threads: String,
    /// Tests that run alone, by a part of their names.
    alone: Vec<String>,
}

/// Runs all of them.
pub(crate) fn run(temporary: &Temporary) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let server = crate::build::built("miso-server");
    let mut part = |args: &[&str], more: &[String], runner| {
        let line = cargo(args).args(more).env("MISO_SERVER", &server);
        tally.count(line.env("TMPDIR", temporary.path()), runner)
    };
    if installed("cargo-nextest") {
        part(&["nextest", "run", "--workspace", "--no-fail-fast"], &[], Runner::Nextest)?;
        return Ok(tally);
    }
    println!(
        "cargo-nextest is not installed: cargo test runs the tests, with no limit to their time"
    );
    let path = root().join(".config/nextest.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let config = Config::read(&text);
    let test = [&["test"], &TARGETS[..], &["--no-fail-fast", "--"]].concat();
    part(&test, &config.of_others(), Runner::Cargo)?;
    part(&test, &config.of_alone(), Runner::Cargo)?;
    Ok(tally)
}

impl Config {
    /// Reads what this repository's file uses of the format.
    fn read(text: &str) -> Config {
        let mut config = Config::default();
        let mut name = None;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                name = None;
            } else if let Some((key, value)) = line.split_once('=') {
                match key.trim() {
                    "test-threads" => value.trim().clone_into(&mut config.threads),
                    "filter" => {
                        let part = value.trim().trim_matches('"').strip_prefix("test(");
                        name = part.and_then(|part| part.strip_suffix(')')).map(str::to_owned);
                    }
                    "threads-required" => config.alone.extend(name.take()),
                    _ => {}
                }
            }
        }
        config
    }

    fn of_others(&self) -> Vec<String> {
        let threads = if self.threads.is_empty() { "4" } else { &self.threads };
        let mut args = vec!["--test-threads".to_owned(), threads.to_owned()];
        args.extend(self.alone.iter().flat_map(|name| ["--skip".to_owned(), name.clone()]));
        args
    }

    fn of_alone(&self) -> Vec<String> {
        let mut args = vec!["--test-threads".to_owned(), "1".to_owned()];
        args.extend(self.alone.iter().cloned());
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_run_alone_are_read_from_the_configuration() {
        let text = fs::read_to_string(root().join(".config/nextest.toml")).expect("it is there");
        let config = Config::read(&text);
        assert_eq!(config.threads, "4");
        assert!(config.alone.iter().any(|name| name.contains("ten_thousand")), "{config:?}");
        assert_eq!(config.alone.len(), text.matches("threads-required").count());
        assert_eq!(config.of_others().len(), 2 + 2 * config.alone.len());
        assert_eq!(config.of_alone()[2..], config.alone);
    }

    #[test]
    fn a_test_with_a_longer_time_alone_runs_with_the_others() {
        let text = "[profile.default]\ntest-threads = 3\n[[profile.default.overrides]]\n\
                    filter = \"test(slow)\"\nslow-timeout = \"9s\"\n";
        assert_eq!(Config::read(text), Config { threads: "3".into(), alone: Vec::new() });
    }
}
