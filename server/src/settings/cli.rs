//! The command line and the environment: what a start is asked to do, and with which settings.

use std::path::PathBuf;

use super::{Given, Invalid, SETTINGS, Setting, Settings, Source, When, default_texts, file};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Start {
    /// Run a node.
    Run(Box<Settings>),
    /// Run several nodes on this host.
    Cluster(Cluster),
    /// Only check the configuration.
    Check,
    /// Print a generated page.
    Print(Page),
    /// Print completions or a manual page.
    Text(Vec<u8>),
    /// Verify a data directory.
    CheckData(PathBuf),
    /// Mend a data directory.
    Repair(PathBuf),
    /// Make certificates.
    Certs(Certs),
    /// Show how a running node is.
    Status(Target),
}

/// A node to be asked, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its host name or address.
    pub(crate) host: String,
    /// Its port for clients.
    pub(crate) port: u16,
    /// The user to log in as; none: the default one.
    pub(crate) user: Option<String>,
    /// The user's password.
    pub(crate) password: Option<String>,
    /// What TLS needs; none: the port is without.
    pub(crate) tls: Option<TlsFiles>,
}

/// Files for a client of TLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificates of the CA that the node's certificate must come from.
    pub(crate) ca: String,
    /// The client's own certificate and its key.
    pub(crate) own: Option<(String, String)>,
}

/// Certificates to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certs {
    /// Where they and their CA are.
    pub(crate) directory: PathBuf,
    /// How many days they are good for.
    pub(crate) days: u32,
    /// Whose.
    pub(crate) what: What,
}

/// Whose certificate is to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A new CA's.
    Init,
    /// A node's, good for these host names and addresses.
    Node { name: String, addresses: Vec<String> },
    /// A client's.
    Client { name: String },
}

/// Several nodes on this host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// How many.
    pub(crate) nodes: u16,
    /// The first node's port for clients; those of the others follow.
    pub(crate) port: u16,
    /// The directory that holds one for each node; none: data is kept in memory only.
    pub(crate) data: Option<PathBuf>,
    /// Further flags for every node.
    pub(crate) flags: Vec<String>,
    /// Variables for every node: other users of the host can read a process's flags.
    pub(crate) secrets: Vec<(String, String)>,
}

/// The most nodes of a [`Cluster`].
const CLUSTER_MAX: i64 = 64;

/// Settings that a cluster decides for each of its nodes.
const DECIDED: [&str; 7] =
    ["port", "peer-port", "peer-bind", "peer-announce", "node-name", "join", "data-dir"];

/// A generated page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Page {
    /// docs/commands.md.
    Commands,
    /// docs/settings.md.
    Settings,
    /// docs/errors.md.
    Errors,
    /// docs/metrics.md.
    Metrics,
    /// docs/compatibility.md.
    Compatibility,
    /// deploy/miso.toml.
    Configuration,
}

/// The pages, by the flags that print them.
const PAGES: [(&str, Page, &str); 6] = [
    ("print-command-reference", Page::Commands, "Print docs/commands.md and exit"),
    ("print-settings-reference", Page::Settings, "Print docs/settings.md and exit"),
    ("print-error-reference", Page::Errors, "Print docs/errors.md and exit"),
    ("print-metric-reference", Page::Metrics, "Print docs/metrics.md and exit"),
    ("print-compatibility", Page::Compatibility, "Print docs/compatibility.md and exit"),
    (
        "print-config",
        Page::Configuration,
        "Print a configuration file that has all settings, and exit",
    ),
];

/// The settings that can be given.
fn given_settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.when != When::Never)
}

/// The settings that `miso-server cluster` passes on.
fn passed_on() -> impl Iterator<Item = &'static Setting> {
    given_settings().filter(|setting| !DECIDED.contains(&setting.name))
}

fn command_line() -> clap::Command {
    let file = |arg: clap::Arg| arg.value_name("FILE").help("Configuration file (TOML)");
    // Those of the documentation are for its making alone.
    let pages = PAGES
        .iter()
        .map(|(name, page, help)| switch(name, help).hide(*page != Page::Configuration));
    let completions = clap::Arg::new("print-completions")
        .long("print-completions")
        .value_name("SHELL")
        .value_parser(clap::value_parser!(clap_complete::Shell))
        .help("Print what a shell needs to complete this command line, and exit");
    let manual = clap::Arg::new("print-man-page")
        .long("print-man-page")
        .value_name("SUBCOMMAND")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("")
        .help("Print the manual page, or that of a subcommand, and exit");
    clap::Command::new("miso-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "A Redis-protocol server for shared state at the edge: every node reads and writes \
             locally, also offline; copies merge",
        )
        .after_help(
            "Every setting can also stand in the file (name = \"value\") or in the environment \
             (MISO_NAME).",
        )
        .arg(file(clap::Arg::new("file")))
        .arg(file(clap::Arg::new("config").long("config")))
        .arg(switch("check-config", "Check the configuration and exit"))
        .arg(path("check-data", "Verify the data directory of a node that does not run, and exit"))
        .arg(path("repair", "Mend a damaged data directory as far as possible, and exit"))
        .args(pages)
        .args([completions, manual])
        .args(given_settings().map(flag))
        .subcommand(cluster_command())
        .subcommand(certs_command())
        .subcommand(status_command())
        .args_conflicts_with_subcommands(true)
}

fn cluster_command() -> clap::Command {
    let nodes = clap::Arg::new("nodes")
        .value_name("N")
        .required(true)
        .value_parser(clap::value_parser!(u16).range(1..=CLUSTER_MAX))
        .help("Number of nodes");
    let port = clap::Arg::new("port")
        .long("port")
        .value_name("VALUE")
        .default_value("6379")
        .value_parser(clap::value_parser!(u16).range(1..))
        .help("Port of the first node; the next nodes have the next ports. A peer port is its node's port + 1000");
    let data = clap::Arg::new("data-dir")
        .long("data-dir")
        .value_name("DIR")
        .default_value("./miso-cluster")
        .help("Directory that holds one for each node; none: data is kept in memory only");
    clap::Command::new("cluster")
        .about("Run N nodes on this host that replicate to each other; Ctrl-C stops all of them")
        .args([nodes, port, data])
        .args(passed_on().map(flag))
}

fn certs_command() -> clap::Command {
    let directory = clap::Arg::new("dir")
        .long("dir")
        .value_name("DIR")
        .default_value("./miso-certs")
        .help("Directory of the CA and the certificates");
    let days = |default| {
        clap::Arg::new("days")
            .long("days")
            .value_name("N")
            .default_value(default)
            .value_parser(clap::value_parser!(u32).range(1..=36_500))
            .help("How many days the certificate is good for")
    };
    let name = clap::Arg::new("name").value_name("NAME").required(true);
    let addresses = clap::Arg::new("addresses")
        .value_name("ADDR")
        .num_args(0..)
        .help("Host names and addresses at which it is reached; its name, localhost, 127.0.0.1 and ::1 always are");
    clap::Command::new("certs")
        .about("Make a CA, and certificates of nodes and clients, in PEM files: NAME.pem and NAME-key.pem")
        .subcommand_required(true)
        .subcommand(
            clap::Command::new("init")
                .about("Make the CA: ca.pem and ca-key.pem")
                .args([directory.clone(), days("3650")]),
        )
        .subcommand(
            clap::Command::new("node")
                .about("Make the certificate of a node")
                .args([directory.clone(), days("365"), name.clone(), addresses]),
        )
        .subcommand(
            clap::Command::new("client")
                .about("Make the certificate of a client")
                .args([directory, days("365"), name]),
        )
}

/// Its options are called as redis-cli's.
fn status_command() -> clap::Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        clap::Arg::new(name).long(name).value_name(value).help(help)
    };
    let password = option("pass", "PASSWORD", "Password; better in the variable REDISCLI_AUTH")
        .short('a')
        .env("REDISCLI_AUTH")
        .hide_env_values(true);
    clap::Command::new("status")
        .about("Show how a running node is: load, memory, disk, nodes, functions")
        .disable_help_flag(true)
        .arg(clap::Arg::new("help").long("help").action(clap::ArgAction::Help).help("Print help"))
        .arg(option("host", "HOST", "Host of the node").short('h').default_value("127.0.0.1"))
        .arg(
            option("port", "PORT", "Port of the node for clients")
                .short('p')
                .default_value("6379")
                .value_parser(clap::value_parser!(u16).range(1..)),
        )
        .arg(option("user", "NAME", "User; one that is bound to no function sees all"))
        .arg(password)
        .arg(switch("tls", "Connect by TLS").requires("cacert"))
        .arg(option("cacert", "FILE", "The CA of the node's certificate").requires("tls"))
        .arg(option("cert", "FILE", "Own certificate").requires("key").requires("tls"))
        .arg(option("key", "FILE", "Key of the own certificate").requires("cert"))
}

/// What `miso-server status` was told.
fn target(matches: &clap::ArgMatches) -> Target {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let tls = text("cacert").map(|ca| TlsFiles { ca, own: text("cert").zip(text("key")) });
    Target {
        host: text("host").expect("it has a default"),
        port: *matches.get_one::<u16>("port").expect("it has a default"),
        user: text("user"),
        password: text("pass").filter(|password| !password.is_empty()),
        tls,
    }
}

/// What `miso-server certs` was told.
fn certs(matches: &clap::ArgMatches) -> Certs {
    let (which, matches) = matches.subcommand().expect("one is required");
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let what = match which {
        "init" => What::Init,
        "client" => What::Client { name: text("name") },
        _ => {
            let addresses = matches.get_many::<String>("addresses").into_iter().flatten();
            What::Node { name: text("name"), addresses: addresses.cloned().collect() }
        }
    };
    let days = *matches.get_one::<u32>("days").expect("it has a default");
    Certs { directory: text("dir").into(), days, what }
}

fn flag(setting: &Setting) -> clap::Arg {
    clap::Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        .allow_hyphen_values(true)
        .action(match setting.kind.repeats() {
            true => clap::ArgAction::Append,
            false => clap::ArgAction::Set,
        })
        .help(match setting.default {
            "" => setting.summary.to_owned(),
            default => format!("{} [default: {default}]", setting.summary),
        })
}

fn switch(name: &'static str, help: &'static str) -> clap::Arg {
    clap::Arg::new(name).long(name).action(clap::ArgAction::SetTrue).help(help)
}

fn path(name: &'static str, help: &'static str) -> clap::Arg {
    clap::Arg::new(name).long(name).value_name("DIR").help(help)
}

/// The text of a flag: the values of one that is repeated are joined with commas.
fn given(matches: &clap::ArgMatches, name: &str) -> Option<String> {
    let all: Vec<&str> = matches.get_many::<String>(name)?.map(String::as_str).collect();
    Some(all.join(","))
}

/// Completions for a shell.
fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "miso-server", &mut out);
    out
}

/// The manual page of this program, or of one of its subcommands.
///
/// # Errors
/// If there is no such subcommand; says which there are.
fn manual(subcommand: &str) -> Result<Vec<u8>, Invalid> {
    let mut command = command_line();
    command.build();
    let command = match subcommand {
        "" => command,
        name => command.find_subcommand(name).cloned().ok_or_else(|| {
            let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
            Invalid(format!(
                "--print-man-page: no subcommand '{name}', expected {}",
                names.join(", ")
            ))
        })?,
    };
    let mut out = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut out);
    rendered.map_err(|error| Invalid(format!("--print-man-page: {error}")))?;
    Ok(out)
}

/// What `miso-server cluster` was told.
fn cluster(matches: &clap::ArgMatches) -> Cluster {
    let number = |name| *matches.get_one::<u16>(name).expect("it is required, or has a default");
    let (mut flags, mut secrets) = (Vec::new(), Vec::new());
    for setting in passed_on() {
        match given(matches, setting.name) {
            Some(text) if setting.secret => secrets.push((setting.variable(), text)),
            Some(text) => flags.extend([format!("--{}", setting.name), text]),
            None => {}
        }
    }
    let data = matches.get_one::<String>("data-dir").filter(|data| *data != "none");
    let data = data.map(PathBuf::from);
    Cluster { nodes: number("nodes"), port: number("port"), data, flags, secrets }
}

/// Prints help if it was asked for; else what is wrong and the usage, and ends with status 2.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() && !error.to_string().contains("Usage:") {
        eprint!("{error}\n{}\n", command_line().render_usage());
        std::process::exit(2);
    }
    error.exit()
}

/// The text of a variable; an empty one counts as none. Kubernetes gives pods that run beside a
/// service named `miso` a `MISO_PORT=tcp://…`, which is not meant for this server.
///
/// # Errors
/// If it is not UTF-8.
fn from_environment(variable: &str) -> Result<Option<String>, Invalid> {
    let Some(text) = std::env::var_os(variable) else { return Ok(None) };
    let text = text
        .into_string()
        .map_err(|_| Invalid(format!("{variable}: invalid value, expected text that is UTF-8")))?;
    Ok(Some(text).filter(|text| !text.is_empty() && !text.starts_with("tcp://")))
}

/// Reads the command line, the environment and the file.
///
/// # Errors
/// A line that says which flag, variable or place of the file is wrong, and what is allowed. A
/// command line that cannot be parsed ends the process with its usage and status 2.
pub(crate) fn from_process() -> Result<Start, Invalid> {
    let matches = command_line().try_get_matches().unwrap_or_else(|error| refuse(&error));
    if let Some(matches) = matches.subcommand_matches("cluster") {
        return Ok(Start::Cluster(cluster(matches)));
    }
    if let Some(matches) = matches.subcommand_matches("certs") {
        return Ok(Start::Certs(certs(matches)));
    }
    if let Some(matches) = matches.subcommand_matches("status") {
        return Ok(Start::Status(target(matches)));
    }
    if let Some((_, page, _)) = PAGES.iter().find(|(name, ..)| matches.get_flag(name)) {
        return Ok(Start::Print(*page));
    }
    if let Some(shell) = matches.get_one::<clap_complete::Shell>("print-completions") {
        return Ok(Start::Text(completions(*shell)));
    }
    if let Some(subcommand) = matches.get_one::<String>("print-man-page") {
        return manual(subcommand).map(Start::Text);
    }
    if let Some(directory) = given(&matches, "check-data") {
        return Ok(Start::CheckData(directory.into()));
    }
    if let Some(directory) = given(&matches, "repair") {
        return Ok(Start::Repair(directory.into()));
    }
    let path = given(&matches, "config").or_else(|| given(&matches, "file")).map(PathBuf::from);
    let settings = read(path, |name| given(&matches, name), from_environment)?;
    if matches.get_flag("check-config") {
        return Ok(Start::Check);
    }
    Ok(Start::Run(Box::new(settings)))
}

/// The settings of a file, of variables and of flags; the later of these win.
///
/// # Errors
/// Which flag, variable or place of the file is wrong, and what is allowed.
fn read(
    path: Option<PathBuf>,
    flag: impl Fn(&str) -> Option<String>,
    variable: impl Fn(&str) -> Result<Option<String>, Invalid>,
) -> Result<Settings, Invalid> {
    let mut texts = default_texts();
    if let Some(path) = &path {
        for (row, text) in file::read(path)? {
            texts[row] = Given { text, source: Source::File };
        }
    }
    for (setting, slot) in SETTINGS.iter().zip(&mut texts) {
        if setting.when == When::Never {
            continue;
        }
        let name = setting.variable();
        let (from, source, text) = match flag(setting.name) {
            Some(text) => (format!("--{}", setting.name), Source::Flag, text),
            None => match variable(&name)? {
                Some(text) => (name, Source::Environment, text),
                None => continue,
            },
        };
        let text = setting.accept(&text).map_err(|why| Invalid(format!("{from}: {why}")))?;
        *slot = Given { text, source };
    }
    let settings = Settings::new(texts, path);
    settings.set_secrets(settings.read_secrets().map_err(Invalid)?);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let none = |_: &str| None;
        let nothing = |_: &str| Ok(None);
        let variable = |name: &str| Ok((name == "MISO_TIMEOUT").then(|| "5".to_owned()));
        let flag = |name: &str| (name == "timeout").then(|| "6".to_owned());
        let timeout = |settings: Result<Settings, Invalid>| {
            settings.expect("all texts are valid").timeout().map(|time| time.as_secs())
        };
        assert_eq!(timeout(read(None, none, nothing)), None);
        assert_eq!(timeout(read(None, none, variable)), Some(5));
        assert_eq!(timeout(read(None, flag, variable)), Some(6));
        let bad = |_: &str| Ok(Some("soon".to_owned()));
        let why = read(None, none, bad).expect_err("no such address").to_string();
        assert_eq!(
            why,
            "MISO_BIND: invalid value 'soon', expected IP addresses, or * for all of IPv4"
        );
    }

    #[test]
    fn a_cluster_passes_on_what_it_does_not_decide() {
        let read = |line: &str| {
            let matches = command_line().try_get_matches_from(line.split(' ')).ok()?;
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
