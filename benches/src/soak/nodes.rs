//! The nodes of a soak.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::error::Result;
use crate::resp::{Client, Reply};
use crate::servers::{Programs, Server, miso_basics};

/// How long what must happen may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Where clients reach the nodes; 0: the node is down.
pub(super) type Ports = Arc<Vec<AtomicU16>>;

/// Nodes that keep their data on disks. The first one is never ended.
pub(super) struct Nodes {
    program: PathBuf,
    directories: Vec<PathBuf>,
    servers: Vec<Option<Server>>,
    ports: Ports,
    /// Where the others find the first one.
    seed: Option<u16>,
    // Dropped last.
    _directory: Directory,
}

/// A node that stays for a while.
pub(super) struct Guest {
    name: String,
    server: Server,
}

impl Nodes {
    pub(super) fn start(programs: &Programs, count: usize) -> Result<Nodes> {
        let directory = Directory::new()?;
        let directories =
            (0..count).map(|node| directory.sub(&name(node))).collect::<Result<_>>()?;
        let mut nodes = Nodes {
            program: programs.miso.clone(),
            directories,
            servers: (0..count).map(|_| None).collect(),
            ports: Arc::new((0..count).map(|_| AtomicU16::new(0)).collect()),
            seed: None,
            _directory: directory,
        };
        for node in 0..count {
            nodes.launch(node)?;
        }
        Ok(nodes)
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn ports(&self) -> Ports {
        Arc::clone(&self.ports)
    }

    /// Starts a node, for the first time or again.
    pub(super) fn launch(&mut self, node: usize) -> Result<()> {
        let server = self.server(&name(node), Some(&self.directories[node]))?;
        if node == 0 {
            let port = field(&mut server.connect()?, "miso", "miso_peer_port")?;
            self.seed = Some(u16::try_from(port)?);
        }
        self.ports[node].store(server.port(), Ordering::Relaxed);
        self.servers[node] = Some(server);
        Ok(())
    }

    fn server(&self, name: &str, data: Option<&Path>) -> Result<Server> {
        Server::launch(|port| {
            let mut command = Command::new(&self.program);
            miso_basics(&mut command, port);
            command.args(["--node-name", name, "--function-linger", "2", "--node-timeout", "2s"]);
            match data {
                Some(path) => command.arg("--data-dir").arg(path),
                None => command.args(["--data-dir", "none"]),
            };
            if let Some(seed) = self.seed {
                command.args(["--join", &format!("127.0.0.1:{seed}")]);
            }
            command
        })
    }

    /// Ends a node by kill -9.
    pub(super) fn kill(&mut self, node: usize) {
        self.ports[node].store(0, Ordering::Relaxed);
        // Its drop kills it.
        self.servers[node] = None;
    }

    /// Ends a node as an operator does.
    pub(super) fn terminate(&mut self, node: usize) -> Result<()> {
        self.ports[node].store(0, Ordering::Relaxed);
        let Some(server) = self.servers[node].take() else { return Ok(()) };
        ended_well(&name(node), server)
    }

    /// Starts what is down.
    pub(super) fn all_up(&mut self) -> Result<()> {
        for node in 0..self.len() {
            if self.servers[node].is_none() {
                self.launch(node)?;
            }
        }
        Ok(())
    }

    /// Has one more node join and run this function.
    pub(super) fn invite(&self, number: u64, function: &str) -> Result<Guest> {
        let name = format!("guest-{number}");
        let server = self.server(&name, None)?;
        let mut client = server.connect()?;
        client.ok(&["AUTH", function, "-"])?;
        client.ok(&["GCOUNTER.GET", "totals", "n"])?;
        Ok(Guest { name, server })
    }

    /// Has a guest leave for good.
    pub(super) fn see_off(&self, guest: Guest) -> Result<()> {
        ended_well(&guest.name, guest.server)?;
        let (mut client, began) = (self.connect(0)?, Instant::now());
        // It is not forgotten before it counts as gone.
        while let Reply::Error(error) = client.command(&["MISO.FORGET", &guest.name])? {
            if began.elapsed() > PATIENCE {
                return Err(format!("{} is not forgotten: {error}", guest.name).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Connections to the first node that come at once, ask something and go.
    pub(super) fn crowd(&self, count: usize) -> Result<()> {
        let mut crowd = (0..count).map(|_| self.connect(0)).collect::<Result<Vec<Client>>>()?;
        crowd.iter_mut().try_for_each(|client| client.ok(&["PING"]).map(drop))
    }

    /// A connection to a node that runs.
    pub(super) fn connect(&self, node: usize) -> Result<Client> {
        self.servers[node].as_ref().ok_or("the node is down")?.connect()
    }

    /// Bytes that the first node uses, and that are resident.
    pub(super) fn memory(&self) -> Result<(u64, u64)> {
        let server = self.servers[0].as_ref().ok_or("the first node is down")?;
        let used = field(&mut server.connect()?, "memory", "used_memory")?;
        Ok((used, server.resident()?))
    }
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

fn ended_well(name: &str, server: Server) -> Result<()> {
    let status = server.terminate()?;
    if status.success() { Ok(()) } else { Err(format!("{name} ended by {status}").into()) }
}

/// A number of INFO.
fn field(client: &mut Client, section: &str, name: &str) -> Result<u64> {
    let Reply::Bulk(Some(text)) = client.ok(&["INFO", section])? else {
        return Err("INFO is no text".into());
    };
    let text = String::from_utf8(text)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.ok_or_else(|| format!("INFO has no {name}"))?.trim().parse()?)
}
