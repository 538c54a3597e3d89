//! SLOWLOG: the latest commands that took longer than `slowlog-log-slower-than`.

use std::collections::VecDeque;
use std::time::Duration;

use miso_protocol::request::Args;
use parking_lot::Mutex;

use crate::clock::unix_micros;
use crate::node::clients::Client;
use crate::node::monitor::REDACTED;

const ARGS_MAX: usize = 32;
const BYTES_MAX: usize = 128;

/// A slow command.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) at: u64,
    pub(crate) micros: u64,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) address: String,
    pub(crate) name: Box<[u8]>,
    /// The function that its user is bound to.
    bound: Option<Box<[u8]>>,
}

impl Entry {
    /// Whether a user that is bound to `function` may know of it; one that is not may know of all.
    fn is_for(&self, function: Option<&[u8]>) -> bool {
        function.is_none_or(|function| self.bound.as_deref() == Some(function))
    }
}

/// The latest slow commands.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    log: Mutex<(u64, VecDeque<Entry>)>,
}

impl SlowLog {
    /// Adds a command of `client`, without the words at `secrets`, and keeps `max` entries at most.
    pub(crate) fn add(
        &self,
        client: &Client,
        args: Args<'_>,
        secrets: &[usize],
        took: Duration,
        max: usize,
    ) {
        let shown = args.iter().take(ARGS_MAX).enumerate();
        let shown = shown.map(|(at, arg)| if secrets.contains(&at) { REDACTED } else { arg });
        let mut shown: Vec<Vec<u8>> = shown.map(trim).collect();
        if args.len() > ARGS_MAX {
            let more = args.len() - ARGS_MAX + 1;
            shown[ARGS_MAX - 1] = format!("... ({more} more arguments)").into_bytes();
        }
        let (name, bound) = {
            let about = client.about.lock();
            (about.name.clone(), about.bound.clone())
        };
        let mut log = self.log.lock();
        let (id, entries) = &mut *log;
        entries.push_front(Entry {
            id: *id,
            at: unix_micros() / 1_000_000,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            args: shown,
            address: client.address.to_string(),
            name,
            bound,
        });
        *id += 1;
        entries.truncate(max);
    }

    /// The latest `count` that a user bound to `function` may see, the newest first.
    pub(crate) fn latest(&self, count: usize, function: Option<&[u8]>) -> Vec<Entry> {
        let log = self.log.lock();
        log.1.iter().filter(|entry| entry.is_for(function)).take(count).cloned().collect()
    }

    /// How many there are that a user bound to `function` may see.
    pub(crate) fn len(&self, function: Option<&[u8]>) -> usize {
        self.log.lock().1.iter().filter(|entry| entry.is_for(function)).count()
    }

    /// Forgets all that a user bound to `function` may see.
    pub(crate) fn reset(&self, function: Option<&[u8]>) {
        self.log.lock().1.retain(|entry| !entry.is_for(function));
    }
}

fn trim(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= BYTES_MAX {
        return arg.to_vec();
    }
    let mut trimmed = arg[..BYTES_MAX].to_vec();
    let more = arg.len() - BYTES_MAX;
    trimmed.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    trimmed
}

#[cfg(test)]
mod tests {
    use super::trim;

    #[test]
    fn long_arguments_are_cut_where_redis_cuts_them() {
        assert_eq!(trim(&[b'x'; 128]), vec![b'x'; 128]);
        assert_eq!(trim(&[b'x'; 131]), [&[b'x'; 128][..], b"... (3 more bytes)"].concat());
    }
}
