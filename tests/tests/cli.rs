//! The command line, the configuration file and the environment: what they set and what they refuse.

use miso_tests::{Node, Output, Scratch, Tool};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Deref;
use std::process::Command;

/// Runs the server to its end.
fn run(flags: &[&str]) -> Output {
    let mut command = Command::new(Node::binary());
    // Else they would share one directory, and the second would be refused for that.
    command.args(flags).env_remove("MISO_PORT").env("MISO_DATA_DIR", "none");
    Tool::spawn(&mut command).wait()
}

/// It ended with code 1 and one line on standard error, which has all of `parts`.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(lines.len(), 1, "one line, not:\n{}", output.stderr);
    for part in parts {
        assert!(lines[0].contains(part), "no {part:?} in: {}", lines[0]);
    }
}

/// The path of a file, in a directory of its own that goes with it.
struct ConfigFile {
    path: String,
    _directory: Scratch,
}

impl Deref for ConfigFile {
    type Target = str;

    fn deref(&self) -> &str {
        &self.path
    }
}

/// A file with `text`.
fn file(text: &str) -> ConfigFile {
    let directory = Scratch::new();
    let path = directory.path("miso.toml");
    fs::write(&path, text).expect("the scratch directory is writable");
    ConfigFile { path, _directory: directory }
}

#[test]
fn unknown_flags() {
    for flags in [&["--bad-flag"][..], &["--port", "1", "--nonsense", "2"]] {
        let output = run(flags);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains("Usage: miso-server"), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    assert_eq!(run(&["--port"]).code, Some(2));
}

#[test]
fn help_and_version() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for flag in [
        "--config",
        "--bind",
        "--port",
        "--default-function",
        "--threads",
        "--maxmemory",
        "--maxclients",
        "--requirepass",
        "--loglevel",
        "--check-config",
    ] {
        assert!(help.stdout.contains(flag), "{flag} is not in the help");
    }
    let version = run(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert_eq!(version.stdout.trim(), format!("miso-server {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn taken_port() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    refused(&run(&["--port", &port]), &[&port, "port", "in use"]);
}

#[test]
fn address_that_is_not_ours() {
    refused(&run(&["--bind", "192.0.2.1", "--port", "7000"]), &["192.0.2.1"]);
    refused(&run(&["--bind", "nonsense", "--port", "7000"]), &["bind", "nonsense"]);
}

#[test]
fn invalid_values() {
    for (flag, value) in [
        ("port", "abc"),
        ("port", "70000"),
        ("maxclients", "many"),
        ("maxclients", "-1"),
        ("maxmemory", "12xb"),
        ("timeout", "soon"),
        ("threads", "-3"),
        ("loglevel", "shouting"),
        ("appendonly", "perhaps"),
    ] {
        let output = run(&[&format!("--{flag}={value}")]);
        if flag == "appendonly" && output.code == Some(2) {
            // Not every setting of Redis is a flag.
            continue;
        }
        refused(&output, &[flag, value]);
    }
}

#[test]
fn unreadable_configuration() {
    refused(&run(&["--config", "/nonexistent/miso.toml"]), &["/nonexistent/miso.toml"]);
    let directory = Scratch::new();
    let directory = directory.to_str().expect("a path of text");
    refused(&run(&["--config", directory]), &[directory]);
    // As with redis-server, the file may stand alone.
    refused(&run(&["/nonexistent/miso.toml"]), &["/nonexistent/miso.toml"]);
}

#[test]
fn unusable_users() {
    refused(
        &run(&["--port", "0", "--aclfile", "/nowhere/users.acl"]),
        &["aclfile", "/nowhere/users.acl"],
    );
    let path = file("user bob on >pw +nonsense\n");
    refused(&run(&["--port", "0", "--aclfile", &path]), &["aclfile", &path, "nonsense"]);
}

#[test]
fn wrong_configuration() {
    for (text, parts) in [
        ("port = \"abc\"\n", &["port"][..]),
        ("port = 70000\n", &["port", "70000"]),
        ("maxclients = true\n", &["maxclients"]),
        ("nonsense = 1\n", &["nonsense"]),
        ("port = \n", &[]),
        ("this is no TOML", &[]),
        ("loglevel = \"shouting\"\n", &["loglevel", "shouting"]),
        ("maxmemory = \"12xb\"\n", &["maxmemory", "12xb"]),
    ] {
        let path = file(text);
        let mut parts = parts.to_vec();
        parts.push(&path);
        refused(&run(&["--config", &path]), &parts);
        refused(&run(&["--config", &path, "--check-config"]), &parts);
    }
    let path = file("\u{0}\u{1}");
    refused(&run(&["--config", &path]), &[&path]);
}

/// A fault of the file is said with its line and column, and with what is allowed.
#[test]
fn places_in_the_configuration() {
    for (text, place, allowed) in [
        ("# ours\nport = 1\n  maxmemory = \"12xb\"\n", ":3:15: maxmemory", "100mb"),
        ("port = 70000\n", ":1:8: port", "from 0 to 65535"),
        ("port = 1\nappendfsync = \"never\"\n", ":2:15: appendfsync", "everysec, always, no"),
        ("\n\nnonsense = 1\n", ":3:1: nonsense", "--help"),
        ("port = \n", ":1:8: ", "not valid TOML"),
        ("[port]\nx = 1\n", ":1:1: port: found a table", "from 0 to 65535"),
    ] {
        let path = file(text);
        refused(&run(&["--config", &path]), &[&format!("{}{place}", &*path), allowed]);
    }
}

#[test]
fn unusable_secrets() {
    let (empty, good) = (file("\r\n\n"), file("secret\n"));
    for (flags, parts) in [
        (vec!["--cluster-secret-file", &empty], ["cluster-secret-file", "is empty"]),
        (vec!["--cluster-secret-file", "/nowhere/at/all"], ["/nowhere/at/all", "cannot read"]),
        (
            vec!["--cluster-secret-file", &good, "--cluster-secret", "hush"],
            ["cluster-secret-file", "one of the two"],
        ),
    ] {
        let output = run(&flags);
        refused(&output, &parts);
        assert!(!output.stderr.contains("hush"), "{}", output.stderr);
        refused(&run(&[&flags[..], &["--check-config"]].concat()), &parts);
    }
    assert_eq!(run(&["--cluster-secret-file", &good, "--check-config"]).code, Some(0));
}

#[test]
fn checking_a_configuration() {
    let path = file("port = 7001\nmaxmemory = \"100mb\"\ndefault-function = \"checkout\"\n");
    let output = run(&["--config", &path, "--check-config"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.stderr, "");
}

/// A flag wins over the environment, the environment over the file.
#[test]
fn precedence() {
    let path = file("default-function = \"from-file\"\nmaxclients = 11\ntimeout = 12\n");
    let node = Node::with_environment(
        &["--config", &path, "--default-function", "from-flag"],
        &[("MISO_DEFAULT_FUNCTION", "from-environment"), ("MISO_MAXCLIENTS", "22")],
    );
    node.session().script(
        r#"
        MISO.FUNCTION => "from-flag"
        CONFIG GET maxclients => ["maxclients", "22"]
        CONFIG GET timeout => ["timeout", "12"]
        "#,
    );
    let node = Node::with(&[&path]);
    node.session().script(r#"MISO.FUNCTION => "from-file""#);
    let output = Tool::spawn(Command::new(Node::binary()).env("MISO_MAXCLIENTS", "many")).wait();
    refused(&output, &["many"]);
}

/// CONFIG REWRITE brings the running settings into the file, and a node started from it has them.
#[test]
fn rewriting_the_configuration() {
    let path = file("# Ours\nmaxclients = 11\n");
    let node = Node::with(&["--config", &path]);
    node.session().script("CONFIG SET maxclients 33 timeout 44 => OK\nCONFIG REWRITE => OK");
    drop(node);
    let text = fs::read_to_string(&*path).expect("the file is still there");
    assert!(text.contains("# Ours"), "comments stay:\n{text}");
    Node::with(&["--config", &path]).session().script(
        r#"
        CONFIG GET maxclients => ["maxclients", "33"]
        CONFIG GET timeout => ["timeout", "44"]
        "#,
    );
}

/// A secret that came by the environment is not written into the file; one of CONFIG SET is.
#[test]
fn rewriting_keeps_secrets_of_the_environment_out() {
    let path = file("maxclients = 11\n");
    let environment = [("MISO_REQUIREPASS", "hush"), ("MISO_CLUSTER_SECRET", "whisper")];
    let node = Node::with_environment(&["--config", &path], &environment);
    let mut wire = node.wire();
    for line in ["AUTH hush", "CONFIG SET timeout 44", "CONFIG REWRITE"] {
        assert_eq!(wire.ask(line).to_string(), "OK", "{line}");
    }
    let text = fs::read_to_string(&*path).expect("the file is still there");
    assert!(!text.contains("hush") && !text.contains("whisper"), "{text}");
    assert!(text.contains("timeout = 44"), "{text}");
    for line in ["CONFIG SET requirepass later", "CONFIG REWRITE"] {
        assert_eq!(wire.ask(line).to_string(), "OK", "{line}");
    }
    let text = fs::read_to_string(&*path).expect("the file is still there");
    assert!(text.contains("requirepass = \"later\"") && !text.contains("whisper"), "{text}");
}

/// The references that the documentation is made of.
#[test]
fn references() {
    let commands = run(&["--print-command-reference"]);
    assert_eq!(commands.code, Some(0), "{}", commands.stderr);
    for name in ["GCOUNTER.ADD", "ORMAP.INCRBY", "MISO.REGISTER", "CLIENT", "SUBSCRIBE"] {
        assert!(commands.stdout.contains(name), "{name} is not in the command reference");
    }
    let settings = run(&["--print-settings-reference"]);
    assert_eq!(settings.code, Some(0), "{}", settings.stderr);
    for name in ["maxmemory", "default-function", "MISO_PORT"] {
        assert!(settings.stdout.contains(name), "{name} is not in the settings reference");
    }
    for (flag, words) in [
        ("--print-error-reference", "`WRONGTYPE`"),
        ("--print-metric-reference", "`miso_memory_used_bytes`"),
    ] {
        let page = run(&[flag]);
        assert_eq!(page.code, Some(0), "{}", page.stderr);
        assert!(page.stdout.contains(words), "no {words} on the page of {flag}");
    }
}

/// A node is ready soon and small, and says where it listens.
#[test]
fn starting() {
    let node = Node::start();
    assert!(node.log().contains(&node.port()), "{}", node.log());
    assert!(node.memory("VmRSS") < 40 << 20, "{} bytes", node.memory("VmRSS"));
}

/// Every setting stands in the printed configuration, and every line of it is valid: a node that is given all of them
/// is one that is given none.
#[test]
fn the_printed_configuration_is_read_back() {
    let printed = run(&["--print-config"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let as_printed = file(&printed.stdout);
    assert_eq!(run(&["--config", &as_printed, "--check-config"]).code, Some(0));
    let is_setting =
        |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let lines: Vec<&str> =
        printed.stdout.lines().filter(is_setting).map(|line| &line[1..]).collect();
    let help = run(&["--help"]).stdout;
    for line in &lines {
        let (name, _) = line.split_once(" = ").expect(line);
        assert!(help.contains(&format!("--{name} ")), "{name} is no flag");
    }
    let config = |flags: &[&str]| {
        let node = Node::with(flags);
        let all =
            node.session().run("CONFIG GET *").items().iter().map(|item| item.text()).collect();
        let all: Vec<String> = all;
        let pairs = all.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        // Those that tests give each node, and the name that follows from the port.
        let given = ["port", "peer-port", "mdns", "data-dir", "node-name"];
        pairs.filter(|(name, _)| !given.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let all = file(&lines.join("\n"));
    let plain = config(&[]);
    assert_eq!(config(&["--config", &all]), plain);
    assert!(lines.len() > 60 && lines.len() <= plain.len() + 5, "{} settings", lines.len());
}

/// Shells and man read what is printed for them.
#[test]
fn completions_and_manual_pages() {
    let directory = Scratch::new();
    for (shell, words) in [
        ("bash", "complete -F _miso__server"),
        ("zsh", "#compdef miso-server"),
        ("fish", "complete -c miso-server"),
    ] {
        let printed = run(&["--print-completions", shell]);
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
        for word in [words, "maxmemory", "cluster", "status"] {
            assert!(printed.stdout.contains(word), "no {word} for {shell}");
        }
        if shell == "bash" {
            let path = directory.path("completions");
            fs::write(&path, printed.stdout).expect("writable");
            let completed = format!(
                "source {path}; COMP_WORDS=(miso-server --maxmemory-c); COMP_CWORD=1; \
                 _miso__server miso-server --maxmemory-c ''; echo \"${{COMPREPLY[@]}}\""
            );
            let output = Tool::run("bash", &["-c", &completed], b"");
            assert_eq!(output.stdout, "--maxmemory-clients\n", "{output:?}");
        }
    }
    assert_eq!(run(&["--print-completions", "cmd"]).code, Some(2));
    let page = run(&["--print-man-page"]);
    assert!(page.stdout.contains(".TH miso-server 1 ") && page.stdout.contains("maxmemory"));
    let page = run(&["--print-man-page=status"]);
    assert!(page.stdout.contains(".TH miso-server-status 1 "), "{}", page.stdout);
    assert!(page.stdout.contains("cacert") && !page.stdout.contains("maxmemory"));
    refused(
        &run(&["--print-man-page=stat"]),
        &["--print-man-page", "stat", "cluster, certs, status"],
    );
}
