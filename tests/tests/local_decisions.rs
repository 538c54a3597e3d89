//! `local-decisions refuse`: only what merges is served.

use miso_tests::{Node, Resp, wait_until};

/// A node that refuses what decides here.
fn node() -> Node {
    Node::with(&["--local-decisions", "refuse"])
}

#[test]
fn commands_and_options_that_decide_here_are_refused_and_change_nothing() {
    let node = node();
    let mut s = node.session();
    for line in [
        "SET k v NX",
        "SET k v EX 10 XX",
        "SET k v GET",
        "SETNX k v",
        "MSETNX k v",
        "GETSET k v",
        "GETDEL k",
        "APPEND k v",
        "EXPIRE k 10 NX",
        "HSETNX h f v",
        "HSETEX h FNX EX 10 FIELDS 1 f v",
        "HEXPIRE h 10 GT FIELDS 1 f",
        "ZADD z NX CH 1 a",
        "ZADD z GT 1 a",
        "GEOADD g XX 1 1 a",
        "SPOP t",
        "ZPOPMIN z",
        "RENAME k l",
        "COPY k l",
        "SUNIONSTORE t u",
        "INCREX k",
        "WATCH k",
    ] {
        let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        s.script(&format!(
            "{line} => -ERR '{name}' is refused by local-decisions: what it does..."
        ));
    }
    s.script("DBSIZE => 0");
}

#[test]
fn what_merges_is_served_whatever_its_words_are() {
    let node = node();
    node.session().script(
        "SET NX NX EX 100 => OK\nSET k GET => OK\nGET k => \"GET\"\nINCR n => 1\nHSET h NX XX => 1\n\
         HEXPIRE h 10 FIELDS 1 NX => [1]\nHSETEX h EX 10 FIELDS 1 FNX v => 1\nZADD z 1 nx 2 GT => 2\n\
         GEOADD g CH 1 1 xx => 1\nEXPIRE k 10 => 1\nSADD t NX => 1\nDEL t => 1\nPFADD p NX => 1\n\
         MULTI => OK\nINCR n => QUEUED\nEXEC => [2]",
    );
}

#[test]
fn a_transaction_with_a_decision_in_it_is_not_run() {
    let node = node();
    node.session().script(
        "MULTI => OK\nINCR n => QUEUED\nSPOP t => -ERR 'spop' is refused by local-decisions...\n\
         EXEC => -EXECABORT...\nGET n => nil",
    );
}

#[test]
fn it_can_be_changed_while_the_node_runs() {
    let node = Node::start();
    let (mut s, mut other) = (node.session(), node.session_of("shop", Resp::V2));
    s.script(
        "CONFIG GET local-decisions => [\"local-decisions\", \"allow\"]\nSETNX k v => 1\n\
         CONFIG SET local-decisions maybe => -ERR CONFIG SET failed...\n\
         CONFIG SET local-decisions refuse => OK\nSETNX l v => -ERR 'setnx' is refused...",
    );
    wait_until("another connection to be told so", || other.run("SETNX l v").is_error());
    s.script("CONFIG SET local-decisions allow => OK\nSETNX l v => 1");
}
