//! Real nodes on loopback sockets.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Hello};
use miso_store::Store;
use miso_store::crdt::ReplicaId;
use tokio_stream::StreamExt as _;

use super::flow::Flow;
use super::outbox::outbox;
use super::peers::connect;
use super::{Handle, Mdns, Settings, start};
use crate::{Answer, Ask, Liveness, NodeView, copies, node, overlay, replicator};

/// Nothing takes longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(name: &str, replica: u64) -> Settings {
    let replica = ReplicaId(replica);
    let mut config = overlay::Config::new("shell tests", name, replica, 1000 + replica.0);
    config.heartbeat = Duration::from_millis(100);
    config.node_timeout = Duration::from_millis(1000);
    config.redial_max = Duration::from_millis(300);
    let replicator = replicator::Config::new(replica);
    let node = node::Config { overlay: config, replicator, copies: copies::Config::default() };
    Settings::new(vec![(Ipv4Addr::LOCALHOST, 0).into()], node)
}

fn store(settings: &Settings) -> Arc<Store> {
    let replica = settings.node.overlay.replica;
    Arc::new(Store::new(miso_store::Config::new(replica, 1, Arc::new(|| 0))))
}

/// A node that ends with its test.
struct Running(Handle);

impl Running {
    fn new(settings: Settings) -> Self {
        let store = store(&settings);
        Self(start(settings, store).expect("a loopback port is free"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it listens")
    }

    async fn nodes(&self) -> Vec<NodeView> {
        match self.0.ask(Ask::Nodes).await {
            Answer::Nodes(nodes) => nodes,
            other => panic!("{other:?}"),
        }
    }

    async fn linked(&self) -> Vec<String> {
        let nodes = self.nodes().await;
        nodes.into_iter().filter(|node| node.linked).map(|node| node.name).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Asks again until it is so.
#[track_caller]
fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) -> impl Future {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < end, "not {what}, at {caller}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn until_linked(node: &Running, peers: &[&str]) {
    until("linked", || async { node.linked().await == peers }).await;
}

#[tokio::test]
async fn three_are_a_mesh_and_tell_their_functions() {
    let first = Running::new(settings("a", 1));
    let join = |name, replica| {
        let mut settings = settings(name, replica);
        settings.join = vec![first.address().to_string()];
        Running::new(settings)
    };
    let (second, third) = (join("b", 2), join("c", 3));
    until_linked(&first, &["b", "c"]).await;
    until_linked(&second, &["a", "c"]).await;
    until_linked(&third, &["a", "b"]).await;

    let runs = BTreeMap::from([(Bytes::from_static(b"f"), vec![Bytes::from_static(b"r")])]);
    second.0.runs(runs);
    let told = || async {
        let nodes = third.nodes().await;
        let functions = nodes.iter().find(|node| node.name == "b").map(|node| &node.functions);
        functions == Some(&vec![(Bytes::from_static(b"f"), vec![Bytes::from_static(b"r")])])
    };
    until("told", told).await;
    assert_eq!(first.0.counters().faults, 0);

    let until_time = third.0.now() + Duration::from_secs(1);
    assert_eq!(third.0.ask(Ask::Leave { until: until_time }).await, Answer::Done);
    third.0.stop();
    until("left", || async {
        let nodes = first.nodes().await;
        nodes.iter().any(|node| node.name == "c" && node.liveness == Liveness::Left)
    })
    .await;
    assert!(matches!(third.0.ask(Ask::Nodes).await, Answer::Refused(_)), "it has ended");
    assert_eq!(first.0.ask(Ask::Forget { node: "c".into() }).await, Answer::Done);
    let alive = first.0.ask(Ask::Forget { node: "b".into() }).await;
    assert!(matches!(alive, Answer::Refused(reason) if reason.starts_with("ERR")));
}

#[tokio::test]
async fn a_taken_port_is_an_error_at_once() {
    let first = Running::new(settings("a", 1));
    let mut second = settings("b", 2);
    second.peer_bind = vec![first.address()];
    let store = store(&second);
    let error = start(second, store).expect_err("the port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first.address().to_string()));
}

#[tokio::test]
async fn the_second_of_a_name_must_end() {
    let first = Running::new(settings("a", 1));
    let mut second = settings("a", 2);
    second.join = vec![first.address().to_string()];
    let second = Running::new(second);
    let fatal = tokio::time::timeout(PATIENCE, second.0.fatal()).await;
    assert!(fatal.expect("it must end").contains("name"));
}

#[tokio::test]
async fn garbage_does_no_harm() {
    let first = Running::new(settings("a", 1));
    let mut second = settings("b", 2);
    second.join = vec![first.address().to_string()];
    let second = Running::new(second);
    until_linked(&first, &["b"]).await;
    let links = first.0.counters().links;

    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let noise: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&b""[..], b"*1\r\n$4\r\nPING\r\n", b"GET / HTTP/1.1\r\n\r\n", preface, &noise] {
        let mut socket = TcpStream::connect(first.address()).expect("it listens");
        let _ = socket.write_all(bytes);
    }
    let mut socket = TcpStream::connect(first.address()).expect("it listens");
    let _ = socket.write_all(preface);
    let _ = socket.write_all(&noise);
    drop(socket);

    // Well-formed gRPC, with garbage in it: before a Hello and after one.
    let hello = Hello {
        protocol: peer::VERSION,
        cluster: "shell tests".into(),
        node: "stranger".into(),
        replica: 99,
        generation: 1,
        ..Hello::default()
    };
    let hello = peer::frame(Body::Hello(hello));
    let garbage = Bytes::from_static(b"\x0a\xff\xff\xff\xff\x7fgarbage");
    let rounds = [vec![garbage.clone()], vec![hello.clone(), garbage], vec![hello.clone(), hello]];
    for (faults, frames) in (1..).zip(rounds) {
        let (outbox, outgoing) = outbox(1 << 20, Flow::default());
        let address = first.address().to_string();
        let mut incoming =
            connect(&address, outgoing, Flow::default(), None).await.expect("it listens");
        for frame in frames {
            outbox.push(frame).expect("there is room");
        }
        let rest = async { while let Some(Ok(_)) = incoming.next().await {} };
        tokio::time::timeout(PATIENCE, rest).await.expect("the link is closed");
        until("counted", || async { first.0.counters().faults == faults }).await;
    }
    until("closed", || async { first.0.counters().links == links }).await;
    assert_eq!(first.linked().await, ["b"]);
    assert_eq!(second.linked().await, ["a"]);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let node = Running::new(settings("a", 1));
    let mut mute = TcpStream::connect(node.address()).expect("it listens");
    let mut preface = TcpStream::connect(node.address()).expect("it listens");
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("it reads");
    for socket in [&mut mute, &mut preface] {
        socket.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        let mut all = Vec::new();
        let end = socket.read_to_end(&mut all).map_err(|error| error.kind());
        assert!(matches!(end, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let mut settings = settings("a", 1);
    settings.queue_bytes_max = 1 << 20;
    settings.node.overlay.node_timeout = PATIENCE;
    let node = Running::new(settings);
    let (outbox, outgoing) = outbox(1 << 20, Flow::default());
    let unread = connect(&node.address().to_string(), outgoing, Flow::default(), None)
        .await
        .expect("it listens");
    let hello = Hello {
        protocol: peer::VERSION,
        cluster: "shell tests".into(),
        node: "lazy".into(),
        replica: 99,
        generation: 1,
        ..Hello::default()
    };
    outbox.push(peer::frame(Body::Hello(hello))).expect("there is room");
    until_linked(&node, &["lazy"]).await;
    let round = AtomicU64::new(0);
    until("cut off", || async {
        // Each is told in a record of some 200 kB.
        let round = round.fetch_add(1, Ordering::Relaxed);
        let name = |index| Bytes::from(format!("{round}-{index:0240}"));
        node.0.runs((0..800).map(|index| (name(index), Vec::new())).collect());
        // One round at a time, however busy the machine is.
        let _ = node.linked().await;
        node.0.counters().cut_off == 1
    })
    .await;
    assert!(node.linked().await.is_empty());
    drop(unread);
}

/// Passes TCP on until it is cut or frozen. While it is frozen nothing gets through, and neither end
/// notices.
struct Proxy {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
    /// Bytes a second in each direction; 0: as many as come.
    rate: Arc<AtomicU64>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let proxy = Self {
            address,
            cut: Arc::default(),
            frozen: Arc::default(),
            rate: Arc::default(),
            sockets: Arc::default(),
        };
        let (cut, sockets) = (Arc::clone(&proxy.cut), Arc::clone(&proxy.sockets));
        let (frozen, rate) = (Arc::clone(&proxy.frozen), Arc::clone(&proxy.rate));
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(there) = TcpStream::connect(to) else { continue };
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (mut from, mut to) = (clone(from), clone(to));
                    let (frozen, rate) = (Arc::clone(&frozen), Arc::clone(&rate));
                    // What a slow link has not carried yet must not count as sent.
                    let _ = socket2::SockRef::from(&from).set_recv_buffer_size(8 << 10);
                    sockets.lock().expect("no panics").push(clone(&from));
                    std::thread::spawn(move || {
                        let mut buffer = [0; 4 << 10];
                        while let Ok(length @ 1..) = from.read(&mut buffer) {
                            while frozen.load(Ordering::SeqCst) {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                            let rate = rate.load(Ordering::SeqCst);
                            if let Some(micros) = (length as u64 * 1_000_000).checked_div(rate) {
                                std::thread::sleep(Duration::from_micros(micros));
                            }
                            if to.write_all(&buffer[..length]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        proxy
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for socket in self.sockets.lock().expect("no panics").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn heal(&self) {
        self.cut.store(false, Ordering::SeqCst);
        self.frozen.store(false, Ordering::SeqCst);
    }
}

fn clone(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("there are descriptors")
}

#[tokio::test]
async fn a_node_that_is_cut_off_is_dead_and_comes_back() {
    // Both say an address that is the proxy's, so there is no other way.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let inner = listener.local_addr().expect("it is bound");
    drop(listener);
    let proxy = Proxy::new(inner);
    let mut first = settings("a", 1);
    first.peer_bind = vec![inner];
    first.node.overlay.addresses = vec![proxy.address.to_string()];
    let first = Running::new(first);
    let mut second = settings("b", 2);
    second.join = vec![proxy.address.to_string()];
    second.node.overlay.addresses = vec!["127.0.0.1:1".into()];
    let second = Running::new(second);
    for freezes in [false, true, false] {
        until_linked(&first, &["b"]).await;
        until_linked(&second, &["a"]).await;
        if freezes {
            proxy.frozen.store(true, Ordering::SeqCst);
        } else {
            proxy.cut();
        }
        let dead = || async {
            let nodes = second.nodes().await;
            nodes.iter().any(|node| node.name == "a" && node.liveness == Liveness::Dead)
        };
        until("dead", dead).await;
        until("noticed", || async { first.linked().await.is_empty() }).await;
        proxy.heal();
    }
    until_linked(&first, &["b"]).await;
    until_linked(&second, &["a"]).await;
}

#[tokio::test]
async fn a_slow_link_delivers_what_takes_longer_than_the_node_timeout() {
    let first = Running::new(settings("a", 1));
    let proxy = Proxy::new(first.address());
    let mut second = settings("b", 2);
    second.join = vec![proxy.address.to_string()];
    second.node.overlay.addresses = vec!["127.0.0.1:1".into()];
    let second = Running::new(second);
    until_linked(&first, &["b"]).await;
    proxy.rate.store(100_000, Ordering::SeqCst);
    // A record of some 400 kB, which is one message: four seconds, of a node-timeout of one.
    let name = |index: u32| Bytes::from(format!("{index:0200}"));
    let runs: BTreeMap<_, _> = (0..2000).map(|index| (name(index), Vec::new())).collect();
    second.0.runs(runs);
    let began = Instant::now();
    until("told", || async {
        let nodes = first.nodes().await;
        assert!(nodes.iter().all(|node| node.liveness != Liveness::Dead), "it is alive");
        nodes.iter().any(|node| node.name == "b" && node.functions.len() == 2000)
    })
    .await;
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(first.linked().await, ["b"]);
}

#[tokio::test]
async fn a_seed_that_speaks_redis_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.write_all(b"-ERR unknown command\r\n");
            // Until the node hangs up: an end with bytes unread resets the connection, and the answer with it.
            let _ = std::io::copy(&mut socket, &mut std::io::sink());
        }
    });
    let node = Running::new(settings("a", 1));
    let answer = node.0.ask(Ask::Join { address: address.clone() }).await;
    let Answer::Refused(reason) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("this is a client port; peers are on"), "{reason}");
    let own = node.nodes().await.swap_remove(0);
    let seed = own.seeds.iter().find(|(seed, _)| *seed == address).expect("it is looked for");
    assert!(seed.1.as_ref().is_some_and(|error| error.contains("client port")), "{seed:?}");
}

#[tokio::test]
async fn mdns_finds() {
    let port = 20_000 + u16::try_from(std::process::id() % 20_000).expect("it is below");
    let with_mdns = |name, replica| {
        let mut settings = settings(name, replica);
        settings.mdns = Some(Mdns { port: Some(port), ..Mdns::default() });
        Running::new(settings)
    };
    let (first, second) = (with_mdns("a", 1), with_mdns("b", 2));
    until_linked(&first, &["b"]).await;
    until_linked(&second, &["a"]).await;
}

#[tokio::test]
async fn mdns_is_tried_again_when_its_port_is_free() {
    let port = 40_000 + u16::try_from(std::process::id() % 20_000).expect("it is below");
    let held = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("it is free");
    let with_mdns = |name, replica| {
        let mut settings = settings(name, replica);
        settings.mdns = Some(Mdns { port: Some(port), ..Mdns::default() });
        Running::new(settings)
    };
    let (first, second) = (with_mdns("a", 1), with_mdns("b", 2));
    // A second answer comes after all that was begun before the first has run.
    for node in [&first, &first, &second, &second] {
        node.nodes().await;
    }
    drop(held);
    until_linked(&first, &["b"]).await;
    until_linked(&second, &["a"]).await;
}

/// Not a test but a measurement: `cargo test -p miso-replication --release -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn what_a_link_costs() {
    let node = Running::new(settings("a", 1));
    let (outbox, outgoing) = outbox(64 << 20, Flow::default());
    let address = node.address().to_string();
    let mut incoming =
        connect(&address, outgoing, Flow::default(), None).await.expect("it listens");
    tokio::spawn(async move { while let Some(Ok(_)) = incoming.next().await {} });
    let hello = Hello {
        protocol: peer::VERSION,
        cluster: "shell tests".into(),
        node: "fast".into(),
        replica: 99,
        generation: 1,
        ..Hello::default()
    };
    outbox.push(peer::frame(Body::Hello(hello))).expect("there is room");
    until_linked(&node, &["fast"]).await;
    // A kind that no build knows: what is measured is the way to the node.
    for length in [100, 1000, 10_000, 100_000_usize] {
        let mut message = vec![0xfa, 0x06];
        varint(length, &mut message);
        message.resize(message.len() + length, b'x');
        let mut frame = vec![0x0a];
        varint(message.len(), &mut frame);
        frame.extend(message);
        let frame = Bytes::from(frame);
        for together in [1, 100] {
            let count = (200_000_000 / length).min(50_000 * together);
            tokio::time::sleep(Duration::from_millis(250)).await;
            let (before, began) = (node.0.counters(), Instant::now());
            let mut sent = 0;
            while sent < count {
                for _ in 0..together {
                    while outbox.push(frame.clone()).is_err() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                sent += together;
                tokio::task::yield_now().await;
            }
            until("received", || async {
                node.0.counters().unknown - before.unknown >= sent as u64
            })
            .await;
            let seconds = began.elapsed().as_secs_f64();
            tokio::time::sleep(Duration::from_millis(250)).await;
            let after = node.0.counters();
            println!(
                "{length} B, {together} at once: {:.0}/s, {:.0} MB/s, {:.2} us CPU each, {} envelopes of {sent}, {} turns",
                sent as f64 / seconds,
                (sent * length) as f64 / seconds / 1e6,
                (after.cpu_nanos - before.cpu_nanos) as f64 / 1e3 / sent as f64,
                after.envelopes_received - before.envelopes_received,
                after.turns - before.turns,
            );
        }
    }
}

fn varint(mut number: usize, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}
