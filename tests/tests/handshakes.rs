//! What clients and tools that are not installed here send before and between the first commands, as found in their
//! sources: each line must be answered at once, and in a way that the client goes on from.

use miso_tests::{Node, Resp};

/// Plays a client's opening: `+ line` must be answered without an error, `- line` with one, by which the client
/// learns that there is no such thing. The connection must serve afterwards.
#[track_caller]
fn opening(script: &str) {
    let node = Node::start();
    node.session().script("GCOUNTER.ADD cart n 5 => 5");
    let mut wire = node.wire();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (expected, command) = line.split_at(2);
        let reply = wire.ask(command);
        assert_eq!(reply.is_error(), expected == "- ", "{command}: {reply}");
    }
    assert_eq!(wire.ask("GCOUNTER.ADD o n 2").integer(), 2);
}

#[test]
fn go_redis() {
    opening(
        "
        + HELLO 3 SETNAME worker
        + CLIENT SETINFO LIB-NAME go-redis(,go1.25)
        + CLIENT SETINFO LIB-VER 9.14.0
        - CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none
        + CLIENT TRACKING ON
        + SELECT 0
        - READONLY
        + COMMAND
        ",
    );
}

#[test]
fn jedis() {
    opening(
        "
        + HELLO 3
        + CLIENT SETNAME jedis
        + CLIENT SETINFO lib-name jedis
        + CLIENT SETINFO lib-ver 7.0.0
        + SELECT 0
        + PING
        ",
    );
}

#[test]
fn lettuce() {
    opening(
        "
        + HELLO 3 SETNAME lettuce
        + CLIENT SETINFO lib-name Lettuce
        + CLIENT SETINFO lib-ver 7.0.0
        - CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip
        + PING
        ",
    );
}

#[test]
fn stack_exchange() {
    opening(
        "
        + CLIENT SETNAME MACHINE(SE.Redis-v2.9)
        + CLIENT SETINFO lib-name SE.Redis
        + CLIENT SETINFO lib-ver 2.9.0
        + CLIENT ID
        + CONFIG GET timeout
        + CONFIG GET replica-read-only
        + CONFIG GET slave-read-only
        + CONFIG GET databases
        - SENTINEL MASTERS
        + INFO replication
        + INFO server
        - CLUSTER NODES
        + GET __Booksleeve_TieBreak
        + ECHO 0123456789abcdef
        ",
    );
}

#[test]
fn fred_and_glide() {
    opening(
        "
        + PING
        + CLIENT SETNAME fred
        + CLIENT ID
        + INFO server
        - CLUSTER INFO
        + INFO REPLICATION
        ",
    );
}

#[test]
fn redis_insight() {
    opening(
        "
        + INFO
        - CLUSTER INFO
        - SENTINEL MASTERS
        + MODULE LIST
        + COMMAND INFO ft.search json.get ts.add
        + HELLO
        + CONFIG GET databases
        + CONFIG GET io-threads
        + CLIENT LIST
        + ACL CAT dangerous
        + ACL USERS
        + ACL LIST
        + DBSIZE
        + INFO keyspace
        + SCAN 0 MATCH * COUNT 500
        + SCAN 0 MATCH * COUNT 500 TYPE hash
        + TYPE cart
        + TTL cart
        + MEMORY USAGE cart SAMPLES 0
        + HLEN cart
        + HSCAN cart 0 MATCH * COUNT 500
        + SLOWLOG GET 50
        + CONFIG GET slowlog-log-slower-than
        + OBJECT ENCODING cart
        + OBJECT IDLETIME cart
        ",
    );
}

#[test]
fn redis_exporter_and_grafana() {
    opening(
        "
        + INFO ALL
        + CONFIG GET *
        + SLOWLOG LEN
        + SLOWLOG GET 1
        + LATENCY LATEST
        + LATENCY HISTOGRAM
        + CLIENT LIST
        + INFO commandstats
        + MEMORY STATS
        + MEMORY DOCTOR
        ",
    );
}

#[test]
fn dapr_reads() {
    opening(
        "
        + PING
        + INFO replication
        + HGETALL cart
        + WAIT 0 100
        - EVAL 'return 1' 0
        ",
    );
}

/// memtier_benchmark with `--command`: a greeting, then pipelines of arbitrary commands.
#[test]
fn memtier() {
    opening("+ SELECT 0\n+ HELLO 2\n+ CONFIG GET save");
    let node = Node::start();
    let mut wire = node.wire();
    for _ in 0..20 {
        for i in 0..50 {
            wire.command(&format!("GCOUNTER.ADD memtier-{i} n 1"));
            wire.command(&format!("GCOUNTER.GET memtier-{i} n"));
        }
        for _ in 0..100 {
            assert!(wire.read().expect("a reply").integer() > 0);
        }
    }
}

/// What HELLO answers has the types that strict clients cast to.
#[test]
fn greeting_has_the_expected_types() {
    let node = Node::start();
    for resp in Resp::BOTH {
        let mut wire = node.wire();
        let reply = wire.ask(if resp == Resp::V3 { "HELLO 3" } else { "HELLO 2" });
        assert!(reply.field("id").expect("an id").integer() > 0);
        assert!(reply.field("proto").expect("a protocol").integer() > 1);
        let modules = wire.ask("MODULE LIST").items();
        assert_eq!(modules.len(), 1);
        assert_eq!(modules[0], reply.field("modules").expect("modules").items()[0]);
        for field in ["name", "ver", "path", "args"] {
            assert!(modules[0].field(field).is_some(), "{}", modules[0]);
        }
    }
}
