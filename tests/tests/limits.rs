//! Every limit, by a peer that sends what exceeds it: Redis's error or a close, bounded memory, and all others served
//! as before.

use miso_tests::{DEADLINE, Node, Rng, Wire, wait_until};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Runs `attack` beside a well-behaved client and checks that the server outlives it within `growth` more bytes at
/// its peak, keeps no descriptor, and loses no one else's connection.
fn survives(flags: &[&str], growth: u64, attack: impl FnOnce(&Node)) {
    let node = Node::with(flags);
    let mut neighbour = node.wire();
    neighbour.ask("GCOUNTER.ADD neighbour n 5");
    let descriptors = node.descriptors();
    let before = node.memory("VmRSS");
    attack(&node);
    let peak = node.memory("VmHWM");
    assert!(peak < before + growth, "memory rose from {} MiB to {} MiB", before / MIB, peak / MIB);
    neighbour.assert_alive();
    assert_eq!(neighbour.ask("GCOUNTER.ADD neighbour n").integer(), 6);
    node.assert_alive();
    wait_until("the attackers' sockets to be closed", || node.descriptors() <= descriptors);
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// Sends `chunk` over and over until the peer closes or `limit` bytes are sent; what it answered.
fn flood(node: &Node, chunk: &[u8], limit: usize) -> Vec<u8> {
    let mut wire = node.wire();
    let mut sent = 0;
    while sent < limit {
        if wire.send(chunk).is_err() {
            break;
        }
        sent += chunk.len();
    }
    assert!(sent < limit, "the server took {sent} bytes");
    wire.rest()
}

#[test]
fn endless_inline_line() {
    survives(&[], 16 * MIB, |node| {
        flood(node, &[b'x'; 4096], 512 << 20);
        // With time to read the answer before the close.
        let mut wire = node.wire();
        wire.send(&[b'x'; 65_537]).expect("sent");
        assert_eq!(wire.rest(), b"-ERR Protocol error: too big inline request\r\n");
    });
}

#[test]
fn huge_bulk_length() {
    survives(&[], 16 * MIB, |node| {
        for length in [
            "9223372036854775807",
            "9223372036854775808",
            "536870913",
            "-2",
            "18446744073709551616",
        ] {
            let mut wire = node.wire();
            wire.send(format!("*2\r\n$4\r\nECHO\r\n${length}\r\n").as_bytes()).expect("sent");
            assert_eq!(wire.rest(), b"-ERR Protocol error: invalid bulk length\r\n", "{length}");
        }
        // The greatest length that is allowed, promised but not sent, costs nothing.
        let promises: Vec<Wire> = (0..50)
            .map(|_| {
                let mut wire = node.wire();
                wire.send(b"*2\r\n$4\r\nECHO\r\n$536870912\r\nabc").expect("sent");
                wire
            })
            .collect();
        node.assert_alive();
        drop(promises);
    });
}

#[test]
fn huge_array_headers() {
    survives(&[], 64 * MIB, |node| {
        for length in ["1048577", "2147483648", "9223372036854775808", "abc"] {
            let mut wire = node.wire();
            wire.send(format!("*{length}\r\n").as_bytes()).expect("sent");
            assert_eq!(
                wire.rest(),
                b"-ERR Protocol error: invalid multibulk length\r\n",
                "{length}"
            );
        }
        // A million elements announced and none sent, from many at once.
        let promises: Vec<Wire> = (0..200)
            .map(|_| {
                let mut wire = node.wire();
                wire.send(b"*1048576\r\n").expect("sent");
                wire
            })
            .collect();
        node.assert_alive();
        drop(promises);
    });
}

/// A million empty arguments that do arrive are a command like any other.
#[test]
fn a_million_arguments() {
    survives(&[], 256 * MIB, |node| {
        let mut wire = node.wire();
        let mut bytes = b"*1048576\r\n$8\r\nGSET.ADD\r\n$1\r\np\r\n$1\r\ns\r\n".to_vec();
        for _ in 3..1_048_576 {
            bytes.extend_from_slice(b"$1\r\na\r\n");
        }
        wire.send(&bytes).expect("sent");
        assert_eq!(wire.read().expect("a reply").integer(), 1);
    });
}

#[test]
fn query_buffer_limit() {
    survives(&["--client-query-buffer-limit", "1mb"], 24 * MIB, |node| {
        let mut wire = node.wire();
        wire.send(b"*1000000\r\n").expect("sent");
        let argument = b"$1\r\na\r\n".repeat(1000);
        let mut sent = 0;
        while wire.send(&argument).is_ok() {
            sent += argument.len();
            assert!(sent < 256 << 20, "the server took {sent} bytes");
        }
        wire.rest();
    });
}

#[test]
fn bulk_length_limit() {
    survives(&["--proto-max-bulk-len", "1mb"], 24 * MIB, |node| {
        let mut wire = node.wire();
        wire.send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").expect("sent");
        assert_eq!(wire.rest(), b"-ERR Protocol error: invalid bulk length\r\n");
    });
}

/// Pipelines commands with big replies and never reads one: the server stops reading instead of piling up.
#[test]
fn a_client_that_never_reads() {
    survives(&[], 48 * MIB, |node| {
        let mut s = node.session();
        let value = vec![b'x'; 1_000_000];
        s.call(&[&b"MVREG.SET"[..], b"big", b"r", &value]);
        let wire = node.wire();
        wire.stream().set_nonblocking(true).expect("a socket option");
        let command = b"*3\r\n$11\r\nMVREG.VALUE\r\n$3\r\nbig\r\n$1\r\nr\r\n".repeat(1000);
        let (mut sent, mut blocked_since) = (0, None);
        while sent < 64 << 20 {
            match wire.stream().write(&command) {
                Ok(n) => {
                    sent += n;
                    blocked_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The socket has been full for long enough that no client is reading at the other end.
                    let since = *blocked_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > Duration::from_millis(300) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sent < 64 << 20, "the server took {} MiB of commands", sent >> 20);
    });
}

/// A subscriber that never reads is closed at Redis's limit of 32 MiB (a buffer that grows holds it twice for a moment), and its publisher is not held up.
#[test]
fn a_subscriber_that_never_reads() {
    survives(&[], 160 * MIB, |node| {
        let mut listener = node.wire();
        listener.ask("SUBSCRIBE ch");
        let mut publisher = node.session();
        let message = vec![b'x'; 100_000];
        let mut delivered = 1;
        for _ in 0..2000 {
            delivered = publisher.call(&[&b"PUBLISH"[..], b"ch", &message]).integer();
            if delivered == 0 {
                break;
            }
        }
        assert_eq!(delivered, 0, "200 MB of messages did not reach the limit");
    });
}

/// A monitor that never reads neither.
#[test]
fn a_monitor_that_never_reads() {
    survives(&[], 160 * MIB, |node| {
        let mut watcher = node.wire();
        watcher.ask("MONITOR");
        let clients =
            |node: &Node| node.info("connected_clients").parse::<u32>().expect("a number");
        let before = clients(node);
        let mut s = node.session();
        let argument = vec![b'x'; 100_000];
        for _ in 0..3000 {
            s.call(&[&b"ECHO"[..], &argument]);
        }
        wait_until("the monitor to be closed", || clients(node) <= before);
    });
}

/// A client that does not take a reply is closed if more than its limit waits: at once beyond the hard one, after its
/// time beyond the soft one.
#[test]
fn unread_replies_beyond_their_limit() {
    for limit in ["normal 1mb 0 0", "normal 0 1mb 1"] {
        survives(&["--client-output-buffer-limit", limit], 192 * MIB, |node| {
            // More than the kernel keeps of what no client reads.
            let value = vec![b'x'; 32 << 20];
            let mut s = node.session();
            s.call(&[&b"MVREG.SET"[..], b"big", b"r", &value]);
            s.call(&[&b"MVREG.SET"[..], b"small", b"r", &value[..100_000]]);
            let mut wire = node.wire();
            assert_eq!(wire.ask("MVREG.VALUE small r").text().len(), 100_000);
            wire.command("MVREG.VALUE big r");
            wait_until("the limit", || node.log().contains("client-output-buffer-limit exceeded"));
            assert!(wire.rest().len() < value.len(), "{limit}");
        });
    }
}

/// Objects, names and channels longer than allowed: an error, and nothing is made.
#[test]
fn keys_beyond_their_limit() {
    survives(&["--key-max-bytes", "100"], 16 * MIB, |node| {
        let mut s = node.session();
        let (fits, long) = ("k".repeat(100), "k".repeat(101));
        s.script(&format!(
            r#"
            GCOUNTER.ADD {fits} {fits} 1 => 1
            ORSET.ADD {fits} set a => 1
            "#
        ));
        for command in [
            "GCOUNTER.ADD K n 1",
            "GCOUNTER.ADD o K 1",
            "GCOUNTER.MADD o n 1 K 1",
            "PNCOUNTER.SUB K n",
            "GSET.ADD o K a",
            "ORSET.ADD K n a",
            "MVREG.SET o K v",
            "EWFLAG.ENABLE K n",
            "ORMAP.SET o K f v",
            "ORMAP.INCRBY K n f 1",
            "SUBSCRIBE K",
        ] {
            let command = command.replace('K', &long);
            s.script(&format!(
                "{command} => -ERR object or name is longer than key-max-bytes (100)"
            ));
        }
        s.script(&format!("DBSIZE => 2\nMISO.EXISTS o => 0\nMISO.DEL {fits} => 2"));
    });
    // As long as 64 KiB unless told.
    let node = Node::start();
    let mut s = node.session();
    s.script(&format!("GCOUNTER.ADD {} n => 1", "k".repeat(65_536)));
    s.script(&format!("GCOUNTER.ADD {} n => -ERR object or name is longer...", "k".repeat(65_537)));
}

#[test]
fn too_many_connections() {
    survives(&["--maxclients", "10"], 16 * MIB, |node| {
        // Clients that came before may still be on their way out.
        let place = || {
            let mut wire = node.wire();
            wire.command("PING");
            wire.read().is_ok_and(|frame| !frame.is_error()).then_some(wire)
        };
        let mut held: Vec<Wire> = Vec::new();
        wait_until("nine places", || {
            held.extend(place());
            held.len() == 9
        });
        for _ in 0..20 {
            assert_eq!(node.wire().rest(), b"-ERR max number of clients reached\r\n");
        }
        held.iter_mut().for_each(Wire::assert_alive);
        // One leaves, one may come.
        held.pop();
        wait_until("a free place", || place().is_some());
        held[0].assert_alive();
        assert_eq!(held[0].ask("CONFIG SET maxclients 20").to_string(), "OK");
        held.push(node.wire());
        held.push(node.wire());
        held.push(node.wire());
        held.iter_mut().for_each(Wire::assert_alive);
    });
}

/// As many files as the system lets this process and its children have.
fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit and setrlimit read and write the one struct that they are given.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

/// The default limit of 10 000, for real: the 10 001st is refused, and idle connections are cheap.
#[test]
fn ten_thousand_and_one_connections() {
    const ALLOWED: usize = 10_000;
    let limit = raise_descriptor_limit();
    assert!(
        limit > 10_100,
        "this machine allows a process {limit} files only; `ulimit -n 20000` is needed"
    );
    // One for the neighbour of `survives`.
    survives(&[], 150 * MIB, |node| {
        let mut held: Vec<TcpStream> = Vec::with_capacity(ALLOWED);
        for _ in 0..ALLOWED - 1 {
            held.push(TcpStream::connect(node.address()).expect("accepted"));
        }
        let mut last = node.wire();
        assert_eq!(last.rest(), b"-ERR max number of clients reached\r\n");
        // All of them are served.
        for stream in &mut held {
            stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
            stream.write_all(b"GCOUNTER.ADD o all\r\n").expect("sent");
        }
        for stream in &mut held {
            let mut reply = [0; 16];
            let n = stream.read(&mut reply).expect("a reply");
            assert!(n > 3 && reply[0] == b':', "{}", reply[..n].escape_ascii());
        }
    });
}

#[test]
fn garbage_bytes() {
    survives(&[], 32 * MIB, |node| {
        let mut rng = Rng::new(17);
        for round in 0..300 {
            let len = rng.below(2000) as usize;
            let mut bytes = rng.bytes(len);
            if round % 3 == 0 {
                // Something that begins well.
                bytes.splice(0..0, *b"*3\r\n$12\r\nGCOUNTER.ADD\r\n$");
            }
            let mut wire = node.wire();
            let _ = wire.send(&bytes);
            wire.finish();
            wire.rest();
        }
    });
}

/// Valid frames with bytes changed here and there.
#[test]
fn mutated_frames() {
    survives(&[], 32 * MIB, |node| {
        let frames = b"*4\r\n$12\r\nGCOUNTER.ADD\r\n$1\r\np\r\n$1\r\nn\r\n$1\r\n5\r\n*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n".repeat(4);
        let mut rng = Rng::new(23);
        for _ in 0..500 {
            let mut bytes = frames.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(3) {
                    0 => bytes[at] = rng.bits() as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"0129-$*\r\n"[rng.below(9) as usize]),
                }
            }
            let mut wire = node.wire();
            let _ = wire.send(&bytes);
            wire.finish();
            wire.rest();
        }
    });
}

#[test]
fn half_a_frame_then_the_end() {
    survives(&[], 16 * MIB, |node| {
        let frame = b"*4\r\n$12\r\nGCOUNTER.ADD\r\n$4\r\nhalf\r\n$1\r\nn\r\n$1\r\n5\r\n";
        for cut in 0..frame.len() {
            let mut wire = node.wire();
            wire.send(&frame[..cut]).expect("sent");
            wire.finish();
            assert_eq!(wire.rest(), b"", "cut at {cut}");
        }
        // Nothing of it was executed.
        assert_eq!(node.wire().ask("EXISTS half").integer(), 0);
        // Not closed but reset, with replies on their way.
        for _ in 0..50 {
            let mut wire = node.wire();
            wire.send(&b"PING\r\n".repeat(1000)).expect("sent");
            drop(wire);
        }
    });
}

#[test]
fn byte_by_byte() {
    survives(&[], 16 * MIB, |node| {
        let mut wire = node.wire();
        let frames =
            b"*4\r\n$12\r\nGCOUNTER.ADD\r\n$1\r\np\r\n$3\r\na\r\n\r\n$2\r\n42\r\nPING \"x y\"\r\n";
        for byte in frames {
            wire.send(&[*byte]).expect("sent");
        }
        assert_eq!(wire.read().expect("a reply").integer(), 42);
        assert_eq!(wire.read().expect("a reply").text(), "x y");
    });
}

/// A slow sender of one great command costs the server no more than its bytes: what has arrived is not parsed again
/// at every read.
#[test]
fn a_great_command_in_small_pieces() {
    survives(&[], 64 * MIB, |node| {
        let count = 100_000;
        let mut bytes =
            format!("*{}\r\n$8\r\nGSET.ADD\r\n$1\r\np\r\n$1\r\ns\r\n", count + 3).into_bytes();
        for i in 0..count {
            bytes.extend_from_slice(format!("$6\r\n{i:06}\r\n").as_bytes());
        }
        let cpu = |node: &Node| {
            let seconds = |field| node.info(field).parse::<f64>().expect("a number");
            seconds("used_cpu_user") + seconds("used_cpu_sys")
        };
        let before = cpu(node);
        let mut wire = node.wire();
        for piece in bytes.chunks(700) {
            wire.send(piece).expect("sent");
        }
        assert_eq!(wire.read().expect("a reply").integer(), count);
        let used = cpu(node) - before;
        assert!(used < 2.0, "{used} seconds of CPU for {} bytes", bytes.len());
    });
}

/// A request is an array of texts, so the second level of nesting is refused: what is nested deeper is never
/// followed. A few dozen levels show that as well as more would.
#[test]
fn deep_nesting() {
    survives(&[], 16 * MIB, |node| {
        for header in ["*1\r\n", "%1\r\n", "~1\r\n", ">1\r\n", "|1\r\n"] {
            let mut wire = node.wire();
            let _ = wire.send(&header.as_bytes().repeat(40));
            wire.finish();
            wire.rest();
            node.assert_alive();
        }
        let mut wire = node.wire();
        wire.send(&b"*1\r\n".repeat(40)).expect("sent");
        assert_eq!(
            wire.read().expect("an error").to_string(),
            "-ERR Protocol error: expected '$', got '*'"
        );
    });
}

/// Patterns that take exponential time with a naive matcher.
#[test]
fn costly_patterns() {
    survives(&[], 16 * MIB, |node| {
        let mut wire = node.wire();
        let object = "a".repeat(200);
        wire.ask(&format!("GCOUNTER.ADD {object} n"));
        let pattern = "a*".repeat(60) + "b";
        assert!(wire.ask(&format!("KEYS {pattern}")).items().is_empty());
        assert_eq!(
            wire.ask(&format!("SCAN 0 COUNT 1000 MATCH {pattern}")).items()[1].items().len(),
            0
        );
        assert_eq!(wire.ask(&format!("MISO.DEL {object}")).integer(), 1);
    });
}

/// A transaction may be long, but is bounded by memory like anything a client sends.
#[test]
fn a_transaction_without_end() {
    survives(&["--client-query-buffer-limit", "16mb"], 96 * MIB, |node| {
        let mut wire = node.wire();
        wire.ask("MULTI");
        let argument = vec![b'x'; 1 << 20];
        let mut command = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", argument.len()).into_bytes();
        command.extend_from_slice(&argument);
        command.extend_from_slice(b"\r\n");
        for _ in 0..200 {
            if wire.send(&command).is_err() {
                break;
            }
            match wire.read() {
                Ok(frame) if !frame.is_error() => {}
                _ => break,
            }
        }
    });
}

/// Connections that come and go leave nothing.
#[test]
fn connections_that_come_and_go() {
    survives(&[], 24 * MIB, |node| {
        let openings: [&[u8]; 4] = [
            b"WATCH x\r\nMULTI\r\nGCOUNTER.ADD x n\r\n",
            b"SUBSCRIBE ch\r\nPSUBSCRIBE ch*\r\n",
            b"MISO.REGISTER fn\r\nCLIENT SETNAME me\r\nGCOUNTER.ADD x n\r\n",
            b"MONITOR\r\n",
        ];
        for i in 0..2000 {
            let mut wire = node.wire();
            wire.send(openings[i % openings.len()]).expect("sent");
            if i % 3 == 0 {
                wire.read().expect("a reply");
            }
        }
        wait_until("all to be gone", || {
            node.info("connected_clients").parse::<u32>().expect("a number") <= 2
        });
        assert_eq!(node.info("pubsub_channels"), "0");
        assert_eq!(node.info("pubsub_patterns"), "0");
    });
}

/// Replies of 100 MB to a client that stopped sending and reads late and slowly: all of them arrive, unchanged.
#[test]
fn a_slow_reader_gets_everything() {
    survives(&[], 48 * MIB, |node| {
        let value: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
        node.session().call(&[&b"MVREG.SET"[..], b"big", b"r", &value]);
        let mut wire = node.wire();
        wire.send(&b"*3\r\n$11\r\nMVREG.VALUE\r\n$3\r\nbig\r\n$1\r\nr\r\n".repeat(100))
            .expect("sent");
        wire.finish();
        let expected = [&b"$1000000\r\n"[..], &value, b"\r\n"].concat();
        let mut reply = vec![0; expected.len()];
        let mut stream = wire.stream();
        for i in 0..100 {
            // In pieces that fit no packet.
            for piece in reply.chunks_mut(77_777) {
                stream.read_exact(piece).unwrap_or_else(|error| panic!("reply {i}: {error}"));
            }
            assert!(reply == expected, "reply {i} is not what was asked for");
        }
        assert_eq!(wire.rest(), b"");
    });
}

/// Killing reaches a client that is stuck: in a reply that it does not read, in a pause, in a sleep.
#[test]
fn stuck_connections_can_be_killed() {
    survives(&[], 64 * MIB, |node| {
        let mut admin = node.wire();
        let value = vec![b'x'; 8_000_000];
        node.session().call(&[&b"MVREG.SET"[..], b"big", b"r", &value]);
        let clients = |admin: &mut Wire| admin.ask("CLIENT LIST").text().lines().count();
        let before = clients(&mut admin);

        let mut unread = node.wire();
        unread.command("MVREG.VALUE big r");
        let mut asleep = node.wire();
        asleep.command("DEBUG SLEEP 600");
        let ids: Vec<String> = wait_for_ids(&mut admin, &[&unread, &asleep]);
        for id in ids {
            assert_eq!(admin.ask(&format!("CLIENT KILL ID {id}")).integer(), 1);
        }
        wait_until("both to be gone", || clients(&mut admin) <= before);

        let mut paused = node.wire();
        paused.assert_alive();
        assert_eq!(admin.ask("CLIENT PAUSE 600000 WRITE").to_string(), "OK");
        paused.command("GCOUNTER.ADD o n");
        let ids = wait_for_ids(&mut admin, &[&paused]);
        assert_eq!(admin.ask(&format!("CLIENT KILL ID {}", ids[0])).integer(), 1);
        assert_eq!(paused.rest(), b"");
        assert_eq!(admin.ask("CLIENT UNPAUSE").to_string(), "OK");
        assert_eq!(
            admin.ask("GCOUNTER.GET o n").integer(),
            0,
            "what was paused and killed is not executed"
        );
    });
}

/// The ids of connections, found by their addresses.
fn wait_for_ids(admin: &mut Wire, wires: &[&Wire]) -> Vec<String> {
    let mut ids = Vec::new();
    for wire in wires {
        let address = wire.stream().local_addr().expect("a bound socket");
        wait_until("the connection in CLIENT LIST", || {
            let list = admin.ask("CLIENT LIST").text();
            let line = list.lines().find(|line| line.contains(&format!(" addr={address} ")));
            let id = line.and_then(|line| line.strip_prefix("id=")?.split(' ').next());
            ids.extend(id.map(str::to_owned));
            id.is_some()
        });
    }
    ids
}

/// A client that does not log in is closed after 10 seconds, and sooner if it reads no replies.
#[test]
fn connections_that_do_not_log_in() {
    let node = Node::with(&["--requirepass", "pw"]);
    let mut member = node.wire();
    assert_eq!(member.ask("AUTH pw").to_string(), "OK");
    let before = node.memory("VmRSS");
    let (mut silent, mut busy) = (node.wire(), node.wire());
    assert!(busy.ask("PING").is_error());
    flood(&node, &b"GET x\r\n".repeat(1_000), 64 << 20);
    assert_eq!((silent.rest(), busy.rest()), (Vec::new(), Vec::new()));
    member.assert_alive();
    assert!(node.memory("VmHWM") < before + 16 * MIB);
}
