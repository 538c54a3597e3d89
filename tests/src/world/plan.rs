//! What a simulated world is like: all of it follows from a seed.

use miso_replication::replicator::Bugs;
use miso_store::journal::SyncPolicy;

use crate::Rng;

/// Faults of the nodes, built in to show that the simulation finds them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Broken {
    /// Faults in the replicator.
    pub replicator: Bugs,
    /// A node that lost its memory writes on under the identity that it had.
    pub same_incarnation: bool,
}

/// How a world is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// How long clients write and things go wrong, in seconds.
    pub seconds: u64,
    /// Whether messages of every kind are lost and doubled within a link, and those of the replicator
    /// overtake each other, which TCP does not do.
    pub hostile: bool,
    /// Whether nodes have disks, and how they use them.
    pub disks: Option<SyncPolicy>,
    /// Whether the cluster has a secret.
    pub secured: bool,
    /// Built-in faults.
    pub broken: Broken,
    /// Whether to keep the history.
    pub trace: bool,
}

impl Plan {
    /// The plan that follows from a seed: three nodes to eight, seldom thirty.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x51_4d);
        let nodes = match rng.below(100) {
            0 => 30,
            1..=5 => 9 + rng.below(8),
            _ => 3 + rng.below(5),
        };
        let (seconds, hostile) = (2 + rng.below(20), rng.below(3) == 0);
        Plan {
            seed,
            nodes: nodes as usize,
            seconds,
            hostile,
            disks: match rng.below(10) {
                0..5 => None,
                5..7 => Some(SyncPolicy::Always),
                7..9 => Some(SyncPolicy::EverySecond),
                _ => Some(SyncPolicy::No),
            },
            // Where Hello comes late, what may be overtaken overtakes it.
            secured: !hostile && seed.is_multiple_of(2),
            broken: Broken::default(),
            trace: false,
        }
    }
}
