//! Server, Clients, Replication, CPU, Modules and Cluster.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::parts::{Row, Unit, Value, counter, gauge, label, only, zero};
use crate::clock::unix_micros;
use crate::node::REDIS_VERSION;
use crate::observe::reading::system_name;

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// The server.
pub(super) const SERVER: &[Row] = &[
    label(
        "redis_version",
        "redis_version",
        "The version of Redis whose commands are understood",
        |_| text(REDIS_VERSION),
    ),
    only("server_name", "The name of this server's software", |_| text("miso")),
    label("miso_version", "version", "The version of this server", |_| {
        text(env!("CARGO_PKG_VERSION"))
    }),
    only("redis_git_sha1", "Zeros: the build does not note its commit", |_| text("00000000")),
    zero("redis_git_dirty", "0: the build does not note changes after its commit"),
    only("redis_mode", "standalone: clients need no cluster mode", |_| text("standalone")),
    label("os", "os", "Operating system, release and machine", |_| text(system_name())),
    only("arch_bits", "Bits of an address", |_| Value::Count(usize::BITS.into())),
    only("monotonic_clock", "Where time comes from", |_| text("POSIX clock_gettime")),
    only("multiplexing_api", "How sockets are waited for", |_| text("epoll")),
    only("process_id", "The process's id", |_| Value::Count(std::process::id().into())),
    only("process_supervised", "no: no service manager is told of the start", |_| text("no")),
    label("run_id", "run_id", "Random id of this run of the process", |r| {
        text(r.node.run_id.as_str())
    }),
    label("tcp_port", "tcp_port", "Port for clients", |r| {
        Value::Count(r.node.port.load(Ordering::Relaxed).into())
    }),
    label("tls_port", "tls_port", "Port for clients that speak TLS; 0: none", |r| {
        Value::Count(r.node.settings.tls_port().into())
    }),
    gauge(
        "tls_certificate_expires",
        "miso_tls_certificate_expires_seconds",
        Unit::Seconds,
        "When the certificate for TLS expires, since 1970; 0: none is loaded",
        |r| Value::Count(r.node.tls.expires().unwrap_or(0)),
    ),
    gauge(
        "peer_tls_certificate_expires",
        "miso_peer_tls_certificate_expires_seconds",
        Unit::Seconds,
        "When the certificate for links to other nodes expires, since 1970; 0: none is loaded",
        |r| Value::Count(r.node.tls.links_expire()),
    ),
    only("server_time_usec", "Microseconds since 1970", |_| Value::Count(unix_micros())),
    gauge("uptime_in_seconds", "miso_uptime_seconds", Unit::Seconds, "Time since the start", |r| {
        Value::Count(r.node.uptime_ms() / 1000)
    }),
    only("uptime_in_days", "Days since the start", |r| {
        Value::Count(r.node.uptime_ms() / 86_400_000)
    }),
    only("hz", "How often a second the node looks after itself", |_| Value::Count(1)),
    only("configured_hz", "As hz", |_| Value::Count(1)),
    only("executable", "The path of the executable", |_| {
        text(std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default())
    }),
    only("config_file", "The path of the configuration file, or empty", |r| {
        text(r.node.settings.file())
    }),
    zero("io_threads_active", "0: worker threads read and write for their own clients"),
    gauge("", "miso_start_time_seconds", Unit::Seconds, "When the node started, since 1970", |r| {
        Value::Count(r.node.started_unix)
    }),
];

/// Clients.
pub(super) const CLIENTS: &[Row] = &[
    gauge("connected_clients", "miso_connected_clients", Unit::None, "Client connections", |r| {
        Value::Count(r.node.clients.count())
    }),
    zero("cluster_connections", "0: there is no Redis Cluster"),
    gauge("maxclients", "miso_clients_max", Unit::None, "Most client connections at a time", |r| {
        Value::Count(r.node.settings.maxclients())
    }),
    gauge(
        "client_recent_max_input_buffer",
        "miso_client_input_buffer_max_bytes",
        Unit::Bytes,
        "The most that a client has sent of a command that has not come whole",
        |r| Value::Count(r.clients().unparsed_max),
    ),
    gauge(
        "client_recent_max_output_buffer",
        "miso_client_output_buffer_max_bytes",
        Unit::Bytes,
        "The most that a client has not read of its replies",
        |r| Value::Count(r.clients().unread_max),
    ),
    gauge(
        "blocked_clients",
        "miso_blocked_clients",
        Unit::None,
        "Clients whose command waits",
        |r| Value::Count(r.node.clients.blocked() as u64),
    ),
    gauge("tracking_clients", "miso_tracking_clients", Unit::None, "Clients that cache", |r| {
        Value::Count(r.node.tracking.counts()[0] as u64)
    }),
    gauge(
        "pubsub_clients",
        "miso_pubsub_clients",
        Unit::None,
        "Clients that are subscribed",
        |r| Value::Count(r.clients().subscribed),
    ),
    gauge(
        "watching_clients",
        "miso_watching_clients",
        Unit::None,
        "Clients that watch objects",
        |r| Value::Count(r.clients().watching),
    ),
    gauge(
        "http_connections",
        "miso_http_connections",
        Unit::None,
        "HTTP connections; each user that speaks on one is a client connection, too",
        |r| Value::Count(r.node.stats.http_connections.load(Ordering::Relaxed)),
    ),
    zero("clients_in_timeout_table", "0: each waiting command has its own timer"),
];

/// Replication, as Redis has it: peers are no replicas to read from by RESP, and a client that looks
/// for replicas must not find them here.
pub(super) const REPLICATION: &[Row] = &[
    only("role", "master: every node takes writes", |_| text("master")),
    zero("connected_slaves", "0: peers are no replicas of Redis's kind"),
    only("master_failover_state", "no-failover: there is none", |_| text("no-failover")),
    only("master_replid", "As run_id", |r| text(r.node.run_id.as_str())),
    only("master_replid2", "Zeros: no other master came before", |_| text("0".repeat(40))),
    zero("master_repl_offset", "0: there is no replication stream of Redis's kind"),
    only("second_repl_offset", "-1: no other master came before", |_| Value::Level(-1)),
    zero("repl_backlog_active", "0: there is no backlog of Redis's kind"),
    zero("repl_backlog_size", "0: there is no backlog of Redis's kind"),
    zero("repl_backlog_first_byte_offset", "0: there is no backlog of Redis's kind"),
    zero("repl_backlog_histlen", "0: there is no backlog of Redis's kind"),
];

fn seconds(time: Duration) -> Value {
    Value::Decimal(time.as_secs_f64(), 6)
}

/// CPU time.
pub(super) const CPU: &[Row] = &[
    counter(
        "used_cpu_sys",
        "miso_cpu_system_seconds",
        Unit::Seconds,
        "CPU time within the kernel",
        |r| seconds(r.cpu().system),
    ),
    counter(
        "used_cpu_user",
        "miso_cpu_user_seconds",
        Unit::Seconds,
        "CPU time outside the kernel",
        |r| seconds(r.cpu().user),
    ),
    only("used_cpu_sys_children", "0: there are no child processes", |_| seconds(Duration::ZERO)),
    only("used_cpu_user_children", "0: there are no child processes", |_| seconds(Duration::ZERO)),
    only("used_cpu_sys_main_thread", "CPU time of the first thread within the kernel", |r| {
        seconds(r.cpu().main_system)
    }),
    only("used_cpu_user_main_thread", "CPU time of the first thread outside the kernel", |r| {
        seconds(r.cpu().main_user)
    }),
];

/// Modules: clients that look for one find the types of this server.
pub(super) const MODULES: &[Row] =
    &[only("module", "The types of this server, as a module of Redis", |_| {
        text("name=miso,ver=100,api=1,filters=0,usedby=[],using=[],options=[]")
    })];

/// Redis Cluster.
pub(super) const CLUSTER: &[Row] = &[zero("cluster_enabled", "0: clients need no cluster mode")];
