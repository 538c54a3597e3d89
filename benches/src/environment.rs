//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde::Serialize;

use crate::servers::Programs;

/// The machine and the programs.
#[derive(Serialize)]
pub(crate) struct Environment {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) miso: String,
    pub(crate) redis: String,
}

impl Environment {
    pub(crate) fn look(programs: &Programs) -> Environment {
        Environment {
            processor: processor(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned()),
            miso: format!("miso-server {}", env!("CARGO_PKG_VERSION")),
            redis: redis_version(&programs.redis),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        format!(
            "{}, {} cores, Linux {}; {} beside {}.\n",
            self.processor, self.cores, self.kernel, self.miso, self.redis
        )
    }
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name"));
    let name = name.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The compiler on the PATH, as it calls itself.
pub(crate) fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// `Redis server v=7.0.15 sha=… ` as `redis-server 7.0.15`.
pub(crate) fn redis_version(program: &Path) -> String {
    format!("redis-server {}", version(program))
}

/// `Redis server v=7.0.15 sha=… ` as `7.0.15`.
pub(crate) fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.unwrap_or("of unknown version").to_owned()
}
