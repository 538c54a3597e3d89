//! CLIENT TRACKING: a client that caches what it has read hears when it changes, by whatever means, here or on
//! another node.

use std::time::Duration;

use miso_tests::{Cluster, Node, Wire, wait_until};

/// A RESP3 connection that caches.
fn caches(node: &Node, options: &str) -> Wire {
    let mut wire = node.wire();
    wire.ask("HELLO 3");
    assert_eq!(wire.ask(&format!("CLIENT TRACKING ON {options}")).to_string(), "OK");
    wire
}

#[track_caller]
fn hears(wire: &mut Wire, key: &str) {
    let heard = wire.read_within(Duration::from_secs(20)).map(|frame| frame.to_string());
    assert_eq!(heard.as_deref(), Some(format!(r#">["invalidate", ["{key}"]]"#).as_str()));
}

#[track_caller]
fn hears_nothing(wire: &mut Wire) {
    // What comes later than this answer was not due before it.
    assert_eq!(wire.ask("PING").to_string(), "PONG");
}

#[test]
fn what_was_read_is_told_once_when_it_changes() {
    let node = Node::start();
    let mut other = node.session();
    other.script("SET a 1 => OK\nSET b 1 => OK\nGCOUNTER.ADD o n 1 => 1");
    let mut cache = caches(&node, "");
    cache.ask("MGET a b");
    cache.ask("GCOUNTER.GET o n");
    assert_eq!(node.info("tracking_clients"), "1");
    assert_eq!(node.info("tracking_total_keys"), "3");
    other.script("SET a 2 => OK\nSET a 3 => OK\nSET c 1 => OK");
    hears(&mut cache, "a");
    hears_nothing(&mut cache);
    other.script("GCOUNTER.ADD o n 1 => 2\nDEL b => 1");
    hears(&mut cache, "o");
    hears(&mut cache, "b");
    // Once it is read again, again.
    cache.ask("GET a");
    other.script("MULTI => OK\nSET a 4 => QUEUED\nEXEC => *");
    hears(&mut cache, "a");
    // What a client changes itself, too.
    cache.ask("GET a");
    cache.send(b"SET a 5\r\n").expect("it is open");
    let mut both = [cache.read(), cache.read()].map(|frame| frame.expect("two").to_string());
    both.sort();
    assert_eq!(both, [r#">["invalidate", ["a"]]"#, "OK"]);
    cache.ask("GET a");
    assert_eq!(cache.ask("CLIENT TRACKING OFF").to_string(), "OK");
    other.script("SET a 6 => OK");
    hears_nothing(&mut cache);
    drop(cache);
    assert_eq!(node.info("tracking_total_keys"), "0");
}

#[test]
fn a_deadline_is_told() {
    let node = Node::start();
    node.session().script("SET k v PX 300 => OK");
    let mut cache = caches(&node, "");
    cache.ask("GET k");
    hears(&mut cache, "k");
}

#[test]
fn changes_of_other_nodes_are_told() {
    let cluster = Cluster::start(2);
    let mut there = cluster.session(1);
    there.script("SET k 1 => OK\nHSET h f 1 => 1");
    let mut here = cluster.session(0);
    wait_until("the value to come", || here.run("HGET h f").to_string() == "\"1\"");
    let mut cache = caches(cluster.node(0), "");
    cache.ask("GET k");
    cache.ask("HGET h f");
    there.script("SET k 2 => OK");
    hears(&mut cache, "k");
    there.script("HSET h f 2 => 0");
    hears(&mut cache, "h");
    assert_eq!(cache.ask("GET k").to_string(), "\"2\"");
}

#[test]
fn a_client_says_what_is_tracked() {
    let node = Node::start();
    let mut other = node.session();
    other.script("MSET a 1 b 1 c 1 => OK");
    let mut cache = caches(&node, "OPTIN");
    cache.ask("GET a");
    cache.ask("CLIENT CACHING YES");
    cache.ask("GET b");
    cache.ask("GET c");
    other.script("MSET a 2 b 2 c 2 => OK");
    hears(&mut cache, "b");
    hears_nothing(&mut cache);
    let mut cache = caches(&node, "OPTOUT NOLOOP");
    cache.ask("CLIENT CACHING NO");
    cache.ask("GET a");
    cache.ask("MGET b c");
    assert_eq!(cache.ask("SET b 3").to_string(), "OK");
    hears_nothing(&mut cache);
    other.script("MSET a 3 b 4 c 3 => OK");
    hears(&mut cache, "c");
    hears_nothing(&mut cache);
}

#[test]
fn prefixes_are_told_without_a_read() {
    let node = Node::start();
    let mut all = caches(&node, "BCAST");
    let mut some = caches(&node, "BCAST PREFIX user: PREFIX cart: NOLOOP");
    node.session().script("SET user:1 x => OK\nSET other x => OK");
    for key in ["user:1", "other"] {
        hears(&mut all, key);
    }
    hears(&mut some, "user:1");
    assert_eq!(some.ask("SET cart:1 x").to_string(), "OK");
    hears_nothing(&mut some);
    hears(&mut all, "cart:1");
    // Another function's keys are others.
    node.session_of("another", miso_tests::Resp::V3).script("SET user:1 x => OK");
    hears_nothing(&mut all);
}

#[test]
fn another_connection_is_told() {
    let node = Node::start();
    let mut listener = node.wire();
    let id = listener.ask("CLIENT ID").to_string();
    listener.ask("SUBSCRIBE __redis__:invalidate");
    let mut cache = node.wire();
    assert_eq!(cache.ask(&format!("CLIENT TRACKING ON REDIRECT {id}")).to_string(), "OK");
    assert_eq!(cache.ask("CLIENT GETREDIR").to_string(), id);
    cache.ask("GET k");
    node.session().script("SET k 1 => OK");
    let heard = listener.read_within(Duration::from_secs(20)).expect("a message");
    assert_eq!(heard.to_string(), r#"["message", "__redis__:invalidate", ["k"]]"#);
    hears_nothing(&mut cache);
    drop(listener);
    wait_until("it to be gone", || {
        !node.session().run("CLIENT LIST").text().contains(&format!("id={id} "))
    });
    cache.ask("GET k");
    node.session().script("SET k 2 => OK");
    assert!(cache.ask("CLIENT TRACKINGINFO").to_string().contains("broken_redirect"));
}
