//! A node that reads its data: what it answers meanwhile, and what a terminal shows. strace makes each read slow.

use miso_tests::{Http, Node, Scratch, Tool, Wire, wait_until};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// Runs what follows with each read of a file held up as what follows says, in microseconds.
const SLOWLY: [&str; 8] = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=pread64", "-e"];
const DELAY: &str = "inject=pread64:delay_enter=250000";
const SHORT_DELAY: &str = "inject=pread64:delay_enter=80000";

/// A data directory with some writes, of which `data` is the path.
fn written() -> (Scratch, String) {
    let directory = Scratch::new();
    let data = directory.path("data");
    let node = Node::with(&["--data-dir", &data]);
    node.session().script("SET k v => OK\nSAVE => OK\nSET l w => OK");
    drop(node);
    (directory, data)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn a_node_that_reads_its_data_lives_and_is_not_ready() {
    let (_directory, data) = written();
    let (port, http_port) = (Node::free_port(), Node::free_port());
    let (resp, http) = (port.to_string(), http_port.to_string());
    let binary = Node::binary().display().to_string();
    let flags = ["--mdns", "no", "--peer-port", "none", "--data-dir", &data];
    let ports = ["--port", &resp, "--http-port", &http];
    let args = [&SLOWLY[1..], &[DELAY, &binary], &flags, &ports].concat();
    let node = Tool::start(SLOWLY[0], &args);
    wait_until("the HTTP port", || TcpStream::connect(local(http_port)).is_ok());
    let get = |path: &str| Http::connect(local(http_port)).get(path);
    let early = get("/readyz");
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")), "{early:?}");
    let text = early.text();
    let percent = text.strip_prefix("the node reads its data: ").and_then(|t| t.split(' ').next());
    let percent: u32 = percent.expect(&text).parse().expect(&text);
    assert!(percent <= 100 && text.ends_with(" bytes\n"), "{text}");

    assert_eq!(get("/healthz").line(), "200 ok\n");
    let loading = "LOADING Redis is loading the dataset in memory";
    let refused = Http::connect(local(http_port)).post("/", r#"["PING"]"#);
    assert_eq!(refused.line(), format!(r#"503 {{"error":"{loading}"}}"#));
    let mut wire = Wire::connect(local(port)).expect("the port is open");
    wire.send(b"PING\r\n").expect("it is read");
    assert_eq!(wire.read().expect("an answer").to_string(), format!("-{loading}"));
    assert!(wire.read().is_err(), "the connection is closed");
    // One that says nothing holds nothing up.
    let _silent = TcpStream::connect(local(port)).expect("the port is open");

    wait_until("the end of it", || get("/readyz").status == 200);
    assert_eq!(get("/readyz").line(), "200 ready\n");
    let mut wire = Wire::connect(local(port)).expect("the port is open");
    assert_eq!(wire.ask("GET k").to_string(), "\"v\"");
    assert_eq!(wire.ask("GET l").to_string(), "\"w\"");
    let output = node.stop();
    assert!(!output.stderr.contains("reading"), "no terminal looks on: {}", output.stderr);
}

#[test]
fn by_tls_too_a_node_that_reads_its_data_says_so() {
    let (directory, data) = written();
    let certs = directory.path("certs");
    for words in [&["init"][..], &["node", "a"]] {
        let mut command = std::process::Command::new(Node::binary());
        let output =
            Tool::spawn(command.args(["certs", words[0], "--dir", &certs]).args(&words[1..]));
        assert_eq!(output.wait().code, Some(0));
    }
    let file = |name: &str| format!("{certs}/{name}");
    let (ca, cert, key) = (file("ca.pem"), file("a.pem"), file("a-key.pem"));
    let (port, http_port) = (Node::free_port().to_string(), Node::free_port().to_string());
    let binary = Node::binary().display().to_string();
    let flags = ["--mdns", "no", "--peer-port", "none", "--port", "0", "--data-dir", &data];
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let ports = ["--tls-port", &port, "--http-tls-port", &http_port];
    let args = [&SLOWLY[1..], &[DELAY, &binary], &flags, &tls, &ports].concat();
    let _node = Tool::start(SLOWLY[0], &args);
    let cli = |command: &str| {
        let at = ["-h", "localhost", "-p", &port, "--tls", "--cacert", &ca];
        let output = Tool::start("redis-cli", &[&at[..], &[command, "k"]].concat()).wait();
        output.stdout + &output.stderr
    };
    let curl = |path: &str| {
        let url = format!("https://localhost:{http_port}{path}");
        let args = ["-s", "--max-time", "5", "--cacert", &ca, "-w", " %{http_code}", &url];
        Tool::start("curl", &args).wait().stdout
    };
    let (mut is_told, mut ready) = (false, String::new());
    wait_until("the node to say that it loads", || {
        is_told = is_told || cli("GET").contains("LOADING");
        let answer = curl("/readyz");
        if answer.ends_with(" 503") {
            ready = answer;
        }
        is_told && !ready.is_empty()
    });
    assert!(ready.starts_with("the node reads its data: "), "{ready}");
    wait_until("the end of it", || cli("GET").contains('v'));
    assert_eq!(curl("/readyz"), "ready\n 200");
}

/// What a program wrote to a terminal, or to a pipe if there is none.
fn watched(on_terminal: bool, data: &str, option: &str) -> String {
    let binary = Node::binary().display().to_string();
    let args = [&SLOWLY[1..], &[SHORT_DELAY, &binary, option, data]].concat();
    let output = if on_terminal {
        let (tool, mut keyboard) = Tool::on_terminal(SLOWLY[0], &args);
        let output = tool.wait();
        // The terminal lives as long as the program.
        let _ = keyboard.flush();
        output
    } else {
        Tool::start(SLOWLY[0], &args).wait()
    };
    assert_eq!(output.code, Some(0), "{output:?}");
    output.stdout + &output.stderr
}

#[test]
fn a_terminal_sees_how_far_a_repair_is_and_a_log_does_not() {
    let (_directory, data) = written();
    for option in ["--check-data", "--repair"] {
        let seen = watched(true, &data, option);
        assert!(seen.contains(&format!("reading {data}: ")) && seen.contains("% of"), "{seen}");
        assert!(seen.contains("is sound"), "{seen}");
        let logged = watched(false, &data, option);
        assert!(!logged.contains("reading ") && logged.contains("is sound"), "{logged}");
    }
}
