//! `cargo xtask check`: what must hold beside the tests.

use crate::process::{cargo, installed};
use crate::{Outcome, arrows, docs, setup};

const CHECKS: [&str; 8] =
    ["fmt", "arrows", "clippy", "doc", "deny", "docs", "fuzz", "instructions"];

pub(crate) fn run(args: &[String]) -> Outcome {
    if let Some(unknown) = args.iter().find(|arg| !CHECKS.contains(&arg.as_str())) {
        return Err(format!("no check is called '{unknown}'; there are {}", CHECKS.join(", ")));
    }
    let mut failed = Vec::new();
    for name in CHECKS {
        if !args.is_empty() && !args.iter().any(|arg| arg == name) {
            continue;
        }
        let passed = match name {
            "fmt" => cargo(&["fmt", "--all", "--check"]).run()?,
            "arrows" => arrows::run()?,
            "clippy" => {
                cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?
            }
            "doc" => cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "-D warnings")
                .run()?,
            "deny" => deny()?,
            "fuzz" => fuzz()?,
            "instructions" => instructions()?,
            _ => docs::run(&["--check".to_owned()])?,
        };
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("\nall checks hold");
    } else {
        println!("\nfailed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// What the hot path's commands cost, counted and held against what is written down. Wider than by hand, for a machine
/// that is new to it.
fn instructions() -> Outcome {
    setup::install_missing(&[("valgrind", "valgrind")])?;
    let run = ["run", "--release", "--package", "miso-benches", "--"];
    cargo(&run).args(["instructions", "--tolerance", "10"]).run()
}

/// The fuzz targets stand beside the workspace and need another compiler to run; that they fit the code, any can say.
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
