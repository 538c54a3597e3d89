//! `/metrics` as Prometheus' own checker reads it, and what Debian's exporter for Redis finds of a node.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::build::built;

/// What the dashboard of redis_exporter charts
/// (<https://github.com/oliver006/redis_exporter/blob/master/contrib/grafana_prometheus_redis_dashboard.json>).
const CHARTED: [&str; 14] = [
    "redis_uptime_in_seconds",
    "redis_connected_clients",
    "redis_memory_used_bytes",
    "redis_memory_max_bytes",
    "redis_commands_processed_total",
    "redis_keyspace_hits_total",
    "redis_keyspace_misses_total",
    "redis_net_input_bytes_total",
    "redis_net_output_bytes_total",
    "redis_db_keys",
    "redis_db_keys_expiring",
    "redis_expired_keys_total",
    "redis_evicted_keys_total",
    "redis_commands_total",
];

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Result<Running, String> {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.spawn().map(Running).map_err(|error| format!("{command:?} does not start: {error}"))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// What a port answers to this text, up to the end of the connection, once something listens there.
fn ask(port: u16, text: &str) -> Result<String, String> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(mut stream) => {
                let mut answer = String::new();
                let sent = stream.write_all(text.as_bytes());
                let read = sent.and_then(|()| stream.read_to_string(&mut answer));
                return read.map(|_| answer).map_err(|error| format!("port {port}: {error}"));
            }
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(format!("port {port}: {error}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The body of what a port answers to a GET of `/metrics`.
fn scrape(port: u16) -> Result<String, String> {
    let request = "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = ask(port, request)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(format!("port {port}: {answer}")),
    }
}

/// Whether the checker finds nothing to say of a page.
fn is_clean(page: &str) -> Outcome {
    let checker = super::unpacked("prometheus")?.join("usr/bin/promtool");
    let mut command = Command::new(checker);
    let mut child = command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("promtool does not start: {error}"))?;
    let mut input = child.stdin.take().ok_or("promtool has no input")?;
    let given = input.write_all(page.as_bytes());
    given.map_err(|error| format!("promtool: {error}"))?;
    drop(input);
    let status = child.wait().map_err(|error| format!("promtool: {error}"))?;
    Ok(status.success())
}

pub(super) fn run() -> Outcome {
    let (port, http, exported) = (free_port()?, free_port()?, free_port()?);
    let mut server = Command::new(built("miso-server"));
    server.args(["--data-dir", "none", "--peer-port", "none", "--mdns", "no"]);
    server.args(["--port", &port.to_string(), "--http-port", &http.to_string()]);
    let _server = start(&mut server)?;
    // So that there are keys, commands and latencies to tell of.
    ask(port, "SET k v EX 1000\r\nGET k\r\nGET none\r\nGCOUNTER.ADD o n 2\r\nQUIT\r\n")?;
    let clean = is_clean(&scrape(http)?)?;
    println!("promtool check metrics: {}", if clean { "nothing to say" } else { "see above" });

    let exporter = super::unpacked("prometheus-redis-exporter")?;
    let mut command = Command::new(exporter.join("usr/bin/prometheus-redis-exporter"));
    command.args(["-redis.addr", &format!("redis://127.0.0.1:{port}")]);
    command.args(["-web.listen-address", &format!("127.0.0.1:{exported}")]);
    let _exporter = start(&mut command)?;
    let page = scrape(exported)?;
    let has = |name: &str| {
        page.lines().any(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        })
    };
    let missing: Vec<&str> = CHARTED.into_iter().filter(|name| !has(name)).collect();
    println!("redis_exporter: {} of {} series", CHARTED.len() - missing.len(), CHARTED.len());
    missing.iter().for_each(|name| println!("  missing: {name}"));
    Ok(clean && missing.is_empty())
}
