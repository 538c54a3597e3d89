//! `cargo xtask platforms`: what is true of real platforms and of all clients, with tools that take minutes to build or
//! to install. CI does without it: it runs what is light of the same.

mod metrics;
mod packages;
mod site;
mod upgrade;
mod watchdog;

pub(crate) use watchdog::watchdog;

use std::path::PathBuf;
use std::time::Instant;

use crate::build::{built, target};
use crate::process::{Line, cargo, installed, program, root};
use crate::{Outcome, setup};

/// A tool in Go: the program, and the module it is built from.
const HELM: (&str, &str) = ("helm", "helm.sh/helm/v3/cmd/helm@v3.19.2");
/// The schemas of Kubernetes as a package; the usual checker fetches them one by one from where a build may not reach.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
/// The oldest version that the chart is held against, and the newest that the package knows.
const KUBERNETES: [&str; 2] = ["1.30.0", "1.37.0"];

/// A part: its name, and what it does.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 8] = [
    ("chart", chart),
    ("clients", clients),
    ("page", page),
    ("metrics", metrics::run),
    ("site", site::run),
    ("deb", packages::run),
    ("upgrade", upgrade::run),
    ("watchdog", watchdog::run),
];

/// What a browser is called.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

pub(crate) fn run(args: &[String]) -> Outcome {
    let names = PARTS.map(|(name, _)| name);
    if let Some(unknown) = args.iter().find(|arg| !names.contains(&arg.as_str())) {
        return Err(format!("no part is called '{unknown}'; there are {}", names.join(", ")));
    }
    if !cargo(&["build", "--package", "miso-server"]).run()? {
        return Ok(false);
    }
    let mut sums = Vec::new();
    for (name, part) in PARTS {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            let begun = Instant::now();
            sums.push((name, part()?, begun.elapsed().as_secs()));
        }
    }
    println!();
    for (name, holds, seconds) in &sums {
        println!("{name:9} {:6} {seconds:>5} s", if *holds { "holds" } else { "FAILED" });
    }
    Ok(sums.iter().all(|(_, holds, _)| *holds))
}

/// Where the tools are installed.
fn folder() -> PathBuf {
    target().join("platforms")
}

/// Unpacks a Debian package into the folder of the tools, once, without installing it; answers where.
fn unpacked(package: &str) -> Result<PathBuf, String> {
    let place = folder().join(package);
    if place.join("usr").exists() {
        return Ok(place);
    }
    let downloads = folder().join("downloads").join(package);
    std::fs::create_dir_all(&downloads)
        .map_err(|error| format!("{}: {error}", downloads.display()))?;
    program("apt-get").args(["download", "-qq", package]).folder(&downloads).quietly()?;
    let found = std::fs::read_dir(&downloads).into_iter().flatten().flatten().next();
    let file = found.ok_or_else(|| format!("apt-get downloaded no {package}"))?.path();
    program("dpkg-deb").args(["-x"]).args([&file, &place]).quietly()?;
    Ok(place)
}

/// Builds a tool in Go, once.
pub(crate) fn tool((name, module): (&str, &str)) -> Result<PathBuf, String> {
    let path = folder().join(name);
    if path.exists() {
        return Ok(path);
    }
    if !installed("go") {
        return Err(format!("go is not installed: {name} is built by it"));
    }
    let line = program("go").args(["install", module]).env("GOBIN", folder());
    if line.run()? { Ok(path) } else { Err(format!("{name} does not build")) }
}

/// The chart, linted and rendered by helm in all variants of `test_deploy.py`, and held against the schemas.
fn chart() -> Outcome {
    let helm = tool(HELM)?;
    let python = setup::python("sdk-compat/python", ".venv")?;
    let with = |line: Line| {
        let path = std::env::var("PATH").unwrap_or_default();
        line.env("PATH", format!("{}:{path}", folder().display()))
            .env("MISO_SERVER", built("miso-server"))
    };
    let tests = program(&python).args(["-m", "pytest", "-q", "test_deploy.py"]);
    let tested = with(tests.folder(root().join("sdk-compat/python"))).run()?;
    let schemas = folder().join("schemas");
    if !schemas.join("kubernetes_validate").exists() {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
        program(&python).args(pip).args([&schemas]).args([SCHEMAS]).quietly()?;
    }
    let mut valid = true;
    for version in KUBERNETES {
        let manifest = folder().join(format!("chart-{version}.yaml"));
        let template = ["template", "miso", "--namespace", "edge", "--kube-version", version];
        let rendered = program(&helm).args(template).args([root().join("deploy/helm/miso")]);
        let written = std::fs::write(&manifest, rendered.quietly()?);
        written.map_err(|error| format!("{}: {error}", manifest.display()))?;
        let validate = ["-m", "kubernetes_validate", "--strict", "-k", version];
        let line = program(&python).args(validate).args([manifest]);
        valid &= line.env("PYTHONPATH", &schemas).run()?;
    }
    Ok(valid && tested)
}

/// The table of clients, written anew.
fn clients() -> Outcome {
    let line = program("python3").args(["sdk-compat/clients/run.py"]);
    line.env("MISO_SERVER", built("miso-server")).run()
}

/// The live page in a real browser, which leaves the picture of the README.
fn page() -> Outcome {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = BROWSERS.iter().flat_map(|name| {
        std::env::split_paths(&path).map(move |folder| folder.join(name)).collect::<Vec<_>>()
    });
    let Some(browser) = places.into_iter().find(|place| place.is_file()) else {
        return Err(format!("no browser is installed; expected one of {}", BROWSERS.join(", ")));
    };
    let tests = root().join("tests/page");
    if !program("npm").args(["ci", "--silent"]).folder(tests.clone()).run()? {
        return Ok(false);
    }
    let line = program("node").args(["page.mjs"]).args([built("miso-server")]);
    line.args([browser]).args([root().join("docs/pictures/page.png")]).folder(tests).run()
}
