//! Settings: one table, from which flags, environment, file, CONFIG and the reference derive.
//!
//! A value comes from the flag (`--maxmemory 100mb`), else the environment (`MISO_MAXMEMORY`), else
//! the file (`maxmemory = "100mb"`), else the row's default.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use miso_store::journal::SyncPolicy;
use parking_lot::RwLock;

/// Microseconds below which `slowlog-log-slower-than` has FAST commands timed too.
const TIMES_ALL_BELOW: i64 = 1000;

/// What a setting's text may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// An integer within bounds.
    Integer(i64, i64),
    /// A number of bytes, with Redis's units (`100mb`).
    Bytes,
    /// `yes` or `no`.
    YesNo,
    /// One of these words.
    Word(&'static [&'static str]),
    /// IP addresses, separated by blanks or commas.
    Addresses,
    /// `class hard soft seconds` in fours, as Redis's client-output-buffer-limit.
    OutputLimits,
    /// A password: never shown.
    Secret,
    /// A length of time with its unit: `5ms`.
    Duration,
    /// A [`Kind::Duration`], then `function=duration` for those that differ.
    Intervals,
    /// `host:port`, separated by blanks or commas.
    Peers,
    /// A port, or none; or empty: what follows from `port`.
    PeerPort,
}

/// When a setting can be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// At the start only.
    Start,
    /// At any time.
    Any,
    /// Never: tools ask for it, and this is the answer.
    Never,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) when: When,
    pub(crate) summary: &'static str,
}

const fn start(n: &'static str, k: Kind, d: &'static str, s: &'static str) -> Setting {
    Setting { name: n, kind: k, default: d, when: When::Start, summary: s }
}

const fn any(n: &'static str, k: Kind, d: &'static str, s: &'static str) -> Setting {
    Setting { name: n, kind: k, default: d, when: When::Any, summary: s }
}

const fn fixed(n: &'static str, d: &'static str) -> Setting {
    Setting { name: n, kind: Kind::Text, default: d, when: When::Never, summary: "" }
}

const MAX: i64 = i64::MAX;

/// The longest time that a setting may say.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// All settings.
pub(crate) const SETTINGS: &[Setting] = &[
    start("bind", Kind::Addresses, "127.0.0.1", "Addresses to listen on"),
    start("port", Kind::Integer(0, 65_535), "6379", "Port to listen on; 0 picks a free one"),
    start("tcp-backlog", Kind::Integer(1, 65_535), "511", "Connections that wait to be accepted"),
    start(
        "threads",
        Kind::Integer(0, 256),
        "0",
        "Worker threads at most: as many serve as the load needs; 0 is one per core",
    ),
    start(
        "node-name",
        Kind::Text,
        "",
        "This node's name, unique in the cluster: unless told the host name, with the port if that is not 6379",
    ),
    start("cluster-name", Kind::Text, "miso", "The cluster that it belongs to"),
    start(
        "cluster-secret",
        Kind::Secret,
        "",
        "What all nodes of the cluster know and no other does: who does not is kept out; none if empty",
    ),
    start(
        "cluster-secret-file",
        Kind::Text,
        "",
        "File that holds the cluster's secret, instead of cluster-secret; line ends behind it do not count",
    ),
    start("peer-bind", Kind::Addresses, "127.0.0.1", "Addresses to listen on for other nodes"),
    start(
        "peer-port",
        Kind::PeerPort,
        "",
        "Port to listen on for other nodes; 0 picks a free one, none is a node alone; unless told port + 1000",
    ),
    start(
        "peer-announce",
        Kind::Peers,
        "",
        "Where other nodes are told to reach this one, as host:port, if that is not where it listens: behind a NAT or a proxy; repeatable",
    ),
    start(
        "join",
        Kind::Peers,
        "",
        "Where other nodes are, as host:port of their peer ports; a host may stand for many; repeatable",
    ),
    start(
        "peer-insecure",
        Kind::YesNo,
        "no",
        "Listen for nodes beyond loopback without a cluster secret: each host that reaches the port may join",
    ),
    start(
        "mdns",
        Kind::Word(&["auto", "yes", "no"]),
        "auto",
        "Find and be found on the networks of peer-bind by mDNS; auto: if there is a cluster secret or a cluster-name of one's own",
    ),
    start("mdns-port", Kind::Integer(1, 65_535), "5353", "UDP port of mDNS"),
    start(
        "node-timeout",
        Kind::Duration,
        "5s",
        "How long a node may be silent before it counts as dead; it says that it lives five times as often",
    ),
    any(
        "replication-interval",
        Kind::Intervals,
        "5ms",
        "How long changes are gathered before they are sent, 0 not at all; function=duration behind it for functions that differ",
    ),
    any(
        "sync-rate",
        Kind::Bytes,
        "64mb",
        "Bytes of syncs, by which nodes repair what streams cannot, that a peer is sent in a second; 0 is no limit",
    ),
    any(
        "restore-timeout",
        Kind::Duration,
        "200ms",
        "How long a command waits for peers to send what is absent in a function new on this node",
    ),
    start(
        "data-dir",
        Kind::Text,
        "./miso-data",
        "Directory that keeps the node's data; none keeps it in memory alone",
    ),
    any(
        "appendfsync",
        Kind::Word(&["always", "everysec", "no"]),
        "everysec",
        "When what is written is forced to disk: before the reply, each second, or when the system likes",
    ),
    start("default-function", Kind::Text, "default", "The function of connections that name none"),
    any("requirepass", Kind::Secret, "", "The default user's password; none if empty"),
    any("protected-mode", Kind::YesNo, "yes", "Refuse other hosts while there is no password"),
    start("aclfile", Kind::Text, "", "File with ACL users, one `user …` line each"),
    any("acllog-max-len", Kind::Integer(0, MAX), "128", "Entries that ACL LOG keeps"),
    any("maxclients", Kind::Integer(1, 1_000_000), "10000", "Connections at a time"),
    any(
        "timeout",
        Kind::Integer(0, i32::MAX as i64),
        "0",
        "Seconds until an idle client is closed; 0 never",
    ),
    any(
        "tcp-keepalive",
        Kind::Integer(0, i32::MAX as i64),
        "300",
        "Seconds between keepalive probes; 0 none",
    ),
    any(
        "maxmemory",
        Kind::Bytes,
        "0",
        "Bytes beyond which writes that grow are refused; 0 is no limit",
    ),
    any(
        "maxmemory-policy",
        Kind::Word(&["noeviction"]),
        "noeviction",
        "What is done when memory is full: writes that grow are refused",
    ),
    any("proto-max-bulk-len", Kind::Bytes, "512mb", "The longest argument"),
    any("client-query-buffer-limit", Kind::Bytes, "1gb", "The most bytes of one command"),
    any(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Bytes of unread replies beyond which a client is closed: hard, and soft for so many seconds",
    ),
    any("key-max-bytes", Kind::Bytes, "64kb", "The longest object id or name"),
    any(
        "function-linger",
        Kind::Integer(0, 86_400),
        "60",
        "Seconds that a function stays registered after its last connection",
    ),
    any(
        "slowlog-log-slower-than",
        Kind::Integer(-1, MAX),
        "10000",
        "Microseconds from which a command is slow; -1 none, 0 all",
    ),
    any("slowlog-max-len", Kind::Integer(0, 1_000_000), "128", "Entries that SLOWLOG keeps"),
    any(
        "latency-monitor-threshold",
        Kind::Integer(0, MAX),
        "0",
        "Milliseconds from which LATENCY keeps an event; 0 none",
    ),
    start(
        "loglevel",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "What is logged",
    ),
    start("logformat", Kind::Word(&["text", "json"]), "text", "How it is logged"),
    fixed("save", ""),
    fixed("appendonly", "no"),
    fixed("databases", "1"),
    fixed("replica-read-only", "yes"),
    fixed("slave-read-only", "yes"),
    fixed("io-threads", "1"),
    fixed("notify-keyspace-events", ""),
    fixed("cluster-enabled", "no"),
    fixed("daemonize", "no"),
    fixed("lazyfree-lazy-eviction", "no"),
];

/// A setting that was given a value it cannot have; prints what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(String);

/// Reads bytes with Redis's units: `1kb` is 1024, `1k` is 1000.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Reads a length of time: `5ms`, `2s`; 0 needs no unit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits.parse().ok()?;
    let micros = match &text[digits.len()..] {
        "" if n == 0 => 1,
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    n.checked_mul(micros).map(Duration::from_micros).filter(|time| *time <= LONGEST)
}

/// What `replication-interval` says: for all functions, and for those that are named.
fn parse_intervals(text: &str) -> Option<Intervals> {
    let mut all = words(text);
    let default = parse_duration(all.next()?)?;
    let named = all.map(|word| {
        let (function, interval) = word.rsplit_once('=')?;
        let interval = parse_duration(interval)?;
        (!function.is_empty()).then(|| (function.to_owned(), interval))
    });
    Some(Intervals { default, named: named.collect::<Option<_>>()? })
}

/// How long changes are gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// Unless a function has its own.
    pub(crate) default: Duration,
    pub(crate) named: BTreeMap<String, Duration>,
}

/// Whether this is `host:port`.
pub(crate) fn is_peer(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.starts_with('[') && host.ends_with(']') || !host.contains(':');
        !host.is_empty() && bare && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}

impl Setting {
    /// Whether it has the value that it has if nobody says anything.
    fn is_default(&self, texts: &BTreeMap<&'static str, String>) -> bool {
        self.normal(self.default).as_ref() == Some(&texts[self.name])
    }

    /// Its line in the file.
    fn line(&self, text: &str) -> String {
        let value = match (self.kind, text.parse()) {
            (Kind::Integer(..) | Kind::Bytes, Ok(n)) => toml::Value::Integer(n),
            _ => toml::Value::from(text),
        };
        format!("{} = {value}", self.name)
    }

    /// The value that a line of the file gives it.
    fn read_line(&self, row: &str) -> Option<String> {
        let table: toml::Table = row.parse().ok()?;
        self.normal(&text_of(table.get(self.name)?.clone()).ok()?)
    }

    fn expected(&self) -> String {
        match self.kind {
            Kind::Text | Kind::Secret => "text".into(),
            Kind::Integer(low, MAX) => format!("an integer from {low} up"),
            Kind::Integer(low, high) => format!("an integer from {low} to {high}"),
            Kind::Bytes => "a number of bytes, as 1048576, 100mb or 1gb".into(),
            Kind::YesNo => "yes or no".into(),
            Kind::Word(all) => format!("one of {}", all.join(", ")),
            Kind::Addresses => "IP addresses, or * for all of IPv4".into(),
            Kind::OutputLimits => "class hard soft seconds, for normal, slave or pubsub".into(),
            Kind::Duration => "a length of time, as 5ms, 2s or 0".into(),
            Kind::Intervals => "a length of time, as 5ms, 2s or 0; then function=time".into(),
            Kind::Peers => "host:port, several with commas between".into(),
            Kind::PeerPort => "a port from 0 to 65535, or none".into(),
        }
    }

    /// Why CONFIG SET does not take `text`, in Redis's words.
    fn refusal(&self, text: &str) -> String {
        match self.kind {
            Kind::Bytes => "argument must be a memory value".into(),
            Kind::YesNo => "argument must be 'yes' or 'no'".into(),
            Kind::Word(all) => {
                format!("argument(s) must be one of the following: {}", all.join(", "))
            }
            Kind::Integer(low, high) if text.parse::<i64>().is_ok() => {
                format!("argument must be between {low} and {high} inclusive")
            }
            Kind::Integer(..) => "argument couldn't be parsed into an integer".into(),
            _ => format!("argument must be {}", self.expected()),
        }
    }

    /// The value in its one form; none if it cannot be.
    fn normal(&self, text: &str) -> Option<String> {
        Some(match self.kind {
            Kind::Text | Kind::Secret => text.to_owned(),
            Kind::Integer(low, high) => {
                text.parse::<i64>().ok().filter(|n| (low..=high).contains(n))?.to_string()
            }
            Kind::Bytes => parse_bytes(text)?.to_string(),
            Kind::YesNo => match text {
                "yes" | "true" => "yes".into(),
                "no" | "false" => "no".into(),
                _ => return None,
            },
            Kind::Word(all) => all.iter().find(|word| **word == text)?.to_string(),
            Kind::Addresses => {
                let address = |word| match word {
                    "*" => Ok(IpAddr::from([0; 4])),
                    "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
                    word => word.parse(),
                };
                let all: Result<Vec<IpAddr>, _> = words(text).map(address).collect();
                let all: Vec<String> = all.ok()?.iter().map(IpAddr::to_string).collect();
                Some(all.join(" ")).filter(|all| !all.is_empty())?
            }
            Kind::Duration => parse_duration(text).map(|_| text.to_owned())?,
            Kind::Intervals => {
                parse_intervals(text)?;
                words(text).collect::<Vec<_>>().join(" ")
            }
            Kind::Peers => {
                let all: Vec<&str> = words(text).collect();
                all.iter().all(|word| is_peer(word)).then(|| all.join(" "))?
            }
            Kind::PeerPort => match text {
                "" => String::new(),
                "none" | "no" => "none".into(),
                port => port.parse::<u16>().ok()?.to_string(),
            },
            Kind::OutputLimits => {
                let parts: Vec<&str> = words(text).collect();
                let mut out = String::new();
                if parts.is_empty() {
                    return None;
                }
                for four in parts.chunks(4) {
                    let [class, hard, soft, seconds] = four else { return None };
                    if !matches!(*class, "normal" | "slave" | "replica" | "pubsub") {
                        return None;
                    }
                    let class = if *class == "replica" { "slave" } else { class };
                    let (hard, soft) = (parse_bytes(hard)?, parse_bytes(soft)?);
                    let seconds: u64 = seconds.parse().ok()?;
                    let blank = if out.is_empty() { "" } else { " " };
                    write!(out, "{blank}{class} {hard} {soft} {seconds}").ok()?;
                }
                out
            }
        })
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Start {
    /// Run a node.
    Run(Box<Settings>),
    /// Run several nodes on this host.
    Cluster(Cluster),
    /// Only check the configuration.
    Check,
    /// Print the reference of commands or of settings.
    Print(Page),
    /// Verify a data directory.
    CheckData(PathBuf),
    /// Mend a data directory.
    Repair(PathBuf),
}

/// Several nodes on this host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// How many.
    pub(crate) nodes: u16,
    /// The first one's port for clients; the others' follow.
    pub(crate) port: u16,
    /// Below it each has a directory of its own; none: they keep their data in memory alone.
    pub(crate) data: Option<PathBuf>,
    /// What else all of them are told.
    pub(crate) flags: Vec<String>,
    /// What they are told by their environment: others can read a process's flags.
    pub(crate) secrets: Vec<(String, String)>,
}

/// The most nodes of a [`Cluster`].
const CLUSTER_MAX: i64 = 64;

/// What a cluster decides for each of its nodes.
const DECIDED: [&str; 7] =
    ["port", "peer-port", "peer-bind", "peer-announce", "node-name", "join", "data-dir"];

/// A generated page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Page {
    /// docs/commands.md.
    Commands,
    /// docs/settings.md.
    Settings,
}

/// Limits on what a client has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    pub(crate) hard: usize,
    pub(crate) soft: usize,
    pub(crate) soft_for: Duration,
}

/// The settings of a running node. What the hot path reads stands in atomics beside the texts.
#[derive(Debug)]
pub(crate) struct Settings {
    texts: RwLock<BTreeMap<&'static str, String>>,
    file: Option<PathBuf>,
    cluster_secret: Option<Vec<u8>>,
    maxmemory: AtomicU64,
    bulk_bytes: AtomicU64,
    query_bytes: AtomicU64,
    key_bytes: AtomicU64,
    maxclients: AtomicU64,
    timeout: AtomicU64,
    keepalive: AtomicU64,
    linger: AtomicU64,
    slower_than: AtomicI64,
    times_all: AtomicBool,
    latency_threshold: AtomicI64,
    protected: AtomicBool,
    output: RwLock<[OutputLimit; 2]>,
}

fn flags() -> clap::Command {
    let mut command = clap::Command::new("miso-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Redis-protocol server of CRDTs: local, writable, converging state")
        .after_help("Every setting can also stand in the file (name = \"value\") or in the environment (MISO_NAME).")
        .arg(clap::Arg::new("file").value_name("FILE").help("Configuration file (TOML)"))
        .arg(clap::Arg::new("config").long("config").value_name("FILE").help("Configuration file (TOML)"))
        .arg(switch("check-config", "Check the configuration and exit"))
        .arg(path("check-data", "Verify a data directory that no node uses, and exit"))
        .arg(path("repair", "Mend a damaged data directory as far as it can be, and exit"))
        .arg(switch("print-command-reference", "Print docs/commands.md and exit").hide(true))
        .arg(switch("print-settings-reference", "Print docs/settings.md and exit").hide(true));
    let shown = || SETTINGS.iter().filter(|setting| setting.when != When::Never);
    command = command.args(shown().map(flag));
    let nodes = clap::Arg::new("nodes")
        .value_name("N")
        .required(true)
        .value_parser(clap::value_parser!(u16).range(1..=CLUSTER_MAX))
        .help("How many nodes");
    let port = clap::Arg::new("port")
        .long("port")
        .value_name("VALUE")
        .default_value("6379")
        .value_parser(clap::value_parser!(u16).range(1..))
        .help("The first node's port; the others' follow it, and peer ports are 1000 above");
    let cluster = clap::Command::new("cluster")
        .about("Run N nodes on this host that replicate to each other; Ctrl-C ends them all")
        .arg(nodes)
        .arg(port)
        .arg(
            clap::Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .default_value("./miso-cluster")
                .help("Directory with one for each node; none keeps their data in memory alone"),
        )
        .args(shown().filter(|setting| !DECIDED.contains(&setting.name)).map(flag));
    command.subcommand(cluster).args_conflicts_with_subcommands(true)
}

fn flag(setting: &Setting) -> clap::Arg {
    clap::Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        .allow_hyphen_values(true)
        .action(match setting.kind {
            Kind::Peers => clap::ArgAction::Append,
            _ => clap::ArgAction::Set,
        })
        .help(match setting.default {
            "" => setting.summary.to_owned(),
            default => format!("{} [{default}]", setting.summary),
        })
}

/// What `miso-server cluster` was told.
fn cluster(matches: &clap::ArgMatches) -> Cluster {
    let number = |name| *matches.get_one::<u16>(name).expect("it is required, or has a default");
    let (mut flags, mut secrets) = (Vec::new(), Vec::new());
    let own = |setting: &&Setting| setting.when != When::Never && !DECIDED.contains(&setting.name);
    for setting in SETTINGS.iter().filter(own) {
        let Some(text) = matches.get_one::<String>(setting.name) else { continue };
        match setting.kind {
            Kind::Secret => secrets.push((environment(setting), text.clone())),
            _ => flags.extend([format!("--{}", setting.name), text.clone()]),
        }
    }
    let data = matches.get_one::<String>("data-dir").filter(|data| *data != "none");
    let data = data.map(PathBuf::from);
    Cluster { nodes: number("nodes"), port: number("port"), data, flags, secrets }
}

/// Prints help where it was asked for; else what is wrong and the usage, and ends with status 2.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() && !error.to_string().contains("Usage:") {
        eprint!("{error}\n{}\n", flags().render_usage());
        std::process::exit(2);
    }
    error.exit()
}

fn switch(name: &'static str, help: &'static str) -> clap::Arg {
    clap::Arg::new(name).long(name).action(clap::ArgAction::SetTrue).help(help)
}

fn path(name: &'static str, help: &'static str) -> clap::Arg {
    clap::Arg::new(name).long(name).value_name("DIR").help(help)
}

fn environment(setting: &Setting) -> String {
    format!("MISO_{}", setting.name.to_ascii_uppercase().replace('-', "_"))
}

/// What the environment says; empty is nothing. Kubernetes gives pods that run beside a service
/// named `miso` a `MISO_PORT=tcp://…`, which is not meant for us.
fn from_environment(variable: &str) -> Option<String> {
    let given = |text: &String| !text.is_empty() && !text.starts_with("tcp://");
    std::env::var(variable).ok().filter(given)
}

impl Settings {
    /// Reads the command line, the environment and the file.
    ///
    /// # Errors
    /// A line that says which flag, variable or file and key is wrong, and what was expected. A
    /// command line that does not parse ends the process, with usage and status 2.
    pub(crate) fn from_process() -> Result<Start, Invalid> {
        let matches = flags().try_get_matches().unwrap_or_else(|error| refuse(&error));
        let given = |name: &str| {
            let all: Vec<&str> = matches.get_many::<String>(name)?.map(String::as_str).collect();
            Some(all.join(","))
        };
        if let Some(matches) = matches.subcommand_matches("cluster") {
            return Ok(Start::Cluster(cluster(matches)));
        }
        if matches.get_flag("print-command-reference") {
            return Ok(Start::Print(Page::Commands));
        }
        if matches.get_flag("print-settings-reference") {
            return Ok(Start::Print(Page::Settings));
        }
        if let Some(directory) = given("check-data") {
            return Ok(Start::CheckData(directory.into()));
        }
        if let Some(directory) = given("repair") {
            return Ok(Start::Repair(directory.into()));
        }
        let file = given("config").or_else(|| given("file")).map(PathBuf::from);
        let from_file = match &file {
            None => BTreeMap::new(),
            Some(path) => read_file(path)?,
        };
        let mut texts = BTreeMap::new();
        for setting in SETTINGS {
            let variable = environment(setting);
            let (source, text) = if setting.when == When::Never {
                (String::new(), setting.default.to_owned())
            } else if let Some(text) = given(setting.name) {
                (format!("--{}", setting.name), text)
            } else if let Some(text) = from_environment(&variable) {
                (variable, text)
            } else if let Some(text) = from_file.get(setting.name) {
                let path = file.as_deref().unwrap_or("".as_ref()).display();
                (format!("{path}: {}", setting.name), text.clone())
            } else {
                (String::new(), setting.default.to_owned())
            };
            let normal = setting.normal(&text).ok_or_else(|| {
                Invalid(format!(
                    "{source}: invalid value '{text}', expected {}",
                    setting.expected()
                ))
            })?;
            let normal = match setting.kind {
                // Classes that are not named keep their limits.
                Kind::OutputLimits => {
                    let default = setting.normal(setting.default).unwrap_or_default();
                    merge_limits(&default, &normal)
                }
                _ => normal,
            };
            texts.insert(setting.name, normal);
        }
        let secret = cluster_secret(&texts)?;
        if matches.get_flag("check-config") {
            return Ok(Start::Check);
        }
        let mut settings = Settings::new(texts, file);
        settings.cluster_secret = secret;
        Ok(Start::Run(Box::new(settings)))
    }

    fn new(texts: BTreeMap<&'static str, String>, file: Option<PathBuf>) -> Settings {
        let settings = Settings {
            texts: RwLock::new(texts),
            file,
            cluster_secret: None,
            maxmemory: AtomicU64::new(0),
            bulk_bytes: AtomicU64::new(0),
            query_bytes: AtomicU64::new(0),
            key_bytes: AtomicU64::new(0),
            maxclients: AtomicU64::new(0),
            timeout: AtomicU64::new(0),
            keepalive: AtomicU64::new(0),
            linger: AtomicU64::new(0),
            slower_than: AtomicI64::new(0),
            times_all: AtomicBool::new(false),
            latency_threshold: AtomicI64::new(0),
            protected: AtomicBool::new(true),
            output: RwLock::default(),
        };
        if settings.text("data-dir") != "none" {
            settings.texts.write().insert("appendonly", "yes".into());
        }
        settings.refresh();
        settings
    }

    /// When what is written is forced to disk.
    pub(crate) fn append_sync(&self) -> SyncPolicy {
        self.text("appendfsync").parse().unwrap_or(SyncPolicy::EverySecond)
    }

    /// Takes the texts over into what the hot path reads.
    fn refresh(&self) {
        let texts = self.texts.read();
        let number = |name: &str| texts[name].parse::<u64>().unwrap_or(0);
        let set = |to: &AtomicU64, name| to.store(number(name), Ordering::Relaxed);
        set(&self.maxmemory, "maxmemory");
        set(&self.bulk_bytes, "proto-max-bulk-len");
        set(&self.query_bytes, "client-query-buffer-limit");
        set(&self.key_bytes, "key-max-bytes");
        set(&self.maxclients, "maxclients");
        set(&self.timeout, "timeout");
        set(&self.keepalive, "tcp-keepalive");
        set(&self.linger, "function-linger");
        let slower = texts["slowlog-log-slower-than"].parse().unwrap_or(-1);
        self.slower_than.store(slower, Ordering::Relaxed);
        self.times_all.store((0..TIMES_ALL_BELOW).contains(&slower), Ordering::Relaxed);
        let threshold = texts["latency-monitor-threshold"].parse().unwrap_or(0);
        self.latency_threshold.store(threshold, Ordering::Relaxed);
        self.protected.store(texts["protected-mode"] == "yes", Ordering::Relaxed);
        let parts: Vec<&str> = words(&texts["client-output-buffer-limit"]).collect();
        let mut output = self.output.write();
        for four in parts.chunks_exact(4) {
            let limit = OutputLimit {
                hard: four[1].parse().unwrap_or(0),
                soft: four[2].parse().unwrap_or(0),
                soft_for: Duration::from_secs(four[3].parse().unwrap_or(0)),
            };
            match four[0] {
                "normal" => output[0] = limit,
                "pubsub" => output[1] = limit,
                _ => {}
            }
        }
    }

    /// Milliseconds from which LATENCY keeps an event; 0 none.
    pub(crate) fn latency_threshold(&self) -> i64 {
        self.latency_threshold.load(Ordering::Relaxed)
    }

    /// Lets in fewer clients than was asked for, since the system has no descriptors for more.
    pub(crate) fn lower_maxclients(&self, max: u64) {
        self.texts.write().insert("maxclients", max.to_string());
        self.maxclients.store(max, Ordering::Relaxed);
    }

    /// The text of a setting.
    pub(crate) fn text(&self, name: &str) -> String {
        self.texts.read().get(name).cloned().unwrap_or_default()
    }

    /// A setting that is a number.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.texts.read().get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The names and texts of the settings for which `wanted` says so.
    pub(crate) fn list(&self, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let texts = self.texts.read();
        let shown = |(name, text): (&&'static str, &String)| match text.as_str() {
            "" => (*name, String::new()),
            _ if is_secret(name) => (*name, "********".to_owned()),
            text => (*name, text.to_owned()),
        };
        texts.iter().filter(|(name, _)| wanted(name)).map(shown).collect()
    }

    /// Sets several settings, all or none.
    ///
    /// # Errors
    /// Redis's line about the first that cannot be.
    pub(crate) fn set(&self, pairs: &[(String, String)]) -> Result<(), String> {
        let mut normal = Vec::new();
        for (name, text) in pairs {
            let failed = |why: &str| {
                format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
            };
            let lower = name.to_ascii_lowercase();
            let setting = SETTINGS.iter().find(|setting| setting.name == lower).ok_or(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            ))?;
            // A script that turns off what is not there anyway need not fail.
            if setting.when == When::Never && text == setting.default {
                continue;
            }
            if setting.when != When::Any {
                return Err(failed("can't set immutable config"));
            }
            let value = setting.normal(text).ok_or_else(|| failed(&setting.refusal(text)))?;
            if normal.iter().any(|(known, _)| *known == setting.name) {
                return Err(failed("duplicate parameter"));
            }
            normal.push((setting.name, value));
        }
        let mut texts = self.texts.write();
        for (name, value) in normal {
            // Classes that are not named keep their limits.
            let value = match name {
                "client-output-buffer-limit" => merge_limits(&texts[name], &value),
                _ => value,
            };
            texts.insert(name, value);
        }
        drop(texts);
        self.refresh();
        Ok(())
    }

    /// Writes what differs from the defaults into the file that was read.
    ///
    /// # Errors
    /// Redis's line if there is none, or why it cannot be written.
    pub(crate) fn rewrite(&self) -> Result<(), String> {
        let path = self.file.as_ref().ok_or("ERR The server is running without a config file")?;
        let failed = |error: std::io::Error| format!("ERR Rewriting config file: {error}");
        let old = std::fs::read_to_string(path).map_err(failed)?;
        let texts = self.texts.read().clone();
        let mut left: BTreeMap<&str, String> = SETTINGS
            .iter()
            .filter(|setting| setting.when != When::Never && !setting.is_default(&texts))
            .map(|setting| (setting.name, setting.line(&texts[setting.name])))
            .collect();
        let mut new = String::new();
        for row in old.lines() {
            let name = row.split('=').next().unwrap_or("").trim();
            match SETTINGS.iter().find(|setting| setting.name == name) {
                // What did not change stays as it was written, with its comment.
                Some(setting) if setting.read_line(row).as_ref() != Some(&texts[name]) => {
                    new.push_str(&setting.line(&texts[setting.name]));
                }
                _ => new.push_str(row),
            }
            left.remove(name);
            new.push('\n');
        }
        for row in left.values() {
            new.push_str(row);
            new.push('\n');
        }
        // Written beside and renamed: whoever reads it finds the old file or the new one.
        let beside = path.with_extension("tmp");
        let mode = std::fs::metadata(path).map_err(failed)?.permissions();
        std::fs::write(&beside, new).map_err(failed)?;
        std::fs::set_permissions(&beside, mode).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }

    /// Where to listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let port = u16::try_from(self.number("port")).unwrap_or(0);
        let bind = self.text("bind");
        words(&bind).filter_map(|ip| Some(SocketAddr::new(ip.parse().ok()?, port))).collect()
    }

    /// How many worker threads to run.
    pub(crate) fn threads(&self) -> usize {
        match usize::try_from(self.number("threads")).unwrap_or(0) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    pub(crate) fn file(&self) -> String {
        self.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// This node's name, given the port that it listens on: nodes of one host differ in that.
    pub(crate) fn node_name(&self, port: u16) -> String {
        match self.text("node-name") {
            name if !name.is_empty() => name,
            _ if port == 6379 => host_name(),
            _ => format!("{}-{port}", host_name()),
        }
    }

    /// Where to listen for other nodes, given the port for clients; none: this node is alone.
    pub(crate) fn peer_addresses(&self, port: u16) -> Option<Vec<SocketAddr>> {
        let peer_port = match self.text("peer-port").as_str() {
            "none" => return None,
            // Who lets the system choose the one lets it choose the other.
            "" if self.number("port") == 0 => 0,
            "" => port.checked_add(1000).unwrap_or(0),
            given => given.parse().unwrap_or(0),
        };
        let bind = self.text("peer-bind");
        let ips = words(&bind).filter_map(|ip| ip.parse().ok());
        Some(ips.map(|ip| SocketAddr::new(ip, peer_port)).collect())
    }

    /// What all nodes of the cluster know, if anything.
    pub(crate) fn cluster_secret(&self) -> Option<&[u8]> {
        self.cluster_secret.as_deref()
    }

    /// Where other nodes may be.
    pub(crate) fn join(&self) -> Vec<String> {
        words(&self.text("join")).map(str::to_owned).collect()
    }

    /// Where other nodes are told to reach this one; none: where it listens.
    pub(crate) fn peer_announce(&self) -> Vec<String> {
        words(&self.text("peer-announce")).map(str::to_owned).collect()
    }

    /// A setting that is a length of time.
    pub(crate) fn duration(&self, name: &str) -> Duration {
        parse_duration(&self.text(name)).unwrap_or_default()
    }

    /// How long changes are gathered.
    pub(crate) fn intervals(&self) -> Intervals {
        parse_intervals(&self.text("replication-interval")).expect("it was checked when it was set")
    }

    pub(crate) fn maxmemory(&self) -> u64 {
        self.maxmemory.load(Ordering::Relaxed)
    }

    pub(crate) fn bulk_bytes(&self) -> usize {
        self.bulk_bytes.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn query_bytes(&self) -> usize {
        self.query_bytes.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn key_max_bytes(&self) -> usize {
        self.key_bytes.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn maxclients(&self) -> u64 {
        self.maxclients.load(Ordering::Relaxed)
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        let seconds = self.timeout.load(Ordering::Relaxed);
        (seconds > 0).then_some(Duration::from_secs(seconds))
    }

    pub(crate) fn keepalive(&self) -> Option<Duration> {
        let seconds = self.keepalive.load(Ordering::Relaxed);
        (seconds > 0).then_some(Duration::from_secs(seconds))
    }

    pub(crate) fn function_linger(&self) -> Duration {
        Duration::from_secs(self.linger.load(Ordering::Relaxed))
    }

    /// Microseconds from which a command is slow.
    pub(crate) fn slower_than(&self) -> Option<u64> {
        u64::try_from(self.slower_than.load(Ordering::Relaxed)).ok()
    }

    /// Whether so short a time is slow that even FAST commands are timed one by one.
    pub(crate) fn times_all(&self) -> bool {
        self.times_all.load(Ordering::Relaxed)
    }

    pub(crate) fn protected(&self) -> bool {
        self.protected.load(Ordering::Relaxed)
    }

    /// The limit on unread output of a plain client, or of one that is subscribed.
    pub(crate) fn output_limit(&self, subscribed: bool) -> OutputLimit {
        self.output.read()[usize::from(subscribed)]
    }
}

/// The cluster's secret, as it is given or as its file says.
fn cluster_secret(texts: &BTreeMap<&'static str, String>) -> Result<Option<Vec<u8>>, Invalid> {
    let (given, path) = (&texts["cluster-secret"], &texts["cluster-secret-file"]);
    if path.is_empty() {
        return Ok((!given.is_empty()).then(|| given.clone().into_bytes()));
    }
    let invalid = |why: String| Invalid(format!("cluster-secret-file: {why}"));
    if !given.is_empty() {
        return Err(invalid("cluster-secret is given too; expected one of the two".into()));
    }
    let mut secret = std::fs::read(path).map_err(|error| {
        invalid(format!("cannot read {path}: {error}; expected a file with the cluster's secret"))
    })?;
    while secret.pop_if(|byte| matches!(byte, b'\r' | b'\n')).is_some() {}
    if secret.is_empty() {
        return Err(invalid(format!("{path} is empty; expected a file with the cluster's secret")));
    }
    Ok(Some(secret))
}

/// Whether a setting is not for everyone's eyes.
fn is_secret(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name && matches!(setting.kind, Kind::Secret))
}

fn merge_limits(old: &str, new: &str) -> String {
    let fours = |text: &str| -> Vec<(String, String)> {
        let parts: Vec<&str> = words(text).collect();
        parts.chunks_exact(4).map(|four| (four[0].to_owned(), four[1..].join(" "))).collect()
    };
    let mut merged = fours(old);
    for (class, limits) in fours(new) {
        if let Some(slot) = merged.iter_mut().find(|(known, _)| *known == class) {
            slot.1 = limits;
        }
    }
    let all: Vec<String> =
        merged.into_iter().map(|(class, limits)| format!("{class} {limits}")).collect();
    all.join(" ")
}

/// A value of the file as a text; else what it is instead.
fn text_of(value: toml::Value) -> Result<String, &'static str> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(n) => Ok(n.to_string()),
        toml::Value::Boolean(yes) => Ok((if yes { "yes" } else { "no" }).to_owned()),
        toml::Value::Array(all) => {
            let all: Result<Vec<String>, _> = all.into_iter().map(text_of).collect();
            Ok(all?.join(","))
        }
        other => Err(other.type_str()),
    }
}

fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    (if host.is_empty() { "miso" } else { host }).to_owned()
}

fn read_file(path: &std::path::Path) -> Result<BTreeMap<String, String>, Invalid> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Invalid(format!("{shown}: cannot read the configuration: {error}; expected a TOML file"))
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        Invalid(format!("{shown}: not valid TOML: {message}"))
    })?;
    let mut texts = BTreeMap::new();
    for (name, value) in table {
        let known = SETTINGS.iter().any(|s| s.name == name && s.when != When::Never);
        if !known {
            return Err(Invalid(format!("{shown}: {name}: unknown setting, see --help for all")));
        }
        let text = text_of(value).map_err(|found| {
            Invalid(format!(
                "{shown}: {name}: expected text, a number, a boolean or a list, found {found}"
            ))
        })?;
        texts.insert(name, text);
    }
    Ok(texts)
}

/// docs/settings.md.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\nGenerated from the server's own table by `cargo xtask docs`.\n\n\
         A value comes from the flag (`--maxmemory 100mb`), else the environment \
         (`MISO_MAXMEMORY`), else the file (`miso-server miso.toml`, `maxmemory = \"100mb\"`), else \
         the default.\n`CONFIG SET` changes those marked so while the server runs.\n\n\
         | setting | environment | default | `CONFIG SET` | expected | what it does |\n|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS.iter().filter(|setting| setting.when != When::Never) {
        let runtime = if setting.when == When::Any { "yes" } else { "" };
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", setting.default)
        };
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {default} | {runtime} | {} | {} |",
            setting.name,
            environment(setting),
            setting.expected(),
            setting.summary
        );
    }
    page.push_str("\nTools also ask `CONFIG GET` for these, which never change:\n\n");
    for setting in SETTINGS.iter().filter(|setting| setting.when == When::Never) {
        let _ = writeln!(page, "- `{}`: `{}`", setting.name, setting.default);
    }
    page
}

/// The defaults, and what is given.
#[cfg(test)]
pub(crate) fn for_test(given: &[(&str, &str)]) -> Settings {
    let texts = SETTINGS.iter().map(|setting| {
        let given = given.iter().find(|(name, _)| *name == setting.name);
        let text = given.map_or(setting.default, |(_, text)| text);
        (setting.name, setting.normal(text).expect("a valid setting"))
    });
    Settings::new(texts.collect(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_names_are_unique() {
        let mut names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        for setting in SETTINGS {
            assert!(setting.normal(setting.default).is_some(), "{}", setting.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }

    #[test]
    fn bytes_have_redis_units() {
        assert_eq!(parse_bytes("100mb"), Some(100 << 20));
        assert_eq!(parse_bytes("1K"), Some(1_000));
        assert_eq!(parse_bytes("7"), Some(7));
        for bad in ["", "mb", "1tb", "-1", "1.5mb", "99999999999gb"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    fn defaults() -> Settings {
        for_test(&[])
    }

    fn set(settings: &Settings, name: &str, text: &str) -> Result<(), String> {
        settings.set(&[(name.to_owned(), text.to_owned())])
    }

    #[test]
    fn output_limits_that_are_not_named_stay() {
        let settings = defaults();
        let mb = 1 << 20;
        let pubsub = OutputLimit { hard: 32 * mb, soft: 8 * mb, soft_for: Duration::from_secs(60) };
        assert_eq!(settings.output_limit(true), pubsub);
        set(&settings, "client-output-buffer-limit", "normal 1mb 2mb 3").expect("it is valid");
        let normal = OutputLimit { hard: mb, soft: 2 * mb, soft_for: Duration::from_secs(3) };
        assert_eq!((settings.output_limit(false), settings.output_limit(true)), (normal, pubsub));
        for bad in ["", "normal", "normal 1 2", "other 0 0 0", "normal 1 2 x"] {
            assert!(set(&settings, "client-output-buffer-limit", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn several_settings_are_set_all_or_none() {
        let settings = defaults();
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let pairs = [pair("timeout", "5"), pair("maxclients", "none")];
        assert!(settings.set(&pairs).is_err());
        assert_eq!(settings.timeout(), None);
        assert!(settings.set(&[pair("timeout", "5"), pair("TIMEOUT", "6")]).is_err());
        assert!(set(&settings, "TimeOut", "5").is_ok());
        assert_eq!(settings.timeout(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_never_changes_may_be_set_to_what_it_is() {
        let settings = defaults();
        assert!(set(&settings, "save", "").is_ok());
        assert!(set(&settings, "save", "900 1").is_err());
        assert!(set(&settings, "port", "6379").is_err());
        assert!(set(&settings, "no-such-setting", "1").is_err());
    }

    #[test]
    fn rewriting_keeps_what_did_not_change() {
        let directory = std::env::temp_dir().join(format!("miso-rewrite-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("there is a directory for temporary files");
        let path = directory.join("miso.toml");
        let old = "# a node\nmaxmemory = \"1mb\" # small\ntimeout = 7\n";
        std::fs::write(&path, old).expect("it is writable");
        let mut settings = defaults();
        settings.file = Some(path.clone());
        for (name, text) in [("maxmemory", "1048576"), ("timeout", "9"), ("maxclients", "5")] {
            set(&settings, name, text).expect("they are valid");
        }
        settings.rewrite().expect("the file is writable");
        let new = std::fs::read_to_string(&path).expect("it is readable");
        let expected = "# a node\nmaxmemory = \"1mb\" # small\ntimeout = 9\nmaxclients = 5\n";
        assert_eq!(new, expected);
        assert_eq!(read_file(&path).expect("it is valid")["timeout"], "9");
        std::fs::remove_dir_all(directory).expect("nobody else uses it");
        assert!(defaults().rewrite().is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for bad in ["", "5", "ms", "-1ms", "1.5s", "5 ms", "99999h", "1d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn functions_have_intervals_of_their_own() {
        let settings = defaults();
        set(&settings, "replication-interval", "5ms,a=0 b=c=2s").expect("it is valid");
        let named = [("a", Duration::ZERO), ("b=c", Duration::from_secs(2))];
        let named = named.map(|(name, interval)| (name.to_owned(), interval)).into();
        let expected = Intervals { default: Duration::from_millis(5), named };
        assert_eq!(settings.intervals(), expected);
        for bad in ["", "a=0", "5ms a", "5ms =1s", "5"] {
            assert!(set(&settings, "replication-interval", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_peer_port_follows_the_port() {
        let with = |port: &'static str, peer: &'static str| {
            let settings = defaults();
            settings.texts.write().extend([("port", port.into()), ("peer-port", peer.into())]);
            let bound = if port == "0" { 40_000 } else { port.parse().expect("a port") };
            settings.peer_addresses(bound).map(|all| all[0].port())
        };
        assert_eq!(with("6379", ""), Some(7379));
        assert_eq!(with("0", ""), Some(0));
        assert_eq!(with("65000", ""), Some(0));
        assert_eq!(with("6379", "9"), Some(9));
        assert_eq!(with("6379", "none"), None);
    }

    #[test]
    fn peers_are_hosts_and_ports() {
        for good in ["a:1", "10.0.0.1:7379", "[::1]:7379", "nodes.example:65535"] {
            assert!(is_peer(good), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:7379", "a:b"] {
            assert!(!is_peer(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_may_be_words() {
        let bind = SETTINGS.iter().find(|s| s.name == "bind").expect("it is there");
        assert_eq!(bind.normal("*").as_deref(), Some("0.0.0.0"));
        assert_eq!(bind.normal("localhost,::1").as_deref(), Some("127.0.0.1 ::1"));
        assert_eq!(bind.normal("nowhere"), None);
        assert_eq!(bind.normal(""), None);
    }

    #[test]
    fn the_command_line_is_sound() {
        flags().debug_assert();
    }

    #[test]
    fn a_cluster_passes_on_what_it_does_not_decide() {
        let read = |line: &str| {
            let matches = flags().try_get_matches_from(line.split(' ')).ok()?;
            matches.subcommand_matches("cluster").map(cluster)
        };
        let flags = ["--mdns", "no", "--replication-interval", "0"].map(str::to_owned).to_vec();
        let line = "miso-server cluster 3 --port 7000 --replication-interval 0 --mdns no";
        let data = Some(PathBuf::from("./miso-cluster"));
        let secrets = Vec::new();
        assert_eq!(read(line), Some(Cluster { nodes: 3, port: 7000, data, flags, secrets }));
        let secured = read("miso-server cluster 3 --cluster-secret x --requirepass y");
        let secured = secured.expect("it is valid");
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let secrets = [pair("MISO_CLUSTER_SECRET", "x"), pair("MISO_REQUIREPASS", "y")];
        assert_eq!((secured.flags, secured.secrets), (Vec::new(), secrets.to_vec()));
        let in_memory = read("miso-server cluster 1 --data-dir none").expect("it is valid");
        assert_eq!(in_memory.data, None);
        for bad in ["cluster", "cluster 0", "cluster 65", "cluster 3 --join a:1", "cluster x"] {
            assert_eq!(read(&format!("miso-server {bad}")), None, "{bad}");
        }
    }
}
