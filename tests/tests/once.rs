//! Writes that run once: on one node, after a restart, on other nodes, in transactions, over HTTP.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use miso_tests::{Cluster, Frame, Node, Resp, all_say, wait_until};

#[test]
fn a_repeat_changes_nothing_and_answers_what_the_first_one_did() {
    let node = Node::start();
    let long = "i".repeat(65);
    node.session().script(&format!(
        r#"
        MISO.ONCE a GCOUNTER.ADD o n 2 => 2
        GCOUNTER.ADD o n => 3
        MISO.ONCE a GCOUNTER.ADD o n 2 => 2
        MISO.ONCE a => 2
        GCOUNTER.GET o n => 3
        MISO.ONCE b => nil
        MISO.ONCE c GCOUNTER.ADD o n -1 => -ERR a grow-only counter cannot decrease...
        MISO.ONCE c GCOUNTER.ADD o n 1 => 4
        MISO.ONCE d GET k => -ERR once: 'get' changes no data...
        MISO.ONCE d SPOP s => -ERR once: 'spop' cannot be repeated...
        MISO.ONCE d SET k v GET => -ERR once: 'set' cannot be repeated...
        MISO.ONCE d MISO.ONCE e INCR k => -ERR once: 'miso.once' cannot be repeated...
        MISO.ONCE d NOSUCH => -ERR unknown command 'NOSUCH'...
        MISO.ONCE {long} INCR k => -ERR once: an id has 1 to 64 bytes...
        MISO.ONCE s SADD s x => 1
        SREM s x => 1
        MISO.ONCE s SADD s x => 1
        SCARD s => 0
        DBSIZE => 1
        FLUSHALL => OK
        MISO.ONCE s => 1
        MISO.ONCE f SET k v => OK
        MISO.ONCE f SET k w => OK
        GET k => "v"
        "#
    ));
    let mut other = node.session_of("another", Resp::V2);
    other.script("MISO.ONCE a GCOUNTER.ADD o n 2 => 2");
    assert_eq!(node.info("once_repeats"), "5");
}

#[test]
fn a_transaction_runs_once() {
    let node = Node::start();
    node.session().script(
        r#"
        MISO.ONCE t MULTI => OK
        INCR k => QUEUED
        GCOUNTER.ADD o n 3 => QUEUED
        EXEC => [1, 3]
        MISO.ONCE t MULTI => OK
        INCR k => QUEUED
        GCOUNTER.ADD o n 3 => QUEUED
        EXEC => [1, 3]
        GET k => "1"
        MISO.ONCE u MULTI => OK
        GET k => -ERR once: 'get' changes no data...
        EXEC => -EXECABORT Transaction discarded...
        MISO.ONCE u => nil
        "#,
    );
}

#[test]
fn ids_beyond_the_most_are_refused_until_their_window_is_over() {
    let node = Node::with(&["--once-max", "2", "--once-window", "1h"]);
    let mut session = node.session();
    session.script(
        r#"
        MISO.ONCE a INCR k => 1
        MISO.ONCE b INCR k => 2
        MISO.ONCE c INCR k => -ERR once: 2 ids are kept...
        MISO.ONCE a INCR k => 1
        GET k => "2"
        CONFIG SET once-window 0 => OK
        "#,
    );
    assert_eq!(node.info("once_refused"), "1");
    wait_until("ids are forgotten", || session.run("MISO.ONCE a") == Frame::Null);
    wait_until("there is room", || !session.run("MISO.ONCE c INCR k").is_error());
    session.script("GET k => \"3\"");
}

#[test]
fn increments_on_two_nodes_that_are_apart_count_once() {
    let mut cluster = Cluster::with_disks(2, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    s[0].script("MISO.ONCE first INCRBY k 5 => 5\nWAIT 1 30000 => 1");
    s[1].script("MISO.ONCE first INCRBY k 5 => 5");
    cluster.isolate(0);
    for session in &mut s {
        session.script(
            r#"
            MISO.ONCE a GCOUNTER.ADD o g 3 => 3
            MISO.ONCE b PNCOUNTER.SUB o p 4 => -4
            MISO.ONCE c ORMAP.INCRBY o m f 7 => 7
            MISO.ONCE d INCRBY k 10 => 15
            MISO.ONCE e HINCRBY h f 2 => 2
            MISO.ONCE f ZINCRBY z 1.5 m => "1.5"
            MISO.ONCE g HINCRBYFLOAT h x 0.25 => "0.25"
            "#,
        );
    }
    cluster.net().heal();
    let expected = [
        ("GCOUNTER.GET o g", "3"),
        ("PNCOUNTER.GET o p", "-4"),
        ("ORMAP.GET o m f", "\"7\""),
        ("GET k", "\"15\""),
        ("HGET h f", "\"2\""),
        ("ZSCORE z m", "\"1.5\""),
        ("HGET h x", "\"0.25\""),
    ];
    for (line, value) in expected {
        all_say(&mut s, line, value);
    }
    // A node that was killed knows what it ran, and so does the other.
    cluster.kill(0);
    cluster.restart(0);
    s[0] = cluster.session(0);
    for session in &mut s {
        session.script("MISO.ONCE a GCOUNTER.ADD o g 3 => 3\nMISO.ONCE d INCRBY k 10 => 15");
    }
    for (line, value) in expected {
        all_say(&mut s, line, value);
    }
}

#[test]
fn one_id_for_two_writes_is_told() {
    let cluster = Cluster::with(2, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    s[0].script("PNCOUNTER.ADD o n 1 => 1\nWAIT 1 30000 => 1");
    cluster.isolate(0);
    s[0].script(
        "MISO.ONCE same PNCOUNTER.ADD o n 3 => 4\nMISO.ONCE other PNCOUNTER.ADD o n 7 => 11",
    );
    s[1].script(
        "MISO.ONCE same PNCOUNTER.ADD o n 3 => 4\nMISO.ONCE other PNCOUNTER.SUB o n 2 => 2",
    );
    cluster.net().heal();
    let told = |node: usize| cluster.node(node).info("once_unequal") == "1";
    wait_until("one of them tells it", || told(0) || told(1));
    let loser = usize::from(told(1));
    let line = "the id other (MISO.ONCE) was given to two writes";
    wait_until("the log", || cluster.node(loser).log().contains(line));
    // The write of the other node counts, and `same` once.
    all_say(&mut s, "PNCOUNTER.GET o n", if loser == 1 { "11" } else { "2" });
    assert_eq!(cluster.node(1 - loser).info("once_unequal"), "0");
}

#[test]
fn a_request_over_http_runs_once() {
    let node = Node::with(&["--http-port", "0"]);
    let mut http = node.http("shop");
    let key = [("Idempotency-Key", "\"k-1\"")];
    for _ in 0..2 {
        let answer = http.ask("POST", "/", &key, br#"["INCR","n"]"#);
        assert_eq!(answer.line(), r#"200 {"result":1}"#);
        let body = br#"[["INCR","n"],["GCOUNTER.ADD","o","g",2]]"#;
        let answer = http.ask("POST", "/multi-exec", &[("Idempotency-Key", "k-2")], body);
        assert_eq!(answer.line(), r#"200 [{"result":2},{"result":2}]"#);
    }
    assert_eq!(http.ask("GET", "/get/n", &key, b"").line(), r#"200 {"result":"2"}"#);
    let several = http.ask("POST", "/pipeline", &key, br#"[["INCR","n"]]"#);
    assert_eq!(several.status, 400);
    assert_eq!(http.get("/miso.once/x/multi").status, 400);
}

/// A proxy that now and then passes a request on and ends the connection before the reply.
fn lossy_proxy(to: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        let mut seen = 0u32;
        for client in listener.incoming().flatten() {
            let Ok(mut server) = TcpStream::connect(to) else { continue };
            let (mut client, mut bytes) = (client, [0; 4096]);
            while let Ok(n) = client.read(&mut bytes)
                && n > 0
            {
                if server.write_all(&bytes[..n]).is_err() {
                    break;
                }
                let Ok(n) = server.read(&mut bytes) else { break };
                seen += 1;
                // It has run, and nobody hears of it.
                if seen.is_multiple_of(3) || client.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        }
    });
    address
}

#[test]
fn sums_are_exact_behind_a_proxy_that_loses_replies() {
    let cluster = Cluster::start(2);
    let proxies = [0, 1].map(|node| lossy_proxy(cluster.node(node).address()));
    let send = |node: usize, line: &str| -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(proxies[node]).ok()?;
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let mut bytes = [0; 256];
        let n = stream.read(&mut bytes).ok().filter(|n| *n > 0)?;
        Some(bytes[..n].to_vec())
    };
    for at in 0..200 {
        let line = format!("MISO.ONCE id-{at} GCOUNTER.ADD o n 1");
        // It is sent again, there or to the other node, until a reply comes.
        let replied = (0..20).any(|again| send((at + again) % 2, &line).is_some());
        assert!(replied, "{line}");
    }
    all_say(&mut cluster.sessions(), "GCOUNTER.GET o n", "200");
}
