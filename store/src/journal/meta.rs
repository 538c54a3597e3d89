//! The identity of this directory's node: the file `identity`.
//!
//! A replica id is one incarnation of a node as a writer. It may be kept only if nothing is lost
//! that was ever shown to anybody: [`Identity::may_keep`] decides that. The file is small text, so
//! that a person can read it, with a checksum in its last line; it is replaced as a whole, and
//! durable before it is in force.
//!
//! ```text
//! miso identity 2
//! replica 9f0c6a1be4d75a33
//! salt 0123456789abcdef
//! state clean 4711
//! policy always
//! boot 6d7c9d4e-…
//! mount 4294968301
//! segment 4712
//! place 1234-1700000000000000000 5678-1700000000000000000
//! former 0f0e0d0c0b0a0908
//! crc 89abcdef
//! ```

use std::fmt::Write as _;
use std::io;

use super::disk::{Disk, Environment};
use super::error::OpenError;
use super::policy::SyncPolicy;

/// The name of the file.
pub(super) const IDENTITY: &str = "identity";
const TEMPORARY: &str = "identity.tmp";
/// What the first line begins with; the version of the format follows.
const FIRST_LINE: &str = "miso identity ";
/// Raised with each change of the format. 2: `mount` and `segment`. All versions from 1 on are read.
const VERSION: u32 = 2;
/// A longer file is none of ours.
const BYTES_MAX: u64 = 1 << 20;
/// So many former incarnations are remembered, the latest ones.
const FORMER_MAX: usize = 10_000;

/// How the last run ended, as far as the file knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was ever written.
    New,
    /// It runs, or it ended without saying so.
    Running,
    /// It ended in order, and its last record had this number.
    Clean(u64),
    /// An fsync failed, and no checkpoint has been made since.
    Faulted,
    /// `--repair` has been at work.
    Repaired,
}

/// The identity of a node, and how its last run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The current incarnation.
    pub replica: u64,
    /// Former ones, oldest first.
    pub former: Vec<u64>,
    /// The directory's secret, part of every checksum.
    pub salt: u64,
    /// How the last run ended.
    pub state: State,
    /// The weakest policy of the last run.
    pub policy: SyncPolicy,
    /// The kernel of the last run.
    pub boot: Option<String>,
    /// The mount of the last run: another one may have lost what was not synced, like another kernel.
    pub mount: Option<String>,
    /// The newest segment that was begun, and was durable with its head. 0: none is known.
    pub segment: u64,
    /// The directory of the last run, and this file in it.
    pub place: String,
    /// Whether the file is where it was written. Known once it has been read.
    in_place: bool,
}

/// Why an incarnation may not be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The directory or its identity is a copy.
    #[error("the data directory is a copy, or was restored from one")]
    Copied,
    /// The journal's tail was cut.
    #[error("the journal's last {bytes} bytes were cut")]
    CutTail {
        /// How many bytes are gone.
        bytes: u64,
    },
    /// An fsync had failed.
    #[error("an fsync had failed in the last run")]
    Faulted,
    /// `--repair` was run.
    #[error("the data directory was repaired")]
    Repaired,
    /// The machine went down under a policy that may lose the last writes.
    #[error("the machine went down, and appendfsync was `{0}`")]
    PowerCut(SyncPolicy),
    /// The file system was mounted anew under a policy that may lose the last writes.
    #[error(
        "the file system of the data directory was mounted anew without an orderly end, and \
         appendfsync was `{0}`"
    )]
    Remounted(SyncPolicy),
}

/// What recovery found, as far as the identity is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredSummary {
    /// Records read from the checkpoint.
    pub checkpoint_records: u64,
    /// Records read from the log.
    pub log_records: u64,
    /// Length of the checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes of the log's records.
    pub log_bytes: u64,
    /// The number of the log's last record.
    pub last: u64,
    /// What was cut off.
    pub cut: Option<Cut>,
}

/// The torn end of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: cut at offset {offset}, {bytes} bytes dropped ({what})")]
pub struct Cut {
    /// The segment.
    pub file: String,
    /// Its new length.
    pub offset: u64,
    /// What was dropped here and in later segments.
    pub bytes: u64,
    /// What could not be read.
    pub what: String,
}

impl Identity {
    /// Of a new directory. Both numbers are random; the salt stays secret.
    #[must_use]
    pub fn new(replica: u64, salt: u64) -> Identity {
        Identity {
            replica,
            former: Vec::new(),
            salt,
            state: State::New,
            policy: SyncPolicy::Always,
            boot: None,
            mount: None,
            segment: 0,
            place: String::new(),
            in_place: true,
        }
    }

    /// The same node's next incarnation.
    #[must_use]
    pub fn renewed(&self, replica: u64) -> Identity {
        let mut next = self.clone();
        if self.replica != 0 {
            // 0 is nobody: what `--repair` could not find out.
            next.former.push(self.replica);
        }
        next.replica = replica;
        let more = next.former.len().saturating_sub(FORMER_MAX);
        next.former.drain(..more);
        next
    }

    /// Whether the node may go on writing as `replica`: if nothing is lost that it ever showed.
    ///
    /// That is so if the last run ended in order; if only the process died, since what is written
    /// outlives it; if the machine died, or the file system was mounted anew, under `always`, provided
    /// that nothing is shown to peers before it is synced.
    ///
    /// # Errors
    /// It may not, and why.
    pub fn may_keep(&self, now: &Environment, recovered: &RecoveredSummary) -> Result<(), Why> {
        match (self.state, &recovered.cut) {
            _ if !self.in_place => Err(Why::Copied),
            (State::Faulted, _) => Err(Why::Faulted),
            (State::Repaired, _) => Err(Why::Repaired),
            (_, Some(cut)) => Err(Why::CutTail { bytes: cut.bytes }),
            (State::New | State::Clean(_), None) => Ok(()),
            (State::Running, None) if self.policy == SyncPolicy::Always => Ok(()),
            (State::Running, None) if !self.same_kernel(now) => Err(Why::PowerCut(self.policy)),
            (State::Running, None) if !self.same_mount(now) => Err(Why::Remounted(self.policy)),
            (State::Running, None) => Ok(()),
        }
    }

    fn same_kernel(&self, now: &Environment) -> bool {
        self.boot.is_some() && self.boot == now.boot
    }

    /// Whether the file system has stayed mounted, or it cannot be known.
    fn same_mount(&self, now: &Environment) -> bool {
        self.mount.is_none() || now.mount.is_none() || self.mount == now.mount
    }

    /// The newest segment that must be there with its head: after an orderly end the number of the last
    /// record says more.
    pub(super) fn begun(&self) -> u64 {
        if self.state == State::Running { self.segment } else { 0 }
    }

    /// Whether all that was written is still there, since neither the kernel nor the mount has ended.
    pub(super) fn kernel_survived(&self, now: &Environment) -> bool {
        match self.state {
            State::Running => self.same_kernel(now) && self.same_mount(now),
            State::Clean(_) | State::New => true,
            State::Faulted | State::Repaired => false,
        }
    }

    /// All records up to this number are known to have been durable.
    pub(super) fn sound(&self) -> u64 {
        if let State::Clean(last) = self.state { last } else { 0 }
    }

    /// Replaces the file. It is durable when this returns.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.create(TEMPORARY)?;
        // A file's stamp stays when it gets its name, and a copy's differs.
        let place = format!("{} {}", disk.environment().directory, file.stamp()?);
        file.write_at(self.encode(&place).as_bytes(), 0)?;
        file.sync()?;
        disk.rename(TEMPORARY, IDENTITY)?;
        disk.sync_dir()
    }

    /// Reads the file; none if there is none.
    pub(super) fn read(disk: &dyn Disk) -> Result<Option<Identity>, OpenError> {
        let file = match disk.open(IDENTITY, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(IDENTITY, error)),
        };
        let io = |error| OpenError::io(IDENTITY, error);
        let len = file.size().map_err(io)?;
        let damaged = |what: &str| OpenError::damaged(IDENTITY, 0, what);
        if len > BYTES_MAX {
            return Err(damaged("it is too long"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| damaged("it is too long"))?];
        file.read_at(&mut bytes, 0).map_err(io)?;
        let mut identity = match Identity::decode(&bytes) {
            Ok(identity) => identity,
            Err(BadIdentity::Damaged(what)) => return Err(damaged(&what)),
            Err(BadIdentity::Newer(version)) => {
                let file = IDENTITY.to_owned();
                return Err(OpenError::Newer { file, version, known: VERSION });
            }
        };
        let place = format!("{} {}", disk.environment().directory, file.stamp().map_err(io)?);
        identity.in_place = identity.place == place;
        Ok(Some(identity))
    }

    fn encode(&self, place: &str) -> String {
        let mut out = format!("{FIRST_LINE}{VERSION}\nreplica {:016x}\n", self.replica);
        let state = match self.state {
            State::New => "new".to_owned(),
            State::Running => "running".to_owned(),
            State::Clean(last) => format!("clean {last}"),
            State::Faulted => "faulted".to_owned(),
            State::Repaired => "repaired".to_owned(),
        };
        let boot = self.boot.as_deref().unwrap_or("-");
        let mount = self.mount.as_deref().unwrap_or("-");
        let (policy, segment) = (self.policy, self.segment);
        let _ = write!(
            out,
            "salt {:016x}\nstate {state}\npolicy {policy}\nboot {boot}\nmount {mount}\n\
             segment {segment}\nplace {place}\n",
            self.salt
        );
        for former in &self.former {
            let _ = writeln!(out, "former {former:016x}");
        }
        let crc = crc32c::crc32c(out.as_bytes());
        let _ = writeln!(out, "crc {crc:08x}");
        out
    }

    fn decode(bytes: &[u8]) -> Result<Identity, BadIdentity> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let (body, crc) = text.rsplit_once("crc ").ok_or("its checksum is missing")?;
        if format!("{:08x}\n", crc32c::crc32c(body.as_bytes())) != crc {
            return Err("its checksum is wrong".into());
        }
        let mut lines = body.lines();
        let version = lines.next().and_then(|line| line.strip_prefix(FIRST_LINE));
        match version.and_then(|version| version.parse().ok()) {
            None | Some(0) => return Err("it does not begin with `miso identity`".into()),
            Some(version) if version > VERSION => return Err(BadIdentity::Newer(version)),
            Some(_) => {}
        }
        let hex = |value: &str| u64::from_str_radix(value, 16).map_err(|_| "a bad number");
        let mut identity = Identity::new(0, 0);
        for line in lines {
            let (key, value) = line.split_once(' ').ok_or("a line without a value")?;
            match key {
                "replica" => identity.replica = hex(value)?,
                "salt" => identity.salt = hex(value)?,
                "state" => identity.state = State::decode(value).ok_or("an unknown state")?,
                "policy" => identity.policy = value.parse().map_err(|()| "an unknown policy")?,
                "boot" => identity.boot = (value != "-").then(|| value.to_owned()),
                "mount" => identity.mount = (value != "-").then(|| value.to_owned()),
                "segment" => identity.segment = value.parse().map_err(|_| "a bad number")?,
                "place" => value.clone_into(&mut identity.place),
                "former" => identity.former.push(hex(value)?),
                _ => return Err(BadIdentity::Damaged(format!("an unknown line, `{key}`"))),
            }
        }
        Ok(identity)
    }
}

/// Why the file cannot be read.
#[derive(Debug, PartialEq, Eq)]
enum BadIdentity {
    /// A newer version wrote it, in this format.
    Newer(u32),
    /// What is wrong with it.
    Damaged(String),
}

impl From<&str> for BadIdentity {
    fn from(what: &str) -> BadIdentity {
        BadIdentity::Damaged(what.to_owned())
    }
}

impl State {
    fn decode(text: &str) -> Option<State> {
        match text {
            "new" => Some(State::New),
            "running" => Some(State::Running),
            "faulted" => Some(State::Faulted),
            "repaired" => Some(State::Repaired),
            _ => text.strip_prefix("clean ")?.parse().ok().map(State::Clean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(boot: &str) -> Environment {
        Environment {
            boot: Some(boot.to_owned()),
            mount: Some("m".to_owned()),
            directory: String::new(),
        }
    }

    #[test]
    fn it_reads_what_it_wrote_and_no_flipped_bit() {
        let mut identity = Identity::new(7, 8).renewed(9).renewed(10);
        identity.boot = Some("boot".to_owned());
        identity.mount = Some("mount".to_owned());
        identity.segment = 4;
        identity.state = State::Clean(12);
        identity.policy = SyncPolicy::EverySecond;
        let text = identity.encode("a b");
        identity.place = "a b".to_owned();
        assert_eq!(Identity::decode(text.as_bytes()), Ok(identity));
        for at in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Identity::decode(&bytes).is_err(), "bit {at}");
        }
    }

    #[test]
    fn an_incarnation_is_kept_only_if_nothing_shown_can_be_lost() {
        let cut = Cut { file: String::new(), offset: 1, bytes: 2, what: String::new() };
        let (whole, torn) = (
            RecoveredSummary::default(),
            RecoveredSummary { cut: Some(cut), ..RecoveredSummary::default() },
        );
        let check = |state, policy, boot: &str, in_place, recovered, expected: Result<(), Why>| {
            let mut identity = Identity::new(1, 2);
            identity.state = state;
            identity.policy = policy;
            identity.boot = Some("a".to_owned());
            identity.in_place = in_place;
            assert_eq!(identity.may_keep(&environment(boot), recovered), expected);
        };
        use SyncPolicy::{Always, EverySecond, No};
        check(State::Clean(3), No, "b", true, &whole, Ok(()));
        check(State::Clean(3), No, "b", false, &whole, Err(Why::Copied));
        check(State::Running, No, "a", true, &whole, Ok(()));
        check(State::Running, No, "a", true, &torn, Err(Why::CutTail { bytes: 2 }));
        check(State::Running, No, "b", true, &whole, Err(Why::PowerCut(No)));
        check(State::Running, EverySecond, "b", true, &whole, Err(Why::PowerCut(EverySecond)));
        check(State::Running, Always, "b", true, &whole, Ok(()));
        check(State::Running, Always, "b", true, &torn, Err(Why::CutTail { bytes: 2 }));
        check(State::Faulted, Always, "a", true, &whole, Err(Why::Faulted));
        check(State::Repaired, Always, "a", true, &whole, Err(Why::Repaired));
        let mut unknown = Identity::new(1, 2);
        (unknown.state, unknown.policy) = (State::Running, No);
        let nowhere = Environment { boot: None, mount: None, directory: String::new() };
        assert_eq!(unknown.may_keep(&nowhere, &whole), Err(Why::PowerCut(No)));
    }

    #[test]
    fn another_mount_is_as_another_kernel() {
        let whole = RecoveredSummary::default();
        let now = environment("a");
        use SyncPolicy::{Always, EverySecond, No};
        for (state, policy, mount, expected) in [
            (State::Running, EverySecond, Some("m"), Ok(())),
            (State::Running, EverySecond, Some("n"), Err(Why::Remounted(EverySecond))),
            (State::Running, No, Some("n"), Err(Why::Remounted(No))),
            (State::Running, Always, Some("n"), Ok(())),
            // An orderly end has synced all: remounts of network file systems make no new incarnation.
            (State::Clean(3), EverySecond, Some("n"), Ok(())),
            // Written by a version that did not note it.
            (State::Running, EverySecond, None, Ok(())),
        ] {
            let mut identity = Identity::new(1, 2);
            (identity.state, identity.policy) = (state, policy);
            identity.boot = Some("a".to_owned());
            identity.mount = mount.map(str::to_owned);
            assert_eq!(identity.may_keep(&now, &whole), expected, "{state:?} {policy} {mount:?}");
            let survived = state != State::Running || mount != Some("n");
            assert_eq!(identity.kernel_survived(&now), survived);
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let text = Identity::new(7, 8).encode("a b");
        let newer = text.replacen("identity 2", "identity 3", 1);
        let (body, _) = newer.rsplit_once("crc ").expect("it has one");
        let newer = format!("{body}unknown line\n");
        let crc = crc32c::crc32c(newer.as_bytes());
        let newer = format!("{newer}crc {crc:08x}\n");
        assert_eq!(Identity::decode(newer.as_bytes()), Err(BadIdentity::Newer(3)));
        let older = "miso identity 1\nreplica 0000000000000007\nsalt 0000000000000008\n\
                     state running\npolicy everysec\nboot b\nplace p\nformer 0000000000000001\n";
        let older = format!("{older}crc {:08x}\n", crc32c::crc32c(older.as_bytes()));
        let identity = Identity::decode(older.as_bytes()).expect("version 1 is read");
        assert_eq!((identity.replica, identity.mount, identity.segment), (7, None, 0));
    }
}
