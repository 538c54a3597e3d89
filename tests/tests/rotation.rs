//! What nodes and clients know each other by changes under load: no write is lost or refused.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use miso_protocol::peer::message::Body;
use miso_tests::peer::hello;
use miso_tests::{
    Certs, Frame, Node, Peer, Resp, Scratch, Session, TlsClient, Tunnel, all_say, wait_until,
};

/// Writers that go on until they are told to end.
struct Load {
    over: Arc<AtomicBool>,
    written: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each of these writes once, and fails the test if it is refused.
    fn begin(writes: Vec<Box<dyn FnMut() + Send>>) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let written: Vec<Arc<AtomicU64>> = writes.iter().map(|_| Arc::default()).collect();
        let thread = |(mut write, count): (Box<dyn FnMut() + Send>, &Arc<AtomicU64>)| {
            let (over, count) = (Arc::clone(&over), Arc::clone(count));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    write();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = writes.into_iter().zip(&written).map(thread).collect();
        Load { over, written, threads }
    }

    /// One writer for each session.
    fn of_sessions(sessions: Vec<Session>) -> Load {
        let write = |mut session: Session| -> Box<dyn FnMut() + Send> {
            Box::new(move || {
                let said = session.run("GCOUNTER.ADD o n 1");
                assert!(matches!(said, Frame::Integer(_)), "{said}");
            })
        };
        Load::begin(sessions.into_iter().map(write).collect())
    }

    /// Waits until each has written some more.
    #[track_caller]
    fn goes_on(&self) {
        let now =
            || -> Vec<u64> { self.written.iter().map(|n| n.load(Ordering::Relaxed)).collect() };
        let before = now();
        wait_until("each to write", || {
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a write was refused");
            now().iter().zip(&before).all(|(now, before)| *now > before + 5)
        });
    }

    /// Ends it; how often was written.
    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no write is refused"));
        self.written.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}

/// Nodes that are linked, and load on each.
struct Scene {
    nodes: [Node; 3],
    load: Load,
    sessions: Vec<Session>,
}

impl Scene {
    fn of(nodes: [Node; 3]) -> Scene {
        let sessions = || nodes.iter().map(|node| node.session_of("shop", Resp::V2)).collect();
        let scene = Scene { load: Load::of_sessions(sessions()), sessions: sessions(), nodes };
        scene.holds("the beginning");
        scene
    }

    /// Waits until all are linked, and all writes go on.
    #[track_caller]
    fn holds(&self, when: &str) {
        wait_until(when, || self.nodes.iter().all(|node| node.info("miso_links") == "2"));
        self.load.goes_on();
    }

    /// Sets something on a node; the effect on the links is over when this returns.
    #[track_caller]
    fn set(&mut self, at: usize, settings: &str) {
        self.sessions[at].script(&format!("CONFIG SET {settings} => OK"));
        self.holds(settings);
    }

    /// Has a node read its files again.
    #[track_caller]
    fn hangup(&mut self, at: usize, says: &str) {
        let said = || self.nodes[at].log().matches(says).count();
        let before = said();
        self.nodes[at].signal(libc::SIGHUP);
        wait_until(says, || said() > before);
        self.holds(says);
    }

    /// Ends the load: all nodes have all that was written.
    #[track_caller]
    fn end(mut self) -> ([Node; 3], Vec<Session>, u64) {
        let sum = self.load.end();
        all_say(&mut self.sessions, "GCOUNTER.GET o n", &sum.to_string());
        (self.nodes, self.sessions, sum)
    }
}

#[test]
fn a_running_cluster_takes_another_secret() {
    const OLD: &str = "known to the nodes at first";
    const NEW: &str = "known to the nodes in the end";
    let files = Scratch::new();
    let file = |name: &str, text: &str| {
        fs::write(files.path(name), format!("{text}\n")).expect("writable");
        files.path(name)
    };
    let (old, new) = (file("old", OLD), file("new", NEW));
    let (own, also) = (file("own", OLD), file("also", OLD));
    let start = |name: &str, more: &[&str]| Node::with(&[&["--node-name", name], more].concat());
    // Given in each of the three ways: files of other names, files that change, and settings.
    let first = start("a", &["--cluster-secret-file", &old]);
    let join = first.peer_address().to_string();
    let by_file = ["--cluster-secret-file", &own, "--cluster-secret-also-file", &also];
    let second = start("b", &[&["--join", &join][..], &by_file].concat());
    let third = start("c", &["--join", &join, "--cluster-secret", OLD]);
    let mut scene = Scene::of([first, second, third]);
    let tunnel = Tunnel::open(scene.nodes[0].peer_address(), None);
    let mut thief = Peer::prove_in(tunnel.address, OLD, hello("thief", 9), &tunnel.binding);
    thief.until("an answer", |body| matches!(body, Body::Records(_)));

    // All accept the new one, all prove the new one, none accepts the old one.
    scene.set(0, &format!("cluster-secret-also-file {new}"));
    file("also", NEW);
    scene.hangup(1, "took other cluster secrets");
    scene.set(2, &format!("cluster-secret-also '{NEW}'"));
    scene.set(0, &format!("cluster-secret-file {new} cluster-secret-also-file {old}"));
    file("own", NEW);
    file("also", OLD);
    scene.hangup(1, "took other cluster secrets");
    scene.set(2, &format!("cluster-secret '{NEW}' cluster-secret-also '{OLD}'"));
    scene.set(0, "cluster-secret-also-file ''");
    file("also", NEW);
    scene.hangup(1, "took other cluster secrets");
    scene.set(2, "cluster-secret-also ''");
    let (nodes, mut sessions, sum) = scene.end();

    assert!(thief.is_closed_in_time(), "its link was made by the old secret");
    let outside = start("d", &["--join", &join, "--cluster-secret", OLD]);
    wait_until("it to be refused", || outside.log().contains("different cluster-secrets"));
    let inside = start("e", &["--join", &join, "--cluster-secret", NEW]);
    sessions.push(inside.session_of("shop", Resp::V2));
    all_say(&mut sessions, "GCOUNTER.GET o n", &sum.to_string());
    assert_eq!(outside.session().run("MISO.NODES").items().len(), 1);

    // What cannot be done at run time is said, and changes nothing.
    for (setting, said) in [
        ("cluster-secret ''", "by a restart of its nodes"),
        ("cluster-secret-file /nowhere/x cluster-secret ''", "cannot read /nowhere/x"),
        (
            &format!("cluster-secret-also-file {old} cluster-secret-also x"),
            "expected one of the two",
        ),
    ] {
        let refused = sessions[2].run(&format!("CONFIG SET {setting}")).to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let shown = sessions[2].run("CONFIG GET cluster-secret*").to_string();
    assert!(shown.contains("********"), "{shown}");
    for node in &nodes {
        assert!(!node.log().contains(OLD) && !node.log().contains(NEW), "{}", node.log());
    }
}

#[test]
fn a_running_cluster_takes_other_certificates_of_nodes() {
    let names = ["a", "b", "c"];
    let (old, new) = (Certs::new(&names), Certs::new(&names));
    let ca = old.path("trusted.pem");
    fs::copy(old.path("ca.pem"), &ca).expect("it can");
    let start = |name: &str, join: &str| {
        let own = ["--peer-tls-ca-cert-file", &ca];
        let files: Vec<String> = old
            .settings(name, &ca)
            .into_iter()
            .take(2)
            .flat_map(|(setting, path)| [format!("--{setting}"), path])
            .collect();
        let mut flags = vec!["--node-name", name];
        flags.extend(own);
        flags.extend(files.iter().map(String::as_str));
        if !join.is_empty() {
            flags.extend(["--join", join]);
        }
        Node::with(&flags)
    };
    let first = start("a", "");
    let join = first.peer_address().to_string();
    let mut scene = Scene::of([first, start("b", &join), start("c", &join)]);
    // Both CAs are trusted, each node shows a certificate of the new one, the old one goes.
    let both = [old.path("ca.pem"), new.path("ca.pem")].map(|path| fs::read(path).expect("a CA"));
    fs::write(&ca, both.concat()).expect("it can");
    for at in 0..names.len() {
        scene.hangup(at, "read the certificates again");
    }
    for (at, name) in names.iter().enumerate() {
        let settings = new.settings(name, &ca);
        let pairs = settings.iter().map(|(name, value)| format!("{name} {value}"));
        scene.set(at, &pairs.collect::<Vec<_>>().join(" "));
    }
    for at in 0..names.len() {
        scene.set(at, &format!("peer-tls-ca-cert-file {}", new.path("ca.pem")));
    }
    scene.end();
}

#[test]
fn clients_move_to_other_certificates_and_another_ca() {
    let [old, new] = [0, 1].map(|_| {
        let certs = Certs::new(&["a"]);
        certs.make(&["client", "app"]);
        Arc::new(certs)
    });
    let (port, ca) = (Node::free_port().to_string(), old.path("trusted.pem"));
    fs::copy(old.path("ca.pem"), &ca).expect("it can");
    let (cert, key) = (old.path("a.pem"), old.path("a-key.pem"));
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let node = Node::with(&[&["--tls-port", &port][..], &files].concat());
    let have_moved = Arc::new(AtomicBool::new(false));
    // One writer keeps its connection, the others make one for each write.
    let write = |is_kept: bool| -> Box<dyn FnMut() + Send> {
        let (port, old, new) = (port.clone(), Arc::clone(&old), Arc::clone(&new));
        let (have_moved, mut kept) = (Arc::clone(&have_moved), None);
        Box::new(move || {
            let shown = if have_moved.load(Ordering::SeqCst) { &new } else { &old };
            let mut client = kept.take().unwrap_or_else(|| {
                TlsClient::connect(&port, &[&old, &new], (shown, "app")).expect("it is let in")
            });
            let said = client.ask("GCOUNTER.ADD o n 1").expect("it is answered");
            assert!(said.starts_with(':'), "{said}");
            kept = is_kept.then_some(client);
        })
    };
    let load = Load::begin(vec![write(true), write(false), write(false)]);
    load.goes_on();

    // The node trusts both CAs, shows the new certificate; clients show theirs; the old CA goes.
    let both = [old.path("ca.pem"), new.path("ca.pem")].map(|path| fs::read(path).expect("a CA"));
    fs::write(&ca, both.concat()).expect("it can");
    node.signal(libc::SIGHUP);
    wait_until("it to read them", || node.log().contains("read the certificates again"));
    load.goes_on();
    let mut session = node.session();
    let (cert, key) = (new.path("a.pem"), new.path("a-key.pem"));
    session.script(&format!("CONFIG SET tls-cert-file {cert} tls-key-file {key} => OK"));
    load.goes_on();
    have_moved.store(true, Ordering::SeqCst);
    // Twice: what was under way has ended then.
    load.goes_on();
    load.goes_on();
    session.script(&format!("CONFIG SET tls-ca-cert-file {} => OK", new.path("ca.pem")));
    load.goes_on();
    let sum = load.end();
    session.script(&format!("GCOUNTER.GET o n => {sum}"));
    let refused = |trusted: &Certs, shown: &Certs| {
        let client = TlsClient::connect(&port, &[trusted], (shown, "app"));
        client.and_then(|mut client| client.ask("PING")).is_err()
    };
    assert!(refused(&new, &old) && refused(&old, &new) && !refused(&new, &new));
}
