//! `miso-server cluster N`: nodes on this host, each a process of its own, that find each other.
//!
//! The nodes run this same program. Each line of their logs is shown after the node's name. Ctrl-C or
//! SIGTERM ends all of them; if this process dies otherwise, the system ends them.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::settings::cli::Cluster;

/// How far a node's peer port is above its port.
const PEER_PORT: u16 = 1000;
/// How long the nodes may take to start.
const START: Duration = Duration::from_secs(30);
/// How long the nodes may take to end.
const END: Duration = Duration::from_secs(5);
/// How often it looks whether nodes are ready, or have ended.
const LOOK: Duration = Duration::from_millis(20);

/// Prints a line. If the reader has ended, the nodes go on without it.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A node of the cluster.
struct Node {
    name: String,
    port: u16,
    child: Child,
    over: Option<ExitStatus>,
}

/// Runs the nodes until a signal asks to stop, or none is left.
///
/// # Errors
/// If a node does not start, or the last one has ended by itself.
pub(crate) fn run(cluster: &Cluster) -> Result<(), String> {
    let last = cluster.port.checked_add(PEER_PORT + cluster.nodes - 1);
    if last.is_none() {
        return Err(format!(
            "port: {} nodes from {} on have peer ports beyond 65535; expected a lower port",
            cluster.nodes, cluster.port
        ));
    }
    for port in cluster.port..cluster.port + cluster.nodes {
        for port in [port, port + PEER_PORT] {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
                format!(
                    "port: 127.0.0.1:{port} cannot be bound: {error}; expected a free port (--port)"
                )
            })?;
        }
    }
    let (stop, stopped) = channel();
    listen(stop)?;
    let mut nodes = Vec::new();
    let result = start(cluster, &mut nodes).and_then(|()| {
        if wait_until_ready(&mut nodes, &stopped)? {
            say(&table(&nodes));
            watch(&mut nodes, &stopped)?;
        }
        Ok(())
    });
    end(&mut nodes);
    result
}

/// Sends to `stop` when a signal asks to stop.
fn listen(stop: Sender<()>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot take signals: {error}");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        (terminate, signal(SignalKind::interrupt()).map_err(failed)?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // Sending fails if this process is ending already.
        let _ = stop.send(());
    });
    Ok(())
}

fn start(cluster: &Cluster, nodes: &mut Vec<Node>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("cluster: {error}"))?;
    let ports = || cluster.port..cluster.port + cluster.nodes;
    for (number, port) in (1..).zip(ports()) {
        let name = format!("node-{number}");
        let others = ports().filter(|other| *other != port);
        let join: Vec<String> =
            others.map(|other| format!("127.0.0.1:{}", other + PEER_PORT)).collect();
        let mut command = Command::new(&program);
        if !cluster.flags.iter().any(|flag| flag == "--mdns") {
            // The nodes have each other's addresses, and must not find nodes of other clusters.
            command.args(["--mdns", "no"]);
        }
        command
            .args(&cluster.flags)
            .envs(cluster.secrets.iter().cloned())
            .args(["--port", &port.to_string(), "--node-name", &name])
            .args(["--peer-bind", "127.0.0.1", "--peer-port", &(port + PEER_PORT).to_string()])
            .args(["--join", &join.join(",")])
            .args(["--data-dir", &data_directory(cluster, &name)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches this process alone, which then ends the nodes.
            .process_group(0);
        let parent = std::process::id();
        // SAFETY: between fork and exec only prctl and getppid are called, which are
        // async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // The parent may have died before the call.
                if libc::getppid().unsigned_abs() != parent {
                    return Err(std::io::Error::other("the parent has ended"));
                }
                Ok(())
            });
        }
        let mut child =
            command.spawn().map_err(|error| format!("{name}: cannot start: {error}"))?;
        forward(&name, child.stdout.take());
        forward(&name, child.stderr.take());
        nodes.push(Node { name, port, child, over: None });
    }
    Ok(())
}

/// The data directory of a node; made if it does not exist.
fn data_directory(cluster: &Cluster, node: &str) -> Result<String, String> {
    let Some(data) = &cluster.data else { return Ok("none".to_owned()) };
    let directory = data.join(node);
    std::fs::create_dir_all(&directory).map_err(|error| {
        format!("data-dir: cannot make {}: {error}; expected a directory", directory.display())
    })?;
    let shown = directory.to_str().map(str::to_owned);
    shown.ok_or_else(|| format!("data-dir: {} is not UTF-8", directory.display()))
}

/// Shows what a node writes, a line at a time.
fn forward(name: &str, output: Option<impl Read + Send + 'static>) {
    let Some(output) = output else { return };
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            say(&format!("{name} | {}", String::from_utf8_lossy(&line).trim_end()));
            line.clear();
        }
    });
}

impl Node {
    /// How it has ended, if it has ended since the last call.
    fn ended(&mut self) -> Option<ExitStatus> {
        if self.over.is_some() {
            return None;
        }
        self.over = self.child.try_wait().ok().flatten();
        self.over
    }

    /// Whether it serves: it has read its data.
    fn answers(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&address, LOOK)?;
            stream.set_read_timeout(Some(LOOK))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok::<_, std::io::Error>(!answer.starts_with(b"-LOAD"))
        };
        ask().unwrap_or(false)
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("with status {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => "somehow".to_owned(),
    }
}

/// Waits until all nodes accept connections. Returns false if a signal asks to stop first.
fn wait_until_ready(nodes: &mut [Node], stopped: &Receiver<()>) -> Result<bool, String> {
    let began = Instant::now();
    let mut ready = vec![false; nodes.len()];
    while ready.contains(&false) {
        for (node, ready) in nodes.iter_mut().zip(&mut ready) {
            if let Some(status) = node.ended() {
                return Err(format!("{} has ended {} while it started", node.name, how(status)));
            }
            *ready = *ready || node.answers();
        }
        if began.elapsed() > START {
            return Err(format!("not all nodes are ready after {START:?}"));
        }
        if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How to reach each node.
fn table(nodes: &[Node]) -> String {
    let mut text =
        format!("\n{:8} {:7} {:9} {:8} reach it by\n", "node", "port", "peer port", "pid");
    for node in nodes {
        let Node { name, port, child, .. } = node;
        text += &format!(
            "{name:8} {port:<7} {:<9} {:<8} redis-cli -p {port}\n",
            port + PEER_PORT,
            child.id()
        );
    }
    text + "\nWhat is written on one node reaches all others a moment later. Ctrl-C ends them.\n"
}

/// Prints which nodes end, until a signal asks to stop.
fn watch(nodes: &mut [Node], stopped: &Receiver<()>) -> Result<(), String> {
    while stopped.recv_timeout(LOOK * 5) == Err(RecvTimeoutError::Timeout) {
        for at in 0..nodes.len() {
            if let Some(status) = nodes[at].ended() {
                let left = nodes.iter().filter(|node| node.over.is_none()).count();
                let (name, how) = (&nodes[at].name, how(status));
                say(&format!("{name} has ended {how}; {left} of {} nodes are left", nodes.len()));
            }
        }
        if nodes.iter().all(|node| node.over.is_some()) {
            return Err("no node is left".to_owned());
        }
    }
    Ok(())
}

/// Ends all nodes: by SIGTERM first, after [`END`] by SIGKILL.
fn end(nodes: &mut [Node]) {
    for node in nodes.iter_mut().filter(|node| node.over.is_none()) {
        let Ok(pid) = libc::pid_t::try_from(node.child.id()) else { continue };
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    let began = Instant::now();
    while nodes.iter_mut().any(|node| node.ended().is_none() && node.over.is_none()) {
        if began.elapsed() > END {
            for node in nodes.iter_mut().filter(|node| node.over.is_none()) {
                say(&format!("{} did not end after SIGTERM and was killed", node.name));
                // It fails only if it has ended by itself.
                let _ = node.child.kill();
                let _ = node.child.wait();
            }
            return;
        }
        std::thread::sleep(LOOK);
    }
}
