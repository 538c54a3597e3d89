//! Keyspace and Miso: objects, functions, and the other nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use miso_protocol::names;
use miso_replication::Liveness;

use super::parts::{Kind, Metric, Reading, Row, Unit, Value, column, counter, gauge, label, only};
use crate::observe::row::{Family, Thing, Times};

/// The keys of each database that has any, in all functions: its number, keys, and keys with a deadline.
fn keyspace(r: &Reading<'_>) -> Vec<(Vec<u8>, Vec<Value>)> {
    let mut all = BTreeMap::<u32, (u64, u64)>::new();
    for function in r.functions() {
        let (keys, expires) = all.entry(names::split_database(function.name()).1).or_default();
        *keys += function.object_count() as u64;
        *expires += function.deadline_count() as u64;
    }
    let there = all.into_iter().filter(|(_, (keys, _))| *keys > 0);
    let shown = there.map(|(database, (keys, expires))| {
        let values = vec![Value::Count(keys), Value::Count(expires), Value::Count(0)];
        (database.to_string().into_bytes(), values)
    });
    shown.collect()
}

/// The keyspace, by database.
pub(super) const KEYSPACE: &[Row] = &[Row::Family(Family {
    prefix: "db",
    label: "db",
    columns: &[
        column(
            "keys",
            Kind::Gauge,
            "miso_objects",
            Unit::None,
            "Objects and plain keys of all functions",
        ),
        column(
            "expires",
            Kind::Gauge,
            "miso_deadlines",
            Unit::None,
            "Keys with a deadline, about: such as have lost it lately are counted",
        ),
        column("avg_ttl", Kind::None, "", Unit::None, "0: not measured"),
    ],
    read: keyspace,
})];

/// What is this server's own.
pub(super) const MISO: &[Row] = &[
    label("miso_node", "node", "This node's name", |r| Value::Text(r.node.node_name())),
    label("miso_cluster", "cluster", "The cluster's name", |r| {
        Value::Text(r.node.settings.cluster_name())
    }),
    only("miso_peer_port", "Port for other nodes, or none", |r| {
        Value::Text(crate::peers::port(r.node))
    }),
    label("miso_replica_id", "replica_id", "This node's incarnation as a writer", |r| {
        Value::Text(format!("{:016x}", r.node.store.replica().0))
    }),
    only("miso_started_at", "When the node started, in seconds since 1970", |r| {
        Value::Count(r.node.started_unix)
    }),
    gauge(
        "miso_functions",
        "miso_functions",
        Unit::None,
        "Functions of which this node keeps a state",
        |r| Value::Count(r.functions().len() as u64),
    ),
    gauge(
        "miso_functions_running",
        "miso_functions_running",
        Unit::None,
        "Functions that run on this node",
        |r| Value::Count(r.running()),
    ),
    gauge(
        "miso_functions_held",
        "miso_functions_held",
        Unit::None,
        "Functions that this node holds although it does not run them",
        |r| Value::Count(r.own().map_or(0, |own| own.holds.len()) as u64),
    ),
    gauge(
        "miso_under_copied_functions",
        "miso_under_copied_functions",
        Unit::None,
        "Functions with data here that fewer than function-copies nodes have in full; 0 without replication",
        |r| Value::Count(r.own().map_or(0, |own| own.under_copied) as u64),
    ),
    only("miso_open_mode", "Whether anybody may connect without a password", |r| {
        Value::Flag(r.node.acl.open_mode())
    }),
    gauge("miso_threads", "miso_worker_threads", Unit::None, "Worker threads", |r| {
        Value::Count(r.node.settings.threads() as u64)
    }),
    gauge("miso_peers", "miso_peers", Unit::None, "Other nodes that this node knows", |r| {
        Value::Count(r.others().len() as u64)
    }),
    gauge(
        "miso_peers_alive",
        "miso_peers_alive",
        Unit::None,
        "Other nodes that were heard of lately",
        |r| Value::Count(r.alive()),
    ),
    gauge("miso_links", "miso_links", Unit::None, "Links to other nodes that are open", |r| {
        Value::Count(r.counters().links)
    }),
    only(
        "miso_lag_events",
        "Own events that a node has not acknowledged; of the node with the most",
        |r| Value::Count(r.most(|node| node.lag_events)),
    ),
    only(
        "miso_lag_ms",
        "How long the oldest batch has waited to be acknowledged, in milliseconds; of the slowest node",
        |r| Value::Count(r.most(|node| node.lag_ms)),
    ),
    only(
        "miso_lag_node",
        "The node for which the most is kept; empty if all have everything",
        |r| Value::Text(r.last().map_or_else(String::new, |node| node.name.clone())),
    ),
    only(
        "miso_lag_bytes",
        "Bytes of batches that wait to be acknowledged; of the node with the most",
        |r| Value::Count(r.most(|node| node.lag_bytes)),
    ),
    only(
        "miso_clock_drift_ms",
        "How far the clock of another node is from this one's, in milliseconds; of the node that is furthest off",
        |r| Value::Count(r.most(|node| node.drift_ms.map_or(0, i64::unsigned_abs))),
    ),
    counter(
        "miso_batches_sent",
        "miso_batches_sent",
        Unit::None,
        "Batches of changes taken from the store and sent",
        |r| Value::Count(r.counters().replicator.batches_sent),
    ),
    counter(
        "miso_changes_sent",
        "miso_changes_sent",
        Unit::None,
        "Changes of values in batches that were sent",
        |r| Value::Count(r.counters().replicator.changes_sent),
    ),
    counter(
        "miso_batches_received",
        "miso_batches_received",
        Unit::None,
        "Batches of changes that were joined",
        |r| Value::Count(r.counters().replicator.batches_received),
    ),
    counter(
        "miso_changes_received",
        "miso_changes_received",
        Unit::None,
        "Changes of values in batches that were joined",
        |r| Value::Count(r.counters().replicator.changes_received),
    ),
    counter("miso_gaps", "miso_gaps", Unit::None, "Batches that came after a gap", |r| {
        Value::Count(r.counters().replicator.gaps)
    }),
    counter("miso_syncs", "miso_syncs", Unit::None, "Anti-entropy exchanges begun here", |r| {
        Value::Count(r.counters().replicator.syncs)
    }),
    counter(
        "miso_syncs_answered",
        "miso_syncs_answered",
        Unit::None,
        "Anti-entropy exchanges begun by peers",
        |r| Value::Count(r.counters().replicator.exports),
    ),
    counter(
        "miso_repaired",
        "miso_repaired_values",
        Unit::None,
        "Values that anti-entropy repaired",
        |r| Value::Count(r.counters().replicator.repaired),
    ),
    counter(
        "miso_fetches",
        "miso_fetched_values",
        Unit::None,
        "Values fetched from peers since a command needed them",
        |r| Value::Count(r.counters().replicator.fetches),
    ),
    counter(
        "miso_first_reads",
        "miso_first_reads",
        Unit::None,
        "Functions that began here and asked peers what they know",
        |r| Value::Count(r.counters().replicator.first_reads),
    ),
    counter(
        "miso_first_reads_in_vain",
        "miso_first_reads_in_vain",
        Unit::None,
        "Functions of which a command went on without what peers know, after restore-timeout",
        |r| Value::Count(r.counters().replicator.first_reads_in_vain),
    ),
    counter(
        "miso_peer_bytes_sent",
        "miso_peer_sent_bytes",
        Unit::Bytes,
        "Bytes sent to other nodes",
        |r| Value::Count(r.counters().bytes_sent),
    ),
    counter(
        "miso_peer_bytes_received",
        "miso_peer_received_bytes",
        Unit::Bytes,
        "Bytes received from other nodes",
        |r| Value::Count(r.counters().bytes_received),
    ),
    counter(
        "miso_peer_messages_sent",
        "miso_peer_messages_sent",
        Unit::None,
        "Messages sent to other nodes",
        |r| Value::Count(r.counters().messages_sent),
    ),
    counter(
        "miso_peer_envelopes_received",
        "miso_peer_envelopes_received",
        Unit::None,
        "Envelopes received, each of one message or more",
        |r| Value::Count(r.counters().envelopes_received),
    ),
    gauge(
        "miso_pace_us",
        "miso_pace_seconds",
        Unit::Micros,
        "Least time between two flushes of a function; above 0 on a busy machine",
        |r| Value::Count(r.counters().pace_nanos / 1000),
    ),
    counter(
        "miso_peer_faults",
        "miso_peer_faults",
        Unit::None,
        "Links closed since the peer sent what may not be sent",
        |r| Value::Count(r.counters().faults),
    ),
    only(
        "miso_faulty_nodes",
        "Names of nodes that have said what a node must not say, or what another node denies; see the log",
        |r| Value::Text(r.faulty().join(",")),
    ),
    counter(
        "miso_writer_conflicts",
        "miso_writer_conflicts",
        Unit::None,
        "Times that two nodes said of the events of one of them what cannot both be true: see the log",
        |r| Value::Count(r.counters().replicator.conflicts),
    ),
    counter(
        "miso_peer_unknown",
        "miso_peer_unknown_messages",
        Unit::None,
        "Messages of kinds that this version does not know",
        |r| Value::Count(r.counters().unknown),
    ),
    counter(
        "miso_peer_refusals",
        "miso_peer_refusals",
        Unit::None,
        "Links refused, here or by peers",
        |r| Value::Count(r.counters().refusals),
    ),
    counter(
        "miso_peer_cut_off",
        "miso_peer_cut_off",
        Unit::None,
        "Links cut off since too much waited for them",
        |r| Value::Count(r.counters().cut_off),
    ),
    counter(
        "miso_replication_cpu_seconds",
        "miso_replication_cpu_seconds",
        Unit::Seconds,
        "CPU time of replication",
        |r| Value::Decimal(Duration::from_nanos(r.counters().cpu_nanos).as_secs_f64(), 6),
    ),
    PEERS,
    FUNCTIONS,
    PROPAGATION,
];

/// How long it takes until other nodes have what is written here.
const PROPAGATION: Row = Row::Times(Times {
    prefix: "miso_propagation_usec_",
    label: "to",
    metric: Metric {
        kind: Kind::Histogram,
        name: "miso_propagation_seconds",
        unit: Unit::Seconds,
        help: "How long a node took to acknowledge a batch of writes, from when it was sent first; INFO shows \
               percentiles, in microseconds",
    },
    read: |r| vec![("peers", r.propagation())],
});

/// Each of the other nodes; INFO shows the largest lag only.
const PEERS: Row = Row::Family(Family {
    prefix: "",
    label: "peer",
    columns: &[
        column(
            "",
            Kind::Gauge,
            "miso_peer_alive",
            Unit::None,
            "Whether a node was heard of lately",
        ),
        column("", Kind::Gauge, "miso_peer_linked", Unit::None, "Whether a link to a node is open"),
        column(
            "",
            Kind::Gauge,
            "miso_peer_lag_events",
            Unit::None,
            "Own events that a node has not acknowledged",
        ),
        column(
            "",
            Kind::Gauge,
            "miso_peer_lag_seconds",
            Unit::Millis,
            "How long the oldest batch has waited for a node to acknowledge it",
        ),
        column(
            "",
            Kind::Gauge,
            "miso_peer_lag_bytes",
            Unit::Bytes,
            "Bytes of batches that a node has not acknowledged",
        ),
    ],
    read: |r| {
        // A node that came back under its name stands beside its former incarnation for a while.
        let mut peers: Vec<Thing> = Vec::new();
        for node in r.others() {
            let name = node.name.as_bytes();
            if peers.iter().any(|(known, _)| known == name) {
                continue;
            }
            let values = vec![
                Value::Flag(node.liveness == Liveness::Alive),
                Value::Flag(node.linked),
                Value::Count(node.lag_events),
                Value::Count(node.lag_ms),
                Value::Count(node.lag_bytes),
            ];
            peers.push((name.to_vec(), values));
        }
        peers
    },
});

/// Each function.
const FUNCTIONS: Row = Row::Family(Family {
    prefix: "function_",
    label: "function",
    columns: &[
        column(
            "objects",
            Kind::Gauge,
            "miso_function_objects",
            Unit::None,
            "Objects of a function",
        ),
        column("seq", Kind::None, "", Unit::None, "Own events of a function"),
        column(
            "floors",
            Kind::Gauge,
            "miso_function_floors",
            Unit::None,
            "Objects of a function of which a floor is kept",
        ),
        column(
            "ahead",
            Kind::Gauge,
            "miso_function_ahead_events",
            Unit::None,
            "Events of a function that came before those they follow",
        ),
        column(
            "removal_log_bytes",
            Kind::Gauge,
            "miso_function_removal_log_bytes",
            Unit::Bytes,
            "Bytes of a function's log of removals",
        ),
        column(
            "retired",
            Kind::Gauge,
            "miso_function_retired_writers",
            Unit::None,
            "Writers of a function that were retired",
        ),
        column(
            "once_ids",
            Kind::Gauge,
            "miso_function_once_ids",
            Unit::None,
            "Ids of writes that ran once (MISO.ONCE) that are kept; once-max is the most",
        ),
        column(
            "quota_memory",
            Kind::Gauge,
            "miso_function_quota_memory_bytes",
            Unit::Bytes,
            "Bytes of memory of a function's objects, in all databases, where MISO.QUOTA limits them",
        ),
        column(
            "quota_refused",
            Kind::Counter,
            "miso_function_quota_refused",
            Unit::None,
            "Commands that the quota of a function has refused, in all databases",
        ),
    ],
    read: |r| {
        let functions = r.functions();
        let mut all = Vec::with_capacity(functions.len());
        for function in functions {
            let quota = r.node.quotas.of(names::owner(function.name()));
            let counts = [
                function.object_count() as u64,
                function.seq(),
                function.floored_count() as u64,
                function.ahead_count() as u64,
                function.removal_log_bytes() as u64,
                function.retired_count() as u64,
                function.once_count() as u64,
                quota.as_ref().map_or(0, |quota| quota.memory()),
                quota.as_ref().map_or(0, |quota| quota.refused()),
            ];
            all.push((function.name().to_vec(), counts.map(Value::Count).to_vec()));
        }
        all
    },
});
