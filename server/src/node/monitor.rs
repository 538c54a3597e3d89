//! MONITOR: sends every command that runs to the clients that asked for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use miso_protocol::names;
use miso_protocol::request::Args;
use parking_lot::RwLock;

use crate::clock::unix_micros;
use crate::node::clients::Client;
use crate::settings::Settings;
use crate::settings::kind::OutputLimit;

/// What is shown in place of a secret, as in Redis.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// The clients that monitor.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    clients: RwLock<BTreeMap<u64, Arc<Client>>>,
    /// What looks at commands: [`CLIENTS`], [`EVENTS`], [`DECISIONS`], [`SAMPLES`], [`TRACKED`],
    /// [`METERED`] and [`AUDITED`].
    taps: AtomicU8,
}

/// There are clients that monitor.
const CLIENTS: u8 = 1;
/// Keyspace events are wanted.
const EVENTS: u8 = 2;
/// Commands that decide here are refused.
const DECISIONS: u8 = 4;
/// Writes are sampled, for the live page.
const SAMPLES: u8 = 8;
/// Some client caches: see [`Tracking`](crate::node::tracking::Tracking).
const TRACKED: u8 = 16;
/// Some function has a quota of memory.
const METERED: u8 = 64;
/// What is administered is noted: see [`Audit`](crate::node::audit::Audit).
const AUDITED: u8 = 32;

impl Monitors {
    pub(crate) fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients.write();
        clients.insert(client.id, Arc::clone(client));
        self.taps.fetch_or(CLIENTS, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, client: u64) {
        let mut clients = self.clients.write();
        clients.remove(&client);
        if clients.is_empty() {
            self.taps.fetch_and(!CLIENTS, Ordering::Relaxed);
        }
    }

    fn set(&self, tap: u8, wanted: bool) {
        if wanted {
            self.taps.fetch_or(tap, Ordering::Relaxed);
        } else {
            self.taps.fetch_and(!tap, Ordering::Relaxed);
        }
    }

    /// Says whether keyspace events are wanted, so that commands are looked at.
    pub(crate) fn set_events(&self, wanted: bool) {
        self.set(EVENTS, wanted);
    }

    /// Says whether what is administered is noted.
    pub(crate) fn set_audited(&self, audited: bool) {
        self.set(AUDITED, audited);
    }

    /// Whether what is administered is noted.
    pub(crate) fn audited(&self) -> bool {
        self.taps.load(Ordering::Relaxed) & AUDITED != 0
    }

    /// Says whether any function has a quota of memory.
    pub(crate) fn set_metered(&self, metered: bool) {
        self.set(METERED, metered);
    }

    /// Whether any function has a quota of memory.
    pub(crate) fn metered(&self) -> bool {
        self.taps.load(Ordering::Relaxed) & METERED != 0
    }

    /// Says whether any client caches.
    pub(crate) fn set_tracked(&self, tracked: bool) {
        self.set(TRACKED, tracked);
    }

    /// Whether any client caches.
    pub(crate) fn tracked(&self) -> bool {
        self.taps.load(Ordering::Relaxed) & TRACKED != 0
    }

    /// Says whether commands that decide here are refused.
    pub(crate) fn set_refusing(&self, refusing: bool) {
        self.set(DECISIONS, refusing);
    }

    /// Says whether writes are sampled.
    pub(crate) fn set_sampling(&self, wanted: bool) {
        self.set(SAMPLES, wanted);
    }

    /// Whether commands that decide here are refused.
    pub(crate) fn refuses_decisions(&self) -> bool {
        self.taps.load(Ordering::Relaxed) & DECISIONS != 0
    }

    /// Whether anything looks at commands: clients that monitor or cache, keyspace events, or `local-decisions`. One
    /// relaxed load, for every command.
    #[inline]
    pub(crate) fn is_tapped(&self) -> bool {
        self.taps.load(Ordering::Relaxed) != 0
    }

    /// Whether any client monitors.
    pub(crate) fn any(&self) -> bool {
        self.taps.load(Ordering::Relaxed) & CLIENTS != 0
    }

    /// Sends a command of `client` to all clients that monitor, without the words at `secrets`. A
    /// function other than the default one stands after the address.
    pub(crate) fn tell(
        &self,
        client: &Client,
        args: Args<'_>,
        secrets: &[usize],
        settings: &Settings,
    ) {
        let micros = unix_micros();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let (function, database) = {
            let about = client.about.lock();
            (about.function.clone(), about.database)
        };
        let mut line = format!("+{seconds}.{micros:06} [{database} {}", client.address);
        if *function != *settings.default_function().as_bytes() {
            line.push(' ');
            line.push_str(&names::escape(&function));
        }
        line.push(']');
        for (at, arg) in args.iter().enumerate() {
            line.push(' ');
            quote(if secrets.contains(&at) { REDACTED } else { arg }, &mut line);
        }
        line.push_str("\r\n");
        // Class normal may have no limit. An outbox that other clients fill needs one.
        let limit = match settings.output_limit(false) {
            OutputLimit { hard: 0, .. } => settings.output_limit(true),
            limit => limit,
        };
        let bound = client.bound();
        for monitor in self.clients.read().values() {
            // A user that is bound to a function sees the commands of those bound to the same.
            if monitor.bound().is_some_and(|own| bound.as_ref() != Some(&own)) {
                continue;
            }
            monitor.send(line.as_bytes(), limit);
        }
    }
}

/// Bytes in quotes, as Redis's `sdscatrepr`.
pub(crate) fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => {
                let _ = write!(out, "\\x{other:02x}");
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn bytes_are_quoted_as_redis_does() {
        let mut line = String::new();
        quote(b"a \"\\\r\n\t\x07\x08\x00\x7f\xff~", &mut line);
        assert_eq!(line, r#""a \"\\\r\n\t\a\b\x00\x7f\xff~""#);
    }
}
