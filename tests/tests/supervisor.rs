//! What a supervisor such as systemd is told.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

use miso_tests::{DEADLINE, Node, Scratch, wait_until};

/// A supervisor's socket, and its path.
fn socket() -> (UnixDatagram, String, Scratch) {
    let directory = Scratch::new();
    let path = directory.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    (socket, path, directory)
}

/// The next message.
fn next(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let count = socket.recv(&mut bytes).expect("the supervisor is told");
    String::from_utf8_lossy(&bytes[..count]).trim_end().to_owned()
}

#[test]
fn it_hears_of_the_start_the_watchdog_and_the_end() {
    let (socket, path, _directory) = socket();
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "100000")];
    let mut node = Node::with_environment(&[], &variables);
    assert_eq!(next(&socket), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(&socket), "WATCHDOG=1");
    }
    node.signal(libc::SIGTERM);
    wait_until("STOPPING=1", || match next(&socket).as_str() {
        "STOPPING=1" => true,
        other => {
            assert_eq!(other, "WATCHDOG=1");
            false
        }
    });
    assert_eq!(node.wait_for_end().code(), Some(0));
}

#[test]
fn without_a_watchdog_it_hears_of_the_start_alone() {
    let (socket, path, _directory) = socket();
    let node = Node::with_environment(&[], &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(next(&socket), "READY=1");
    socket.set_nonblocking(true).expect("it can be");
    let more = socket.recv(&mut [0; 256]).map_err(|error| error.kind());
    assert_eq!(more, Err(ErrorKind::WouldBlock));
    drop(node);
}

#[test]
fn a_supervisor_that_is_not_there_is_no_fault_of_the_node() {
    let node = Node::with_environment(&[], &[("NOTIFY_SOCKET", "/nowhere/notify")]);
    node.assert_alive();
    assert!(node.log().contains("NOTIFY_SOCKET: the supervisor cannot be told"), "{}", node.log());
}
