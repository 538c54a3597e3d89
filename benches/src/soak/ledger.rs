//! What was acknowledged, and whether it is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::nodes::{Nodes, PATIENCE};
use crate::error::Result;
use crate::resp::{Client, Reply};

/// Functions that last as long as the soak.
pub(super) const FUNCTIONS: usize = 6;

/// The name of one of them.
pub(super) fn function(number: usize) -> String {
    format!("kept-{number}")
}

/// Additions to a counter that all writers share.
#[derive(Default)]
pub(super) struct Count {
    pub(super) acknowledged: AtomicU64,
    /// Sent, and the connection ended before the answer: it ran or it did not.
    pub(super) unknown: AtomicU64,
}

/// Values of a register that one writer has to itself: 1, 2, 3 ..
#[derive(Default)]
pub(super) struct Last {
    pub(super) acknowledged: AtomicU64,
    pub(super) tried: AtomicU64,
}

/// Of all writers.
pub(super) struct Ledger {
    pub(super) counts: Vec<Count>,
    /// By function, and by writer.
    pub(super) lasts: Vec<Vec<Last>>,
    pub(super) connections: AtomicU64,
    pub(super) functions: AtomicU64,
}

/// Sums.
pub(super) struct Tally {
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
    pub(super) connections: u64,
    pub(super) functions: u64,
}

fn get(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

impl Ledger {
    pub(super) fn new(writers: usize) -> Ledger {
        let lasts = || (0..writers).map(|_| Last::default()).collect();
        Ledger {
            counts: (0..FUNCTIONS).map(|_| Count::default()).collect(),
            lasts: (0..FUNCTIONS).map(|_| lasts()).collect(),
            connections: AtomicU64::new(0),
            functions: AtomicU64::new(0),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let sets = self.lasts.iter().flatten().map(|last| get(&last.acknowledged)).sum::<u64>();
        let adds = self.counts.iter().map(|count| get(&count.acknowledged)).sum::<u64>();
        Tally {
            acknowledged: adds + sets,
            unknown: self.counts.iter().map(|count| get(&count.unknown)).sum(),
            connections: get(&self.connections),
            functions: get(&self.functions),
        }
    }

    /// Waits until all nodes agree, and holds what they have against what was acknowledged.
    pub(super) fn check(&self, nodes: &Nodes) -> Result<()> {
        for number in 0..FUNCTIONS {
            let mut clients = (0..nodes.len())
                .map(|node| {
                    let mut client = nodes.connect(node)?;
                    client.ok(&["AUTH", &function(number), "-"])?;
                    Ok(client)
                })
                .collect::<Result<Vec<Client>>>()?;
            let mut agreed = |words: &[&str]| agree(&mut clients, words);
            let Reply::Integer(total) = agreed(&["GCOUNTER.GET", "totals", "n"])? else {
                return Err("a counter is no number".into());
            };
            let count = &self.counts[number];
            let (least, more) = (get(&count.acknowledged), get(&count.unknown));
            if !(least..=least + more).contains(&total.cast_unsigned()) {
                return Err(format!(
                    "{} counts {total}; {least} additions were acknowledged, and {more} may have run",
                    function(number)
                )
                .into());
            }
            for (writer, last) in self.lasts[number].iter().enumerate() {
                let (least, most) = (get(&last.acknowledged), get(&last.tried));
                let shown = agreed(&["MVREG.GET", "last", &writer.to_string()])?;
                let value = value(&shown).ok_or_else(|| format!("a register has {shown:?}"))?;
                if !(least..=most).contains(&value) {
                    return Err(format!(
                        "the register of writer {writer} in {} is {value}; {least} was acknowledged and {most} tried",
                        function(number)
                    )
                    .into());
                }
            }
            agreed(&["ORSET.CARD", "churn", "set"])?;
            agreed(&["DBSIZE"])?;
        }
        Ok(())
    }
}

/// The one value of a register; 0 if it was never set.
fn value(shown: &Reply) -> Option<u64> {
    match shown {
        Reply::Bulk(None) => Some(0),
        Reply::Bulk(Some(text)) => std::str::from_utf8(text).ok()?.parse().ok(),
        Reply::Array(values) if values.is_empty() => Some(0),
        Reply::Array(values) if values.len() == 1 => value(&values[0]),
        _ => None,
    }
}

/// What all nodes answer, once they answer the same.
fn agree(clients: &mut [Client], words: &[&str]) -> Result<Reply> {
    let began = Instant::now();
    loop {
        let mut answers =
            clients.iter_mut().map(|client| client.ok(words)).collect::<Result<Vec<Reply>>>()?;
        if answers.iter().all(|answer| *answer == answers[0]) {
            return Ok(answers.swap_remove(0));
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("nodes do not agree on {words:?}: {answers:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
