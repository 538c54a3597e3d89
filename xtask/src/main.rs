//! The habits of the workspace. Most are a few lines over cargo and can be done without; `test`, `docs` and `mutants`
//! also do the set-up that would otherwise be a list of steps in a document.

mod arrows;
mod bench;
mod build;
mod check;
mod docs;
mod lengths;
mod links;
mod mutants;
mod platforms;
mod process;
mod rust_tests;
mod setup;
mod suites;
mod tally;
mod temporary;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <command>

  test [suite...]   installs what the tests need, builds, and runs all suites
                    (suites: rust, doc, python, node, go, java, clients,
                    apps-python, apps-node, allreduce)
  check [what...]   what CI checks beside the tests (fmt, arrows, clippy, pure, doc, deny, docs,
                    fuzz, instructions, lengths)
  docs [--check]    writes docs/commands.md, settings.md, errors.md, metrics.md, compatibility.md
                    and deploy/miso.toml from the server's own tables; with --check, fails if
                    they are stale, a page is not in docs/SUMMARY.md, or a link leads nowhere
  lengths           prints how long files and functions are
  mutants [package...] [--diff [BASE]] [--sample N] [--seed N] [--list]
                    changes the code in small ways and sees whether tests notice
                    (packages: crdt, store, replication; --diff: only what changed since BASE,
                    main if none is named)
  platforms [part...]
                    what takes minutes: the chart by helm and against the schemas of Kubernetes, the
                    table of clients in docs/clients.md, the live page in a browser, /metrics by
                    promtool and redis_exporter, the site by mdBook, the Debian package, an upgrade from
                    an earlier build, functions under of-watchdog
                    (parts: chart, clients, page, metrics, site, deb, upgrade, watchdog)
  bench [args...]   runs the benchmarks of benches/ in release mode; `bench functions` also installs
                    what the paper's evaluation through functions needs, and writes
                    docs/evaluation.md";

/// What a habit ends with: `Err` says why it cannot go on, `Ok(false)` that something it ran has failed.
type Outcome = Result<bool, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &args[..]),
    };
    let outcome = match command {
        "test" => suites::run(rest),
        "check" => check::run(rest),
        "docs" => docs::run(rest),
        "lengths" => lengths::print(),
        "mutants" => mutants::run(rest),
        "platforms" => platforms::run(rest),
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(true)
        }
        other => Err(format!("unknown command '{other}'\n\n{USAGE}")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
