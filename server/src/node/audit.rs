//! The audit log: who logged in or failed to, what was refused, and what was administered, as JSON lines in a
//! file or to syslog.
//!
//! A line is made where the thing happens and written by a thread of its own, so a slow disk holds up no
//! command. What has no room is counted, and the next line says how many there were: a stranger who fails
//! again and again can fill neither the memory nor, at once, the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miso_protocol::request::Args;
use parking_lot::Mutex;
use serde::Serialize;
use time::OffsetDateTime;

use super::bucket::Bucket;
use crate::clock::unix_micros;
use crate::node::monitor::REDACTED;
use crate::process::within;

/// The value of `audit-log` that stands for the system's log.
const SYSLOG: &str = "syslog";
/// Where the system's log listens.
const SYSLOG_SOCKET: &str = "/dev/log";
/// Facility authpriv, severity info. Source: RFC 3164.
const SYSLOG_PRIORITY: u8 = 10 * 8 + 6;

/// How many lines wait to be written at most.
const WAITING: usize = 1024;
/// Logins and refusals: this many at once, then this many a second. What is administered is not counted.
const AT_ONCE: f64 = 1000.0;
const PER_SECOND: f64 = 100.0;
/// The most words of a command that a line shows, and bytes of each word.
const WORDS: usize = 16;
const WORD_BYTES: usize = 128;
/// How long the end of the node waits for what is still to be written.
const FINISH: Duration = Duration::from_secs(2);
/// How often it is said at most that lines cannot be written.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What a line tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A client has logged in.
    Login,
    /// A client has failed to.
    LoginFailed,
    /// A user's rights do not reach for a command.
    Denied,
    /// A command that administers has run.
    Command,
    /// Another node was not let in.
    NodeRefused,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Login => "login",
            What::LoginFailed => "login-failed",
            What::Denied => "denied",
            What::Command => "command",
            What::NodeRefused => "node-refused",
        }
    }
}

/// A client, as a line names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    pub(crate) user: &'a [u8],
    pub(crate) function: &'a [u8],
    pub(crate) address: SocketAddr,
}

/// A line. Its fields stand in this order.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    /// Lines before this one for which there was no room.
    #[serde(skip_serializing_if = "is_zero")]
    unwritten: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The audit log of a node; off until it is opened.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    writer: Mutex<Option<Writer>>,
    unwritten: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    lines: SyncSender<String>,
    thread: JoinHandle<()>,
    /// Lines before the next one for which there was no room.
    missed: u64,
    /// Room for logins and refusals.
    room: Bucket,
}

enum To {
    File(File),
    Syslog(UnixDatagram),
}

impl Audit {
    /// Opens what `audit-log` says, anew if it is open already; none: there is no log. What waits goes where
    /// it was to go.
    ///
    /// # Errors
    /// If it cannot be opened; what was open stays so.
    pub(crate) fn open(&self, target: Option<&str>) -> Result<(), String> {
        let writer = target.map(start).transpose()?;
        let old = std::mem::replace(&mut *self.writer.lock(), writer);
        // Its thread ends by itself once it has written what waits.
        drop(old);
        Ok(())
    }

    /// Waits until what is noted is written, and closes.
    pub(crate) fn close(&self) {
        let Some(Writer { lines, thread, .. }) = self.writer.lock().take() else { return };
        drop(lines);
        if within(FINISH, move || drop(thread.join())).is_none() {
            tracing::warn!("audit-log: not all lines could be written");
        }
    }

    /// How many lines there was no room for.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Notes what a client did, or what was refused to it. `secrets` are the words of `command` that are not
    /// shown.
    pub(crate) fn note(
        &self,
        what: What,
        by: By<'_>,
        command: Option<(Args<'_>, &[usize])>,
        result: Option<&str>,
    ) {
        if self.writer.lock().is_none() {
            return;
        }
        let command = command.map_or_else(Vec::new, |(args, secrets)| words(args, secrets));
        self.add(what, |line| Line {
            user: Some(text(by.user)),
            function: Some(text(by.function)),
            address: Some(by.address.to_string()),
            command,
            result,
            ..line
        });
    }

    /// Notes that another node was not let in.
    pub(crate) fn node_refused(&self, why: &str) {
        self.add(What::NodeRefused, |line| Line { result: Some(why), ..line });
    }

    fn add<'a>(&self, what: What, fill: impl FnOnce(Line<'a>) -> Line<'a>) {
        let mut writer = self.writer.lock();
        let Some(writer) = &mut *writer else { return };
        if what != What::Command && !writer.room.take(Instant::now(), PER_SECOND, AT_ONCE) {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            writer.missed += 1;
            return;
        }
        let line = fill(Line {
            time: time(unix_micros()),
            event: what.name(),
            user: None,
            function: None,
            address: None,
            command: Vec::new(),
            result: None,
            unwritten: writer.missed,
        });
        // Texts and numbers alone: there is nothing that JSON could not say.
        let mut line = serde_json::to_string(&line).unwrap_or_default();
        line.push('\n');
        match writer.lines.try_send(line) {
            Ok(()) => writer.missed = 0,
            Err(_) => {
                self.unwritten.fetch_add(1, Ordering::Relaxed);
                writer.missed += 1;
            }
        }
    }
}

/// Opens a target, and starts the thread that writes to it.
fn start(target: &str) -> Result<Writer, String> {
    let mut to = if target == SYSLOG {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(SYSLOG_SOCKET)?;
            Ok(socket)
        });
        To::Syslog(socket.map_err(|error| {
            format!(
                "audit-log: cannot reach {SYSLOG_SOCKET}: {error}; expected a syslog, or a file"
            )
        })?)
    } else {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(target);
        To::File(file.map_err(|error| {
            format!("audit-log: cannot open {target}: {error}; expected a file, or syslog")
        })?)
    };
    let (lines, queue) = sync_channel(WAITING);
    let thread = std::thread::Builder::new()
        .name("audit".into())
        .spawn(move || write(&queue, &mut to))
        .map_err(|error| format!("audit-log: {error}"))?;
    Ok(Writer { lines, thread, room: Bucket::new(AT_ONCE, Instant::now()), missed: 0 })
}

/// Writes lines until there are no more.
fn write(queue: &Receiver<String>, to: &mut To) {
    let mut said: Option<Instant> = None;
    while let Ok(line) = queue.recv() {
        if let Err(error) = to.put(&line)
            && said.is_none_or(|at| at.elapsed() > SAY_AGAIN)
        {
            tracing::error!("audit-log: lines are lost: {error}");
            said = Some(Instant::now());
        }
    }
}

impl To {
    fn put(&mut self, line: &str) -> io::Result<()> {
        match self {
            To::File(file) => file.write_all(line.as_bytes()),
            To::Syslog(socket) => {
                let (id, line) = (std::process::id(), line.trim_end());
                let said = format!("<{SYSLOG_PRIORITY}>miso-server[{id}]: {line}");
                socket.send(said.as_bytes()).map(drop)
            }
        }
    }
}

/// The words of a command, as many and as much of each as a line shows.
fn words(args: Args<'_>, secrets: &[usize]) -> Vec<String> {
    let word = |(at, word): (usize, &[u8])| match secrets.contains(&at) {
        true => text(REDACTED),
        false => text(word),
    };
    let mut words: Vec<String> =
        (0..args.len().min(WORDS)).map(|at| word((at, &args[at]))).collect();
    if args.len() > WORDS {
        words.push(format!("... ({} more)", args.len() - WORDS));
    }
    words
}

/// A text of a bounded length.
fn text(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(WORD_BYTES)]).into_owned();
    match bytes.len().checked_sub(WORD_BYTES) {
        Some(more @ 1..) => format!("{shown}... ({more} more bytes)"),
        _ => shown,
    }
}

/// A time, in microseconds since 1970, as RFC 3339 writes it.
fn time(micros: u64) -> String {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or_default();
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        micros % 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use miso_protocol::request::Words;

    use super::*;

    fn read(path: &std::path::Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).expect("it is there");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON in each line")).collect()
    }

    fn by(user: &[u8]) -> By<'_> {
        By { user, function: b"f", address: ([127, 0, 0, 1], 7).into() }
    }

    #[test]
    fn a_line_is_bounded_escaped_and_without_secrets() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let audit = Audit::default();
        audit.note(What::Login, by(b"nobody"), None, None);
        audit.open(path.to_str()).expect("it can be opened");
        let mut command = Words::default();
        command.push(b"CONFIG");
        command.push(b"hush");
        command.push(&[b'x'; 1 << 20]);
        (0..100).for_each(|_| command.push(b"y"));
        let args = command.args(0..command.len());
        audit.note(What::Command, by(b"a\n\"{\xff"), Some((args, &[1])), Some("ERR no\r\n"));
        audit.node_refused("its name");
        audit.close();
        let lines = read(&path);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["user"], "a\n\"{\u{fffd}");
        assert_eq!(lines[0]["event"], "command");
        let words = lines[0]["command"].as_array().expect("words");
        assert_eq!((&words[0], &words[1]), (&"CONFIG".into(), &"(redacted)".into()));
        assert_eq!(words.len(), WORDS + 1);
        assert!(lines[0].to_string().len() < 4096);
        assert_eq!(lines[1]["result"], "its name");
    }

    #[test]
    fn a_flood_is_counted_and_what_is_administered_is_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit");
        let audit = Audit::default();
        audit.open(path.to_str()).expect("it can be opened");
        let flood = 10 * AT_ONCE as u64;
        for _ in 0..flood {
            audit.note(What::Denied, by(b"u"), None, None);
        }
        assert!(audit.unwritten() > 0);
        audit.note(What::Command, by(b"admin"), None, None);
        audit.close();
        let lines = read(&path);
        let last = lines.last().expect("a line");
        assert_eq!(last["event"], "command");
        let said: u64 = lines.iter().filter_map(|line| line["unwritten"].as_u64()).sum();
        assert_eq!(said, audit.unwritten());
        assert_eq!(lines.len() as u64 + said, flood + 1);
    }

    #[test]
    fn a_time_is_that_of_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(1_764_300_934_000_001), "2025-11-28T03:35:34.000001Z");
    }
}
