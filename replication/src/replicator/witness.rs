//! Witnesses: how a writer shows itself, by way of its peers, which of its numbers it has used.
//!
//! A data directory that was set back (a snapshot of a machine, a copy put in its place) makes a node use
//! numbers a second time, and its peers take what is new for what they have. What a peer *says* of that
//! proves nothing: it may be wrong, or hostile. So with its events a writer sends a number that only it can
//! make, by a key of its directory; peers keep the newest and give it back when they meet the writer. A writer
//! that is shown an event of an earlier process which this one has not found in its journal has lost its past.
//! Between the two processes one number may have been used for two events: that is seen, too.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use miso_protocol::peer::Witness;
use sha2::Sha256;

/// What a MAC is made over begins with it.
const CONTEXT: &[u8] = b"miso witness 1";

/// Makes witnesses and checks them. A node without a disk is another writer each time that it starts, and
/// needs none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witnesses {
    key: Option<u64>,
    life: u64,
}

impl Witnesses {
    /// `key` is the secret of the node's data directory, `life` this process.
    pub(super) fn new(key: Option<u64>, life: u64) -> Witnesses {
        Witnesses { key, life }
    }

    /// Of an own event.
    pub(super) fn of(&self, function: &Bytes, seq: u64) -> Option<Witness> {
        let mac = mac(self.key?, function, self.life, seq);
        (seq > 0).then_some(Witness { seq, life: self.life, mac })
    }

    /// Whether an event was made by this node before this process began, which has found `begun` of them.
    pub(super) fn shows_lost_past(&self, function: &Bytes, begun: u64, shown: &Witness) -> bool {
        let is_other = shown.life != self.life && shown.seq > begun;
        let is_mine = |key| mac(key, function, shown.life, shown.seq) == shown.mac;
        is_other && self.key.is_some_and(is_mine)
    }
}

fn mac(key: u64, function: &Bytes, life: u64, seq: u64) -> u64 {
    let made = Hmac::<Sha256>::new_from_slice(&key.to_be_bytes())
        .expect("HMAC takes keys of any length")
        .chain_update(CONTEXT)
        .chain_update((function.len() as u64).to_be_bytes())
        .chain_update(function)
        .chain_update(life.to_be_bytes())
        .chain_update(seq.to_be_bytes())
        .finalize()
        .into_bytes();
    let (first, _) = made.split_first_chunk().expect("32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: Bytes = Bytes::from_static(b"f");

    #[test]
    fn only_an_event_of_an_earlier_process_that_is_not_here_shows_a_lost_past() {
        let (before, now) = (Witnesses::new(Some(7), 1), Witnesses::new(Some(7), 2));
        let shown = before.of(&F, 10).expect("it has a key");
        assert!(now.shows_lost_past(&F, 9, &shown));
        assert!(!now.shows_lost_past(&F, 10, &shown), "it is here");
        assert!(!before.shows_lost_past(&F, 0, &shown), "this process has made it");
    }

    #[test]
    fn nobody_else_can_make_one() {
        let now = Witnesses::new(Some(7), 2);
        let forged = Witnesses::new(Some(8), 1).of(&F, 10).expect("it has a key");
        assert!(!now.shows_lost_past(&F, 0, &forged));
        let mut changed = Witnesses::new(Some(7), 1).of(&F, 10).expect("it has a key");
        changed.seq = 11;
        assert!(!now.shows_lost_past(&F, 0, &changed));
        assert_eq!(Witnesses::new(None, 1).of(&F, 10), None);
    }
}
