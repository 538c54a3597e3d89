//! Nodes that are found by a name.

use miso_tests::{Frame, Node, wait_until};
use std::fs;

fn reads(node: &Node, total: i64) -> bool {
    node.session().run("GCOUNTER.GET o n") == Frame::Integer(total)
}

/// A name stands for many nodes, and for others tomorrow: all its addresses are tried, and it is resolved again.
#[test]
fn a_name_stands_for_many_nodes() {
    let port = Node::free_port().to_string();
    let strangers = [2, 3, 4].map(|host| {
        let (bind, name) = (format!("127.0.0.{host}"), format!("node-{host}"));
        Node::with(&["--node-name", &name, "--peer-bind", &bind, "--peer-port", &port])
    });
    for node in &strangers {
        node.session().run("GCOUNTER.ADD o n 1");
    }
    // Only the program itself sees these names.
    let hosts = strangers[0].directory().join("hosts");
    fs::write(&hosts, "127.0.0.2 nodes.test\n127.0.0.3 nodes.test\n").expect("writable");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let hosts = hosts.to_str().expect("a plain path");
    let wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, hosts];
    let seed = format!("nodes.test:{port}");
    let flags = ["--node-name", "newcomer", "--data-dir", "none", "--join", &seed];
    let newcomer = Node::inside(&wrapper, &flags);
    newcomer.session().run("GCOUNTER.ADD o n 1");
    wait_until("the two that the name stands for", || {
        reads(&newcomer, 3) && strangers[..2].iter().all(|node| reads(node, 3))
    });
    assert!(reads(&strangers[2], 1), "nobody knows this one");
    fs::write(hosts, "127.0.0.4 nodes.test\n").expect("writable");
    wait_until("the third, whom the name stands for now", || {
        reads(&newcomer, 4) && strangers.iter().all(|node| reads(node, 4))
    });
}
