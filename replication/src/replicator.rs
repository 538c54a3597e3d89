//! The replicator: streams of changes between this node and its peers, per function.
