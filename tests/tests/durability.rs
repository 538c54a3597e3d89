//! What a node acknowledged, it keeps: processes that die, and directories that are not to be used.

use miso_tests::{Frame, Node, wait_until};

fn kill(node: &mut Node) {
    node.signal(libc::SIGKILL);
    node.wait_for_end();
}

/// SIGTERM in the middle of a load: exit 0, and everything acknowledged is kept.
#[test]
fn an_orderly_end_under_load_keeps_what_was_acknowledged() {
    let directory = Node::scratch();
    let data = directory.join("data");
    let data = data.to_str().expect("a plain path");
    let mut node = Node::with(&["--data-dir", data]);
    let url = node.url("");
    let writer = std::thread::spawn(move || {
        let mut connection = redis::Client::open(url)
            .and_then(|client| client.get_connection())
            .expect("it listens");
        let mut acknowledged = 0i64;
        loop {
            let added = redis::cmd("GCOUNTER.ADD").arg("o").arg("n").arg(1).query(&mut connection);
            match added {
                Ok(value) => acknowledged = value,
                Err(_) => return acknowledged,
            }
        }
    });
    wait_until("a load", || node.session().run("GCOUNTER.GET o n").integer() > 200);
    node.signal(libc::SIGTERM);
    assert!(node.wait_for_end().success());
    let acknowledged = writer.join().expect("the writer ends");
    let node = Node::with(&["--data-dir", data]);
    let kept = node.session().run("GCOUNTER.GET o n").integer();
    // The last command may have been done and its answer lost.
    assert!((acknowledged..=acknowledged + 1).contains(&kept), "{kept} of {acknowledged}");
}

/// Who asks twice does not wait: here for a peer that stands still and takes nothing.
#[test]
fn a_second_signal_ends_it_at_once() {
    let peer = Node::with(&["--node-name", "peer", "--node-timeout", "60s"]);
    let port = peer.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let mut node = Node::with(&["--node-name", "node", "--node-timeout", "60s", "--join", &seed]);
    peer.session().run("GCOUNTER.ADD o n 1");
    wait_until("they agree", || node.session().run("GCOUNTER.GET o n").integer() == 1);
    peer.signal(libc::SIGSTOP);
    node.session().run("GCOUNTER.ADD o n 1");
    node.signal(libc::SIGTERM);
    wait_until("the end to begin", || node.log().contains("stopping"));
    node.signal(libc::SIGTERM);
    let began = std::time::Instant::now();
    let status = node.wait_for_end();
    peer.signal(libc::SIGCONT);
    assert_eq!(status.code(), Some(1), "it ended by itself after {:?}", began.elapsed());
}
