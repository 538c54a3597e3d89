//! Functions are namespaces, and how a connection comes by its own.

use miso_tests::{Frame, Node, Resp, Session};

#[test]
fn the_default_function() {
    let node = Node::start();
    node.session().script(r#"MISO.FUNCTION => "default""#);
    let node = Node::with(&["--default-function", "checkout"]);
    node.session().script(r#"MISO.FUNCTION => "checkout""#);
}

/// Defect 3 of the original on one node: the same object and name in two functions are two CRDTs.
#[test]
fn functions_are_separate_namespaces() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut a = node.session_of("a", resp);
        let mut b = node.session_of("b", resp);
        a.script("GCOUNTER.ADD o n 1 => 1");
        b.script("GCOUNTER.ADD o n 10 => 10");
        a.script("GCOUNTER.ADD o n 1 => 2");
        b.script("GCOUNTER.ADD o n 10 => 20");
        // Types do not clash across functions either.
        a.script("ORSET.ADD o m x => 1");
        b.script("MVREG.SET o m y => OK\nMISO.TYPE o m => mvreg\nMISO.TYPE o n => gcounter");
        a.script("MISO.TYPE o m => orset\nDBSIZE => 1");
        node.session_in(resp).script("DBSIZE => 0\nGCOUNTER.GET o n => 0\nKEYS * => []");
        b.script("MISO.DEL o => 2");
        a.script("GCOUNTER.GET o n => 2\nORSET.CARD o m => 1");
    }
}

#[test]
fn open_mode_takes_the_function_from_the_url() {
    let node = Node::start();
    for resp in Resp::BOTH {
        node.session_of("checkout", resp).script(r#"MISO.FUNCTION => "checkout""#);
    }
    // AUTH with any password, HELLO's AUTH, and again on the same connection.
    let mut wire = node.wire();
    for (line, function) in [
        ("AUTH one x", "one"),
        ("AUTH two anything", "two"),
        ("HELLO 3 AUTH three -", "three"),
        ("HELLO 2 AUTH four - SETNAME c", "four"),
    ] {
        let reply = wire.ask(line);
        assert!(!reply.is_error(), "{line}: {reply}");
        assert_eq!(wire.ask("MISO.FUNCTION").text(), function);
    }
    // RESET gives it back.
    assert_eq!(wire.ask("RESET").to_string(), "RESET");
    assert_eq!(wire.ask("MISO.FUNCTION").text(), "default");
}

#[test]
fn open_mode_ends_with_the_first_password_or_user() {
    let node = Node::with(&["--requirepass", "secret"]);
    let mut wire = node.wire();
    assert_eq!(
        wire.ask("AUTH checkout -").to_string(),
        "-WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(wire.ask("GCOUNTER.GET o n").to_string(), "-NOAUTH Authentication required.");
    assert_eq!(wire.ask("AUTH secret").to_string(), "OK");
    assert_eq!(wire.ask("MISO.FUNCTION").text(), "default");

    let node = Node::start();
    node.session().script("ACL SETUSER alice on >pw ~* +@all => OK");
    assert_eq!(
        node.wire().ask("AUTH checkout -").to_string(),
        "-WRONGPASS invalid username-password pair or user is disabled."
    );
    assert!(Session::open(&node.url("checkout:-"), Resp::V2).is_err());
}

#[test]
fn register() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(
            r#"
            MISO.REGISTER checkout => OK
            MISO.FUNCTION => "checkout"
            GCOUNTER.ADD o n 5 => 5
            MISO.REGISTER cart REPLICA pod-1 TTL 60 => OK
            MISO.FUNCTION => "cart"
            GCOUNTER.GET o n => 0
            MISO.REGISTER checkout REPLICA pod-1 => OK
            GCOUNTER.GET o n => 5
            MISO.REGISTER => -ERR wrong number of arguments for 'miso.register' command
            MISO.REGISTER x TTL => -ERR syntax error
            MISO.REGISTER x TTL abc => -ERR value is not an integer or out of range
            MISO.REGISTER x NONSENSE y => -ERR syntax error
            MISO.FUNCTION => "checkout"
            "#,
        );
        let functions = s.run("MISO.FUNCTIONS").to_string();
        assert!(functions.contains("checkout"), "{functions}");
        s.script(
            r#"
            MISO.UNREGISTER checkout REPLICA pod-1 => 1
            MISO.UNREGISTER checkout REPLICA pod-1 => 0
            MISO.UNREGISTER never-heard-of => 0
            "#,
        );
        // What was stored stays: unregistering is no deletion.
        node.session_of("checkout", resp).script("GCOUNTER.GET o n => 5");
    }
}

#[test]
fn unregister_defaults_to_the_connections_function() {
    let node = Node::start();
    node.session().script(
        r#"
        MISO.REGISTER checkout => OK
        MISO.UNREGISTER => 1
        MISO.UNREGISTER => 0
        "#,
    );
}

/// A connection that touches an object registers its function by that alone.
#[test]
fn touching_an_object_registers_the_function() {
    let node = Node::start();
    let mut s = node.session_of("implicit", Resp::V3);
    s.script("GCOUNTER.ADD o n => 1");
    let functions = node.session_in(Resp::V3).run("MISO.FUNCTIONS").to_string();
    assert!(functions.contains("implicit"), "{functions}");
}

#[test]
fn an_acl_user_is_bound_to_the_function_of_its_name_or_registers() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script("ACL SETUSER checkout on >pw ~* +@all => OK");
    let mut s = Session::open(&node.url("checkout:pw"), Resp::V2).expect("the password is right");
    let function = s.run("MISO.FUNCTION");
    assert!(matches!(function, Frame::Bulk(_)), "{function}");
    s.script("GCOUNTER.ADD o n => 1\nMISO.REGISTER other => OK\nGCOUNTER.GET o n => 0");
}
