//! A server process that lives as long as its test.

use crate::{
    DEADLINE, Frame, Http, Output, Resp, Scratch, Session, Tool, Wire, find_program, find_redis_8,
};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Waits until `done` says so; fails the test with `what` after [`DEADLINE`].
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server on a free loopback port, in a directory of its own.
pub struct Node {
    child: Child,
    address: SocketAddr,
    directory: Scratch,
}

impl Node {
    /// Starts a node with its defaults.
    pub fn start() -> Node {
        Node::with(&[])
    }

    /// Starts a node with further flags.
    pub fn with(flags: &[&str]) -> Node {
        Node::with_environment(flags, &[])
    }

    /// Starts a node that may find that it must not run: then there is none.
    pub fn launch(flags: &[&str]) -> Option<Node> {
        let directory = Scratch::new();
        let log = File::create(directory.join("log")).expect("a log file");
        let port = Node::free_port();
        let child = Command::new(Node::binary())
            .args(["--peer-port", "0", "--mdns", "no", "--port", &port.to_string()])
            .args(flags)
            .current_dir(&*directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut node = Node { child, address, directory };
        node.becomes_ready().then_some(node)
    }

    /// Starts a node with further flags and environment variables.
    pub fn with_environment(flags: &[&str], variables: &[(&str, &str)]) -> Node {
        Node::of(&Node::binary(), flags, variables)
    }

    /// Starts a node of another build of the server.
    pub fn of(binary: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Node {
        Node::spawn(|port| {
            let mut command = Command::new(binary);
            // Tests that run at once must not find each other's nodes, nor want each other's ports.
            for (flag, value) in [("--peer-port", "0"), ("--mdns", "no"), ("--data-dir", "none")] {
                if !flags.contains(&flag) {
                    command.args([flag, value]);
                }
            }
            command.args(["--port", &port.to_string()]).args(flags).envs(variables.iter().copied());
            command
        })
    }

    /// Starts a node by way of another program, which is given the node's command line after `wrapper` and must become
    /// the node.
    pub fn inside(wrapper: &[&str], flags: &[&str]) -> Node {
        Node::spawn(|port| {
            let mut command = Command::new(wrapper[0]);
            command.args(&wrapper[1..]).arg(Node::binary());
            command.args(["--peer-port", "0", "--mdns", "no", "--port", &port.to_string()]);
            command.args(flags);
            command
        })
    }

    /// Runs the server to its end, which must come by itself.
    #[track_caller]
    pub fn refused(flags: &[&str]) -> Output {
        let mut command = Command::new(Node::binary());
        Tool::spawn(command.args(["--port", "0", "--peer-port", "0", "--mdns", "no"]).args(flags))
            .wait()
    }

    /// Starts a stock `redis-server`: the reference where a command is Redis's own.
    pub fn redis(flags: &[&str]) -> Node {
        Node::redis_at(&find_program("redis-server"), flags)
    }

    /// Starts a stock `redis-server` 8.2.3: the reference for what older versions do not have.
    pub fn redis_8(flags: &[&str]) -> Node {
        Node::redis_at(&find_redis_8(), flags)
    }

    fn redis_at(program: &Path, flags: &[&str]) -> Node {
        Node::spawn(|port| {
            let mut command = Command::new(program);
            command
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no"])
                .args(flags);
            command
        })
    }

    /// The server under test: `MISO_SERVER`, else `miso-server` beside the test programs in the target directory.
    pub fn binary() -> PathBuf {
        if let Some(path) = std::env::var_os("MISO_SERVER") {
            return path.into();
        }
        let test = std::env::current_exe().expect("a test program has a path");
        let path = test
            .ancestors()
            .nth(2)
            .expect("test programs are in target/<profile>/deps")
            .join("miso-server");
        assert!(
            path.exists(),
            "{} does not exist: run `cargo build -p miso-server` first, or set MISO_SERVER",
            path.display()
        );
        path
    }

    /// A loopback port that no process listens on now. Another may take it before it is used.
    pub fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free loopback port")
            .port()
    }

    fn spawn(command: impl Fn(u16) -> Command) -> Node {
        // Another process may take the port between the probe and the server's bind: then take another.
        for _ in 0..5 {
            let directory = Scratch::new();
            let port = Node::free_port();
            let log = File::create(directory.join("log")).expect("a log file");
            let child = command(port)
                .current_dir(&*directory)
                // A panic's place is enough; a backtrace would push it out of the part of the log that is shown.
                .env("RUST_BACKTRACE", "0")
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a second handle of the log"))
                .stderr(log)
                .spawn()
                .expect("the server starts");
            let mut node =
                Node { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), directory };
            if node.becomes_ready() {
                return node;
            }
            let log = node.log();
            assert!(
                log.to_lowercase().contains("already in use"),
                "the server ended before it was ready:\n{log}"
            );
        }
        panic!("five free ports in a row were taken by others");
    }

    /// True once it answers, false if it ended.
    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        loop {
            if self.listens()
                && let Ok(mut wire) = Wire::connect(self.address)
                && wire.send(b"PING\r\n").is_ok()
                && let Ok(frame) = wire.read()
                && !matches!(&frame, Frame::Error(text) if text.starts_with("LOADING"))
            {
                return true;
            }
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            assert!(start.elapsed() < DEADLINE, "the server does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether the listening socket at our address is this very process's: with tests in parallel, a process that answers
    /// may be another test's node.
    fn listens(&self) -> bool {
        let Ok(table) = fs::read_to_string("/proc/net/tcp") else {
            return true;
        };
        let port = format!(":{:04X}", self.address.port());
        let inodes: Vec<String> = table
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let listening = fields.get(3) == Some(&"0A") && fields[1].ends_with(&port);
                listening.then(|| format!("socket:[{}]", fields[9]))
            })
            .collect();
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", self.pid())) else {
            return false;
        };
        descriptors
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
    }

    /// Where other nodes reach it.
    #[track_caller]
    pub fn peer_address(&self) -> SocketAddr {
        let port = self.session().run("CONFIG GET peer-port").field("peer-port");
        format!("127.0.0.1:{}", port.expect("it has one").text()).parse().expect("an address")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for HTTP, if it was started with `--http-port`.
    #[track_caller]
    pub fn http_address(&self) -> SocketAddr {
        let ready = "Ready to accept HTTP connections on ";
        let mut address = None;
        wait_until("the HTTP port", || {
            let log = self.log();
            let line = log.lines().find_map(|line| line.split_once(ready));
            address = line.and_then(|(_, address)| address.trim_end().parse().ok());
            address.is_some()
        });
        address.expect("it was found")
    }

    /// An HTTP connection, which sends `token` unless it is empty.
    #[track_caller]
    pub fn http(&self, token: &str) -> Http {
        let http = Http::connect(self.http_address());
        if token.is_empty() { http } else { http.with_token(token) }
    }

    /// Its port, as a command line takes it.
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `redis://127.0.0.1:port`, with `user:password@` if `login` is not empty.
    pub fn url(&self, login: &str) -> String {
        let at = if login.is_empty() { "" } else { "@" };
        format!("redis://{login}{at}{}", self.address)
    }

    /// A connection by the `redis` crate in RESP2.
    #[track_caller]
    pub fn session(&self) -> Session {
        self.session_in(Resp::V2)
    }

    /// A connection by the `redis` crate.
    #[track_caller]
    pub fn session_in(&self, resp: Resp) -> Session {
        Session::open(&self.url(""), resp).expect("a node accepts connections")
    }

    /// A connection that speaks for `function`, by open mode.
    #[track_caller]
    pub fn session_of(&self, function: &str, resp: Resp) -> Session {
        Session::open(&self.url(&format!("{function}:-")), resp)
            .expect("open mode accepts any user")
    }

    /// A bare connection.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::connect(self.address).expect("a node accepts connections")
    }

    /// One field of `INFO`, or an empty text.
    pub fn info(&self, field: &str) -> String {
        let text = self.wire().ask("INFO everything").text();
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_default()
            .to_owned()
    }

    /// A line of `/proc/<pid>/status` in bytes: `VmRSS` is the resident memory, `VmHWM` its peak.
    pub fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the node is running");
        let kib: u64 = status
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok())
            .expect("a line with a size in kB");
        kib * 1024
    }

    /// How many file descriptors it holds.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the node is running").count()
    }

    /// What it wrote to its standard output and error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("process ids are small");
        // SAFETY: kill(2) with the id of a child that has not been waited for, so it is still this very process.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    /// Waits for its end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server's end", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Asserts that the server still serves new connections.
    #[track_caller]
    pub fn assert_alive(&self) {
        self.wire().assert_alive();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4000);
            let tail = String::from_utf8_lossy(&log.as_bytes()[from..]);
            eprintln!("--- log of the server at {} ---\n{tail}---", self.address);
        }
    }
}
