//! HTTP on several nodes: sync tokens; and answers that do not end: subscriptions and MONITOR.

use miso_tests::{Answer, Cluster, Http, Node, wait_until};
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

const TOKEN: &str = "upstash-sync-token";

/// The answer to a GET with a sync token.
fn ask(http: &mut Http, path: &str, token: &str) -> Answer {
    http.ask("GET", path, &[("Upstash-Sync-Token", token)], b"")
}

fn token_of(answer: &Answer) -> String {
    answer.header(TOKEN).expect("an answer has a token").to_owned()
}

#[test]
fn a_request_with_a_token_sees_what_its_client_has_written_elsewhere() {
    let flags = ["--http-port", "0", "--replication-interval", "50ms"];
    let cluster = Cluster::with(2, &flags);
    cluster.wait_for_mesh();
    let mut nodes = [cluster.node(0).http("shop"), cluster.node(1).http("shop")];
    let mut token = String::new();
    for n in 1..=20 {
        let answer = ask(&mut nodes[n % 2], "/gcounter.add/o/n/1", &token);
        assert_eq!(answer.line(), format!("200 {{\"result\":{n}}}"));
        token = token_of(&answer);
        assert!(token.len() < 100, "{token}");
    }
}

#[test]
fn what_a_node_cannot_know_in_time_is_not_answered() {
    let flags = ["--http-port", "0", "--http-sync-timeout", "300ms"];
    let cluster = Cluster::with(2, &flags);
    cluster.wait_for_mesh();
    let (mut here, mut there) = (cluster.node(0).http("shop"), cluster.node(1).http("shop"));
    let mut other = cluster.node(1).http("other");
    let known = token_of(&here.get("/gcounter.add/o/n/1"));
    assert_eq!(ask(&mut there, "/gcounter.get/o/n", &known).line(), r#"200 {"result":1}"#);
    assert_eq!(other.get("/gcounter.add/o/n/1").status, 200);
    cluster.isolate(1);
    let unknown = token_of(&here.get("/gcounter.add/o/n/1"));
    let unrelated = token_of(&cluster.node(0).http("other").get("/gcounter.add/o/n/1"));
    let started = Instant::now();
    let late = ask(&mut there, "/gcounter.get/o/n", &unknown);
    assert_eq!(late.status, 503, "{late:?}");
    assert!(late.text().contains("TRYAGAIN") && late.text().contains("http-sync-timeout"));
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    // What is known, or of another function, is answered.
    for token in [&known, &unrelated, ""] {
        let answer = ask(&mut there, "/gcounter.get/o/n", token);
        assert_eq!(answer.line(), r#"200 {"result":1}"#, "{token}");
    }
    cluster.net().heal();
    wait_until("the node to catch up", || {
        ask(&mut there, "/gcounter.get/o/n", &unknown).line() == r#"200 {"result":2}"#
    });
    assert_eq!(ask(&mut there, "/gcounter.get/o/n", "nonsense").status, 400);
}

/// Reads the body of an answer that does not end.
struct Stream(BufReader<Http>);

impl Stream {
    #[track_caller]
    fn open(node: &Node, path: &str) -> Stream {
        let mut http = node.http("shop");
        http.send("GET", path, &[("Accept", "text/event-stream")], b"").expect("it is sent");
        let answer = http.read(false).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        Stream(BufReader::new(http))
    }

    /// The next line that holds data. Lengths of chunks and comments are skipped.
    #[track_caller]
    fn next(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).expect("a line comes");
            assert!(read > 0, "the stream has ended");
            if let Some(data) = line.trim_end().strip_prefix("data: ") {
                return data.to_owned();
            }
        }
    }

    fn has_ended(mut self) -> bool {
        self.0.read_to_end(&mut Vec::new()).is_ok()
    }
}

#[test]
fn messages_and_commands_come_as_events() {
    let node = Node::with(&["--http-port", "0"]);
    let mut channel = Stream::open(&node, "/subscribe/news/a%2Fb");
    let mut pattern = Stream::open(&node, "/psubscribe/n*");
    let mut monitor = Stream::open(&node, "/monitor");
    assert_eq!(
        (channel.next(), channel.next()),
        ("subscribe,news,1".into(), "subscribe,a/b,2".into())
    );
    assert_eq!(pattern.next(), "psubscribe,n*,1");
    assert_eq!(monitor.next(), "\"OK\"");
    let mut http = node.http("shop");
    assert_eq!(http.get("/publish/news/hello,%20you").line(), r#"200 {"result":2}"#);
    assert_eq!(http.get("/publish/a%2Fb/2").line(), r#"200 {"result":1}"#);
    assert_eq!(channel.next(), "message,news,hello, you");
    assert_eq!(channel.next(), "message,a/b,2");
    assert_eq!(pattern.next(), "pmessage,n*,news,hello, you");
    let line = monitor.next();
    assert!(line.ends_with(r#" shop] "publish" "news" "hello, you""#), "{line}");
    let clients = node.session().run("CLIENT LIST").text();
    assert!(clients.contains("sub=2 ") && clients.contains("psub=1 "), "{clients}");
    drop(pattern);
    wait_until("the listener to be gone", || node.info("pubsub_patterns") == "0");
    assert_eq!(http.get("/subscribe/news").status, 400, "without the Accept header");
    node.session().run("CLIENT KILL TYPE pubsub");
    assert!(channel.has_ended());
    assert_eq!(http.get("/publish/news/x").line(), r#"200 {"result":0}"#);
}

#[test]
fn streams_are_for_those_who_may_listen_and_end_with_the_node() {
    let mut node = Node::with(&["--http-port", "0", "--requirepass", "pw"]);
    let mut wire = node.wire();
    wire.ask("AUTH pw");
    wire.ask("ACL SETUSER bound on >pw +subscribe +ping resetchannels &own:* function:shop");
    let address = node.http_address();
    let accept = [("Accept", "text/event-stream")];
    let mut bound = Http::connect(address).with_token("bound:pw");
    for path in ["/subscribe/news", "/monitor", "/subscribe/__miso__:other:o"] {
        let refused = bound.ask("GET", path, &accept, b"");
        assert_eq!((refused.status, refused.text().contains("NOPERM")), (400, true), "{refused:?}");
    }
    assert_eq!(Http::connect(address).ask("GET", "/subscribe/own:a", &accept, b"").status, 401);
    bound.send("GET", "/subscribe/own:a", &accept, b"").expect("it is sent");
    assert_eq!(bound.read(false).expect("an answer").status, 200);
    let started = Instant::now();
    node.signal(15);
    assert!(node.wait_for_end().success());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(bound.is_closed());
}

#[test]
fn the_page_has_its_parts_and_is_told_how_things_are() {
    let cluster = Cluster::with(2, &["--http-port", "0"]);
    cluster.wait_for_mesh();
    let node = cluster.node(0);
    let mut http = Http::connect(node.http_address());
    for (path, kind, part) in [
        ("/", "text/html; charset=utf-8", "<title>MISO</title>"),
        ("/page.css", "text/css; charset=utf-8", "prefers-reduced-motion"),
        ("/page.js", "text/javascript; charset=utf-8", "/events"),
        ("/page.svg", "image/svg+xml", "<svg"),
    ] {
        let answer = http.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        assert!(answer.text().contains(part), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    }
    node.session().script("GCOUNTER.ADD cart n 3 => 3");
    let state = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    let mut events = Stream::open(node, "/events?function=default&object=cart");
    let other = cluster.node(1).session().run("MISO.NODE").field("name").expect("a name").text();
    wait_until("the other node to have it all", || {
        let state = state(&events.next());
        assert_eq!(state["object"]["names"][0]["value"], "3", "{state}");
        state["object"]["names"][0]["waits"][&other]["others"] == 0
    });
    let told = state(&events.next());
    assert_eq!(
        (told["nodes"][0]["self"].clone(), told["nodes"][1]["linked"].clone()),
        (true.into(), true.into())
    );
    assert_eq!(told["functions"][0]["objects"], 1);
    let taken: u64 =
        told["propagation"].as_array().expect("buckets").iter().filter_map(|n| n.as_u64()).sum();
    assert!(taken > 0, "{told}");
    // Writes are sampled only while somebody looks.
    wait_until("the object that is written most", || {
        (0..50).for_each(|_| drop(node.session().run("GCOUNTER.ADD cart n 1")));
        state(&events.next())["top"][0]["object"] == "cart"
    });
    let metrics = http.get("/metrics").text();
    let count = metrics
        .lines()
        .find(|line| line.starts_with("miso_propagation_seconds_count{to=\"peers\"} "));
    assert!(count.is_some_and(|line| !line.ends_with(" 0")), "{count:?}");
    node.session().run("CONFIG SET http-page no");
    assert_eq!(http.get("/").status, 404);
    assert_eq!(http.get("/events").status, 404);
}

#[test]
fn the_page_is_told_nothing_without_a_token() {
    let node = Node::with(&["--http-port", "0", "--requirepass", "pw"]);
    node.wire().ask("AUTH pw");
    let mut http = Http::connect(node.http_address());
    assert_eq!(http.get("/").status, 200, "it holds nothing");
    assert_eq!(http.get("/events").status, 401);
    let mut admin = node.wire();
    admin.ask("AUTH pw");
    admin.ask("ACL SETUSER bound on >pw +@all ~* function:shop");
    for (token, status) in [("default:pw", 200), ("default:no", 401), ("bound:pw", 400)] {
        let mut http = Http::connect(node.http_address()).with_token(token);
        http.send("GET", "/events", &[], b"").expect("it is sent");
        assert_eq!(
            http.read(status != 200).map(|answer| answer.status).ok(),
            Some(status),
            "{token}"
        );
    }
}
