//! `cargo xtask check`: what must hold beside the tests.

use std::time::Instant;

use crate::build::{build, built, target};
use crate::process::{cargo, installed, program};
use crate::{Outcome, arrows, docs, lengths, setup};

/// What a check is called, what it does, and the part of the toolchain that it needs, if that may be missing: a
/// subcommand of cargo, and the component that brings it.
struct Check {
    name: &'static str,
    needs: Option<(&'static str, &'static str)>,
    run: fn() -> Outcome,
}

const CLIPPY: (&str, &str) = ("clippy", "clippy");

const CHECKS: [Check; 10] = [
    Check {
        name: "fmt",
        needs: Some(("fmt", "rustfmt")),
        run: || cargo(&["fmt", "--all", "--check"]).run(),
    },
    Check { name: "arrows", needs: None, run: arrows::run },
    Check { name: "lengths", needs: None, run: lengths::check },
    Check { name: "clippy", needs: Some(CLIPPY), run: clippy },
    Check { name: "pure", needs: None, run: pure },
    Check { name: "doc", needs: None, run: doc },
    Check { name: "deny", needs: None, run: deny },
    Check { name: "docs", needs: None, run: || docs::run(&["--check".to_owned()]) },
    Check { name: "fuzz", needs: None, run: fuzz },
    Check { name: "instructions", needs: None, run: instructions },
];

pub(crate) fn run(args: &[String]) -> Outcome {
    if let Some(unknown) = args.iter().find(|arg| CHECKS.iter().all(|check| check.name != **arg)) {
        let names = CHECKS.map(|check| check.name).join(", ");
        return Err(format!("no check is called '{unknown}'; there are {names}"));
    }
    let (mut results, mut failed, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for check in CHECKS {
        let name = check.name;
        if !args.is_empty() && !args.iter().any(|arg| arg == name) {
            continue;
        }
        if let Some((_, component)) = check.needs.filter(|part| !works(*part)) {
            skipped.push(format!("{name:13} skipped: rustup component add {component}"));
            continue;
        }
        let begun = Instant::now();
        let passed = (check.run)()?;
        let word = if passed { "holds" } else { "FAILED" };
        results.push(format!("{name:13} {word:6} {:>5} s", begun.elapsed().as_secs()));
        if !passed {
            failed.push(name);
        }
    }
    println!();
    results.iter().chain(&skipped).for_each(|line| println!("{line}"));
    if failed.is_empty() {
        println!("\nall checks that ran hold");
    } else {
        println!("\nfailed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// Whether a part of the toolchain is there: its program may be, and only say that the part is not.
fn works((subcommand, _): (&str, &str)) -> bool {
    cargo(&[subcommand, "--version"]).quietly().is_ok()
}

fn clippy() -> Outcome {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
}

/// The core of replication without the feature `shell`: no runtime, no clock, no socket.
fn pure() -> Outcome {
    let package = ["--package", "miso-replication", "--no-default-features", "--all-targets"];
    if works(CLIPPY) {
        cargo(&["clippy"]).args(package).args(["--", "-D", "warnings"]).run()
    } else {
        cargo(&["check"]).args(package).run()
    }
}

fn doc() -> Outcome {
    let line = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    line.env("RUSTDOCFLAGS", "-D warnings").run()
}

/// What the hot path's commands cost, counted and held against what is written down. Wider than by hand, for a machine
/// that is new to it. The counts are those of the server's release build; the program that counts is the one that the
/// tests use, since its own speed does not matter.
fn instructions() -> Outcome {
    setup::install_missing(&[
        ("valgrind", "valgrind"),
        ("redis-server", "redis-server"),
        ("redis-benchmark", "redis-tools"),
    ])?;
    build()?;
    if !cargo(&["build", "--release", "--package", "miso-server"]).run()? {
        return Ok(false);
    }
    let line = program(built("miso-benches")).args(["instructions", "--tolerance", "10"]);
    line.env("MISO_SERVER", target().join("release/miso-server")).run()
}

/// The fuzz targets stand beside the workspace and need another compiler to run; any can say that they fit the code.
fn fuzz() -> Outcome {
    setup::install_missing(&[("c++", "g++")])?;
    let mut all = true;
    for manifest in ["protocol/fuzz/Cargo.toml", "store/fuzz/Cargo.toml"] {
        let check = ["check", "--locked", "--manifest-path", manifest];
        all &= cargo(&check).args(["--target-dir", "target/fuzz"]).run()?;
    }
    Ok(all)
}

/// Licences, bans and sources. Advisories are left out: their database comes over the network, and a build must not
/// turn red for what it did not change.
fn deny() -> Outcome {
    if !installed("cargo-deny") {
        return Err("cargo-deny is missing: cargo install cargo-deny --locked".to_owned());
    }
    cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]).run()
}
