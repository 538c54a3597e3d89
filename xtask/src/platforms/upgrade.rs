//! An upgrade from an earlier build to this one, node by node, under load.

use std::path::PathBuf;

use crate::Outcome;
use crate::build::built;
use crate::process::{cargo, program, root};

/// The state that is upgraded from, unless `UPGRADE_FROM` names another: the last one that spoke version 2 between
/// nodes and wrote version 3 of the files.
const BEFORE: &str = "8054e156b393";

pub(crate) fn run() -> Outcome {
    let before = std::env::var("UPGRADE_FROM").unwrap_or_else(|_| BEFORE.to_owned());
    let Some(earlier) = earlier(&before)? else { return Ok(false) };
    let test = ["test", "--package", "miso-tests", "--test", "upgrade", "--"];
    cargo(&test)
        .args(["--ignored", "--nocapture"])
        .env("MISO_SERVER", built("miso-server"))
        .env("MISO_SERVER_BEFORE", earlier)
        .run()
}

/// Builds the server of an earlier state, in a copy of the sources; none if it does not compile.
fn earlier(commit: &str) -> Result<Option<PathBuf>, String> {
    let copy = super::folder().join("earlier");
    let target = super::folder().join("earlier-target");
    if copy.exists() {
        std::fs::remove_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    }
    std::fs::create_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    let archive = super::folder().join("earlier.tar");
    let git = program("git").folder(root()).args(["archive", "--output"]).args([&archive]);
    git.args([commit]).quietly().map_err(|error| {
        format!("{error}: UPGRADE_FROM names a commit that this repository has, with its history")
    })?;
    program("tar").args(["-xf"]).args([&archive]).args(["-C"]).args([&copy]).quietly()?;
    let line = cargo(&["build", "--package", "miso-server"]).folder(&copy);
    let built = line.env("CARGO_TARGET_DIR", &target).run()?;
    Ok(built.then(|| target.join("debug/miso-server")))
}
