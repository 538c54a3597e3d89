//! Stats.

use std::sync::atomic::Ordering;

use super::parts::{Row, Unit, Value, counter, gauge, only, zero};
use crate::node::subscriptions::ChannelKind;

/// Bytes a second, in Redis's unit.
fn kbps(bytes: u64) -> Value {
    Value::Decimal(bytes as f64 / 1024.0, 2)
}

/// Stats.
pub(super) const STATS: &[Row] = &[
    counter(
        "total_connections_received",
        "miso_connections_received",
        Unit::None,
        "Connections of clients, refused ones too",
        |r| Value::Count(r.node.stats.connections.load(Ordering::Relaxed)),
    ),
    counter(
        "total_commands_processed",
        "miso_commands_processed",
        Unit::None,
        "Commands run",
        |r| Value::Count(r.sums().total),
    ),
    only("instantaneous_ops_per_sec", "Commands run in the last second", |r| {
        Value::Count(r.rates().commands)
    }),
    counter(
        "total_net_input_bytes",
        "miso_net_input_bytes",
        Unit::Bytes,
        "Bytes read from clients",
        |r| Value::Count(r.sums().bytes_in),
    ),
    counter(
        "total_net_output_bytes",
        "miso_net_output_bytes",
        Unit::Bytes,
        "Bytes written to clients",
        |r| Value::Count(r.sums().bytes_out),
    ),
    only("total_net_repl_input_bytes", "As miso_peer_bytes_received", |r| {
        Value::Count(r.counters().bytes_received)
    }),
    only("total_net_repl_output_bytes", "As miso_peer_bytes_sent", |r| {
        Value::Count(r.counters().bytes_sent)
    }),
    only("instantaneous_input_kbps", "KiB read from clients in the last second", |r| {
        kbps(r.rates().bytes_in)
    }),
    only("instantaneous_output_kbps", "KiB written to clients in the last second", |r| {
        kbps(r.rates().bytes_out)
    }),
    only("instantaneous_input_repl_kbps", "KiB received from nodes in the last second", |r| {
        kbps(r.rates().peers.received)
    }),
    only("instantaneous_output_repl_kbps", "KiB sent to nodes in the last second", |r| {
        kbps(r.rates().peers.sent)
    }),
    counter(
        "rejected_connections",
        "miso_rejected_connections",
        Unit::None,
        "Connections refused: maxclients or protected mode",
        |r| Value::Count(r.node.stats.refused.load(Ordering::Relaxed)),
    ),
    counter(
        "http_requests",
        "miso_http_requests",
        Unit::None,
        "HTTP requests, refused ones too",
        |r| Value::Count(r.node.stats.http_requests.load(Ordering::Relaxed)),
    ),
    zero("sync_full", "0: there are no replicas of Redis's kind"),
    zero("sync_partial_ok", "0: there are no replicas of Redis's kind"),
    zero("sync_partial_err", "0: there are no replicas of Redis's kind"),
    counter(
        "expired_keys",
        "miso_expired_keys",
        Unit::None,
        "Keys that have expired, as this node has seen it",
        |r| Value::Count(r.node.stats.expired_keys.load(Ordering::Relaxed)),
    ),
    counter(
        "once_repeats",
        "miso_once_repeats",
        Unit::None,
        "Writes that had run before under their id (MISO.ONCE), and were answered what they answered then",
        |r| Value::Count(r.node.stats.once_repeats.load(Ordering::Relaxed)),
    ),
    counter(
        "once_refused",
        "miso_once_refused",
        Unit::None,
        "Writes refused because once-max ids are kept",
        |r| Value::Count(r.node.stats.once_refused.load(Ordering::Relaxed)),
    ),
    counter(
        "once_unequal",
        "miso_once_unequal",
        Unit::None,
        "Writes taken back since another node had run one of other amounts under their id before: see the log",
        |r| Value::Count(r.counters().replicator.once_unequal),
    ),
    gauge(
        "once_bytes",
        "miso_once_bytes",
        Unit::Bytes,
        "Bytes of the ids of writes that ran once, with what is kept of each",
        |r| {
            let functions = r.functions();
            Value::Count(functions.iter().map(|function| function.once_bytes() as u64).sum())
        },
    ),
    only("expired_stale_perc", "0: deadlines are in order", |_| Value::Decimal(0.0, 2)),
    zero("expired_time_cap_reached_count", "0: not counted"),
    zero("expire_cycle_cpu_milliseconds", "0: not measured"),
    zero("evicted_keys", "0: nothing is evicted"),
    counter(
        "evicted_clients",
        "miso_evicted_clients",
        Unit::None,
        "Connections closed by maxmemory-clients",
        |r| Value::Count(r.node.stats.evicted_clients.load(Ordering::Relaxed)),
    ),
    zero("total_eviction_exceeded_time", "0: nothing is evicted"),
    zero("current_eviction_exceeded_time", "0: nothing is evicted"),
    counter("keyspace_hits", "miso_keyspace_hits", Unit::None, "Reads that found a value", |r| {
        Value::Count(r.sums().hits)
    }),
    counter("keyspace_misses", "miso_keyspace_misses", Unit::None, "Reads that found none", |r| {
        Value::Count(r.sums().misses)
    }),
    gauge(
        "pubsub_channels",
        "miso_pubsub_channels",
        Unit::None,
        "Channels with subscribers",
        |r| Value::Count(*r.node.pubsub.counts().of(ChannelKind::Channel) as u64),
    ),
    gauge(
        "pubsub_patterns",
        "miso_pubsub_patterns",
        Unit::None,
        "Patterns with subscribers",
        |r| Value::Count(*r.node.pubsub.counts().of(ChannelKind::Pattern) as u64),
    ),
    gauge(
        "pubsubshard_channels",
        "miso_pubsub_shard_channels",
        Unit::None,
        "Shard channels with subscribers",
        |r| Value::Count(*r.node.pubsub.counts().of(ChannelKind::Shard) as u64),
    ),
    zero("latest_fork_usec", "0: there is no child process"),
    zero("total_forks", "0: there is no child process"),
    zero("migrate_cached_sockets", "0: there is no MIGRATE"),
    zero("slave_expires_tracked_keys", "0: there are no replicas of Redis's kind"),
    zero("active_defrag_hits", "0: memory is not defragmented"),
    zero("active_defrag_misses", "0: memory is not defragmented"),
    zero("active_defrag_key_hits", "0: memory is not defragmented"),
    zero("active_defrag_key_misses", "0: memory is not defragmented"),
    zero("total_active_defrag_time", "0: memory is not defragmented"),
    zero("current_active_defrag_time", "0: memory is not defragmented"),
    gauge(
        "tracking_total_keys",
        "miso_tracking_keys",
        Unit::None,
        "Keys that clients may have cached",
        |r| Value::Count(r.node.tracking.counts()[1] as u64),
    ),
    gauge(
        "tracking_total_items",
        "miso_tracking_items",
        Unit::None,
        "Keys that clients may have cached, counted for each client",
        |r| Value::Count(r.node.tracking.counts()[2] as u64),
    ),
    gauge(
        "tracking_total_prefixes",
        "miso_tracking_prefixes",
        Unit::None,
        "Prefixes of keys of which clients are told",
        |r| Value::Count(r.node.tracking.counts()[3] as u64),
    ),
    zero("unexpected_error_replies", "0: there are no replicas of Redis's kind"),
    counter(
        "total_error_replies",
        "miso_error_replies",
        Unit::None,
        "Replies that were errors",
        |r| Value::Count(r.node.stats.errors().values().sum()),
    ),
    zero("dump_payload_sanitizations", "0: there is no RESTORE"),
    counter("total_reads_processed", "miso_client_reads", Unit::None, "Reads from clients", |r| {
        Value::Count(r.sums().reads)
    }),
    counter("total_writes_processed", "miso_client_writes", Unit::None, "Writes to clients", |r| {
        Value::Count(r.sums().writes)
    }),
    zero("io_threaded_reads_processed", "0: worker threads read for their own clients"),
    zero("io_threaded_writes_processed", "0: worker threads write for their own clients"),
    zero("reply_buffer_shrinks", "0: clients have no reply buffers of their own"),
    zero("reply_buffer_expands", "0: clients have no reply buffers of their own"),
    counter(
        "quota_refused",
        "miso_quota_refused",
        Unit::None,
        "Commands that the quotas of functions have refused",
        |r| Value::Count(r.node.quotas.refused()),
    ),
    counter(
        "audit_lines_unwritten",
        "miso_audit_lines_unwritten",
        Unit::None,
        "Lines of the audit log for which there was no room",
        |r| Value::Count(r.node.audit.unwritten()),
    ),
    counter("acl_access_denied_auth", "miso_acl_denied_auth", Unit::None, "Wrong passwords", |r| {
        Value::Count(r.node.stats.denials.auth.load(Ordering::Relaxed))
    }),
    counter(
        "acl_access_denied_cmd",
        "miso_acl_denied_commands",
        Unit::None,
        "Commands that users may not run",
        |r| Value::Count(r.node.stats.denials.command.load(Ordering::Relaxed)),
    ),
    counter(
        "acl_access_denied_key",
        "miso_acl_denied_keys",
        Unit::None,
        "Commands on keys that users may not touch",
        |r| Value::Count(r.node.stats.denials.key.load(Ordering::Relaxed)),
    ),
    counter(
        "acl_access_denied_channel",
        "miso_acl_denied_channels",
        Unit::None,
        "Commands on channels that users may not touch",
        |r| Value::Count(r.node.stats.denials.channel.load(Ordering::Relaxed)),
    ),
];
