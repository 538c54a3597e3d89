//! How replication behaves, and what it tells of itself.

use std::time::Duration;

use bytes::Bytes;
use miso_store::crdt::ReplicaId;

/// How replication behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The incarnation as which this node writes.
    pub replica: ReplicaId,
    /// Which process of this node it is: greater with each start.
    pub life: u64,
    /// How long changes are gathered before they are sent; 0: not at all.
    pub interval: Duration,
    /// The most bytes of batches that a function keeps for peers that have not acknowledged them.
    pub queue_bytes: usize,
    /// The most bytes of batches that a function keeps until those before them arrive.
    pub early_bytes: usize,
    /// The longest that a batch waits for its acknowledgement if no command waits for it.
    pub ack_delay: Duration,
    /// How long after a change a node announces what it has applied (its *summary*).
    pub summary_delay: Duration,
    /// How often it announces that without a change, in case a summary was lost.
    pub summary_period: Duration,
    /// A pull from which nothing is heard for this long is given up.
    pub sync_timeout: Duration,
    /// How long events of a third node may be missing before they are pulled from another.
    pub lack_delay: Duration,
    /// The bytes of one part of a sync.
    pub part_bytes: usize,
    /// The most bytes of a sync that are under way at once.
    pub window_bytes: usize,
    /// The most syncs that a node answers at once.
    pub exports: usize,
    /// The bandwidth limit of syncs per peer, in bytes per second; 0: no limit.
    pub sync_rate: u64,
    /// Test only: faults that the simulator must find.
    pub bugs: Bugs,
}

/// Faults to be built in on purpose, to show that the simulator finds them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bugs {
    /// Batches count as acknowledged once they are sent.
    pub trust_the_wire: bool,
    /// A sync raises the vector before its parts have come.
    pub raise_early: bool,
    /// A node that leaves waits for nothing.
    pub leave_at_once: bool,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Config {
        Config {
            replica,
            life: 0,
            interval: Duration::from_millis(5),
            queue_bytes: 16 << 20,
            early_bytes: 16 << 20,
            ack_delay: Duration::from_millis(10),
            summary_delay: Duration::from_secs(1),
            summary_period: Duration::from_secs(30),
            sync_timeout: Duration::from_secs(10),
            lack_delay: Duration::from_secs(2),
            part_bytes: 128 << 10,
            window_bytes: 1 << 20,
            exports: 4,
            sync_rate: 0,
            bugs: Bugs::default(),
        }
    }
}

/// What a peer lacks of this node's own events.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Lag {
    /// Own events that it has not acknowledged, over all functions.
    pub events: u64,
    /// How long the oldest batch has been waiting for it, in milliseconds.
    pub ms: u64,
    /// Bytes of batches that wait for it.
    pub bytes: u64,
    /// By function: the own events that it has acknowledged, and those that are on its disk.
    pub acknowledged: Vec<(Bytes, u64, u64)>,
}

/// How many buckets [`Propagation`] has.
pub const PROPAGATION_BUCKETS: usize = 32;

/// How long peers took to acknowledge batches: of each batch and peer, from the time it was sent first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Propagation {
    /// How many acknowledgements of a batch took up to 2^n microseconds, and more than half of that.
    pub buckets: [u64; PROPAGATION_BUCKETS],
    /// How many microseconds all of them took.
    pub micros: u64,
}

impl Propagation {
    pub(super) fn took(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let power = 64 - micros.saturating_sub(1).leading_zeros() as usize;
        self.buckets[power.min(PROPAGATION_BUCKETS - 1)] += 1;
        self.micros = self.micros.saturating_add(micros);
    }
}

/// What replication has done since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Batches taken from the store and sent.
    pub batches_sent: u64,
    /// Changes of values in them.
    pub changes_sent: u64,
    /// Batches joined.
    pub batches_received: u64,
    /// Changes of values in them.
    pub changes_received: u64,
    /// Batches that came after a gap.
    pub gaps: u64,
    /// Syncs begun here.
    pub syncs: u64,
    /// Syncs answered.
    pub exports: u64,
    /// Values that syncs repaired.
    pub repaired: u64,
    /// Values fetched on touch.
    pub fetches: u64,
    /// Functions that have begun here and asked peers what they know.
    pub first_reads: u64,
    /// Those for which a command waited as long as it may, in vain.
    pub first_reads_in_vain: u64,
    /// How long peers took to acknowledge what they were sent.
    pub propagation: Propagation,
    /// Things that two nodes say of the events of one of them, and that cannot both be true.
    pub conflicts: u64,
    /// Runs of writes taken back here that had counted other amounts than the runs of their ids that count.
    pub once_unequal: u64,
}
