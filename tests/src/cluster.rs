//! Several nodes that are processes, on a network that can be broken.

use crate::net::{Net, Way};
use crate::{Frame, Node, Resp, Scratch, Session, wait_until};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The most nodes of a cluster.
const NODES_MAX: usize = 100;

/// Nodes `node-0`, `node-1` and so on, each behind a proxy of a [`Net`]. All are told where the first is, the first
/// where the second is; the rest they learn from each other.
pub struct Cluster {
    // Dropped in this order: nodes should not see their network end.
    nodes: Vec<Option<Node>>,
    flags: Vec<String>,
    /// The build of the server that nodes are started with.
    binary: PathBuf,
    /// Where nodes keep what outlives them, if anything does.
    disks: Option<Scratch>,
    net: Net,
}

impl Cluster {
    /// Starts nodes and waits until all know each other.
    #[track_caller]
    pub fn start(count: usize) -> Cluster {
        Cluster::with(count, &[])
    }

    /// Starts nodes with further flags and waits until all know each other.
    #[track_caller]
    pub fn with(count: usize, flags: &[&str]) -> Cluster {
        Cluster::launch_all(count, flags, None, Node::binary())
    }

    /// Starts nodes that keep their data over a restart.
    #[track_caller]
    pub fn with_disks(count: usize, flags: &[&str]) -> Cluster {
        Cluster::launch_all(count, flags, Some(Scratch::new()), Node::binary())
    }

    /// As [`Cluster::with_disks`], of another build of the server.
    #[track_caller]
    pub fn of(binary: PathBuf, count: usize, flags: &[&str]) -> Cluster {
        Cluster::launch_all(count, flags, Some(Scratch::new()), binary)
    }

    /// Starts nodes from now on with this build of the server.
    pub fn set_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    #[track_caller]
    fn launch_all(
        count: usize,
        flags: &[&str],
        disks: Option<Scratch>,
        binary: PathBuf,
    ) -> Cluster {
        assert!(count <= NODES_MAX, "a name would be within another");
        let net = Net::new();
        // The addresses come first, so that each node can be told of any other.
        for node in 0..count {
            net.add(&name(node));
        }
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut cluster = Cluster { nodes: Vec::new(), flags, binary, disks, net };
        for node in 0..count {
            cluster.nodes.push(None);
            cluster.launch(node);
        }
        cluster.wait_for_mesh();
        cluster
    }

    /// Starts one more node. It may not know any other yet.
    #[track_caller]
    pub fn add(&mut self) -> usize {
        let node = self.nodes.len();
        assert!(node < NODES_MAX, "a name would be within another");
        self.net.add(&name(node));
        self.nodes.push(None);
        self.launch(node);
        node
    }

    fn launch(&mut self, node: usize) {
        let seed = usize::from(node == 0);
        let mut flags: Vec<String> =
            ["--node-name", &name(node), "--threads", "1"].map(str::to_owned).into();
        flags.extend(["--peer-announce".to_owned(), self.net.address(node).to_string()]);
        if seed < self.net.len() {
            flags.extend(["--join".to_owned(), self.net.address(seed).to_string()]);
        }
        let data = self.disks.as_ref().map(|_| self.data(node).display().to_string());
        flags.extend(["--data-dir".to_owned(), data.unwrap_or_else(|| "none".to_owned())]);
        flags.extend(self.flags.iter().cloned());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let started = Node::of(&self.binary, &flags, &[]);
        let port = started.session().run("CONFIG GET peer-port").field("peer-port");
        let port = port.and_then(|port| port.text().parse().ok()).expect("it listens for nodes");
        self.net.point(node, Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        self.nodes[node] = Some(started);
    }

    /// How many nodes there are, running or not.
    #[allow(clippy::len_without_is_empty, reason = "there is no empty cluster")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The data directory of a node that keeps its data.
    #[track_caller]
    pub fn data(&self, node: usize) -> PathBuf {
        self.disks.as_ref().expect("the nodes have disks").join(name(node))
    }

    /// The network between the nodes.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// A running node.
    #[track_caller]
    pub fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("the node runs")
    }

    /// The running nodes.
    pub fn running(&self) -> Vec<usize> {
        (0..self.len()).filter(|&node| self.nodes[node].is_some()).collect()
    }

    /// A connection to a node.
    #[track_caller]
    pub fn session(&self, node: usize) -> Session {
        self.node(node).session()
    }

    /// A connection to a node, for a function.
    #[track_caller]
    pub fn session_of(&self, node: usize, function: &str) -> Session {
        self.node(node).session_of(function, Resp::V2)
    }

    /// A connection to each running node, each of which thereby runs the function and keeps running it.
    #[track_caller]
    pub fn sessions(&self) -> Vec<Session> {
        let mut sessions: Vec<Session> =
            self.running().into_iter().map(|node| self.session(node)).collect();
        for session in &mut sessions {
            session.run("MISO.EXISTS none");
        }
        sessions
    }

    /// Ends a node at once, by kill -9.
    pub fn kill(&mut self, node: usize) {
        self.net.point(node, None);
        // Its drop kills it.
        self.nodes[node] = None;
    }

    /// Ends a node as an operator does, and waits for its end.
    pub fn terminate(&mut self, node: usize) {
        let mut ending = self.nodes[node].take().expect("the node runs");
        ending.signal(libc::SIGTERM);
        ending.wait_for_end();
        self.net.point(node, None);
    }

    /// Starts a node again that has ended, with the same flags. Without disks it knows nothing that it knew.
    #[track_caller]
    pub fn restart(&mut self, node: usize) {
        assert!(self.nodes[node].is_none(), "the node runs");
        self.launch(node);
    }

    /// Stops a node's process in its tracks.
    pub fn pause(&self, node: usize) {
        self.node(node).signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self, node: usize) {
        self.node(node).signal(libc::SIGCONT);
    }

    /// Cuts a node off from all others.
    pub fn isolate(&self, node: usize) {
        self.net.around(node, Way::Cut);
    }

    /// What MISO.NODES of one node says of another; nothing if it does not know it.
    pub fn view(&self, of: usize, from: usize) -> Option<Frame> {
        view(&mut self.session(from), of)
    }

    /// What a node says that it does with a function: `runs`, `holds`, `leaves`; empty: neither.
    pub fn role(&self, node: usize, function: &str) -> String {
        let shown = self.session(node).run("MISO.FUNCTIONS").field(function);
        shown.and_then(|shown| shown.field("role")).map_or_else(String::new, |role| role.text())
    }

    /// Waits until `from` sees `of` in one of these states.
    #[track_caller]
    pub fn wait_for_state(&self, from: usize, of: usize, states: &[&str]) {
        let mut session = self.session(from);
        wait_until(&format!("node-{from} to see node-{of} as {states:?}"), || {
            let state = view(&mut session, of).and_then(|view| view.field("state"));
            states.contains(&state.map_or_else(String::new, |state| state.text()).as_str())
        });
    }

    /// Waits until every running node is linked with every other as it is now.
    #[track_caller]
    pub fn wait_for_mesh(&self) {
        let running = self.running();
        self.wait_for_links(&running);
    }

    /// Waits until these nodes are linked with each other.
    #[track_caller]
    pub fn wait_for_links(&self, nodes: &[usize]) {
        let mut sessions: Vec<Session> = nodes.iter().map(|&node| self.session(node)).collect();
        let ids: Vec<Frame> = sessions
            .iter_mut()
            .map(|session| session.run("MISO.NODE").field("id").expect("a node has an id"))
            .collect();
        for (session, from) in sessions.iter_mut().zip(nodes) {
            for (of, id) in nodes.iter().zip(&ids).filter(|(of, _)| *of != from) {
                wait_until(&format!("a link from node-{from} to node-{of}"), || {
                    view(session, *of).is_some_and(|view| {
                        view.field("id").as_ref() == Some(id)
                            && view.field("linked") == Some(Frame::Integer(1))
                    })
                });
            }
        }
    }
}

/// Asks all sessions until all answer the same, and that is `enough`; returns it.
#[track_caller]
pub fn agree(
    what: &str,
    sessions: &mut [Session],
    ask: impl Fn(&mut Session) -> String,
    enough: impl Fn(&str) -> bool,
) -> String {
    let mut answers = Vec::new();
    let start = std::time::Instant::now();
    loop {
        answers.clear();
        answers.extend(sessions.iter_mut().map(&ask));
        if answers.iter().all(|answer| *answer == answers[0]) && enough(&answers[0]) {
            return answers.swap_remove(0);
        }
        assert!(
            start.elapsed() < crate::DEADLINE,
            "waited in vain for {what}; the nodes say:\n{}",
            answers.join("\n")
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Waits until all sessions answer a command with `expected`, written as in a script.
#[track_caller]
pub fn all_say(sessions: &mut [Session], line: &str, expected: &str) {
    let unordered = expected.starts_with('~');
    let ask = |session: &mut Session| {
        let frame = session.run(line);
        if unordered { frame.unordered() } else { frame }.to_string()
    };
    agree(&format!("{line} => {expected}"), sessions, ask, |answer| answer == expected);
}

/// No name is within another.
fn name(node: usize) -> String {
    if node < 10 { format!("node-{node}") } else { format!("host-{node}") }
}

fn view(session: &mut Session, of: usize) -> Option<Frame> {
    let name = name(of);
    let nodes = session.run("MISO.NODES").items();
    nodes.into_iter().find(|node| node.field("name").is_some_and(|field| field.text() == name))
}
