//! What the output of a test runner says: how many tests passed and failed, and which failed.

use crate::process::Line;

/// Which program runs a suite: each writes in its own way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runner {
    /// `cargo test`.
    Cargo,
    /// `cargo nextest run`.
    Nextest,
    /// `pytest`.
    Pytest,
    /// `node --test` with its `spec` reporter.
    Node,
    /// `go test -v`.
    Go,
    /// `mvn test`, whose plugin Surefire runs the tests.
    Maven,
}

/// Tests that ran, by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// The names of those that failed, each once.
    pub(crate) failures: Vec<String>,
    /// The test program that runs, until it sums up: `cargo test` alone says so.
    running: Option<String>,
}

impl Tally {
    /// A suite that is one program, which ended well or not.
    pub(crate) fn of_program(name: &str, passed: bool) -> Tally {
        let mut tally = Tally { passed: u64::from(passed), ..Tally::default() };
        if !passed {
            tally.fail(name.to_owned());
            tally.failed = 1;
        }
        tally
    }

    /// Runs a suite, or a part of it, and adds what it says. A part that fails without a failed test
    /// counts as one failure.
    pub(crate) fn count(&mut self, line: Line, runner: Runner) -> Result<(), String> {
        let failed_before = self.failed;
        let passed = line.watch(|text| self.read(runner, text))?;
        self.end_program();
        if !passed && self.failed == failed_before {
            self.failed += 1;
            self.fail("the runner itself, see its output".to_owned());
        }
        Ok(())
    }

    fn fail(&mut self, name: String) {
        if !self.failures.contains(&name) {
            self.failures.push(name);
        }
    }

    /// A test program that has not summed up has died: that is a failure, too.
    fn end_program(&mut self) {
        if let Some(program) = self.running.take() {
            self.failed += 1;
            self.fail(format!("{program}: it ended before its tests did"));
        }
    }

    fn add(&mut self, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
    }

    /// Takes a line of output.
    fn read(&mut self, runner: Runner, line: &str) {
        match runner {
            Runner::Cargo => self.read_cargo(line),
            Runner::Nextest => self.read_nextest(line),
            Runner::Pytest => self.read_pytest(line),
            Runner::Node => self.read_node(line),
            Runner::Go => self.read_go(line),
            Runner::Maven => self.read_maven(line),
        }
    }

    fn read_cargo(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if let Some(program) = trimmed.strip_prefix("Running ").filter(|_| trimmed != line) {
            self.end_program();
            self.running = Some(program.split(" (").next().unwrap_or(program).to_owned());
        } else if let Some(package) = trimmed.strip_prefix("Doc-tests ") {
            self.end_program();
            self.running = Some(format!("documentation of {package}"));
        } else if line.starts_with("test result: ") {
            let of = |word| number_before(line, word).unwrap_or_default();
            self.add(of(" passed"), of(" failed"));
            // Merged documentation tests sum up more than once.
            self.running = None;
        } else if let Some(name) = line.strip_suffix(" ... FAILED")
            && let Some(name) = name.strip_prefix("test ")
        {
            let program = self.running.as_deref().unwrap_or_default();
            self.fail(format!("{program} {name}").trim_start().to_owned());
        }
    }

    fn read_nextest(&mut self, line: &str) {
        // What a test itself wrote is shown, too, with its own summary: that is not counted.
        let line = line.trim();
        if line.starts_with("Summary [") && line.contains(" run: ") {
            let of = |word| number_before(line, word).unwrap_or_default();
            self.add(of(" passed"), of(" failed") + of(" timed out"));
        } else if let Some((state, rest)) = line.split_once(" [")
            && is_bad(state)
            && let Some((_, name)) = rest.split_once("] ")
        {
            let name = match name.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
                Some((_, name)) => name,
                None => name,
            };
            self.fail(name.trim().to_owned());
        }
    }

    fn read_pytest(&mut self, line: &str) {
        let words = [" passed", " failed", " error"].map(|word| number_before(line, word));
        if line.contains(" in ") && line.ends_with('s') && words.iter().any(Option::is_some) {
            let [passed, failed, errors] = words.map(Option::unwrap_or_default);
            self.add(passed, failed + errors);
        } else if let Some(name) =
            line.strip_prefix("FAILED ").or_else(|| line.strip_prefix("ERROR "))
            && name.contains("::")
        {
            self.fail(name.split(" - ").next().unwrap_or(name).to_owned());
        }
    }

    fn read_node(&mut self, line: &str) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("ℹ ") {
            let of = |word: &str| {
                rest.strip_prefix(word).and_then(|n| n.trim().parse().ok()).unwrap_or_default()
            };
            self.add(of("pass "), of("fail ") + of("cancelled "));
        } else if let Some(name) = line.strip_prefix("✖ ").filter(|name| *name != "failing tests:")
        {
            let timed = name.rsplit_once(" (").filter(|(_, time)| time.ends_with("ms)"));
            self.fail(timed.map_or(name, |(name, _)| name).to_owned());
        }
    }

    /// A test inside another one is indented, and counted with it.
    fn read_go(&mut self, line: &str) {
        let name = |rest: &str| rest.split(" (").next().unwrap_or(rest).to_owned();
        if line.starts_with("--- PASS: ") {
            self.add(1, 0);
        } else if let Some(rest) = line.strip_prefix("--- FAIL: ") {
            self.add(0, 1);
            self.fail(name(rest));
        }
    }

    /// Each class has a sum of its own, with its time; the last sum is of all.
    fn read_maven(&mut self, line: &str) {
        let rest = line.split_once("] ").map_or(line, |(_, rest)| rest);
        if rest.starts_with("Tests run: ") && !rest.contains("Time elapsed") {
            let of = |word: &str| {
                let number = rest.split_once(word).and_then(|(_, rest)| rest.split(',').next());
                number.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
            };
            let failed = of("Failures: ") + of("Errors: ");
            self.add(of("Tests run: ") - failed - of("Skipped: "), failed);
        } else if let Some((name, time)) = rest.split_once(" -- Time elapsed: ")
            && time.contains("<<<")
        {
            self.fail(name.to_owned());
        }
    }
}

/// Whether a status of nextest's is that of a test that did not pass.
fn is_bad(state: &str) -> bool {
    matches!(state, "FAIL" | "TIMEOUT" | "ABORT" | "LEAK-FAIL") || state.starts_with("SIG")
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

    fn read(runner: Runner, text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(runner, line));
        tally.end_program();
        tally
    }

    #[track_caller]
    fn check(runner: Runner, text: &str, passed: u64, failed: u64, failures: &[&str]) {
        let tally = read(runner, text);
        assert_eq!((tally.passed, tally.failed), (passed, failed), "{tally:?}");
        assert_eq!(tally.failures, failures);
    }

    #[test]
    fn cargo_test() {
        let text = "\
    Finished `test` profile
     Running unittests src/lib.rs (target/debug/deps/miso_crdt-1)
test set::tests::joins ... ok
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.3s
     Running tests/nodes.rs (target/debug/deps/nodes-2)
test gossip ... FAILED
test links ... ok

---- gossip stdout ----
Running in the rain is no program
test result: of a poem

failures:
    gossip

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1s
   Doc-tests miso_store
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        check(Runner::Cargo, text, 4, 1, &["tests/nodes.rs gossip"]);
    }

    #[test]
    fn a_test_program_that_dies_is_a_failure() {
        let text = "\
    Finished `test` profile
     Running tests/kills.rs (target/debug/deps/kills-1)
test one ... ok
     Running tests/types.rs (target/debug/deps/types-2)
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.3s
";
        let failures = ["tests/kills.rs: it ended before its tests did"];
        check(Runner::Cargo, text, 7, 1, &failures);
    }

    /// A failed test's output holds the summary of its own process.
    #[test]
    fn nextest_counts_a_failure_once() {
        let text = "\
        FAIL [   0.004s] ( 2/28) miso-tests::nodes gossip
  stdout ───
    test gossip ... FAILED
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1s
────────────
     Summary [  31.845s] 28 tests run: 25 passed (1 slow), 1 failed, 1 timed out, 3 skipped
        FAIL [   0.004s] ( 2/28) miso-tests::nodes gossip
     TIMEOUT [ 180.004s] (28/28) miso-tests::kills one
     SIGABRT [   0.100s] miso-tests::types all
";
        let failures =
            ["miso-tests::nodes gossip", "miso-tests::kills one", "miso-tests::types all"];
        check(Runner::Nextest, text, 25, 2, &failures);
    }

    #[test]
    fn pytest() {
        let text = "\
FAILED test_redis_py.py::test_set - AssertionError: 5 passed the door in haste!
ERROR test_redis_py.py::test_get
1 failed, 45 passed, 1 errors in 12.31s";
        let failures = ["test_redis_py.py::test_set", "test_redis_py.py::test_get"];
        check(Runner::Pytest, text, 45, 2, &failures);
        check(Runner::Pytest, "44 errors in 0.49s", 0, 44, &[]);
        check(Runner::Pytest, "5 passed the door in haste!", 0, 0, &[]);
    }

    #[test]
    fn go() {
        let text = "\
=== RUN   TestTypes
--- PASS: TestTypes (0.25s)
=== RUN   TestALostReply
    sdk_test.go:196: 2, <nil>; expected 1
    --- FAIL: TestALostReply/again (0.00s)
--- FAIL: TestALostReply (0.20s)
FAIL
FAIL\tgithub.com/miso-crdt/miso/sdk-compat/go\t0.4s";
        check(Runner::Go, text, 1, 1, &["TestALostReply"]);
    }

    #[test]
    fn maven() {
        let text = "\
[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 1, Time elapsed: 11.07 s -- in io.github.misocrdt.ScenarioTest
[ERROR] Tests run: 7, Failures: 1, Errors: 0, Skipped: 0, Time elapsed: 11.59 s <<< FAILURE! -- in io.github.misocrdt.SdkTest
[ERROR] io.github.misocrdt.SdkTest.registration -- Time elapsed: 3.969 s <<< FAILURE!
[ERROR] Failures:
[ERROR]   SdkTest.registration:153 expected: <true> but was: <false>
[ERROR] Tests run: 10, Failures: 1, Errors: 0, Skipped: 1";
        check(Runner::Maven, text, 8, 1, &["io.github.misocrdt.SdkTest.registration"]);
    }

    #[test]
    fn node() {
        let text = "\
✖ reads its own writes (12.1ms)
✔ connects (3ms)
ℹ tests 45
ℹ pass 44
ℹ fail 1
ℹ cancelled 0
ℹ duration_ms 10
✖ failing tests:
✖ reads its own writes (12.1ms)";
        check(Runner::Node, text, 44, 1, &["reads its own writes"]);
    }
}
