//! Objects: making, finding, describing and deleting them, and their read-only view as keys.

use miso_tests::{Frame, Node, Resp, Session};
use std::collections::BTreeSet;

const EVERY_TYPE: &str = r#"
    GCOUNTER.ADD o gcounter 5 => 5
    PNCOUNTER.SUB o pncounter 3 => -3
    GSET.ADD o gset a => 1
    ORSET.ADD o orset a => 1
    MVREG.SET o mvreg hello => OK
    EWFLAG.ENABLE o ewflag => 1
    ORMAP.SET o ormap f v => 1
"#;

const NAMES: [&str; 7] = ["gcounter", "pncounter", "gset", "orset", "mvreg", "ewflag", "ormap"];

#[test]
fn new_ids_are_fresh_and_sort_by_time() {
    let node = Node::start();
    let mut s = node.session();
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..200 {
        ids.push(s.run("MISO.NEW").text());
    }
    assert!(ids.iter().all(|id| id.len() == 26), "a ULID has 26 characters: {}", ids[0]);
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    // The first ten characters are the time in milliseconds.
    assert!(ids.windows(2).all(|pair| pair[0][..10] <= pair[1][..10]));

    let id = s.run("MISO.NEW PREFIX cart:").text();
    assert_eq!((id.len(), &id[..5]), (31, "cart:"));
    s.script(
        r#"
        MISO.NEW PREFIX => -ERR syntax error
        MISO.NEW NONSENSE x => -ERR syntax error
        DBSIZE => 0
        "#,
    );
}

#[test]
fn types_and_existence() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(EVERY_TYPE);
        for name in NAMES {
            assert_eq!(s.run(&format!("MISO.TYPE o {name}")), Frame::Simple(name.into()));
        }
        s.script(
            r#"
            MISO.TYPE o absent => none
            MISO.TYPE absent n => none
            MISO.EXISTS o => 1
            MISO.EXISTS absent => 0
            MISO.EXISTS o gcounter => 1
            MISO.EXISTS o gcounter absent orset gcounter => 3
            MISO.EXISTS absent n m => 0
            MISO.EXISTS => -ERR wrong number of arguments for 'miso.exists' command
            MISO.TYPE o => -ERR wrong number of arguments for 'miso.type' command
            "#,
        );
    }
}

#[test]
fn deleting() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(EVERY_TYPE);
        s.script(
            r#"
            MISO.DEL o absent => 0
            MISO.DEL absent => 0
            MISO.DEL absent n => 0
            MISO.DEL o gcounter absent gcounter ewflag => 2
            GCOUNTER.GET o gcounter => 0
            EWFLAG.GET o ewflag => 0 || false
            MISO.TYPE o gcounter => none
            MISO.EXISTS o => 1
            GCOUNTER.ADD o gcounter 2 => 2
            MISO.DEL o => 6
            MISO.EXISTS o => 0
            DBSIZE => 0
            PNCOUNTER.GET o pncounter => 0
            GSET.MEMBERS o gset => ~[]
            ORSET.CARD o orset => 0
            MVREG.GET o mvreg => []
            ORMAP.LEN o ormap => 0
            MISO.DEL o => 0

            # A second life starts from empty.
            GCOUNTER.ADD o gcounter 1 => 1
            PNCOUNTER.ADD o pncounter 1 => 1
            GSET.ADD o gset b => 1
            GSET.MEMBERS o gset => ~["b"]
            ORMAP.SET o ormap g w => 1
            ORMAP.KEYS o ormap => ~["g"]
            MISO.DEL => -ERR wrong number of arguments for 'miso.del' command
            "#,
        );
    }
}

#[test]
fn info_of_a_name() {
    let node = Node::start();
    node.session().script(EVERY_TYPE);
    for name in NAMES {
        let line = format!("MISO.INFO o {name}");
        let flat = node.session().run(&line);
        let map = node.session_in(Resp::V3).run(&line);
        assert!(matches!(flat, Frame::Array(_)), "{name}: {flat}");
        assert!(matches!(map, Frame::Map(_)), "{name}: {map}");
        let keys =
            |frame: &Frame| frame.items().chunks(2).map(|pair| pair[0].text()).collect::<Vec<_>>();
        assert_eq!(keys(&flat), keys(&map));
        assert_eq!(flat.field("type").map(|kind| kind.text()).as_deref(), Some(name));
        assert!(flat.field("bytes").is_some_and(|bytes| bytes.integer() > 0), "{flat}");
    }
    node.session().script("MISO.INFO o absent => *\nMISO.EXISTS o absent => 0");
}

#[test]
fn description_of_an_object() {
    let node = Node::start();
    let mut s = node.session_in(Resp::V3);
    s.script("MISO.OBJECT o => nil");
    s.script(EVERY_TYPE);
    let text = s.run("MISO.OBJECT o").to_string();
    for name in NAMES {
        assert!(text.contains(&format!("\"{name}\"")), "{name} is missing in {text}");
    }
    node.session().script("MISO.OBJECT o => *\nMISO.OBJECT absent => nil");
}

fn walk(s: &mut Session, command: &str, options: &str) -> BTreeSet<String> {
    let mut cursor = "0".to_owned();
    let mut found = BTreeSet::new();
    for _ in 0..100_000 {
        let reply = s.run(&format!("{command} {cursor} {options}")).items();
        assert_eq!(reply.len(), 2, "{command} {cursor} {options}");
        found.extend(reply[1].items().iter().map(Frame::text));
        cursor = reply[0].text();
        if cursor == "0" {
            return found;
        }
    }
    panic!("{command} {options} does not come to an end");
}

#[test]
fn scanning_objects() {
    let node = Node::start();
    let mut s = node.session();
    let all: BTreeSet<String> = (0..1000).map(|i| format!("object:{i}")).collect();
    for (i, object) in all.iter().enumerate() {
        s.run(&match i % 3 {
            0 => format!("GCOUNTER.ADD {object} n"),
            1 => format!("ORSET.ADD {object} s a"),
            _ => format!("MVREG.SET {object} r a"),
        });
    }
    for command in ["MISO.SCAN", "SCAN"] {
        for options in ["", "COUNT 1", "COUNT 13", "COUNT 100000"] {
            assert_eq!(walk(&mut s, command, options), all, "{command} {options}");
        }
        assert_eq!(walk(&mut s, command, "MATCH object:1?").len(), 10);
        assert_eq!(walk(&mut s, command, "MATCH object:1[0-4] COUNT 3").len(), 5);
        assert!(walk(&mut s, command, "MATCH nothing").is_empty());
    }
    // Every object is a hash to Redis's tools.
    assert_eq!(walk(&mut s, "SCAN", "TYPE hash"), all);
    assert!(walk(&mut s, "SCAN", "TYPE string").is_empty());
    // MISO.SCAN knows better: the objects that hold a name of the type.
    assert_eq!(walk(&mut s, "MISO.SCAN", "TYPE gcounter").len(), 334);
    assert_eq!(walk(&mut s, "MISO.SCAN", "TYPE mvreg MATCH object:*").len(), 333);
    assert!(walk(&mut s, "MISO.SCAN", "TYPE ewflag").is_empty());

    assert_eq!(s.run("KEYS *").items().len(), 1000);
    assert_eq!(s.run("KEYS object:99?").items().len(), 10);
    assert!(all.contains(&s.run("RANDOMKEY").text()));
    s.script(
        r#"
        DBSIZE => 1000
        SCAN x => -ERR invalid cursor
        SCAN -1 => -ERR invalid cursor
        MISO.SCAN x => -ERR invalid cursor
        SCAN 0 COUNT => -ERR syntax error
        SCAN 0 COUNT 0 => -ERR syntax error
        SCAN 0 COUNT x => -ERR value is not an integer or out of range
        MISO.SCAN 0 NONSENSE => -ERR syntax error
        KEYS nothing* => []
        "#,
    );
}

#[test]
fn scanning_while_objects_come_and_go() {
    let node = Node::start();
    let mut s = node.session();
    let lasting: BTreeSet<String> = (0..300).map(|i| format!("lasting:{i}")).collect();
    for (i, object) in lasting.iter().enumerate() {
        s.run(&format!("GCOUNTER.ADD {object} n"));
        s.run(&format!("GCOUNTER.ADD leaving:{i} n"));
    }
    let mut cursor = "0".to_owned();
    let mut found = BTreeSet::new();
    let mut step = 0;
    loop {
        let reply = s.run(&format!("SCAN {cursor} COUNT 5")).items();
        found.extend(reply[1].items().iter().map(Frame::text));
        cursor = reply[0].text();
        if cursor == "0" {
            break;
        }
        // For a while only, or the end would move away faster than the walk.
        for i in 0..if step < 100 { 30 } else { 0 } {
            s.run(&format!("GCOUNTER.ADD new:{step}:{i} n"));
        }
        for i in 0..3 {
            s.run(&format!("DEL leaving:{}", step * 3 + i));
        }
        step += 1;
        assert!(step < 100_000, "the scan does not come to an end");
    }
    let missed: Vec<_> = lasting.difference(&found).collect();
    assert!(missed.is_empty(), "missed {missed:?}");
}

#[test]
fn objects_are_keys() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(EVERY_TYPE);
        s.script(
            r#"
            TYPE o => hash
            TYPE absent => none
            EXISTS o => 1
            EXISTS o o absent => 2
            TTL o => -1
            TTL absent => -2
            PTTL o => -1
            PTTL absent => -2
            DBSIZE => 1
            RANDOMKEY => "o"
            KEYS * => ["o"]
            OBJECT ENCODING o => *
            OBJECT ENCODING absent => nil
            MEMORY USAGE o => *
            MEMORY USAGE o SAMPLES 0 => *
            MEMORY USAGE absent => nil

            HLEN o => 7
            HLEN absent => 0
            HKEYS o => ~["ewflag", "gcounter", "gset", "mvreg", "ormap", "orset", "pncounter"]
            HKEYS absent => ~[]
            HVALS absent => ~[]
            HEXISTS o gcounter => 1
            HEXISTS o absent => 0
            HEXISTS absent n => 0
            HGET o gcounter => "5"
            HGET o pncounter => "-3"
            HGET o ewflag => "1"
            HGET o mvreg => "[\"hello\"]"
            HGET o gset => "[\"a\"]"
            HGET o orset => "[\"a\"]"
            HGET o ormap => "{\"f\":\"v\"}"
            HGET o absent => nil
            HGET absent n => nil
            HMGET o pncounter absent gcounter => ["-3", nil, "5"]
            HMGET absent n => [nil]
            HGETALL absent => [] || {}
            HSCAN absent 0 => ["0", []]
            "#,
        );
        let all = s.run("HGETALL o");
        assert_eq!(all.items().len(), 14);
        assert_eq!(matches!(all, Frame::Map(_)), resp == Resp::V3);
        assert_eq!(all.field("mvreg").map(|value| value.text()).as_deref(), Some("[\"hello\"]"));
        assert_eq!(walk(&mut s, "HSCAN o", "COUNT 2").len(), 13);
        assert_eq!(walk(&mut s, "HSCAN o", "MATCH g*").len(), 4);
        assert_eq!(s.run("HVALS o").items().len(), 7);
        s.script(
            r#"
            DEL o absent => 1
            EXISTS o => 0
            RANDOMKEY => nil
            GCOUNTER.ADD p n => 1
            GCOUNTER.ADD q n => 1
            UNLINK p q p => 2
            DBSIZE => 0
            "#,
        );
    }
}

#[test]
fn printable_values_are_json() {
    let node = Node::start();
    let mut s = node.session();
    s.run(r#"ORSET.ADD o s "say \"hi\"" "a\\b" "line\nfeed" "é""#);
    let json: serde_json::Value =
        serde_json::from_str(&s.run("HGET o s").text()).expect("a set prints as JSON");
    let members: BTreeSet<&str> =
        json.as_array().expect("an array").iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(members, BTreeSet::from(["say \"hi\"", "a\\b", "line\nfeed", "é"]));

    s.run(r#"ORMAP.SET o m "a\"b" "c\td""#);
    s.run("ORMAP.INCRBY o m count 7");
    let json: serde_json::Value =
        serde_json::from_str(&s.run("HGET o m").text()).expect("a map prints as JSON");
    assert_eq!(json["a\"b"], "c\td");
    assert!(json["count"] == 7 || json["count"] == "7", "{json}");

    // Bytes that are no text still make valid JSON.
    s.run(r#"MVREG.SET o r "\xff\x00\x1b""#);
    serde_json::from_str::<serde_json::Value>(&s.run("HGET o r").text())
        .expect("valid JSON for any bytes");
}

#[test]
fn the_view_is_read_only() {
    let node = Node::start();
    let mut s = node.session();
    s.script(EVERY_TYPE);
    let before = s.run("HGETALL o").to_string();
    for line in ["HSET o gcounter 7", "HSET o new 7", "HDEL o gcounter", "HINCRBY o gcounter 1"] {
        let reply = s.run(line).text();
        assert!(reply.starts_with("WRONGTYPE "), "{line}: {reply}");
    }
    assert_eq!(s.run("HGETALL o").to_string(), before);
    // The error names the command that does it.
    s.script("GCOUNTER.ADD counted n 1 => 1\nMVREG.SET set n x => OK");
    let hint = s.run("HSET counted n 7").text();
    assert!(hint.contains("'counted'") && hint.contains("GCOUNTER.ADD"), "{hint}");
    let hint = s.run("HSET set n x").text();
    assert!(hint.contains("MVREG.SET"), "{hint}");
    // Where there is no object, a plain hash begins, which has no names.
    s.script("HSET absent f v => 1\nHGETALL absent => [\"f\", \"v\"] || {\"f\": \"v\"}");
    let hint = s.run("GCOUNTER.ADD absent n 1").text();
    assert!(hint.starts_with("WRONGTYPE ") && hint.contains("plain key"), "{hint}");
}

/// Objects, names and members are any bytes.
#[test]
fn names_are_bytes() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(
            r#"
            GCOUNTER.ADD "" "" => 1
            GCOUNTER.ADD "\x00" "\xff\xfe" 2 => 2
            GCOUNTER.ADD "a b" "c\r\nd" 3 => 3
            GCOUNTER.GET "" "" => 1
            GCOUNTER.GET "\x00" "\xff\xfe" => 2
            GCOUNTER.GET "a b" "c\r\nd" => 3
            KEYS * => ~["", "\x00", "a b"]
            HGET "a b" "c\r\nd" => "3"
            MISO.DEL "" => 1
            DBSIZE => 2
            "#,
        );
        let long = vec![b'x'; 1024];
        assert_eq!(s.call(&[b"GCOUNTER.ADD", &long[..], &long, b"4"]), Frame::Integer(4));
        assert_eq!(s.call(&[b"GCOUNTER.GET", &long[..], &long]), Frame::Integer(4));
    }
}
