//! A client that comes, writes and goes, again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::ledger::{FUNCTIONS, Ledger, function};
use super::nodes::Ports;
use crate::error::Result;
use crate::resp::{Client, Reply};

/// A small generator (SplitMix64): a soak can be repeated.
#[derive(Clone)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Commands in a function that lasts, before the connection ends.
const COMMANDS: u64 = 100;
/// Functions of a writer that come and go. What a function has forgotten stays known for good on the nodes that
/// hold it, so their names come again.
const PASSING: u64 = 16;
/// Keys of each.
const KEYS: u64 = 20;
/// How long a writer rests, so that a soak is no load test.
const REST: Duration = Duration::from_millis(10);

/// Writes to one node until it is over.
///
/// # Errors
/// If the node refuses a write for another reason than its start or its end.
pub(super) fn run(
    writer: usize,
    ports: &Ports,
    ledger: &Ledger,
    over: &AtomicBool,
    mut chance: Chance,
) -> Result<()> {
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(REST);
        let port = ports[writer].load(Ordering::Relaxed);
        if port == 0 {
            continue;
        }
        let Ok(client) = Client::connect(port) else { continue };
        ledger.connections.fetch_add(1, Ordering::Relaxed);
        round += 1;
        if chance.below(4) == 0 {
            passing(client, &format!("passing-{writer}-{}", round % PASSING), ledger)?;
        } else {
            let number = chance.below(FUNCTIONS as u64) as usize;
            lasting(client, writer, number, ledger)?;
        }
    }
    Ok(())
}

/// What came of a command.
enum Ran {
    Yes,
    /// The node is not ready, or ends: it did not run.
    No,
    /// The connection has ended.
    Perhaps,
}

fn send(client: &mut Client, words: &[&str]) -> Result<Ran> {
    match client.command(words) {
        Ok(Reply::Error(error)) if error.starts_with("LOADING") => Ok(Ran::No),
        Ok(Reply::Error(error)) => Err(format!("{words:?}: {error}").into()),
        Ok(_) => Ok(Ran::Yes),
        Err(_) => Ok(Ran::Perhaps),
    }
}

/// Counts in a function that lasts.
fn lasting(mut client: Client, writer: usize, number: usize, ledger: &Ledger) -> Result<()> {
    if !matches!(send(&mut client, &["AUTH", &function(number), "-"])?, Ran::Yes) {
        return Ok(());
    }
    let (count, last) = (&ledger.counts[number], &ledger.lasts[number][writer]);
    for step in 0..COMMANDS {
        match send(&mut client, &["GCOUNTER.ADD", "totals", "n", "1"])? {
            Ran::Yes => count.acknowledged.fetch_add(1, Ordering::Relaxed),
            Ran::No => return Ok(()),
            Ran::Perhaps => {
                count.unknown.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        };
        let value = last.tried.fetch_add(1, Ordering::Relaxed) + 1;
        let words = ["MVREG.SET", "last", &writer.to_string(), &value.to_string()];
        let Ran::Yes = send(&mut client, &words)? else { return Ok(()) };
        last.acknowledged.store(value, Ordering::Relaxed);
        // Elements come and go, each one time.
        let element = |step: u64| format!("{writer}-{value}-{step}");
        for words in [
            ["ORSET.ADD", "churn", "set", &element(step)],
            ["ORSET.REM", "churn", "set", &element(step)],
        ] {
            let Ran::Yes = send(&mut client, &words)? else { return Ok(()) };
        }
    }
    Ok(())
}

/// Fills and empties a function that rests for a while after that.
fn passing(mut client: Client, name: &str, ledger: &Ledger) -> Result<()> {
    let Ran::Yes = send(&mut client, &["AUTH", name, "-"])? else { return Ok(()) };
    for key in 0..KEYS {
        let Ran::Yes = send(&mut client, &["SET", &format!("key-{key}"), "value"])? else {
            return Ok(());
        };
    }
    send(&mut client, &["FLUSHALL"])?;
    ledger.functions.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
