//! A network between nodes that a test can break.

use crate::line::{self, Line, LineOptions, PACKET};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to bytes on their way from one node to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// They arrive.
    #[default]
    Open,
    /// They arrive that much later.
    Slow(Duration),
    /// They go over a line like this, before which little waits on connections that are made from now on.
    Line(LineOptions),
    /// They wait, as does the news of a connection's end; connections stay open.
    Frozen,
    /// Connections are closed, and new ones are not had.
    Cut,
}

/// A proxy before each node. Nodes are told the proxies' addresses as each other's, so that all that they say to each
/// other passes here. A dialer is known by its name, which is the first that it says.
#[derive(Debug)]
pub struct Net {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    hosts: Vec<Host>,
    ways: BTreeMap<(usize, usize), Way>,
    /// Bytes that have arrived.
    bytes: BTreeMap<(usize, usize), u64>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    over: bool,
}

#[derive(Debug)]
struct Host {
    name: String,
    /// The proxy's.
    address: SocketAddr,
    listener: TcpListener,
    /// The node's own, if it is running.
    node: Option<SocketAddr>,
}

#[derive(Debug)]
struct Connection {
    from: Option<usize>,
    to: usize,
    ends: [TcpStream; 2],
}

impl Connection {
    fn close(&self) {
        for end in &self.ends {
            // Fails only if it is closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn way(&self, from: usize, to: usize) -> Way {
        self.ways.get(&(from, to)).copied().unwrap_or_default()
    }

    fn has_lines(&self) -> bool {
        self.ways.values().any(|way| matches!(way, Way::Line(_)))
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.way(a, b) == Way::Cut || self.way(b, a) == Way::Cut
    }

    /// The node whose name comes first in what was said.
    fn speaker(&self, said: &[u8]) -> Option<usize> {
        let at = |host: &Host| {
            said.windows(host.name.len()).position(|window| window == host.name.as_bytes())
        };
        let found = self.hosts.iter().enumerate().filter_map(|(i, host)| Some((at(host)?, i)));
        found.min().map(|(_, host)| host)
    }
}

impl Net {
    /// A network without nodes.
    #[allow(clippy::new_without_default, reason = "a thing with threads and sockets")]
    pub fn new() -> Net {
        Net { shared: Arc::default() }
    }

    /// Makes room for a node, which must have this name. No name may be within another.
    pub fn add(&self, name: &str) -> usize {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut state = self.shared.lock();
        let host = state.hosts.len();
        let second = listener.try_clone().expect("a second descriptor");
        state.hosts.push(Host { name: name.to_owned(), address, listener: second, node: None });
        drop(state);
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || shared.accept(host, &listener));
        host
    }

    /// For how many nodes there is room.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.shared.lock().hosts.len()
    }

    /// Where others reach a node.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.shared.lock().hosts[node].address
    }

    /// Says where a node really listens; none if it does not run.
    pub fn point(&self, node: usize, address: Option<SocketAddr>) {
        self.shared.lock().hosts[node].node = address;
    }

    /// Changes what happens on the way from one node to another.
    pub fn set(&self, from: usize, to: usize, way: Way) {
        self.change([((from, to), way)]);
    }

    /// Changes both ways between two nodes.
    pub fn between(&self, a: usize, b: usize, way: Way) {
        self.change([((a, b), way), ((b, a), way)]);
    }

    /// Changes all ways from and to a node.
    pub fn around(&self, node: usize, way: Way) {
        let count = self.shared.lock().hosts.len();
        let others = (0..count).filter(|other| *other != node);
        self.change(others.flat_map(|other| [((node, other), way), ((other, node), way)]));
    }

    /// Opens all ways.
    pub fn heal(&self) {
        self.shared.lock().ways.clear();
        self.shared.changed.notify_all();
    }

    /// Closes all connections between two nodes, which may make new ones at once.
    pub fn reset(&self, a: usize, b: usize) {
        self.shared.lock().close(|from, to| (from, to) == (a, b) || (from, to) == (b, a));
    }

    /// How many bytes have come from one node to another.
    pub fn bytes(&self, from: usize, to: usize) -> u64 {
        self.shared.lock().bytes.get(&(from, to)).copied().unwrap_or(0)
    }

    fn change(&self, ways: impl IntoIterator<Item = ((usize, usize), Way)>) {
        let mut state = self.shared.lock();
        state.ways.extend(ways);
        if state.has_lines() {
            state.hosts.iter().for_each(|host| line::keep_little(&host.listener));
        }
        let ways = state.ways.clone();
        let cut = |from, to| ways.get(&(from, to)) == Some(&Way::Cut);
        state.close(|from, to| cut(from, to) || cut(to, from));
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl State {
    fn close(&self, which: impl Fn(usize, usize) -> bool) {
        for connection in self.connections.values() {
            if connection.from.is_some_and(|from| which(from, connection.to)) {
                connection.close();
            }
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        state.connections.values().for_each(Connection::close);
        let addresses: Vec<SocketAddr> = state.hosts.iter().map(|host| host.address).collect();
        drop(state);
        self.shared.changed.notify_all();
        for address in addresses {
            // Has the listener look.
            let _ = TcpStream::connect(address);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, to: usize, listener: &TcpListener) {
        for dialer in listener.incoming() {
            let (over, node, has_lines) = {
                let state = self.lock();
                (state.over, state.hosts[to].node, state.has_lines())
            };
            if over {
                return;
            }
            // A dialer that finds no node sees its connection closed.
            let connect = |node: SocketAddr| {
                if has_lines { line::connect(node) } else { TcpStream::connect(node) }
            };
            if let (Ok(dialer), Some(Ok(node))) = (dialer, node.map(connect)) {
                // Both fail only if the connection is gone, which the reading finds.
                let _ = dialer.set_nodelay(true);
                let _ = node.set_nodelay(true);
                self.carry(to, &dialer, &node);
            }
        }
    }

    fn carry(self: &Arc<Self>, to: usize, dialer: &TcpStream, node: &TcpStream) {
        let twice = |stream: &TcpStream| {
            let clone = || stream.try_clone().expect("a second descriptor");
            (clone(), clone())
        };
        let ((dialer_in, dialer_out), (node_in, node_out)) = (twice(dialer), twice(node));
        let ends = [dialer, node].map(|stream| stream.try_clone().expect("a second descriptor"));
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.connections.insert(id, Connection { from: None, to, ends });
        drop(state);
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || there.pump(id, true, dialer_in, node_out));
        thread::spawn(move || back.pump(id, false, node_in, dialer_out));
    }

    /// Passes bytes on until either end closes; then both are closed.
    fn pump(&self, id: u64, there: bool, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        let mut said = Vec::new();
        let mut line = None;
        loop {
            let most = if line.is_some() { PACKET } else { buffer.len() };
            let n = from.read(&mut buffer[..most]).unwrap_or(0);
            if there {
                self.identify(id, &mut said, &buffer[..n]);
            }
            if !self.passes(id, there, n) || n == 0 {
                break;
            }
            let options = self.line(id, there);
            if options.is_some() && line.is_none() {
                line = to.try_clone().ok().map(Line::new);
            }
            let arrives = match &mut line {
                Some(line) => line.carry(&buffer[..n], options),
                None => to.write_all(&buffer[..n]).is_ok(),
            };
            if !arrives {
                break;
            }
        }
        drop(line);
        if let Some(connection) = self.lock().connections.remove(&id) {
            connection.close();
        }
        self.changed.notify_all();
    }

    /// Finds out which node dials, by what it has said so far.
    fn identify(&self, id: u64, said: &mut Vec<u8>, more: &[u8]) {
        let mut state = self.lock();
        if state.connections.get(&id).is_none_or(|connection| connection.from.is_some()) {
            return;
        }
        said.extend_from_slice(more);
        let speaker = state.speaker(said);
        if let Some(connection) = state.connections.get_mut(&id) {
            connection.from = speaker;
        }
    }

    /// Which line a connection's bytes go over, if any.
    fn line(&self, id: u64, there: bool) -> Option<LineOptions> {
        let state = self.lock();
        let connection = state.connections.get(&id)?;
        let dialer = connection.from?;
        let (from, to) = if there { (dialer, connection.to) } else { (connection.to, dialer) };
        match state.way(from, to) {
            Way::Line(options) => Some(options),
            _ => None,
        }
    }

    /// Waits until bytes may arrive; false if they never will.
    fn passes(&self, id: u64, there: bool, n: usize) -> bool {
        let mut state = self.lock();
        let mut late = false;
        loop {
            let Some(connection) = state.connections.get(&id) else { return false };
            let Some(dialer) = connection.from else { return !state.over };
            let (from, to) = if there { (dialer, connection.to) } else { (connection.to, dialer) };
            if state.over || state.is_cut(from, to) {
                return false;
            }
            match state.way(from, to) {
                Way::Slow(time) if !late => {
                    drop(state);
                    thread::sleep(time);
                    late = true;
                    state = self.lock();
                }
                Way::Frozen => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                _ => {
                    *state.bytes.entry((from, to)).or_default() += n as u64;
                    return true;
                }
            }
        }
    }
}
