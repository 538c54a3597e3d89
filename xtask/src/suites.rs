//! `cargo xtask test`: the set-up, the build, all suites, the main job, one sum.

use crate::process::{Line, cargo, installed, program, root};
use crate::{Outcome, setup};
use std::path::PathBuf;
use std::time::Instant;

/// The last one is the main job: the paper's AllReduce, beside a real Redis.
const SUITES: [&str; 5] = ["rust", "doc", "python", "node", "allreduce"];

/// Tests that ran, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

pub(crate) fn run(args: &[String]) -> Outcome {
    if let Some(unknown) = args.iter().find(|arg| !SUITES.contains(&arg.as_str())) {
        return Err(format!("no suite is called '{unknown}'; there are {}", SUITES.join(", ")));
    }
    let wanted = |suite: &str| args.is_empty() || args.iter().any(|arg| arg == suite);
    let start = Instant::now();

    setup::programs()?;
    // Downloading beside compiling: neither waits for the other.
    let (built, python, node) = std::thread::scope(|scope| {
        let python = scope.spawn(|| wanted("python").then(setup::python).transpose());
        let node = scope.spawn(|| wanted("node").then(setup::node).transpose());
        // The whole workspace, so that the suites build nothing a second time with other features.
        let built = cargo(&["build", "--workspace", "--bins"]).run();
        (
            built,
            python.join().expect("the set-up does not panic"),
            node.join().expect("the set-up does not panic"),
        )
    });
    if !built? {
        return Err("the build failed".to_owned());
    }
    let server = target().join("debug/miso-server");

    let mut sums = Vec::new();
    let mut suite = |name: &'static str, line: Line| {
        let result = count(line.env("MISO_SERVER", &server), name);
        result.map(|tally| sums.push((name, tally)))
    };
    if wanted("rust") {
        let line = if nextest() {
            cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
        } else {
            cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
        };
        suite("rust", line)?;
    }
    if wanted("doc") {
        suite("doc", cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]))?;
    }
    if let Some(interpreter) = python? {
        suite(
            "python",
            program(interpreter).args(["-m", "pytest"]).folder(root().join("sdk-compat/python")),
        )?;
    }
    if let Some(folder) = node? {
        let line = program("node").args([
            "--test",
            "--test-reporter=spec",
            "--test-concurrency=2",
            "--test-timeout=60000",
            "--test-force-exit",
        ]);
        suite("node", line.folder(folder))?;
    }
    if wanted("allreduce") {
        let line = program(target().join("debug/miso-benches"));
        let line = line.args(["allreduce", "--repetitions", "3"]).env("MISO_SERVER", &server);
        let passed = u64::from(line.run()?);
        sums.push(("allreduce", Tally { passed, failed: 1 - passed }));
    }

    println!("\n{:9} {:>7} {:>7}", "suite", "passed", "failed");
    let mut sum = Tally::default();
    for (name, tally) in sums {
        println!("{name:9} {:>7} {:>7}", tally.passed, tally.failed);
        sum.passed += tally.passed;
        sum.failed += tally.failed;
    }
    println!("in {:.0} s\n", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(sum.failed == 0 && sum.passed > 0)
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn nextest() -> bool {
    installed("cargo-nextest")
}

/// Runs a suite and adds up its summary lines. One that fails without a failed test, or runs none at all, counts as
/// one failure: it did not do what it was there for.
fn count(line: Line, name: &str) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let passed = line.watch(|text| {
        let found = summary(text);
        tally.passed += found.passed;
        tally.failed += found.failed;
    })?;
    let ran_none = tally.passed == 0 && name != "doc";
    if tally.failed == 0 && (!passed || ran_none) {
        tally.failed = 1;
    }
    Ok(tally)
}

/// What a line of output says about tests, if it is a summary of one of the runners.
fn summary(line: &str) -> Tally {
    let line = line.trim();
    let counts = [" passed", " failed", " error"].map(|word| number_before(line, word));
    let is_summary = line.starts_with("test result: ") // cargo test
        || (line.starts_with("Summary [") && line.contains(" tests run: ")) // nextest
        || (line.contains(" in ") && line.ends_with('s') && counts.iter().any(Option::is_some)); // pytest
    if is_summary {
        let [passed, failed, errors] = counts.map(Option::unwrap_or_default);
        let timed_out = number_before(line, " timed out").unwrap_or_default();
        return Tally { passed, failed: failed + errors + timed_out };
    }
    // node --test
    let Some(rest) = line.strip_prefix("ℹ ") else {
        return Tally::default();
    };
    let of = |word: &str| rest.strip_prefix(word).and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    Tally { passed: of("pass "), failed: of("fail ") + of("cancelled ") }
}

/// The number in front of `word`, as in `12 passed`.
fn number_before(line: &str, word: &str) -> Option<u64> {
    let before = &line[..line.find(word)?];
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, passed: u64, failed: u64) {
        assert_eq!(summary(line), Tally { passed, failed }, "{line}");
    }

    #[test]
    fn summaries_of_every_runner() {
        check(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.3s",
            12,
            0,
        );
        check(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1s",
            1,
            2,
        );
        check(
            "     Summary [  31.8s] 28 tests run: 8 passed (1 slow), 20 failed, 3 skipped",
            8,
            20,
        );
        check(
            "     Summary [  31.8s] 28 tests run: 26 passed, 1 failed, 1 timed out, 3 skipped",
            26,
            2,
        );
        check("1 failed, 45 passed, 2 errors in 12.31s", 45, 3);
        check("46 passed in 0.51s", 46, 0);
        check("44 errors in 0.49s", 0, 44);
        check("ℹ pass 44", 44, 0);
        check("ℹ fail 3", 0, 3);
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "test a ... ok",
            "ℹ tests 44",
            "12 passed, 1 failed",
            "5 passed the door in haste!",
            "ℹ duration_ms 10",
        ] {
            check(line, 0, 0);
        }
    }
}
