//! `cargo xtask bench`: the benchmarks. The one through functions needs more programs than the others.

use crate::process::{Line, cargo};
use crate::{Outcome, platforms, setup};

/// MinIO has no numbered releases as a module; this is the last state of its main branch that the proxy has.
const MINIO: (&str, &str) = ("minio", "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c");

pub(crate) fn run(args: &[String]) -> Outcome {
    let benches = cargo(&["run", "--release", "--package", "miso-benches", "--"]).args(args);
    if args.first().is_some_and(|name| name == "functions") {
        return functions(benches)?.run();
    }
    benches.run()
}

/// Installs what functions and the other stores need. Without MinIO the evaluation says why and goes on.
fn functions(benches: Line) -> Result<Line, String> {
    for folder in ["sdk-compat/node", "sdk-compat/evaluation"] {
        setup::node(folder)?;
    }
    let redis = setup::redis_8(&setup::python("sdk-compat/python", ".venv")?)?;
    let benches = match platforms::tool(MINIO) {
        Ok(minio) => benches.env("MINIO", minio),
        Err(why) => benches.env("NO_MINIO", why),
    };
    Ok(benches.env("REDIS_SERVER", redis).env("OF_WATCHDOG", platforms::watchdog()?))
}
