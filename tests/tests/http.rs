//! REST, health and metrics on the HTTP port.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use miso_tests::{Frame, Http, Node, Resp, Scratch, Tool, Wire, wait_until};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const ON: &[&str] = &["--http-port", "0"];

fn node() -> Node {
    Node::with(ON)
}

fn with(flags: &[&str]) -> Node {
    Node::with(&[ON, flags].concat())
}

/// Checks the status and the text of the answer to a command in the body.
#[track_caller]
fn says(http: &mut Http, body: &str, expected: &str) {
    assert_eq!(http.post("/", body).line(), expected, "{body}");
}

#[test]
fn it_is_off_unless_a_port_is_given() {
    let node = Node::start();
    assert_eq!(node.session().run("CONFIG GET http-port").items()[1].text(), "none");
    assert!(!node.log().contains("HTTP"));
}

#[test]
fn a_command_comes_in_the_body_the_path_or_both() {
    let node = node();
    let mut http = node.http("shop");
    says(&mut http, r#"["GCOUNTER.ADD","cart","n",2]"#, r#"200 {"result":2}"#);
    assert_eq!(http.get("/gcounter.add/cart/n/3").line(), r#"200 {"result":5}"#);
    assert_eq!(http.ask("PUT", "/Gcounter.Add/cart/n", &[], b"4").line(), r#"200 {"result":9}"#);
    let head = http.ask("HEAD", "/gcounter.add/cart/n", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("13")));
    assert_eq!(http.get("/echo/%2F%20+").line(), r#"200 {"result":"/ +"}"#);
    assert_eq!(http.get("/gcounter.add?cart=n&5").line(), r#"200 {"result":15}"#);
    let body = [0u8, 0xff, b'"', b'\n'];
    let set = http.ask("POST", "/mvreg.set/o/reg", &[], &body);
    assert_eq!(set.line(), r#"200 {"result":"OK"}"#);
    let mut session = node.session_of("shop", Resp::V2);
    let read = session.run("MVREG.VALUE o reg");
    assert_eq!(read, Frame::Bulk(body.to_vec()));
    let shown = "{\"result\":[\"\\u0000\u{fffd}\\\"\\n\"]}";
    assert_eq!(http.get("/mvreg.get/o/reg").text(), shown);
}

#[test]
fn answers_have_the_dialects_statuses() {
    let node = node();
    let mut http = node.http("shop");
    says(
        &mut http,
        r#"["NOSUCH","a"]"#,
        r#"400 {"error":"ERR unknown command 'NOSUCH', with args beginning with: 'a' "}"#,
    );
    says(
        &mut http,
        r#"["ECHO"]"#,
        r#"400 {"error":"ERR wrong number of arguments for 'echo' command"}"#,
    );
    says(&mut http, "[]", r#"400 {"error":"ERR empty command"}"#);
    says(&mut http, r#"["MVREG.VALUE","none","n"]"#, r#"200 {"result":null}"#);
    for bad in ["", "{", "\"PING\"", "[[\"PING\"]]", "[null]", "[{}]", "[\"PING\"] x"] {
        let answer = http.post("/", bad);
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        assert!(answer.text().starts_with(r#"{"error":"ERR failed to parse the request"#), "{bad}");
    }
    let refused = http.ask("DELETE", "/get/k", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST, PUT")));
    assert_eq!(http.get("/pipeline").status, 405);
    assert_eq!(http.get("/get/%zz").status, 400);
    for answer in [http.post("/", "[\"PING\"]"), http.get("/nosuch")] {
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let mut session = node.session();
    session.run("CONFIG SET maxmemory 1");
    assert_eq!(http.get("/mvreg.set/o/n/v").status, 503, "OOM");
}

#[test]
fn a_pipeline_answers_each_command_and_a_transaction_all_or_none() {
    let node = node();
    let mut http = node.http("shop");
    let body = r#"[["GCOUNTER.ADD","o","n",1],["ECHO"],["SELECT",0],["MULTI"],[],["GCOUNTER.ADD","o","n"]]"#;
    let expected = r#"200 [{"result":1},{"error":"ERR wrong number of arguments for 'echo' command"},{"result":"OK"},{"error":"ERR Command is not available: 'MULTI'. See docs/http.md for details"},{"error":"ERR empty command"},{"result":2}]"#;
    assert_eq!(http.post("/pipeline", body).line(), expected);
    // A database holds for the rest of its request.
    let body = r#"[["SET","k","0"],["SELECT",1],["SET","k","1"]]"#;
    let answer = http.post("/pipeline", body);
    assert_eq!(answer.line(), r#"200 [{"result":"OK"},{"result":"OK"},{"result":"OK"}]"#);
    assert_eq!(http.get("/get/k").line(), r#"200 {"result":"0"}"#);
    let body = r#"[["SELECT",1],["GET","k"]]"#;
    let expected = r#"200 [{"result":"OK"},{"result":"1"}]"#;
    assert_eq!(http.post("/pipeline", body).line(), expected);
    assert_eq!(
        http.post("/pipeline", "[]").line(),
        r#"400 {"error":"ERR empty pipeline request"}"#
    );
    let body = r#"[["GCOUNTER.ADD","o","n",5],["MVREG.SET","o","n","x"],["MVREG.GET","o","m"]]"#;
    let expected = r#"200 [{"result":7},{"error":"WRONGTYPE Operation against a key holding the wrong kind of value"},{"result":[]}]"#;
    assert_eq!(http.post("/multi-exec", body).line(), expected);
    for (bad, why) in [
        (r#"["ECHO"]"#, "ERR wrong number of arguments for 'echo' command"),
        (
            r#"["SUBSCRIBE","c"]"#,
            "ERR Command is not available: 'SUBSCRIBE'. See docs/http.md for details",
        ),
        (r#"["NOSUCH"]"#, "ERR unknown command 'NOSUCH', with args beginning with: "),
    ] {
        let body = format!(r#"[["GCOUNTER.ADD","o","n",100],{bad}]"#);
        let line =
            format!(r#"400 {{"error":"EXECABORT Transaction discarded because of: {why}"}}"#);
        assert_eq!(http.post("/multi-exec", &body).line(), line);
    }
    says(&mut http, r#"["GCOUNTER.ADD","o","n",0]"#, r#"200 {"result":7}"#);
}

#[test]
fn strings_come_in_base64_or_everything_in_resp2() {
    let node = node();
    let mut http = node.http("shop");
    let base64 = [("Upstash-Encoding", "base64")];
    let resp2 = [("Upstash-Response-Format", "resp2")];
    let mut ask = |path: &str, headers: &[(&str, &str)], body: &str| {
        http.ask("POST", path, headers, body.as_bytes())
    };
    let set = ask("/", &base64, r#"["MVREG.SET","o","n","é"]"#);
    assert_eq!(set.line(), r#"200 {"result":"OK"}"#);
    assert_eq!(ask("/", &base64, r#"["MVREG.GET","o","n"]"#).line(), r#"200 {"result":["w6k="]}"#);
    let answer = ask("/", &resp2, r#"["MVREG.GET","o","n"]"#);
    assert_eq!(answer.line(), "200 *1\r\n$2\r\né\r\n");
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(ask("/", &resp2, r#"["ECHO"]"#).status, 400);
    let piped = ask("/pipeline", &resp2, r#"[["PING"],["ECHO","a"],["NOSUCH"]]"#);
    assert!(piped.text().starts_with("+PONG\r\n$1\r\na\r\n-ERR unknown"), "{piped:?}");
    let both = [base64[0], resp2[0]];
    for (path, headers) in [
        ("/", &both[..]),
        ("/multi-exec", &resp2[..]),
        ("/", &[("Upstash-Encoding", "hex")]),
        ("/", &[("Upstash-Response-Format", "resp3")]),
    ] {
        assert_eq!(ask(path, headers, r#"[["PING"]]"#).status, 400, "{path} {headers:?}");
    }
    let telemetry = [("Upstash-Telemetry-Sdk", "x"), ("Upstash-Telemetry-Runtime", "y")];
    assert_eq!(ask("/", &telemetry, r#"["PING"]"#).line(), r#"200 {"result":"PONG"}"#);
}

#[test]
fn without_users_the_token_is_the_function() {
    let node = node();
    let mut none = node.http("");
    let refused = none.post("/", r#"["PING"]"#);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert!(refused.text().contains("NOAUTH no token"), "{refused:?}");
    assert_eq!(node.http("shop").get("/gcounter.add/o/n/1").line(), r#"200 {"result":1}"#);
    assert_eq!(node.http("shop:-").get("/gcounter.add/o/n/1").line(), r#"200 {"result":2}"#);
    assert_eq!(none.get("/gcounter.add/o/n/1?_token=shop").line(), r#"200 {"result":3}"#);
    assert_eq!(none.get("/gcounter.add/o/n/1?_token=other").line(), r#"200 {"result":1}"#);
    let password = node.http("user:secret").get("/ping");
    assert_eq!(password.status, 401, "a password is no function");
    assert!(!node.session().run("MISO.FUNCTIONS").to_string().contains("secret"));
    for bad in ["a b", "a#b"] {
        assert_ne!(node.http(bad).get("/ping").status, 200, "{bad}");
    }
    let basic = none.ask("GET", "/ping", &[("Authorization", "Basic c2hvcDo=")], b"");
    assert_eq!(basic.status, 401);
}

#[test]
fn a_rest_token_lives_as_long_as_its_password() {
    let file = Scratch::new();
    let path = file.join("users");
    std::fs::write(&path, "user admin on >root ~* &* +@all\nuser default off\n").expect("a file");
    let path = path.display().to_string();
    let node = with(&["--aclfile", &path]);
    let mut admin = Wire::connect(node.address()).expect("a connection");
    admin.ask("AUTH admin root");
    admin.ask("ACL SETUSER cart on >pw >pw2 ~* +@all -@admin function:shop");
    assert_eq!(
        admin.ask("ACL RESTTOKEN cart wrong").to_string(),
        "-ERR Wrong password or user \"cart\" does not exist"
    );
    let token = admin.ask("ACL RESTTOKEN cart pw").text();
    let second = admin.ask("ACL RESTTOKEN cart pw2").text();
    let mut http = node.http(&token);
    let mut plain = node.http("cart:pw2");
    assert_eq!(http.get("/gcounter.add/o/n/1").line(), r#"200 {"result":1}"#);
    assert_eq!(plain.get("/gcounter.add/o/n/1").line(), r#"200 {"result":2}"#);
    assert_eq!(http.get("/config/get/port").status, 400, "NOPERM");
    admin.ask("ACL SAVE");
    assert!(!std::fs::read_to_string(&path).expect("the file").contains(&token));
    admin.ask("ACL LOAD");
    assert_eq!(http.get("/gcounter.add/o/n/1").status, 200, "the file keeps the token");
    admin.ask("ACL SETUSER cart <pw");
    let refused = http.get("/gcounter.add/o/n/1");
    assert_eq!(refused.status, 401, "the password is gone: {refused:?}");
    assert_eq!(plain.get("/gcounter.add/o/n/1").status, 200);
    assert_eq!(node.http(&second).get("/ping").status, 200);
    admin.ask("ACL DELUSER cart");
    assert_eq!(node.http(&second).get("/ping").status, 401);
    assert!(!node.log().contains(&token));
}

#[test]
fn guessing_tokens_becomes_slow() {
    let node = with(&["--requirepass", "pw"]);
    let mut http = node.http("");
    let started = Instant::now();
    for attempt in 0..12 {
        let token = format!("Bearer default:guess{attempt}");
        let answer = http.ask("GET", "/ping", &[("Authorization", &token)], b"");
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    assert!(started.elapsed() > Duration::from_millis(300), "{:?}", started.elapsed());
    let good = [("Authorization", "Bearer default:pw")];
    assert_eq!(http.ask("GET", "/ping", &good, b"").status, 200);
    let mut wire = node.wire();
    wire.ask("AUTH pw");
    let log = wire.ask("ACL LOG").to_string();
    assert!(log.contains("auth") && log.contains("default") && !log.contains("guess"), "{log}");
}

#[test]
fn commands_that_need_a_connection_are_refused() {
    let node = node();
    let mut http = node.http("shop");
    for command in [
        "SUBSCRIBE c",
        "MULTI",
        "EXEC",
        "WATCH k",
        "CLIENT REPLY OFF",
        "RESET",
        "SELECT 0",
        "WAIT 1 0",
        "HELLO 3",
        "AUTH a b",
        "QUIT",
        "MONITOR",
        "MISO.REGISTER other",
    ] {
        let words: Vec<String> = command.split(' ').map(|word| format!("{word:?}")).collect();
        let answer = http.post("/", &format!("[{}]", words.join(",")));
        assert_eq!(answer.status, 400, "{command}");
        assert!(answer.text().contains("ERR Command is not available: '"), "{answer:?}");
    }
    says(&mut http, r#"["GCOUNTER.ADD","o","n",1]"#, r#"200 {"result":1}"#);
}

#[test]
fn a_request_is_seen_as_any_command_is() {
    let node = with(&["--slowlog-log-slower-than", "0"]);
    let mut monitor = node.wire();
    monitor.ask("MONITOR");
    let mut http = node.http("shop");
    http.get("/gcounter.add/o/n/1");
    let line = monitor.read().expect("a line").text();
    assert!(line.contains("shop] \"gcounter.add\" \"o\" \"n\" \"1\""), "{line}");
    let mut session = node.session();
    let clients = session.run("CLIENT LIST").text();
    let of_http = clients.lines().find(|line| line.contains("lib-name=http")).expect("a client");
    assert!(
        of_http.contains("cmd=gcounter.add ") && of_http.contains("function=shop"),
        "{of_http}"
    );
    let slow = session.run("SLOWLOG GET").to_string();
    assert!(slow.contains("gcounter.add"), "{slow}");
    let stats = session.run("INFO commandstats").text();
    assert!(stats.contains("cmdstat_gcounter.add:calls=1,"), "{stats}");
    assert_eq!(
        (node.info("http_connections"), node.info("http_requests")),
        ("1".into(), "1".into())
    );
    let id = of_http.split_once("id=").and_then(|(_, rest)| rest.split(' ').next()).expect("an id");
    assert_eq!(session.run(&format!("CLIENT KILL ID {id}")).integer(), 1);
    assert!(http.is_closed());
    wait_until("the connection to be gone", || node.info("http_connections") == "0");
}

#[test]
fn limits_hold() {
    let node = with(&[
        "--http-max-body",
        "1000",
        "--http-max-answer",
        "3000",
        "--http-max-connections",
        "2",
    ]);
    let mut http = node.http("shop");
    let long = format!(r#"["ECHO","{}"]"#, "x".repeat(1000));
    let answer = http.post("/", &long);
    assert_eq!((answer.status, answer.text().contains("http-max-body")), (413, true), "{answer:?}");
    drop(http);
    let mut http = node.http("shop");
    http.send("POST", "/", &[("Transfer-Encoding", "chunked")], b"").expect("the head is sent");
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let _ = http.stream().write_all(chunk.repeat(3).as_bytes());
    assert_eq!(http.read(false).expect("an answer").status, 413);
    drop(http);
    wait_until("connections to end", || node.info("http_connections") == "0");
    let mut http = node.http("shop");
    let half = "y".repeat(300);
    for n in 0..3 {
        assert_eq!(http.get(&format!("/mvreg.set/o/{n}/{half}")).status, 200);
    }
    let body = format!("[{}]", [r#"["MVREG.VALUE","o","0"]"#; 12].join(","));
    let answer = http.post("/pipeline", &body);
    assert_eq!(answer.text().matches(&half).count(), 9, "{answer:?}");
    assert!(answer.text().ends_with("(http-max-answer)\"}]"), "{answer:?}");
    assert_eq!(http.get("/mvreg.value/o/0").status, 200, "the connection goes on");
    let mut second = node.http("shop");
    assert_eq!(second.get("/ping").status, 200);
    let mut third = Http::connect(node.http_address());
    let refused = third.read(false).expect("it is told why");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("ERR max number of HTTP connections"), "{refused:?}");
}

#[test]
fn nonsense_is_answered_or_the_connection_is_closed() {
    let node = node();
    for bytes in [
        &b"GET\r\n\r\n"[..],
        b"\0\0\0\0",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"*1\r\n$4\r\nPING\r\n",
        &[b'x'; 100_000],
        &[b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(20_000)].concat(),
    ] {
        let mut http = Http::connect(node.http_address());
        let _ = http.stream().write_all(bytes);
        let _ = http.stream().shutdown(std::net::Shutdown::Write);
        assert!(http.is_closed(), "{}", bytes[..bytes.len().min(60)].escape_ascii());
    }
    node.assert_alive();
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn a_head_that_does_not_come_and_a_stranger_who_is_silent_are_not_waited_for() {
    let node = node();
    let (mut slow, mut silent) = (node.http("shop"), node.http(""));
    let mut kept = node.http("shop");
    assert_eq!(kept.get("/ping").status, 200);
    slow.stream().write_all(b"GET / HTTP/1.1\r\nHost:").expect("it is open");
    let started = Instant::now();
    assert!(slow.is_closed() && silent.is_closed());
    assert!(started.elapsed() > Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(kept.get("/ping").status, 200, "one whose token was good is kept longer");
}

#[test]
fn web_pages_may_send_requests_only_if_their_origin_is_named() {
    let node = with(&["--http-cors-origins", "https://shop.example"]);
    let mut http = node.http("shop");
    let mut ask = |method: &str, headers: &[(&str, &str)]| http.ask(method, "/ping", headers, b"");
    for headers in [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Host", "evil.example:80"), ("Origin", "http://evil.example:80")],
        &[("Host", "evil.example")],
    ] {
        let answer = ask("GET", headers);
        assert_eq!(answer.status, 403, "{headers:?}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(ask("OPTIONS", &[("Origin", "https://evil.example")]).status, 403);
    let shop = ("Origin", "https://shop.example");
    let answer = ask("GET", &[shop]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(shop.1));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let asked = ("Access-Control-Request-Headers", "authorization,upstash-encoding");
    let preflight = ask("OPTIONS", &[shop, ("Access-Control-Request-Method", "POST"), asked]);
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-headers"), Some(asked.1));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD, POST, PUT"));
    let own = ask("GET", &[("Host", "localhost:1"), ("Origin", "http://localhost:1")]);
    assert_eq!(own.status, 200);
    assert_eq!(ask("OPTIONS", &[]).status, 405);
    let closed = with(&["--requirepass", "pw"]);
    let mut http = closed.http("default:pw");
    assert_eq!(http.ask("GET", "/ping", &[("Host", "node.example")], b"").status, 200);
}

#[test]
fn health_and_metrics() {
    let node = node();
    let mut http = node.http("");
    assert_eq!(http.get("/healthz").line(), "200 ok\n");
    assert_eq!(http.get("/readyz").line(), "200 ready\n");
    let page = http.get("/metrics");
    let kind = page.header("content-type").map(str::to_owned);
    assert_eq!(kind.as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = page.text();
    assert!(page.contains("\n# TYPE miso_http_requests_total counter\n"), "{page}");
    assert!(page.contains("\nmiso_http_connections 1\n"), "{page}");
    let accept = ("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let page = http.ask("GET", "/metrics", &[accept], b"");
    assert!(
        page.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics"))
    );
    assert!(page.text().ends_with("\n# EOF\n"));
    let closed = with(&["--requirepass", "pw"]);
    let mut wire = closed.wire();
    wire.ask("AUTH pw");
    wire.ask("ACL SETUSER bound on >pw +@all ~* function:shop");
    wire.ask("ACL SETUSER scraper on >pw +info");
    wire.ask("ACL SETUSER other on >pw +ping");
    let metrics = |token: &str| closed.http(token).get("/metrics").status;
    assert_eq!((metrics(""), metrics("default:wrong"), metrics("default:pw")), (401, 401, 200));
    assert_eq!((metrics("bound:pw"), metrics("other:pw"), metrics("scraper:pw")), (400, 400, 200));
    assert_eq!(closed.http("").get("/healthz").status, 200);
}

#[test]
fn strangers_of_other_hosts_are_refused_while_there_is_no_password() {
    // Every address of 127/8 counts as this host: the rule itself is that of RESP.
    let node = with(&["--http-bind", "127.0.0.2"]);
    let address = node.http_address();
    assert_eq!(address.ip(), std::net::IpAddr::from([127, 0, 0, 2]));
    assert_eq!(Http::connect(address).with_token("shop").get("/ping").status, 200);
    let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    assert!(std::net::TcpStream::connect(elsewhere).is_err(), "only where it was told");
}

#[test]
fn http_2_without_tls_runs_requests_side_by_side() {
    let node = node();
    let address = node.http_address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("the port is open");
        let io = TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let ask = |body: String| {
            let mut sender = sender.clone();
            async move {
                let request = hyper::Request::post(format!("http://{address}/"))
                    .header("authorization", "Bearer shop")
                    .body(Full::new(Bytes::from(body)))
                    .expect("a request");
                let answer = sender.send_request(request).await.expect("an answer");
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.expect("a body").to_bytes();
                format!("{status} {}", String::from_utf8_lossy(&body))
            }
        };
        let slow = tokio::spawn(ask(r#"["DEBUG","SLEEP","1"]"#.into()));
        let mut sums = tokio::task::JoinSet::new();
        for _ in 0..20 {
            sums.spawn(ask(r#"["GCOUNTER.ADD","o","n",1]"#.into()));
        }
        let mut answers = sums.join_all().await;
        assert!(!slow.is_finished(), "the others did not wait for it");
        answers.sort_by_key(|answer| (answer.len(), answer.clone()));
        let expected: Vec<String> = (1..=20).map(|n| format!("200 {{\"result\":{n}}}")).collect();
        assert_eq!(answers, expected);
        slow.await.expect("it ends");
    });
}

#[test]
fn a_node_that_stops_answers_what_runs_and_waits_for_no_idle_connection() {
    let mut node = node();
    let mut idle = node.http("shop");
    assert_eq!(idle.get("/ping").status, 200);
    let _stranger = node.http("");
    let mut busy = node.http("shop");
    busy.send("GET", "/debug/sleep/1", &[], b"").expect("it is sent");
    let mut session = node.session();
    wait_until("the command to run", || session.run("CLIENT LIST").text().contains("cmd=debug"));
    let started = Instant::now();
    node.signal(15);
    assert_eq!(busy.read(false).expect("an answer").status, 200);
    assert!(node.wait_for_end().success());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(idle.is_closed());
}

#[test]
fn what_was_answered_is_on_the_disk() {
    let directory = Scratch::new();
    let data = directory.join("data").display().to_string();
    let flags = ["--data-dir", &data, "--appendfsync", "always"];
    let node = with(&flags);
    let mut http = node.http("shop");
    assert_eq!(http.get("/gcounter.add/o/n/7").line(), r#"200 {"result":7}"#);
    let body = r#"[["GCOUNTER.ADD","o","n",1],["GCOUNTER.ADD","o","m",2]]"#;
    assert_eq!(http.post("/pipeline", body).status, 200);
    assert_eq!(http.post("/multi-exec", body).status, 200);
    node.signal(9);
    drop(node);
    let node = with(&flags);
    assert_eq!(node.http("shop").get("/gcounter.add/o/n/0").line(), r#"200 {"result":9}"#);
    assert_eq!(node.http("shop").get("/gcounter.add/o/m/0").line(), r#"200 {"result":4}"#);
}

#[test]
fn clients_are_paused_and_requests_wait() {
    let node = node();
    let mut session = node.session();
    let mut http = node.http("shop");
    assert_eq!(http.get("/gcounter.add/o/n/1").status, 200);
    session.run("CLIENT PAUSE 60000 WRITE");
    http.send("GET", "/gcounter.add/o/n/1", &[], b"").expect("it is sent");
    let mut byte = [0];
    http.stream().set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    assert!(http.stream().read(&mut byte).is_err(), "it waits");
    session.run("CLIENT UNPAUSE");
    http.stream().set_read_timeout(Some(miso_tests::DEADLINE)).expect("a timeout");
    assert_eq!(http.read(false).expect("an answer").line(), r#"200 {"result":2}"#);
}

/// The lines of the console blocks of a page that begin with `$ curl`, each with what it prints.
fn curls(page: &str) -> Vec<(String, String)> {
    let (mut all, mut inside): (Vec<(String, String)>, bool) = (Vec::new(), false);
    for line in page.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside && command.starts_with("curl ") => {
                all.push((command.to_owned(), String::new()));
            }
            (_, None) if inside && !line.starts_with("> ") => {
                let (_, output) = all.last_mut().expect("a command comes first");
                *output += &format!("{line}\n");
            }
            _ => {}
        }
    }
    all
}

#[test]
fn the_examples_of_the_page_print_what_it_says() {
    let page = std::fs::read_to_string("../docs/http.md").expect("the page");
    let curls = curls(&page);
    assert!(curls.len() > 10, "the page has only {} examples", curls.len());
    let node = node();
    let address = node.http_address().to_string();
    for (command, expected) in curls {
        let line = command.replace("127.0.0.1:8080", &address);
        let output = Tool::spawn(std::process::Command::new("sh").args(["-c", &line])).wait();
        let printed = output.stdout.replace("\r\n", "\n");
        assert_eq!(printed.trim_end(), expected.trim_end(), "{command}");
    }
}
