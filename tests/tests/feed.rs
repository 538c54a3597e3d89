//! The change feed: MISO.FEED and `/feed`.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use miso_tests::{Cluster, Frame, Http, Node, Resp, Scratch, Session, wait_until};

/// What a reader has been told, and how far it has come.
struct Reader {
    session: Session,
    cursor: String,
    resyncs: usize,
}

impl Reader {
    fn new(session: Session, cursor: &str) -> Reader {
        Reader { session, cursor: cursor.into(), resyncs: 0 }
    }

    /// The next changes: objects, names and values.
    #[track_caller]
    fn next(&mut self, options: &str) -> Vec<(String, String, Frame)> {
        let line = format!("MISO.FEED default AFTER {} {options}", self.cursor);
        let page = self.session.run(&line);
        assert!(!page.is_error(), "{page:?}");
        self.cursor = page.field("cursor").expect("a cursor").text();
        self.resyncs += page.field("resync").expect("a mark").integer() as usize;
        let changes = page.field("changes").expect("changes").items();
        let shown = |change: &Frame| {
            let items = change.items();
            (items[0].text(), items[1].text(), items[3].clone())
        };
        changes.iter().map(shown).collect()
    }

    /// What has changed once `count` values have been told.
    #[track_caller]
    fn take(&mut self, count: usize) -> Vec<String> {
        let mut all = std::collections::BTreeMap::new();
        wait_until("the changes", || {
            for (object, name, value) in self.next("BLOCK 100") {
                all.insert(format!("{object}/{name}"), value);
            }
            all.len() >= count
        });
        let shown = |(key, value): (&String, &Frame)| match value {
            Frame::Null => format!("{key} gone"),
            Frame::Array(_) => format!("{key} {:?}", value.sorted()),
            value => format!("{key} {}", value.text()),
        };
        all.iter().map(shown).collect()
    }
}

#[test]
fn a_reader_is_told_what_changed_and_what_it_is_now() {
    let disk = Scratch::new();
    let directory = disk.path("data");
    for flags in [&[][..], &["--peer-port", "none"], &["--data-dir", &directory]] {
        let node = Node::with(flags);
        let mut writer = node.session();
        writer.script(
            "GCOUNTER.ADD cart n 2 => 2\nSET k v EX 100 => OK\nORSET.ADD cart items a b => 2",
        );
        let mut reader = Reader::new(node.session(), "0");
        assert_eq!(reader.take(3), ["cart/items [\"a\", \"b\"]", "cart/n 2", "k/ v"], "{flags:?}");
        let at = reader.cursor.clone();
        writer.script(
            "SET k w => OK\nSET k x => OK\nORSET.REM cart items a => 1\nMISO.DEL cart n => 1",
        );
        assert_eq!(reader.take(3), ["cart/items [\"b\"]", "cart/n gone", "k/ x"], "{flags:?}");
        assert!(reader.next("").is_empty());
        // A cursor is a token, and a token a cursor.
        assert_eq!(writer.run(&format!("MISO.AWAIT {at} 1000")).integer(), 1);
        let token = writer.run("MISO.TOKEN").text();
        let mut other = Reader::new(node.session(), &token);
        writer.script("HSET h f 1 => 1");
        let told = other.take(1);
        assert!(told.contains(&"h/ [\"1\", \"f\"]".to_owned()), "{told:?}");
        let mut end = Reader::new(node.session(), "$");
        assert!(end.next("").iter().all(|(object, ..)| object == "h"));
        assert_eq!(reader.resyncs + other.resyncs, 0);
    }
}

#[test]
fn waiting_ends_soon_after_a_write_and_many_changes_come_in_pages() {
    let node = Node::start();
    let mut writer = node.session();
    let mut reader = Reader::new(node.session(), "$");
    reader.next("");
    let waiting = std::thread::spawn(move || {
        let started = Instant::now();
        let told = reader.next("BLOCK 20000");
        (reader, told, started.elapsed())
    });
    wait_until("the reader to wait", || node.info("blocked_clients") == "1");
    writer.script("SET k v => OK");
    let (mut reader, told, waited) = waiting.join().expect("the reader");
    assert_eq!((told.len(), told[0].0.as_str()), (1, "k"));
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    for n in 0..250 {
        writer.script(&format!("SET key:{n} {n} => OK"));
    }
    let mut told = 0;
    wait_until("all pages", || {
        let page = reader.next("COUNT 20 BLOCK 100");
        assert!(page.len() <= 20);
        told += page.len();
        told >= 250
    });
    writer.script(
        "MISO.FEED default AFTER nonsense => -ERR invalid cursor, expected 0, $, or one of \
         MISO.FEED or MISO.TOKEN for this function\n\
         MISO.FEED other AFTER 0 COUNT 0 => -ERR syntax error\n\
         MISO.FEED default FROM 0 => -ERR syntax error\n\
         MISO.FEED default AFTER 0 BLOCK -1 => -ERR timeout is negative",
    );
}

#[test]
fn a_cursor_outlives_its_node_and_is_good_on_another() {
    let mut cluster = Cluster::with_disks(2, &["--appendfsync", "always"]);
    cluster.wait_for_mesh();
    cluster.session(1).script("GCOUNTER.ADD o here 1 => 1");
    let mut writer = cluster.session(0);
    for n in 0..50 {
        writer.script(&format!("SET key:{n} {n} => OK"));
    }
    let mut reader = Reader::new(cluster.session(0), "0");
    reader.take(51);
    writer.script("SET key:7 new => OK\nDEL key:8 => 1");
    let token = writer.run("MISO.TOKEN").text();
    cluster.session(1).script(&format!("MISO.AWAIT {token} 20000 => 1"));
    let mut elsewhere = Reader::new(cluster.session(1), &reader.cursor);
    // What the reader heard of before it was sent is told again.
    let told = elsewhere.take(2);
    assert!(
        told.contains(&"key:7/ new".into()) && told.contains(&"key:8/ gone".into()),
        "{told:?}"
    );
    assert!(told.len() < 40, "{told:?}");
    assert_eq!(elsewhere.resyncs, 0);
    // The removal log is in memory: a node that has been started again says that it cannot tell.
    cluster.terminate(0);
    cluster.restart(0);
    cluster.wait_for_mesh();
    let mut back = Reader::new(cluster.session(0), &elsewhere.cursor);
    cluster.session(1).script("SET key:9 newer => OK");
    wait_until("the change to be told", || {
        back.next("BLOCK 100").iter().any(|(object, ..)| object == "key:9")
    });
}

#[test]
fn a_user_is_told_what_it_may_read() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "ACL SETUSER reader on >pw ~open:* +@all => OK\nACL SETUSER bound on >pw ~* +@all function:own => OK\n\
         SET open:a 1 => OK\nSET secret:b 2 => OK",
    );
    let mut wire = node.wire();
    wire.ask("AUTH reader pw");
    let told = wire.ask("MISO.FEED default AFTER 0 BLOCK 1000");
    let changes = told.field("changes").expect("changes").items();
    let objects: Vec<String> = changes.iter().map(|change| change.items()[0].text()).collect();
    assert_eq!(objects, ["open:a"]);
    let mut bound = node.wire();
    bound.ask("AUTH bound pw");
    assert!(bound.ask("MISO.FEED default AFTER 0").is_error(), "of another function");
    assert!(!bound.ask("MISO.FEED own AFTER 0").is_error());
}

/// Reads events.
struct Events(BufReader<Http>);

impl Events {
    #[track_caller]
    fn open(node: &Node, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut http = node.http("shop");
        http.send("GET", path, headers, b"").expect("it is sent");
        let answer = http.read(false).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        Events(BufReader::new(http))
    }

    /// The id and the data of the next event.
    #[track_caller]
    fn next(&mut self) -> (String, String) {
        let mut id = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("a line comes") > 0, "the stream has ended");
            if let Some(text) = line.trim_end().strip_prefix("id: ") {
                text.clone_into(&mut id);
            }
            if let Some(data) = line.trim_end().strip_prefix("data: ") {
                return (id, data.to_owned());
            }
        }
    }
}

#[test]
fn changes_come_as_events_and_a_browser_goes_on_where_it_was() {
    let node = Node::with(&["--http-port", "0"]);
    let mut writer = node.session_of("shop", Resp::V2);
    let mut events = Events::open(&node, "/feed", &[]);
    let (first, data) = events.next();
    assert_eq!(data, r#"{"changes":[],"more":false,"resync":false}"#);
    writer.script("SET k v => OK");
    let (second, data) = events.next();
    let change = r#"{"expires":null,"name":"","object":"k","type":"string","value":"v"}"#;
    assert_eq!(data, format!(r#"{{"changes":[{change}],"more":false,"resync":false}}"#));
    drop(events);
    writer.script("DEL k => 1");
    let mut events = Events::open(&node, "/feed?after=0", &[("Last-Event-ID", &second)]);
    events.next();
    let gone = r#"{"expires":null,"name":"","object":"k","type":"string","value":null}"#;
    assert_eq!(events.next().1, format!(r#"{{"changes":[{gone}],"more":false,"resync":false}}"#));
    let mut again = Events::open(&node, &format!("/feed?function=shop&after={first}&count=1"), &[]);
    again.next();
    assert_eq!(again.next().1, format!(r#"{{"changes":[{gone}],"more":false,"resync":false}}"#));
    let mut http = node.http("shop");
    for bad in ["/feed?after=x", "/feed?count=0", "/feed?function=", "/feed?after=%zz"] {
        assert_eq!(http.get(bad).status, 400, "{bad}");
    }
    assert_eq!(http.ask("POST", "/feed", &[], b"").status, 405);
}
