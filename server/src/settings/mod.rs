//! Settings: one row each, from which flags, environment, configuration file, `CONFIG`, `--help` and
//! the reference page are made.
//!
//! A value comes from the flag (`--maxmemory 100mb`), else the environment (`MISO_MAXMEMORY`), else
//! the file (`maxmemory = "100mb"`), else the row's default. Code reads it by the method that the row
//! names and in the type of the row's kind: `settings.maxmemory()` is a `u64`. A method that no row
//! names does not compile.
//!
//! What a change at run time must do beyond the new value is the row's [`Effect`]; `CONFIG SET`
//! carries it out. This folder knows nothing of the node that has the settings.

pub(crate) mod by_function;
pub(crate) mod cli;
pub(crate) mod file;
mod http;
pub(crate) mod kind;
pub(crate) mod notify;
pub(crate) mod reference;
mod secrets;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use miso_protocol::names;
use miso_store::journal::SyncPolicy;
use parking_lot::RwLock;

use by_function::ByFunction;
use http::{OptionalPort, Origins};
use kind::{
    Addresses, Bytes, Cell as _, Choice, EVICTIONS, Eviction, HoldNames, Integer,
    IntervalsByFunction, Kind, LOG_FORMATS, LOG_LEVELS, LimitsByClass, LogFormat, MDNS, Mdns, Name,
    OutputLimit, Path, PeerPort, PeerPortRule, Peers, Rule, SYNC_POLICIES, Text, Time, YesNo,
};
use notify::{DECISIONS, EventClasses};
pub(crate) use secrets::Secrets;
use tls::{CLIENT_CERTIFICATES, ClientCertificates, PEER_TLS, PeerTls, TLS_VERSIONS, TlsVersions};

/// Commands flagged FAST are timed one by one if `slowlog-log-slower-than` is below this many
/// microseconds.
const TIMES_ALL_BELOW: u64 = 1000;

/// How far the default peer port is from the port for clients.
const PEER_PORT_OFFSET: u16 = 1000;

/// Redis's port: a node with it needs no port in its default name.
const REDIS_PORT: u16 = 6379;

/// When a setting can be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// At the start only.
    Start,
    /// At the start, and at run time by `CONFIG SET`.
    Any,
    /// Never: clients of Redis ask for it, and the default is the answer.
    Never,
}

/// What a change at run time must do beyond the new value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Nothing: the value is read each time it is needed.
    None,
    /// Ask the system for file descriptors for that many clients.
    Descriptors,
    /// Tell the replicator how long to gather changes.
    Intervals,
    /// Tell the replicator how fast to send catch-up traffic.
    SyncRate,
    /// Tell the journal when to force writes to disk.
    SyncPolicy,
    /// Read the cluster's secrets.
    Secret,
    /// Load the certificates of TLS.
    Tls,
    /// Set the quotas of functions.
    Quotas,
    /// Open the audit log.
    Audit,
    /// Set the default user's password.
    Password,
    /// Tell the store how long ids of writes are kept, and how many.
    Once,
    /// Have commands looked at that keyspace events may tell of.
    Events,
    /// Refuse commands that decide here, or let them run.
    Decisions,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name in the file and in `CONFIG`; flag and variable follow from it.
    pub(crate) name: &'static str,
    /// Which texts are valid.
    pub(crate) kind: &'static dyn Rule,
    /// Its text unless another is given; always valid.
    pub(crate) default: &'static str,
    /// When it can be set.
    pub(crate) when: When,
    /// Whether its text is never shown, and never written out if it came by the environment.
    pub(crate) secret: bool,
    /// What a change at run time must do.
    pub(crate) effect: Effect,
    /// What it does, for `--help` and the reference.
    pub(crate) summary: &'static str,
}

const fn setting(
    name: &'static str,
    kind: &'static dyn Rule,
    default: &'static str,
    when: When,
    summary: &'static str,
) -> Setting {
    Setting { name, kind, default, when, secret: false, effect: Effect::None, summary }
}

/// A setting that can be set at the start only.
const fn start(
    name: &'static str,
    kind: &'static dyn Rule,
    default: &'static str,
    summary: &'static str,
) -> Setting {
    setting(name, kind, default, When::Start, summary)
}

/// A setting that can be set at any time.
const fn any(
    name: &'static str,
    kind: &'static dyn Rule,
    default: &'static str,
    summary: &'static str,
) -> Setting {
    setting(name, kind, default, When::Any, summary)
}

/// An answer for clients that ask for a setting of Redis's.
const fn fixed(name: &'static str, default: &'static str) -> Setting {
    setting(name, &Text, default, When::Never, "")
}

impl Setting {
    /// Keeps its text from being shown.
    const fn secret(mut self) -> Setting {
        self.secret = true;
        self
    }

    /// Has a change at run time do something.
    const fn then(mut self, effect: Effect) -> Setting {
        self.effect = effect;
        self
    }

    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("MISO_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The text given from outside, in its normal form.
    ///
    /// # Errors
    /// What was given and what is allowed; a secret is not repeated.
    fn accept(&self, text: &str) -> Result<String, String> {
        let Some(normal) = self.kind.normal(text) else {
            let given = if self.secret { String::new() } else { format!(" '{text}'") };
            return Err(format!("invalid value{given}, expected {}", self.kind.expected()));
        };
        Ok(self.kind.merged(&self.default_text(), &normal))
    }

    /// The default in its normal form.
    fn default_text(&self) -> String {
        self.kind.normal(self.default).expect("a test proves that every default is valid")
    }
}

/// Makes the table of settings, the fields that hold their values, and for each row the method by
/// which code reads it.
macro_rules! settings {
    (
        $($field:ident: $kind:ty = $make:ident(
            $name:literal, $rule:expr, $default:literal, $summary:literal $(,)?
        )$(.$part:ident($($arg:expr)?))*;)*
        => $($fixed:expr;)*
    ) => {
        /// All settings; those that have a field come first, in the order of [`Fields`].
        pub(crate) static SETTINGS: &[Setting] = &[
            $($make($name, { const RULE: &$kind = &$rule; RULE }, $default, $summary)
                $(.$part($($arg)?))*,)*
            $($fixed,)*
        ];

        /// The places of the settings that have a field in [`SETTINGS`].
        #[allow(non_camel_case_types, reason = "they are named as the fields")]
        #[allow(dead_code, reason = "few settings are looked for by their place")]
        #[derive(Clone, Copy)]
        enum Place {
            $($field,)*
        }

        /// The values of the settings, as code reads them.
        #[derive(Debug)]
        struct Fields {
            $($field: <$kind as Kind>::Cell,)*
        }

        impl Fields {
            /// The values of texts in normal form, which stand in the order of [`SETTINGS`].
            fn new(texts: &[Given]) -> Fields {
                let mut texts = texts.iter();
                Fields {
                    $($field: {
                        const RULE: &$kind = &$rule;
                        kind::Cell::new(value(RULE, texts.next()))
                    },)*
                }
            }

            /// Takes over the values of texts in normal form.
            fn refresh(&self, texts: &[Given]) {
                let mut texts = texts.iter();
                $({
                    const RULE: &$kind = &$rule;
                    self.$field.set(value(RULE, texts.next()));
                })*
            }
        }

        #[allow(rustdoc::bare_urls, reason = "summaries are plain text, for --help too")]
        impl Settings {
            $(
                #[doc = $summary]
                pub(crate) fn $field(&self) -> <$kind as Kind>::Value {
                    self.fields.$field.get()
                }
            )*
        }
    };
}

/// The value of a text in normal form.
fn value<K: Kind>(kind: &K, given: Option<&Given>) -> K::Value {
    given.and_then(|given| kind.value(&given.text)).expect("texts are kept in their normal form")
}

/// Seconds up to `max`; 0 is none.
const fn seconds_or_none(max: i64) -> Integer<Option<Duration>> {
    Integer::new(0, max, "seconds", |n| {
        Some(Duration::from_secs(n.unsigned_abs())).filter(|time| !time.is_zero())
    })
}

/// How many of something are kept or allowed.
const fn count<T>(low: i64, high: i64, unit: &'static str, as_type: fn(i64) -> T) -> Integer<T> {
    Integer::new(low, high, unit, as_type)
}

const PORT_MAX: i64 = 65_535;
const SECONDS_MAX: i64 = i32::MAX as i64;
const NO_BOUND: i64 = i64::MAX;
/// The most that an HTTP request or its answer may be allowed to hold.
const HTTP_BODY_MAX: u64 = 1 << 30;

settings! {
    bind: Addresses = start("bind", Addresses, "127.0.0.1", "Addresses to listen on for clients");
    port: Integer<u16> = start(
        "port", count(0, PORT_MAX, "", |n| n as u16), "6379",
        "Port to listen on for clients; 0: any free port",
    );
    tls_port: Integer<u16> = start(
        "tls-port", count(0, PORT_MAX, "", |n| n as u16), "0",
        "Port to listen on for clients that speak TLS; 0: none. With port 0 beside it, clients without TLS are not served",
    );
    tls_cert_file: Path = any(
        "tls-cert-file", Path { none: "" }, "",
        "The node's certificate for TLS, in PEM form, and those between it and its CA",
    ).then(Effect::Tls);
    tls_key_file: Path = any(
        "tls-key-file", Path { none: "" }, "", "The private key of tls-cert-file, in PEM form",
    ).then(Effect::Tls);
    tls_ca_cert_file: Path = any(
        "tls-ca-cert-file", Path { none: "" }, "",
        "Certificates of the CAs whose clients are let in, in PEM form",
    ).then(Effect::Tls);
    tls_auth_clients: Choice<ClientCertificates> = any(
        "tls-auth-clients", CLIENT_CERTIFICATES, "yes",
        "Whether clients that speak TLS must show a certificate of tls-ca-cert-file; optional: it is checked if they show one",
    ).then(Effect::Tls);
    tls_protocols: Choice<TlsVersions> = any(
        "tls-protocols", TLS_VERSIONS, "TLSv1.2 TLSv1.3", "Versions of TLS that are spoken",
    ).then(Effect::Tls);
    tcp_backlog: Integer<i32> = start(
        "tcp-backlog", count(1, PORT_MAX, "connections", |n| n as i32), "511",
        "Connections that may wait to be accepted",
    );
    threads_max: Integer<usize> = start(
        "threads", count(0, 256, "threads", |n| n as usize), "0",
        "Most worker threads; the load decides how many of them serve. 0: one per core",
    );
    given_name: Name = start(
        "node-name", Name { optional: true }, "",
        "This node's name, unique in the cluster. Default: the host name, plus -port if the port is not 6379",
    );
    cluster_name: Text = start("cluster-name", Text, "miso", "The cluster that this node belongs to");
    given_secret: Text = any(
        "cluster-secret", Text, "",
        "Secret that all nodes of the cluster share; a node without it is kept out. Empty: no secret. A node that runs takes another, and keeps having one or none",
    ).secret().then(Effect::Secret);
    secret_file: Path = any(
        "cluster-secret-file", Path { none: "" }, "",
        "File that holds the cluster's secret, in place of cluster-secret; line ends at its end are dropped; read again by SIGHUP",
    ).then(Effect::Secret);
    given_also: Text = any(
        "cluster-secret-also", Text, "",
        "A second secret that lets nodes in, while a cluster moves from one secret to another",
    ).secret().then(Effect::Secret);
    also_file: Path = any(
        "cluster-secret-also-file", Path { none: "" }, "",
        "File that holds the second secret, in place of cluster-secret-also; read again by SIGHUP",
    ).then(Effect::Secret);
    peer_bind: Addresses = start(
        "peer-bind", Addresses, "127.0.0.1", "Addresses to listen on for other nodes",
    );
    peer_port: PeerPortRule = start(
        "peer-port", PeerPortRule, "",
        "Port to listen on for other nodes. Default: port + 1000; 0: any free port; none: no replication",
    );
    peer_announce: Peers = start(
        "peer-announce", Peers, "",
        "Addresses at which other nodes reach this one, as host:port, if it is not where it listens (NAT, proxy); repeatable",
    );
    join: Peers = start(
        "join", Peers, "",
        "Peer ports of other nodes, as host:port, to connect to; a host name may resolve to several; repeatable",
    );
    peer_tls: Choice<PeerTls> = any(
        "peer-tls", PEER_TLS, "auto",
        "Whether links between nodes have TLS; auto: if there is a peer-tls-cert-file or a cluster secret; optional: with nodes that know it, for a cluster that moves to it or from it",
    ).then(Effect::Tls);
    peer_tls_cert_file: Path = any(
        "peer-tls-cert-file", Path { none: "" }, "",
        "The node's certificate for links to other nodes, in PEM form; its name is the node's",
    ).then(Effect::Tls);
    peer_tls_key_file: Path = any(
        "peer-tls-key-file", Path { none: "" }, "",
        "The private key of peer-tls-cert-file, in PEM form",
    ).then(Effect::Tls);
    peer_tls_ca_cert_file: Path = any(
        "peer-tls-ca-cert-file", Path { none: "" }, "",
        "Certificates of the CAs whose nodes are let in, in PEM form",
    ).then(Effect::Tls);
    peer_insecure: YesNo = start(
        "peer-insecure", YesNo, "no",
        "Listen for nodes beyond loopback without a cluster secret and without certificates of nodes: each host that reaches the port may join",
    );
    mdns: Choice<Mdns> = start(
        "mdns", MDNS, "auto",
        "Find other nodes, and be found by them, through mDNS on the networks of peer-bind; auto: if there is a cluster secret, TLS with certificates between nodes, or a cluster-name of its own",
    );
    mdns_port: Integer<u16> = start(
        "mdns-port", count(1, PORT_MAX, "", |n| n as u16), "5353", "UDP port of mDNS",
    );
    node_timeout: Time = start(
        "node-timeout", Time, "5s",
        "How long a node may be silent before it counts as dead; heartbeats are sent every node-timeout / 5",
    );
    intervals: IntervalsByFunction = any(
        "replication-interval", IntervalsByFunction, "5ms",
        "How long changes are gathered before they are sent; 0: not at all. function=time after it for functions that differ",
    ).then(Effect::Intervals);
    sync_rate: Bytes<u64> = any(
        "sync-rate", Bytes(|n| n), "64mb",
        "Bandwidth limit of catch-up traffic per peer, bytes per second; 0: no limit",
    ).then(Effect::SyncRate);
    restore_timeout: Time = any(
        "restore-timeout", Time, "200ms",
        "How long the first commands of a function that begins on this node wait for what peers know of it",
    );
    once_window: IntervalsByFunction = any(
        "once-window", IntervalsByFunction, "15m",
        "How long the id of a write that ran once (MISO.ONCE) is kept at least. function=time after it for functions that differ",
    ).then(Effect::Once);
    once_max: Integer<usize> = any(
        "once-max", count(1, 1_000_000_000, "ids", |n| n as usize), "1000000",
        "The most ids of writes that a function keeps; further ids are refused until some can be forgotten",
    ).then(Effect::Once);
    function_copies: Integer<usize> = start(
        "function-copies", count(1, 64, "nodes", |n| n as usize), "2",
        "Nodes that have each function: those that run it, and others that hold it until there are this many. 1: only those that run it",
    );
    hold: HoldNames = start(
        "hold", HoldNames, "",
        "Functions that this node holds although it does not run them; *: every function",
    );
    data_dir: Path = start(
        "data-dir", Path { none: "none" }, "./miso-data",
        "Directory of the node's data; none: data is kept in memory only",
    );
    append_sync: Choice<SyncPolicy> = any(
        "appendfsync", SYNC_POLICIES, "everysec",
        "When writes are forced to disk: always: before the reply; everysec: each second; no: when the system decides",
    ).then(Effect::SyncPolicy);
    default_function: Name = start(
        "default-function", Name { optional: false }, "default",
        "The function of connections that name none",
    );
    require_function: YesNo = any(
        "require-function", YesNo, "no",
        "Refuse commands about objects on connections that have not named their function",
    );
    requirepass: Text = any(
        "requirepass", Text, "", "The default user's password; empty: no password",
    ).secret().then(Effect::Password);
    protected: YesNo = any(
        "protected-mode", YesNo, "yes",
        "Refuse clients from other hosts while the default user has no password",
    );
    aclfile: Path = start("aclfile", Path { none: "" }, "", "File of ACL users, one `user …` line each");
    acllog_max_len: Integer<usize> = any(
        "acllog-max-len", count(0, NO_BOUND, "entries", |n| n as usize), "128",
        "Most entries that ACL LOG keeps",
    );
    maxclients: Integer<u64> = any(
        "maxclients", count(1, 1_000_000, "connections", i64::unsigned_abs), "10000",
        "Most client connections at a time",
    ).then(Effect::Descriptors);
    maxmemory_clients: Bytes<usize> = any(
        "maxmemory-clients", Bytes(|n| usize::try_from(n).unwrap_or(usize::MAX)), "0",
        "Most memory that all client connections take together; beyond it the largest are closed. 0: no limit",
    );
    timeout: Integer<Option<Duration>> = any(
        "timeout", seconds_or_none(SECONDS_MAX), "0",
        "How long a client may be idle before it is closed; 0: for ever",
    );
    keepalive: Integer<Option<Duration>> = any(
        "tcp-keepalive", seconds_or_none(SECONDS_MAX), "300",
        "Time between TCP keepalive probes; 0: no probes",
    );
    http_port: OptionalPort = start(
        "http-port", OptionalPort, "none",
        "Port to listen on for HTTP: REST in Upstash's dialect, health and metrics; 0: any free port; none: no HTTP",
    );
    http_tls_port: OptionalPort = start(
        "http-tls-port", OptionalPort, "none",
        "Port to listen on for HTTP by TLS, with the certificate and the rules of tls-port; 0: any free port; none: no HTTP by TLS",
    );
    http_page: YesNo = any(
        "http-page", YesNo, "yes",
        "Whether the live page is served at / on the HTTP port",
    );
    http_bind: Addresses = start(
        "http-bind", Addresses, "127.0.0.1", "Addresses to listen on for HTTP",
    );
    http_max_body: Bytes<usize> = any(
        "http-max-body", Bytes(|n| n.min(HTTP_BODY_MAX) as usize), "1mb",
        "Longest body of an HTTP request, at most 1gb",
    );
    http_max_answer: Bytes<usize> = any(
        "http-max-answer", Bytes(|n| n.min(HTTP_BODY_MAX) as usize), "64mb",
        "Most bytes of replies in the answer to one HTTP request, at most 1gb",
    );
    http_max_connections: Integer<usize> = any(
        "http-max-connections", count(1, 1_000_000, "connections", |n| n as usize), "1000",
        "Most HTTP connections at a time",
    ).then(Effect::Descriptors);
    http_sync_timeout: Time = any(
        "http-sync-timeout", Time, "1s",
        "How long an HTTP request waits until this node knows what its Upstash-Sync-Token covers; then it is answered 503",
    );
    http_cors_origins: Origins = any(
        "http-cors-origins", Origins, "",
        "Origins whose web pages may send HTTP requests here, as https://shop.example; *: all; empty: none",
    );
    maxmemory: Bytes<u64> = any(
        "maxmemory", Bytes(|n| n), "0",
        "Bytes of memory beyond which writes that need memory are refused; 0: no limit",
    );
    eviction: Choice<Eviction> = any(
        "maxmemory-policy", EVICTIONS, "noeviction",
        "What is done at maxmemory: writes that need memory are refused, nothing is evicted",
    );
    bulk_bytes: Bytes<usize> = any(
        "proto-max-bulk-len", Bytes(|n| n as usize), "512mb", "Longest argument of a command",
    );
    query_bytes: Bytes<usize> = any(
        "client-query-buffer-limit", Bytes(|n| n as usize), "1gb", "Most bytes of one command",
    );
    output_limits: LimitsByClass = any(
        "client-output-buffer-limit", LimitsByClass,
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Bytes of unread replies beyond which a client is closed, by class: at once (hard), or after a number of seconds (soft)",
    );
    key_max_bytes: Bytes<usize> = any(
        "key-max-bytes", Bytes(|n| n as usize), "64kb", "Longest object id or name",
    );
    function_linger: Integer<Duration> = any(
        "function-linger",
        count(0, 86_400, "seconds", |n| Duration::from_secs(n.unsigned_abs())), "60",
        "How long a function stays registered after its last connection",
    );
    databases: Integer<u32> = start(
        "databases", count(1, names::DATABASES_MAX as i64, "databases", |n| n as u32), "16",
        "Databases of each function, from which SELECT chooses; each is replicated as a function of its own",
    );
    max_functions: Integer<usize> = any(
        "max-functions", count(1, 10_000_000, "functions", |n| n as usize), "100000",
        "Most functions that begin on this node; commands of one more are refused",
    );
    slower_than: Integer<Option<u64>> = any(
        "slowlog-log-slower-than", count(-1, NO_BOUND, "microseconds", |n| u64::try_from(n).ok()),
        "10000", "Time from which SLOWLOG keeps a command; -1: none, 0: all",
    );
    slowlog_max_len: Integer<usize> = any(
        "slowlog-max-len", count(0, 1_000_000, "entries", |n| n as usize), "128",
        "Most entries that SLOWLOG keeps",
    );
    latency_threshold: Integer<i64> = any(
        "latency-monitor-threshold", count(0, NO_BOUND, "milliseconds", |n| n), "0",
        "Time from which LATENCY keeps an event; 0: none",
    );
    refuses_decisions: Choice<bool> = any(
        "local-decisions", DECISIONS, "allow",
        "allow, or refuse commands whose answer is one node's view, such as SETNX and SPOP",
    ).then(Effect::Decisions);
    notify: EventClasses = any(
        "notify-keyspace-events", EventClasses, "",
        "Keyspace events that are published to the function's clients, in Redis's letters; none: off",
    ).then(Effect::Events);
    quota_objects: ByFunction = any(
        "quota-objects", ByFunction, "",
        "How many objects functions may have on this node, each for itself; MISO.QUOTA sets it for one",
    ).then(Effect::Quotas);
    quota_memory: ByFunction = any(
        "quota-memory", ByFunction, "",
        "How many bytes the objects of functions may take on this node, each for itself; MISO.QUOTA sets it for one",
    ).then(Effect::Quotas);
    quota_keybytes: ByFunction = any(
        "quota-keybytes", ByFunction, "",
        "How long the keys that functions write may be, in bytes, each for itself; MISO.QUOTA sets it for one",
    ).then(Effect::Quotas);
    quota_connections: ByFunction = any(
        "quota-connections", ByFunction, "",
        "How many connections may name functions on this node, each for itself; MISO.QUOTA sets it for one",
    ).then(Effect::Quotas);
    quota_writes: ByFunction = any(
        "quota-writes", ByFunction, "",
        "How often a second functions may write on this node, each for itself; MISO.QUOTA sets it for one",
    ).then(Effect::Quotas);
    audit_log: Path = any(
        "audit-log", Path { none: "" }, "",
        "File to which logins, refusals and what is administered are written as JSON lines, or syslog; opened again by SIGHUP",
    ).then(Effect::Audit);
    log_level: Choice<tracing::Level> = start("loglevel", LOG_LEVELS, "info", "Least level of log lines");
    log_format: Choice<LogFormat> = start("logformat", LOG_FORMATS, "text", "Format of log lines");
    =>
    fixed("save", "");
    fixed(APPEND_ONLY, "no");
    fixed("replica-read-only", "yes");
    fixed("slave-read-only", "yes");
    fixed("io-threads", "1");
    fixed("cluster-enabled", "no");
    fixed("daemonize", "no");
    fixed("lazyfree-lazy-eviction", "no");
}

/// Answered by whether there is a data directory.
const APPEND_ONLY: &str = "appendonly";

/// Where a text came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// The row.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// A flag of the command line.
    Flag,
    /// `CONFIG SET`.
    Command,
}

/// The text of a setting, in its normal form.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Given {
    text: String,
    source: Source,
}

/// The texts of all settings by default, in the order of [`SETTINGS`].
fn default_texts() -> Vec<Given> {
    let given = |row: &Setting| Given { text: row.default_text(), source: Source::Default };
    SETTINGS.iter().map(given).collect()
}

/// The setting of this name, and its place in [`SETTINGS`].
fn find(name: &str) -> Option<(usize, &'static Setting)> {
    SETTINGS.iter().enumerate().find(|(_, setting)| setting.name == name)
}

/// Why settings cannot be used; prints what is wrong, where, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(String);

/// Why `CONFIG SET` changes nothing.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// There is no setting of this name.
    Unknown(Vec<u8>),
    /// The setting, by the name that was given, cannot have the value; the reason in Redis's words.
    Invalid(Vec<u8>, String),
}

/// What [`Settings::set`] changed.
#[derive(Debug)]
pub(crate) struct Change {
    before: Vec<(usize, Given)>,
}

impl Change {
    /// What the change must do, each effect once.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let mut all = Vec::new();
        for (row, _) in &self.before {
            let effect = SETTINGS[*row].effect;
            if effect != Effect::None && !all.contains(&effect) {
                all.push(effect);
            }
        }
        all
    }
}

/// The settings of a running node.
#[derive(Debug)]
pub(crate) struct Settings {
    /// As they are shown, in the order of [`SETTINGS`]; locked for a change before the fields.
    texts: RwLock<Vec<Given>>,
    /// As code reads them.
    fields: Fields,
    file: Option<PathBuf>,
    secrets: RwLock<Secrets>,
}

impl Settings {
    fn new(texts: Vec<Given>, file: Option<PathBuf>) -> Settings {
        let fields = Fields::new(&texts);
        Settings { texts: RwLock::new(texts), fields, file, secrets: RwLock::default() }
    }

    /// Lets in fewer clients than was asked for, since the system has no descriptors for more.
    pub(crate) fn lower_maxclients(&self, max: u64) {
        let mut texts = self.texts.write();
        texts[Place::maxclients as usize].text = max.to_string();
        self.fields.refresh(&texts);
    }

    /// The names and texts of the settings for which `wanted` says so, by name. Secrets are masked.
    pub(crate) fn list(&self, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let texts = self.texts.read();
        let mut all: Vec<(&'static str, String)> = SETTINGS
            .iter()
            .zip(texts.iter())
            .filter(|(setting, _)| wanted(setting.name))
            .map(|(setting, given)| (setting.name, self.shown(setting, given)))
            .collect();
        all.sort_unstable();
        all
    }

    /// Whether the value of a setting must not be shown. True of names that are none, since a mistyped
    /// name comes with a real value.
    pub(crate) fn is_secret(name: &[u8]) -> bool {
        let found = str::from_utf8(&name.to_ascii_lowercase()).ok().and_then(find);
        found.is_none_or(|(_, setting)| setting.secret)
    }

    /// The text of the setting at this place of [`SETTINGS`], as it is shown.
    fn text(&self, row: usize) -> String {
        self.shown(&SETTINGS[row], &self.texts.read()[row])
    }

    fn shown(&self, setting: &Setting, given: &Given) -> String {
        match setting.name {
            APPEND_ONLY if self.data_dir().is_some() => "yes".to_owned(),
            _ if setting.secret && !given.text.is_empty() => "********".to_owned(),
            _ => given.text.clone(),
        }
    }

    /// Sets several settings, all or none. The caller carries out the effects of the change, and
    /// takes it back by [`Settings::undo`] if one of them fails.
    ///
    /// # Errors
    /// The first setting that cannot be set, and why.
    pub(crate) fn set(&self, pairs: &[(&[u8], &[u8])]) -> Result<Change, Refused> {
        let mut new: Vec<(usize, String)> = Vec::new();
        for (name, text) in pairs {
            let failed = |why: &str| Refused::Invalid(name.to_vec(), why.to_owned());
            let lower = name.to_ascii_lowercase();
            let found = str::from_utf8(&lower).ok().and_then(find);
            let (row, setting) = found.ok_or_else(|| Refused::Unknown(name.to_vec()))?;
            // A script that turns off what does not exist here need not fail.
            if setting.when == When::Never && *text == self.text(row).as_bytes() {
                continue;
            }
            if setting.when != When::Any {
                return Err(failed("can't set immutable config"));
            }
            let lossy = String::from_utf8_lossy(text);
            let normal = setting.kind.normal(&lossy);
            let normal = normal.ok_or_else(|| failed(&setting.kind.refusal(&lossy)))?;
            if lossy.as_bytes() != *text {
                return Err(failed("argument must be UTF-8"));
            }
            if new.iter().any(|(known, _)| *known == row) {
                return Err(failed("duplicate parameter"));
            }
            new.push((row, normal));
        }
        let mut texts = self.texts.write();
        let mut before = Vec::new();
        for (row, normal) in new {
            let text = SETTINGS[row].kind.merged(&texts[row].text, &normal);
            let given = Given { text, source: Source::Command };
            before.push((row, std::mem::replace(&mut texts[row], given)));
        }
        self.fields.refresh(&texts);
        Ok(Change { before })
    }

    /// Takes a change back.
    pub(crate) fn undo(&self, change: Change) {
        let mut texts = self.texts.write();
        for (row, given) in change.before {
            texts[row] = given;
        }
        self.fields.refresh(&texts);
    }

    /// Where to listen for clients.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let port = self.port();
        self.bind().into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// Where to listen for HTTP at a port; empty if there is none.
    pub(crate) fn http_addresses(&self, port: Option<u16>) -> Vec<SocketAddr> {
        let at = |port| self.http_bind().into_iter().map(move |ip| SocketAddr::new(ip, port));
        port.into_iter().flat_map(at).collect()
    }

    /// How many HTTP connections there may be; 0 if HTTP is off.
    pub(crate) fn http_connections(&self) -> u64 {
        let port = self.http_port().or(self.http_tls_port());
        port.map_or(0, |_| self.http_max_connections() as u64)
    }

    /// How many worker threads to run.
    pub(crate) fn threads(&self) -> usize {
        match self.threads_max() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// The path of the configuration file; empty if there is none.
    pub(crate) fn file(&self) -> String {
        self.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// This node's name, given the port that it listens on: nodes of one host differ in that.
    pub(crate) fn node_name(&self, port: u16) -> String {
        match self.given_name() {
            name if !name.is_empty() => name,
            _ if port == REDIS_PORT => host_name(),
            _ => format!("{}-{port}", host_name()),
        }
    }

    /// Where to listen for other nodes, given the port for clients; none: no replication.
    pub(crate) fn peer_addresses(&self, port: u16) -> Option<Vec<SocketAddr>> {
        let peer_port = match self.peer_port() {
            PeerPort::None => return None,
            // If any free port will do for clients, it does for nodes as well.
            PeerPort::Derived if self.port() == 0 => 0,
            PeerPort::Derived => port.checked_add(PEER_PORT_OFFSET).unwrap_or(0),
            PeerPort::At(given) => given,
        };
        Some(self.peer_bind().into_iter().map(|ip| SocketAddr::new(ip, peer_port)).collect())
    }

    /// Reads the cluster's secrets from what the settings say now, files among it.
    ///
    /// # Errors
    /// Which setting is wrong and what it is to be.
    pub(crate) fn read_secrets(&self) -> Result<Secrets, String> {
        let own = (self.given_secret(), self.secret_file());
        Secrets::read(own, (self.given_also(), self.also_file()))
    }

    /// The cluster's secrets, as they were taken last.
    pub(crate) fn secrets(&self) -> Secrets {
        self.secrets.read().clone()
    }

    /// Takes secrets that were read.
    pub(crate) fn set_secrets(&self, secrets: Secrets) {
        *self.secrets.write() = secrets;
    }

    /// Whether `slowlog-log-slower-than` is short enough that FAST commands are timed one by one.
    pub(crate) fn times_all(&self) -> bool {
        self.slower_than().is_some_and(|from| from < TIMES_ALL_BELOW)
    }

    /// The limit on unread output of a client that takes messages, or of one that does not.
    pub(crate) fn output_limit(&self, subscribed: bool) -> OutputLimit {
        let limits = self.output_limits();
        if subscribed { limits.pubsub } else { limits.normal }
    }
}

fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    (if host.is_empty() { "miso" } else { host }).to_owned()
}

/// Settings with their defaults, but for those given here; for tests.
#[cfg(test)]
pub(crate) fn for_test(given: &[(&str, &str)]) -> Settings {
    let mut texts = default_texts();
    for (name, text) in given {
        let (row, setting) = find(name).expect("the setting exists");
        texts[row].text = setting.accept(text).expect("the text is valid");
    }
    Settings::new(texts, None)
}

#[cfg(test)]
mod tests;
