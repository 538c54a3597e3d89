//! INFO: sections of lines, under Redis's names so that its tools read them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use miso_replication::shell::Handle;
use miso_replication::{Liveness, NodeView};

use miso_store::journal::{Journal, Status};

use crate::clock::unix_ms;
use crate::node::subscriptions::ChannelKind as Kind;
use crate::node::{Node as Shared, REDIS_VERSION};

type Render = fn(&Shared, &[NodeView], &mut String);

/// The sections: name, whether INFO shows it unasked, and what writes it.
const SECTIONS: &[(&str, bool, Render)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, modules),
    ("Commandstats", false, command_stats),
    ("Errorstats", true, error_stats),
    ("Latencystats", false, latency_stats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
    ("Miso", true, miso),
];

/// Whether what is asked for has figures about nodes in it.
pub(crate) fn tells_of_nodes(wanted: &[Vec<u8>]) -> bool {
    let has = |word: &[u8]| matches!(word, b"all" | b"everything" | b"default" | b"miso");
    wanted.is_empty() || wanted.iter().any(|word| has(word))
}

/// The sections that are asked for, in lower case; those shown unasked if none is.
pub(crate) fn render(shared: &Shared, nodes: &[NodeView], wanted: &[Vec<u8>]) -> String {
    let has = |word: &str| wanted.iter().any(|known| known == word.as_bytes());
    let all = has("all") || has("everything");
    let default = wanted.is_empty() || has("default");
    let mut text = String::new();
    for (name, unasked, write) in SECTIONS {
        if all || (default && *unasked) || has(&name.to_ascii_lowercase()) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            write(shared, nodes, &mut text);
        }
    }
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn human(bytes: u64) -> String {
    let n = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.2}K", n / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.2}M", n / 1_048_576.0),
        _ => format!("{:.2}G", n / 1_073_741_824.0),
    }
}

fn server(shared: &Shared, _: &[NodeView], text: &mut String) {
    let seconds = shared.uptime_ms() / 1000;
    line(text, "redis_version", REDIS_VERSION);
    line(text, "server_name", "miso");
    line(text, "miso_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_mode", "standalone");
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "monotonic_clock", "POSIX clock_gettime");
    line(text, "multiplexing_api", "epoll");
    line(text, "process_id", std::process::id());
    line(text, "run_id", &shared.run_id);
    line(text, "tcp_port", shared.port.load(Ordering::Relaxed));
    line(text, "server_time_usec", crate::clock::unix_micros());
    line(text, "uptime_in_seconds", seconds);
    line(text, "uptime_in_days", seconds / 86_400);
    line(text, "hz", 1);
    line(text, "configured_hz", 1);
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    line(text, "executable", executable.unwrap_or_default());
    line(text, "config_file", shared.settings.file());
    line(text, "io_threads_active", 0);
}

fn clients(shared: &Shared, _: &[NodeView], text: &mut String) {
    let all = shared.clients.list();
    line(text, "connected_clients", shared.clients.count());
    line(text, "cluster_connections", 0);
    line(text, "maxclients", shared.settings.maxclients());
    line(text, "client_recent_max_input_buffer", 0);
    line(text, "client_recent_max_output_buffer", 0);
    line(text, "blocked_clients", shared.clients.blocked());
    line(text, "tracking_clients", 0);
    line(text, "pubsub_clients", all.iter().filter(|client| client.subscribed()).count());
    line(text, "clients_in_timeout_table", 0);
}

/// Resident bytes of the process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn memory(shared: &Shared, _: &[NodeView], text: &mut String) {
    let used = crate::allocator::used_bytes();
    let peak = shared.stats.peak_memory.fetch_max(used, Ordering::Relaxed).max(used);
    let resident = resident();
    line(text, "used_memory", used);
    line(text, "used_memory_human", human(used));
    line(text, "used_memory_rss", resident);
    line(text, "used_memory_rss_human", human(resident));
    line(text, "used_memory_peak", peak);
    line(text, "used_memory_peak_human", human(peak));
    line(text, "used_memory_dataset", used);
    let max = shared.settings.maxmemory();
    line(text, "maxmemory", max);
    line(text, "maxmemory_human", human(max));
    line(text, "maxmemory_policy", "noeviction");
    line(text, "mem_fragmentation_ratio", format!("{:.2}", resident as f64 / used.max(1) as f64));
    line(text, "mem_allocator", "mimalloc");
    line(text, "lazyfree_pending_objects", 0);
}

fn persistence(shared: &Shared, _: &[NodeView], text: &mut String) {
    line(text, "loading", 0);
    line(text, "async_loading", 0);
    let saving = &shared.saving;
    let running = u8::from(saving.running.load(Ordering::Relaxed));
    let last = if saving.failed.load(Ordering::Relaxed) { "err" } else { "ok" };
    let took = saving.took.load(Ordering::Relaxed);
    let journal = shared.store.journal();
    let stats = journal.map(Journal::stats).unwrap_or_default();
    let saves = saving.count.load(Ordering::Relaxed);
    let covers = saving.covers.load(Ordering::Relaxed);
    let changes = (stats.changes as i64).saturating_sub(covers).max(0);
    let current = match running {
        0 => -1,
        _ => unix_ms().saturating_sub(saving.began_ms.load(Ordering::Relaxed)) as i64 / 1000,
    };
    // Of a child process, of which there is none.
    for field in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
        line(text, field, 0);
    }
    line(text, "current_fork_perc", "0.00");
    line(text, "current_save_keys_processed", 0);
    line(text, "current_save_keys_total", 0);
    line(text, "rdb_changes_since_last_save", changes);
    line(text, "rdb_bgsave_in_progress", running);
    line(text, "rdb_last_save_time", saving.last.load(Ordering::Relaxed));
    line(text, "rdb_last_bgsave_status", last);
    line(text, "rdb_last_bgsave_time_sec", took);
    line(text, "rdb_current_bgsave_time_sec", current);
    line(text, "rdb_saves", saves);
    line(text, "rdb_last_cow_size", 0);
    line(text, "rdb_last_load_keys_expired", 0);
    line(text, "rdb_last_load_keys_loaded", 0);
    line(text, "aof_enabled", u8::from(journal.is_some()));
    line(text, "aof_rewrite_in_progress", running);
    line(text, "aof_rewrite_scheduled", 0);
    line(text, "aof_last_rewrite_time_sec", took);
    line(text, "aof_current_rewrite_time_sec", current);
    line(text, "aof_last_bgrewrite_status", last);
    line(text, "aof_rewrites", saves);
    let failures = saving.failures.load(Ordering::Relaxed);
    line(text, "aof_rewrites_consecutive_failures", failures);
    line(text, "aof_last_cow_size", 0);
    line(text, "module_fork_in_progress", 0);
    line(text, "module_fork_last_cow_size", 0);
    let Some(journal) = journal else {
        line(text, "aof_last_write_status", "ok");
        return;
    };
    let status = journal.status();
    line(text, "aof_last_write_status", if status == Status::Ok { "ok" } else { "err" });
    line(text, "aof_current_size", stats.log_bytes + saving.bytes.load(Ordering::Relaxed));
    line(text, "aof_base_size", saving.bytes.load(Ordering::Relaxed));
    line(text, "aof_pending_rewrite", 0);
    line(text, "aof_buffer_length", stats.buffered_bytes);
    line(text, "aof_pending_bio_fsync", u8::from(stats.syncing));
    line(text, "aof_delayed_fsync", stats.delayed);
    line(
        text,
        "journal_status",
        match &status {
            Status::Ok => "ok".into(),
            Status::Failing(why) => format!("failing: {why}"),
            Status::Broken(why) => format!("broken: {why}"),
            Status::Closed => "closed".into(),
        },
    );
    line(text, "journal_policy", journal.policy());
    line(text, "journal_appended", journal.appended().0);
    line(text, "journal_written", journal.written().0);
    line(text, "journal_synced", journal.synced().0);
    line(text, "journal_written_bytes", stats.written_bytes);
    line(text, "journal_writes", stats.writes);
    line(text, "journal_fsyncs", stats.syncs);
    line(text, "journal_last_fsync_usec", stats.last_sync.as_micros());
    line(text, "incarnation", format!("{:016x}", shared.store.replica().0));
    line(text, "former_incarnations", journal.identity().former.len());
}

fn stats(shared: &Shared, _: &[NodeView], text: &mut String) {
    let sums = shared.stats.sums();
    let rates = shared.stats.rates();
    line(text, "total_connections_received", shared.stats.connections.load(Ordering::Relaxed));
    line(text, "total_commands_processed", sums.total);
    line(text, "instantaneous_ops_per_sec", rates.commands);
    line(text, "total_net_input_bytes", sums.bytes_in);
    line(text, "total_net_output_bytes", sums.bytes_out);
    line(text, "instantaneous_input_kbps", format!("{:.2}", rates.bytes_in as f64 / 1024.0));
    line(text, "instantaneous_output_kbps", format!("{:.2}", rates.bytes_out as f64 / 1024.0));
    line(text, "rejected_connections", shared.stats.refused.load(Ordering::Relaxed));
    line(text, "expired_keys", 0);
    line(text, "evicted_keys", 0);
    line(text, "keyspace_hits", sums.hits);
    line(text, "keyspace_misses", sums.misses);
    let listened = shared.pubsub.counts();
    line(text, "pubsub_channels", listened.of(Kind::Channel));
    line(text, "pubsub_patterns", listened.of(Kind::Pattern));
    line(text, "pubsubshard_channels", listened.of(Kind::Shard));
    line(text, "latest_fork_usec", 0);
    let errors: u64 = shared.stats.errors().values().sum();
    line(text, "total_error_replies", errors);
}

fn replication(shared: &Shared, _: &[NodeView], text: &mut String) {
    line(text, "role", "master");
    // Peers are no replicas to read from by RESP: a client that looks for those must not find them.
    line(text, "connected_slaves", 0);
    line(text, "master_failover_state", "no-failover");
    line(text, "master_replid", &shared.run_id);
    line(text, "master_repl_offset", 0);
    line(text, "repl_backlog_active", 0);
}

fn cpu(_: &Shared, _: &[NodeView], text: &mut String) {
    // SAFETY: the structure is plain numbers and lives for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| format!("{}.{:06}", time.tv_sec, time.tv_usec);
    line(text, "used_cpu_sys", seconds(usage.ru_stime));
    line(text, "used_cpu_user", seconds(usage.ru_utime));
    line(text, "used_cpu_sys_children", "0.000000");
    line(text, "used_cpu_user_children", "0.000000");
}

fn modules(_: &Shared, _: &[NodeView], text: &mut String) {
    text.push_str("module:name=miso,ver=100,api=1,filters=0,usedby=[],using=[],options=[]\r\n");
}

fn command_stats(shared: &Shared, _: &[NodeView], text: &mut String) {
    for (row, sums) in shared.table.iter().zip(shared.stats.sums().commands) {
        if sums.calls + sums.rejected > 0 {
            let each = sums.micros as f64 / sums.calls.max(1) as f64;
            let name = row.name.to_ascii_lowercase();
            let _ = write!(
                text,
                "cmdstat_{name}:calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}\r\n",
                sums.calls, sums.micros, sums.rejected, sums.failed
            );
        }
    }
}

fn error_stats(shared: &Shared, _: &[NodeView], text: &mut String) {
    for (prefix, count) in shared.stats.errors() {
        let _ = write!(text, "errorstat_{prefix}:count={count}\r\n");
    }
}

fn latency_stats(shared: &Shared, _: &[NodeView], text: &mut String) {
    for (row, sums) in shared.table.iter().zip(shared.stats.sums().commands) {
        if sums.calls > 0 {
            let name = row.name.to_ascii_lowercase();
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| sums.percentile(share));
            let _ = write!(
                text,
                "latency_percentiles_usec_{name}:p50={p50}.000,p99={p99}.000,p99.9={p999}.000\r\n"
            );
        }
    }
}

fn cluster(_: &Shared, _: &[NodeView], text: &mut String) {
    line(text, "cluster_enabled", 0);
}

fn keyspace(shared: &Shared, _: &[NodeView], text: &mut String) {
    let objects: usize = shared.store.functions().iter().map(|f| f.object_count()).sum();
    if objects > 0 {
        let _ = write!(text, "db0:keys={objects},expires=0,avg_ttl=0\r\n");
    }
}

fn miso(shared: &Shared, nodes: &[NodeView], text: &mut String) {
    let running = shared.registry.running(Instant::now(), shared.settings.function_linger());
    line(text, "miso_node", shared.node_name());
    line(text, "miso_cluster", shared.settings.text("cluster-name"));
    line(text, "miso_peer_port", crate::peers::port(shared));
    line(text, "miso_replica_id", format!("{:016x}", shared.store.replica().0));
    line(text, "miso_started_at", shared.started_unix);
    line(text, "miso_functions", shared.store.functions().len());
    line(text, "miso_functions_running", running.len());
    line(text, "miso_open_mode", u8::from(shared.acl.open_mode()));
    line(text, "miso_threads", shared.settings.threads());
    peers(shared, nodes, text);
    for function in shared.store.functions() {
        let name = String::from_utf8_lossy(function.name()).into_owned();
        let _ = write!(
            text,
            "function_{name}:objects={},seq={},floors={},ahead={},removal_log_bytes={},retired={}\r\n",
            function.object_count(),
            function.seq(),
            function.floored_count(),
            function.ahead_count(),
            function.removal_log_bytes(),
            function.retired_count()
        );
    }
}

/// The other nodes, and what has gone to and come from them.
fn peers(shared: &Shared, nodes: &[NodeView], text: &mut String) {
    let others = nodes.get(1..).unwrap_or_default();
    let counters = shared.peers.get().map(Handle::counters).unwrap_or_default();
    let done = counters.replicator;
    let alive = others.iter().filter(|node| node.liveness == Liveness::Alive).count();
    let most = |lag: fn(&NodeView) -> u64| others.iter().map(lag).max().unwrap_or(0);
    line(text, "miso_peers", others.len());
    line(text, "miso_peers_alive", alive);
    line(text, "miso_links", counters.links);
    line(text, "miso_lag_events", most(|node| node.lag_events));
    line(text, "miso_lag_ms", most(|node| node.lag_ms));
    // Who holds back what is kept for others.
    let last = others.iter().max_by_key(|node| (node.lag_ms, node.lag_events));
    let last = last.filter(|node| node.lag_events > 0).map_or("", |node| &node.name);
    line(text, "miso_lag_node", last);
    line(text, "miso_lag_bytes", most(|node| node.lag_bytes));
    let drift = |node: &NodeView| node.drift_ms.map_or(0, i64::unsigned_abs);
    line(text, "miso_clock_drift_ms", most(drift));
    line(text, "miso_batches_sent", done.batches_sent);
    line(text, "miso_changes_sent", done.changes_sent);
    line(text, "miso_batches_received", done.batches_received);
    line(text, "miso_changes_received", done.changes_received);
    line(text, "miso_gaps", done.gaps);
    line(text, "miso_syncs", done.syncs);
    line(text, "miso_syncs_answered", done.exports);
    line(text, "miso_repaired", done.repaired);
    line(text, "miso_fetches", done.fetches);
    line(text, "miso_peer_bytes_sent", counters.bytes_sent);
    line(text, "miso_peer_bytes_received", counters.bytes_received);
    line(text, "miso_peer_messages_sent", counters.messages_sent);
    line(text, "miso_peer_envelopes_received", counters.envelopes_received);
    line(text, "miso_pace_us", counters.pace_nanos / 1000);
    line(text, "miso_peer_faults", counters.faults);
    line(text, "miso_peer_unknown", counters.unknown);
    line(text, "miso_peer_refusals", counters.refusals);
    line(text, "miso_peer_cut_off", counters.cut_off);
    let cpu = Duration::from_nanos(counters.cpu_nanos);
    line(text, "miso_replication_cpu_seconds", format!("{:.6}", cpu.as_secs_f64()));
}
