//! `cargo xtask test`: the set-up, the build, all suites, the main job, one sum.

mod sdks;

use std::time::{Duration, Instant};

use crate::build::{build, built};
use crate::process::{Line, cargo, program, root};
use crate::tally::{Runner, Tally};
use crate::temporary::Temporary;
use crate::{Outcome, rust_tests, setup};

/// The suites that are no [`sdks::SDKS`]. The last one is the main job: the paper's AllReduce, beside a real Redis.
const SUITES: [&str; 8] =
    ["rust", "doc", "python", "node", "upstash", "apps-python", "apps-node", "allreduce"];

/// The suites that Node runs, and their folders.
const NODE: [(&str, &str); 3] = [
    ("node", "sdk-compat/node"),
    ("upstash", "sdk-compat/upstash"),
    ("apps-node", "sdk-compat/apps/node"),
];

/// The suites that Python runs, their folders, and the environments of these. The first environment also
/// installs the Redis that the Rust tests need.
const PYTHON: [(&str, &str, &str); 2] = [
    ("python", "sdk-compat/python", ".venv"),
    ("apps-python", "sdk-compat/apps/python", ".venv-apps"),
];

pub(crate) fn run(args: &[String]) -> Outcome {
    let names: Vec<&str> =
        SUITES.into_iter().chain(sdks::SDKS.iter().map(|sdk| sdk.name)).collect();
    if let Some(unknown) = args.iter().find(|arg| !names.contains(&arg.as_str())) {
        return Err(format!("no suite is called '{unknown}'; there are {}", names.join(", ")));
    }
    let wanted = |suite: &str| args.is_empty() || args.iter().any(|arg| arg == suite);
    let start = Instant::now();
    setup::programs()?;
    // Downloading beside compiling: neither waits for the other.
    let (compiled, python, node) = std::thread::scope(|scope| {
        let python = scope.spawn(|| python(wanted));
        let node = scope.spawn(|| {
            let wanted = NODE.iter().filter(|(name, _)| wanted(name));
            wanted
                .map(|(name, folder)| Ok((*name, setup::node(folder)?)))
                .collect::<Result<Vec<_>, String>>()
        });
        (
            build(),
            python.join().expect("the set-up does not panic"),
            node.join().expect("the set-up does not panic"),
        )
    });
    compiled?;
    println!("built in {:.0} s", start.elapsed().as_secs_f64());

    let temporary = Temporary::new()?;
    let watchdog = if wanted("python") { setup::watchdog()? } else { None };
    let with = |line: Line| {
        let line = line.env("MISO_SERVER", built("miso-server")).env("TMPDIR", temporary.path());
        match &watchdog {
            Some(watchdog) => line.env("OF_WATCHDOG", watchdog),
            None => line,
        }
    };
    let of_line = |name: &str, line: Line, runner| {
        let mut tally = Tally::default();
        tally.count(with(line), runner)?;
        Ok::<_, String>(ran_some(name, tally))
    };
    let mut sums = Vec::new();
    let mut suite = |name: &'static str, tally: Result<Tally, String>, begun: Instant| {
        tally.map(|tally| sums.push((name, tally, begun.elapsed())))
    };
    if wanted("rust") {
        let begun = Instant::now();
        suite("rust", rust_tests::run(&temporary).map(|tally| ran_some("rust", tally)), begun)?;
    }
    if wanted("doc") {
        let begun = Instant::now();
        let line = cargo(&["test"]).args(["--workspace", "--doc", "--no-fail-fast"]);
        suite("doc", of_line("doc", line, Runner::Cargo), begun)?;
    }
    for (name, line) in python? {
        let begun = Instant::now();
        suite(name, of_line(name, line, Runner::Pytest), begun)?;
    }
    for (name, folder) in node? {
        let begun = Instant::now();
        let line = program("node").args([
            "--test",
            "--test-reporter=spec",
            "--test-concurrency=2",
            "--test-timeout=60000",
            "--test-force-exit",
        ]);
        suite(name, of_line(name, line.folder(folder), Runner::Node), begun)?;
    }
    let mut skipped = Vec::new();
    if wanted("python") && watchdog.is_none() {
        skipped.push("functions under a watchdog: go is not installed".to_owned());
    }
    for sdk in sdks::SDKS.iter().filter(|sdk| wanted(sdk.name)) {
        let begun = Instant::now();
        match sdk.missing() {
            Some(tool) => skipped.push(format!("{}: {tool} is not installed", sdk.name)),
            None => suite(sdk.name, of_line(sdk.name, sdk.line(), sdk.runner), begun)?,
        }
    }
    if wanted("allreduce") {
        let begun = Instant::now();
        let line = program(built("miso-benches")).args(["allreduce", "--repetitions", "3"]);
        let passed = with(line).run()?;
        suite("allreduce", Ok(Tally::of_program("the main job", passed)), begun)?;
    }
    let left = temporary.left();
    if !left.is_empty() {
        let names = format!("left in the temporary directory: {}", left.join(", "));
        suite("traces", Ok(Tally::of_program(&names, false)), Instant::now())?;
    }

    Ok(shown(&sums, &skipped, start.elapsed()))
}

/// Shows what ran, and answers whether all of it passed.
fn shown(
    sums: &[(&'static str, Tally, Duration)],
    skipped: &[String],
    took_in_all: Duration,
) -> bool {
    println!("\n{:11} {:>7} {:>7} {:>7}", "suite", "passed", "failed", "seconds");
    for (name, tally, took) in sums {
        let seconds = took.as_secs();
        println!("{name:11} {:>7} {:>7} {seconds:>7}", tally.passed, tally.failed);
    }
    skipped.iter().for_each(|why| println!("skipped: {why}"));
    let sum = |of: fn(&Tally) -> u64| sums.iter().map(|(_, tally, _)| of(tally)).sum::<u64>();
    let (passed, failed) = (sum(|tally| tally.passed), sum(|tally| tally.failed));
    println!("in {:.0} s\n", took_in_all.as_secs_f64());
    println!("{passed} passed, {failed} failed");
    for (name, tally, _) in sums {
        tally.failures.iter().for_each(|failure| println!("  {name}: {failure}"));
    }
    failed == 0 && passed > 0
}

/// Installs what the suites of Python need, and the Redis of the Rust tests; answers each suite's line.
fn python(wanted: impl Fn(&str) -> bool) -> Result<Vec<(&'static str, Line)>, String> {
    if wanted("rust") {
        let (_, folder, environment) = PYTHON[0];
        setup::redis_8(&setup::python(folder, environment)?)?;
    }
    let mut lines = Vec::new();
    for (name, folder, environment) in PYTHON.into_iter().filter(|(name, ..)| wanted(name)) {
        let interpreter = setup::python(folder, environment)?;
        lines.push((name, program(interpreter).args(["-m", "pytest"]).folder(root().join(folder))));
    }
    Ok(lines)
}

/// A suite in which no test ran did not do what it is there for: that is a failure.
fn ran_some(name: &str, mut tally: Tally) -> Tally {
    if name != "doc" && tally.passed == 0 && tally.failed == 0 {
        tally = Tally::of_program("no test ran", false);
    }
    tally
}
