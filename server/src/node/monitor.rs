//! MONITOR: sends every command that runs to the clients that asked for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Whether the page that shows the most written objects is open.
    sampled: AtomicBool,
    any: AtomicBool,
}

impl Monitors {
    pub(crate) fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients.write();
        clients.insert(client.id, Arc::clone(client));
        self.any.store(true, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, client: u64) {
        let mut clients = self.clients.write();
        clients.remove(&client);
        let sampled = self.sampled.load(Ordering::Relaxed);
        self.any.store(sampled || !clients.is_empty(), Ordering::Relaxed);
    }

    /// Has commands shown that are counted, or not any more.
    pub(crate) fn sample(&self, sampled: bool) {
        let clients = self.clients.write();
        self.sampled.store(sampled, Ordering::Relaxed);
        self.any.store(sampled || !clients.is_empty(), Ordering::Relaxed);
    }

    /// Whether a client monitors or commands are counted. One relaxed load, for every command.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
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
        if self.clients.read().is_empty() {
            return;
        }
        let micros = unix_micros();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let mut line = format!("+{seconds}.{micros:06} [0 {}", client.address);
        let function = client.about.lock().function.clone();
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
        for monitor in self.clients.read().values() {
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
