//! INFO: sections of lines, under Redis's names so that its tools read them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Instant;

use miso_replication::shell::Handle;

use crate::commands::REDIS_VERSION;
use crate::shared::Shared;

type Render = fn(&Shared, &mut String);

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

/// The sections that are asked for, in lower case; those shown unasked if none is.
pub(crate) fn render(shared: &Shared, wanted: &[Vec<u8>]) -> String {
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
            write(shared, &mut text);
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

fn server(shared: &Shared, text: &mut String) {
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
    line(text, "server_time_usec", crate::shared::unix_micros());
    line(text, "uptime_in_seconds", seconds);
    line(text, "uptime_in_days", seconds / 86_400);
    line(text, "hz", 1);
    line(text, "configured_hz", 1);
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    line(text, "executable", executable.unwrap_or_default());
    line(text, "config_file", shared.settings.file());
    line(text, "io_threads_active", 0);
}

fn clients(shared: &Shared, text: &mut String) {
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

fn memory(shared: &Shared, text: &mut String) {
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

fn persistence(shared: &Shared, text: &mut String) {
    line(text, "loading", 0);
    line(text, "async_loading", 0);
    line(text, "rdb_changes_since_last_save", 0);
    line(text, "rdb_bgsave_in_progress", 0);
    line(text, "rdb_last_save_time", shared.last_save.load(Ordering::Relaxed));
    line(text, "rdb_last_bgsave_status", "ok");
    line(text, "aof_enabled", 0);
    line(text, "aof_rewrite_in_progress", 0);
    line(text, "aof_last_bgrewrite_status", "ok");
    line(text, "aof_last_write_status", "ok");
}

fn stats(shared: &Shared, text: &mut String) {
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
    line(text, "pubsub_channels", shared.pubsub.channels(None).len());
    line(text, "pubsub_patterns", shared.pubsub.patterns());
    line(text, "latest_fork_usec", 0);
    let errors: u64 = shared.stats.errors().values().sum();
    line(text, "total_error_replies", errors);
}

fn replication(shared: &Shared, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_failover_state", "no-failover");
    line(text, "master_replid", &shared.run_id);
    line(text, "master_repl_offset", 0);
    line(text, "repl_backlog_active", 0);
}

fn cpu(_: &Shared, text: &mut String) {
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

fn modules(_: &Shared, text: &mut String) {
    text.push_str("module:name=miso,ver=100,api=1,filters=0,usedby=[],using=[],options=[]\r\n");
}

fn command_stats(shared: &Shared, text: &mut String) {
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

fn error_stats(shared: &Shared, text: &mut String) {
    for (prefix, count) in shared.stats.errors() {
        let _ = write!(text, "errorstat_{prefix}:count={count}\r\n");
    }
}

fn latency_stats(shared: &Shared, text: &mut String) {
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

fn cluster(_: &Shared, text: &mut String) {
    line(text, "cluster_enabled", 0);
}

fn keyspace(shared: &Shared, text: &mut String) {
    let objects: usize = shared.store.functions().iter().map(|f| f.object_count()).sum();
    if objects > 0 {
        let _ = write!(text, "db0:keys={objects},expires=0,avg_ttl=0\r\n");
    }
}

fn miso(shared: &Shared, text: &mut String) {
    let running = shared.registry.running(Instant::now(), shared.settings.function_linger());
    line(text, "miso_node", shared.node_name());
    line(text, "miso_replica_id", format!("{:016x}", shared.store.replica().0));
    line(text, "miso_started_at", shared.started_unix);
    line(text, "miso_functions", shared.store.functions().len());
    line(text, "miso_functions_running", running.len());
    line(text, "miso_open_mode", u8::from(shared.acl.open_mode()));
    line(text, "miso_threads", shared.settings.threads());
    if let Some(counters) = shared.peers.get().map(Handle::counters) {
        line(text, "miso_links", counters.links);
        line(text, "miso_messages_sent", counters.messages_sent);
        line(text, "miso_bytes_sent", counters.bytes_sent);
        line(text, "miso_bytes_received", counters.bytes_received);
        line(text, "miso_envelopes_received", counters.envelopes_received);
        line(text, "miso_batches_sent", counters.batches_sent);
        line(text, "miso_changes_sent", counters.changes_sent);
        line(text, "miso_batches_received", counters.batches_received);
        line(text, "miso_turns", counters.turns);
        line(text, "miso_pace_us", counters.pace_nanos / 1000);
        line(text, "miso_replication_cpu_us", counters.cpu_nanos / 1000);
    }
    for function in shared.store.functions() {
        let name = String::from_utf8_lossy(function.name()).into_owned();
        let _ = write!(
            text,
            "function_{name}:objects={},seq={}\r\n",
            function.object_count(),
            function.seq()
        );
    }
}
