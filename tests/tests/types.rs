//! Every command of every type, over both protocols: what it answers, what it leaves alone, what it refuses.

use miso_tests::{Frame, Node, Resp, Rng, Session};
use std::collections::{BTreeMap, BTreeSet};

/// Plays a script on a fresh node in each protocol.
#[track_caller]
fn script(script: &str) {
    for resp in Resp::BOTH {
        let node = Node::start();
        node.session_in(resp).script(script);
    }
}

#[test]
fn gcounter() {
    script(
        r#"
        # What is absent is 0, and reading creates nothing.
        GCOUNTER.GET o n => 0
        GCOUNTER.MGET o n m => [0, 0]
        MISO.EXISTS o => 0

        GCOUNTER.ADD o n => 1
        GCOUNTER.ADD o n 41 => 42
        gcounter.add o n 0 => 42
        GCOUNTER.GET o n => 42
        GCOUNTER.GET o other => 0
        GCOUNTER.GET other n => 0

        # 0 is an amount, and creates.
        GCOUNTER.ADD o zero 0 => 0
        MISO.EXISTS o zero => 1

        GCOUNTER.MADD o n 1 m 5 => [43, 5]
        GCOUNTER.MADD o m 1 m 2 => [6, 8]
        GCOUNTER.MGET o m n absent m => [8, 43, 0, 8]
        "#,
    );
}

#[test]
fn gcounter_refuses() {
    script(
        r#"
        GCOUNTER.ADD o n 5 => 5
        GCOUNTER.ADD o n -1 => -ERR a grow-only counter cannot decrease
        GCOUNTER.ADD o n -9223372036854775808 => -ERR a grow-only counter cannot decrease
        GCOUNTER.ADD o n 1.5 => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n 1e3 => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n abc => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n "" => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n " 1" => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n "1 " => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n +1 => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n 01 => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n 9223372036854775808 => -ERR value is not an integer or out of range
        GCOUNTER.ADD o n 99999999999999999999999 => -ERR value is not an integer or out of range
        GCOUNTER.GET o n => 5

        # Up to the limit and not beyond, and a refusal changes nothing.
        GCOUNTER.ADD o big 9223372036854775807 => 9223372036854775807
        GCOUNTER.ADD o big 0 => 9223372036854775807
        GCOUNTER.ADD o big 1 => -ERR increment or decrement would overflow
        GCOUNTER.ADD o big 9223372036854775807 => -ERR increment or decrement would overflow
        GCOUNTER.GET o big => 9223372036854775807

        # All or nothing, whichever of them is wrong; also where one name overflows by its second amount.
        GCOUNTER.MADD o a 1 n -1 => -ERR a grow-only counter cannot decrease
        GCOUNTER.MADD o a 1 n x => -ERR value is not an integer or out of range
        GCOUNTER.MADD o a 1 big 1 => -ERR increment or decrement would overflow
        GCOUNTER.MADD o a 9223372036854775807 a 1 => -ERR increment or decrement would overflow
        GCOUNTER.MADD o a 1 n => -ERR wrong number of arguments for 'gcounter.madd' command
        GCOUNTER.MGET o a n big => [0, 5, 9223372036854775807]
        MISO.EXISTS o a => 0

        # A refused write makes no object.
        GCOUNTER.ADD fresh n -1 => -ERR a grow-only counter cannot decrease
        GCOUNTER.MADD fresh n 1 m -1 => -ERR a grow-only counter cannot decrease
        MISO.EXISTS fresh => 0

        GCOUNTER.ADD => -ERR wrong number of arguments for 'gcounter.add' command
        GCOUNTER.ADD o => -ERR wrong number of arguments for 'gcounter.add' command
        GCOUNTER.ADD o n 1 2 => -ERR wrong number of arguments for 'gcounter.add' command
        GCOUNTER.GET o => -ERR wrong number of arguments for 'gcounter.get' command
        GCOUNTER.GET o n m => -ERR wrong number of arguments for 'gcounter.get' command
        GCOUNTER.MGET o => -ERR wrong number of arguments for 'gcounter.mget' command
        "#,
    );
}

#[test]
fn pncounter() {
    script(
        r#"
        PNCOUNTER.GET o n => 0
        PNCOUNTER.MGET o n m => [0, 0]
        MISO.EXISTS o => 0
        PNCOUNTER.ADD o n => 1
        PNCOUNTER.SUB o n => 0
        PNCOUNTER.SUB o n 10 => -10
        PNCOUNTER.ADD o n 5 => -5
        PNCOUNTER.ADD o n -5 => -10
        PNCOUNTER.SUB o n -3 => -7
        PNCOUNTER.GET o n => -7
        PNCOUNTER.ADD o zero 0 => 0
        MISO.EXISTS o zero => 1
        PNCOUNTER.MADD o n 7 m -3 m 1 => [0, -3, -2]
        PNCOUNTER.MGET o m n absent => [-2, 0, 0]
        "#,
    );
}

#[test]
fn pncounter_refuses() {
    script(
        r#"
        PNCOUNTER.ADD o max 9223372036854775807 => 9223372036854775807
        PNCOUNTER.ADD o max 1 => -ERR increment or decrement would overflow
        PNCOUNTER.SUB o max -1 => -ERR increment or decrement would overflow
        PNCOUNTER.SUB o max 1 => 9223372036854775806
        PNCOUNTER.ADD o max 1 => 9223372036854775807
        PNCOUNTER.ADD o min -9223372036854775808 => -9223372036854775808
        PNCOUNTER.ADD o min -1 => -ERR increment or decrement would overflow
        PNCOUNTER.SUB o min 1 => -ERR increment or decrement would overflow
        PNCOUNTER.SUB o min 9223372036854775807 => -ERR increment or decrement would overflow
        PNCOUNTER.GET o min => -9223372036854775808

        # The negation of the least integer is not one; here the sum is still in range, or out of it.
        PNCOUNTER.SUB o zero -9223372036854775808 => -ERR increment or decrement would overflow
        PNCOUNTER.GET o zero => 0
        MISO.EXISTS o zero => 0

        # The whole range down and up again: the halves hold more than the value ever may.
        PNCOUNTER.ADD o swing 9223372036854775807 => 9223372036854775807
        PNCOUNTER.ADD o swing -9223372036854775807 => 0
        PNCOUNTER.ADD o swing 9223372036854775807 => 9223372036854775807
        PNCOUNTER.ADD o swing -9223372036854775808 => -1
        PNCOUNTER.GET o swing => -1

        PNCOUNTER.ADD o max 1.5 => -ERR value is not an integer or out of range
        PNCOUNTER.ADD o max 9223372036854775808 => -ERR value is not an integer or out of range
        PNCOUNTER.SUB o max x => -ERR value is not an integer or out of range
        PNCOUNTER.MADD o a 1 max 1 => -ERR increment or decrement would overflow
        PNCOUNTER.MADD o a 1 max => -ERR wrong number of arguments for 'pncounter.madd' command
        PNCOUNTER.MADD o a 1 b x => -ERR value is not an integer or out of range
        MISO.EXISTS o a b => 0
        PNCOUNTER.ADD o => -ERR wrong number of arguments for 'pncounter.add' command
        PNCOUNTER.SUB o n 1 2 => -ERR wrong number of arguments for 'pncounter.sub' command
        "#,
    );
}

#[test]
fn gset() {
    script(
        r#"
        GSET.MEMBERS o n => ~[]
        GSET.CARD o n => 0
        GSET.ISMEMBER o n a => 0
        GSET.MISMEMBER o n a b => [0, 0]
        GSET.RANDMEMBER o n => nil
        GSET.RANDMEMBER o n 3 => ~[]
        GSET.SCAN o n 0 => ["0", []]
        MISO.EXISTS o => 0

        GSET.ADD o n a => 1
        GSET.ADD o n a => 0
        GSET.ADD o n a b c b => 2
        GSET.CARD o n => 3
        GSET.MEMBERS o n => ~["a", "b", "c"]
        GSET.ISMEMBER o n b => 1
        GSET.ISMEMBER o n x => 0
        GSET.MISMEMBER o n c x a => [1, 0, 1]

        # Any bytes, the empty string too, and what looks like a number is a string like any other.
        GSET.ADD o bytes "" "\x00\xff\r\n" 1 01 1.0 => 5
        GSET.MEMBERS o bytes => ~["", "01", "1", "1.0", "\x00\xff\r\n"]
        GSET.ISMEMBER o bytes "" => 1

        GSET.ADD o n => -ERR wrong number of arguments for 'gset.add' command
        GSET.REM o n a => -ERR unknown command 'GSET.REM', with args beginning with: 'o' 'n' 'a'...
        GSET.CARD o n x => -ERR wrong number of arguments for 'gset.card' command
        "#,
    );
}

#[test]
fn orset() {
    script(
        r#"
        ORSET.MEMBERS o n => ~[]
        ORSET.CARD o n => 0
        ORSET.ISMEMBER o n a => 0
        ORSET.MISMEMBER o n a b => [0, 0]
        ORSET.RANDMEMBER o n => nil
        ORSET.RANDMEMBER o n -3 => ~[]
        ORSET.SCAN o n 0 => ["0", []]
        ORSET.REM o n a => 0
        ORSET.CLEAR o n => 0
        MISO.EXISTS o => 0

        ORSET.ADD o n a b c => 3
        ORSET.ADD o n c d => 1
        ORSET.CARD o n => 4
        ORSET.REM o n a x a => 1
        ORSET.REM o n a => 0
        ORSET.MEMBERS o n => ~["b", "c", "d"]
        ORSET.ISMEMBER o n a => 0
        ORSET.MISMEMBER o n a b => [0, 1]
        ORSET.ADD o n a => 1
        ORSET.ISMEMBER o n a => 1
        ORSET.CLEAR o n => 4
        ORSET.CLEAR o n => 0
        ORSET.MEMBERS o n => ~[]
        ORSET.CARD o n => 0
        ORSET.ADD o n a => 1
        ORSET.MEMBERS o n => ~["a"]

        ORSET.ADD o n => -ERR wrong number of arguments for 'orset.add' command
        ORSET.REM o n => -ERR wrong number of arguments for 'orset.rem' command
        ORSET.CLEAR o => -ERR wrong number of arguments for 'orset.clear' command
        ORSET.RANDMEMBER o n x => -ERR value is not an integer or out of range
        ORSET.RANDMEMBER o n 1 2 => -ERR...
        "#,
    );
}

#[test]
fn set_replies_have_the_protocols_own_type() {
    let node = Node::start();
    node.session().script("ORSET.ADD o n a => 1\nGSET.ADD o g a => 1");
    for line in ["ORSET.MEMBERS o n", "GSET.MEMBERS o g"] {
        assert_eq!(node.session().run(line).to_string(), r#"["a"]"#);
        assert_eq!(node.session_in(Resp::V3).run(line).to_string(), r#"~["a"]"#);
    }
}

#[test]
fn randmember_counts() {
    for (kind, resp) in [("GSET", Resp::V2), ("ORSET", Resp::V3)] {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.run(&format!("{kind}.ADD o n a b c d"));
        let all = BTreeSet::from(["a", "b", "c", "d"].map(str::to_owned));
        let mut pick = |count: &str| {
            let frame = s.run(&format!("{kind}.RANDMEMBER o n {count}"));
            frame.items().iter().map(Frame::text).collect::<Vec<_>>()
        };
        // A positive count gives distinct members, all of them at most.
        for count in 0..6 {
            let picked = pick(&count.to_string());
            let distinct: BTreeSet<_> = picked.iter().cloned().collect();
            assert_eq!(picked.len(), count.min(4));
            assert_eq!(distinct.len(), picked.len());
            assert!(distinct.is_subset(&all));
        }
        // A negative one gives exactly that number, repetitions allowed.
        for count in [1, 4, 50] {
            let picked = pick(&format!("-{count}"));
            assert_eq!(picked.len(), count);
            assert!(picked.iter().all(|member| all.contains(member)));
        }
        // Every member has its turn.
        let seen: BTreeSet<_> = pick("-500").into_iter().collect();
        assert_eq!(seen, all);
        let single = s.run(&format!("{kind}.RANDMEMBER o n"));
        assert!(all.contains(&single.text()));
        assert_eq!(
            s.run(&format!("{kind}.RANDMEMBER o n -9223372036854775808")).to_string(),
            "-ERR value is out of range"
        );
    }
}

/// Walks a whole SCAN; the cursor must come back to 0.
fn scan(s: &mut Session, command: &str, options: &str) -> Vec<Frame> {
    let mut cursor = "0".to_owned();
    let mut all = Vec::new();
    for _ in 0..100_000 {
        let reply = s.run(&format!("{command} {cursor} {options}"));
        let [Frame::Bulk(next), page] = &reply.items()[..] else {
            panic!("{command} {cursor} {options} answered {reply}");
        };
        all.extend(page.items());
        cursor = String::from_utf8(next.clone()).expect("a cursor is a number");
        if cursor == "0" {
            return all;
        }
    }
    panic!("{command} {options} does not come to an end");
}

#[test]
fn scan_returns_everything_whatever_the_count() {
    let node = Node::start();
    let mut s = node.session_in(Resp::V3);
    let names: BTreeSet<String> = (0..500).map(|i| format!("member:{i}")).collect();
    for name in &names {
        s.run(&format!("GSET.ADD o g {name}"));
        s.run(&format!("ORSET.ADD o s {name}"));
        s.run(&format!("ORMAP.SET o m {name} value-of-{name}"));
    }
    for options in ["", "COUNT 1", "COUNT 7", "count 1000000"] {
        for command in ["GSET.SCAN o g", "ORSET.SCAN o s"] {
            let found: BTreeSet<String> =
                scan(&mut s, command, options).iter().map(Frame::text).collect();
            assert_eq!(found, names, "{command} {options}");
        }
        let pairs: BTreeMap<String, String> = scan(&mut s, "ORMAP.SCAN o m", options)
            .chunks_exact(2)
            .map(|pair| (pair[0].text(), pair[1].text()))
            .collect();
        assert_eq!(pairs.len(), 500);
        assert!(pairs.iter().all(|(field, value)| *value == format!("value-of-{field}")));
    }
    for (options, count) in
        [("MATCH member:1?", 10), ("COUNT 3 MATCH *:4[0-1]*", 22), ("MATCH none*", 0)]
    {
        let found: BTreeSet<String> =
            scan(&mut s, "ORSET.SCAN o s", options).iter().map(Frame::text).collect();
        assert_eq!(found.len(), count, "{options}");
    }
    s.script(
        r#"
        ORSET.SCAN o s x => -ERR invalid cursor
        ORSET.SCAN o s -1 => -ERR invalid cursor
        ORSET.SCAN o s 0 COUNT => -ERR syntax error
        ORSET.SCAN o s 0 COUNT 0 => -ERR syntax error
        ORSET.SCAN o s 0 COUNT x => -ERR value is not an integer or out of range
        ORSET.SCAN o s 0 NONSENSE 1 => -ERR syntax error
        ORMAP.SCAN o s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

/// Redis's guarantee: what is there from the first call to the last is returned, whatever comes and goes beside it.
#[test]
fn scan_while_the_set_changes() {
    let node = Node::start();
    let mut s = node.session();
    let lasting: BTreeSet<String> = (0..300).map(|i| format!("lasting:{i}")).collect();
    for member in &lasting {
        s.run(&format!("ORSET.ADD o n {member}"));
    }
    for i in 0..300 {
        s.run(&format!("ORSET.ADD o n leaving:{i}"));
    }
    let mut rng = Rng::new(7);
    for round in 0..3 {
        let mut cursor = "0".to_owned();
        let mut found = BTreeSet::new();
        for step in 0.. {
            let reply = s.run(&format!("ORSET.SCAN o n {cursor} COUNT 5")).items();
            found.extend(reply[1].items().iter().map(Frame::text));
            cursor = reply[0].text();
            if cursor == "0" {
                break;
            }
            // Growth beside shrinking, so that whatever table lies beneath is rebuilt while it is walked; for a
            // while only, or the end would move away faster than the walk.
            for _ in 0..if step < 100 { 20 } else { 0 } {
                s.run(&format!("ORSET.ADD o n new:{round}:{}", rng.below(100_000)));
                s.run(&format!("ORSET.REM o n leaving:{}", rng.below(300)));
            }
        }
        let missed: Vec<_> = lasting.difference(&found).collect();
        assert!(missed.is_empty(), "round {round} missed {missed:?}");
    }
}

#[test]
fn mvregister() {
    script(
        r#"
        MVREG.VALUE o n => nil
        MVREG.GET o n => []
        MISO.EXISTS o => 0
        MVREG.SET o n hello => OK
        MVREG.VALUE o n => "hello"
        MVREG.GET o n => ["hello"]
        MVREG.SET o n again => OK
        MVREG.GET o n => ["again"]
        MVREG.SET o n "" => OK
        MVREG.VALUE o n => ""
        MVREG.SET o n "\x00\xff\r\n" => OK
        MVREG.GET o n => ["\x00\xff\r\n"]
        MVREG.SET o n 007 => OK
        MVREG.VALUE o n => "007"
        MVREG.SET o n => -ERR wrong number of arguments for 'mvreg.set' command
        MVREG.SET o n a b => -ERR wrong number of arguments for 'mvreg.set' command
        MVREG.GET o => -ERR wrong number of arguments for 'mvreg.get' command
        "#,
    );
}

#[test]
fn ewflag() {
    script(
        r#"
        EWFLAG.GET o n => 0 || false
        EWFLAG.DISABLE o n => 0
        EWFLAG.SET o n 0 => 0
        MISO.EXISTS o => 0
        EWFLAG.ENABLE o n => 1
        EWFLAG.GET o n => 1 || true
        EWFLAG.ENABLE o n => 0
        EWFLAG.DISABLE o n => 1
        EWFLAG.GET o n => 0 || false
        EWFLAG.DISABLE o n => 0
        EWFLAG.SET o n 1 => 1
        EWFLAG.SET o n 1 => 0
        EWFLAG.GET o n => 1 || true
        EWFLAG.SET o n 0 => 1
        EWFLAG.SET o n 0 => 0
        EWFLAG.SET o n 2 => -ERR...
        EWFLAG.SET o n true => -ERR...
        EWFLAG.SET o n "" => -ERR...
        EWFLAG.GET o n => 0 || false
        EWFLAG.ENABLE o => -ERR wrong number of arguments for 'ewflag.enable' command
        EWFLAG.ENABLE o n 1 => -ERR wrong number of arguments for 'ewflag.enable' command
        "#,
    );
}

#[test]
fn ormap() {
    script(
        r#"
        ORMAP.GET o n f => nil
        ORMAP.GETMV o n f => []
        ORMAP.MGET o n f g => [nil, nil]
        ORMAP.GETALL o n => [] || {}
        ORMAP.KEYS o n => ~[]
        ORMAP.VALS o n => ~[]
        ORMAP.LEN o n => 0
        ORMAP.EXISTS o n f => 0
        ORMAP.DEL o n f => 0
        ORMAP.SCAN o n 0 => ["0", []]
        MISO.EXISTS o => 0

        ORMAP.SET o n f 1 => 1
        ORMAP.SET o n f 2 g 3 => 1
        ORMAP.SET o n g 4 => 0
        ORMAP.GET o n f => "2"
        ORMAP.GETMV o n f => ["2"]
        ORMAP.MGET o n g x f => ["4", nil, "2"]
        ORMAP.LEN o n => 2
        ORMAP.KEYS o n => ~["f", "g"]
        ORMAP.VALS o n => ~["2", "4"]
        ORMAP.EXISTS o n f => 1
        ORMAP.EXISTS o n x => 0
        ORMAP.DEL o n f x f => 1
        ORMAP.GETALL o n => ["g", "4"] || {"g": "4"}
        ORMAP.GET o n f => nil
        ORMAP.SET o n f back => 1
        ORMAP.GET o n f => "back"
        ORMAP.DEL o n f g => 2
        ORMAP.LEN o n => 0

        ORMAP.SET o n "" "" "\x00" "\xff" => 2
        ORMAP.GET o n "" => ""
        ORMAP.GET o n "\x00" => "\xff"

        ORMAP.SET o n f => -ERR wrong number of arguments for 'ormap.set' command
        ORMAP.SET o n f 1 g => -ERR wrong number of arguments for 'ormap.set' command
        ORMAP.EXISTS o n x => 0
        ORMAP.GET o n => -ERR wrong number of arguments for 'ormap.get' command
        ORMAP.DEL o n => -ERR wrong number of arguments for 'ormap.del' command
        "#,
    );
}

#[test]
fn ormap_counters() {
    script(
        r#"
        ORMAP.INCRBY o n c 5 => 5
        ORMAP.INCRBY o n c -7 => -2
        ORMAP.INCRBY o n c 0 => -2
        ORMAP.GET o n c => "-2"
        ORMAP.LEN o n => 1
        ORMAP.EXISTS o n c => 1
        ORMAP.GETALL o n => ["c", "-2"] || {"c": "-2"}
        ORMAP.INCRBY o n big 9223372036854775807 => 9223372036854775807
        ORMAP.INCRBY o n big 1 => -ERR increment or decrement would overflow
        ORMAP.INCRBY o n big -9223372036854775808 => -1
        ORMAP.INCRBY o n c 1.5 => -ERR value is not an integer or out of range
        ORMAP.INCRBY o n c => -ERR wrong number of arguments for 'ormap.incrby' command
        ORMAP.GET o n c => "-2"
        ORMAP.DEL o n c => 1
        ORMAP.GET o n c => nil
        ORMAP.INCRBY o n c 3 => 3
        ORMAP.INCRBY o n zero 0 => 0
        ORMAP.EXISTS o n zero => 1
        MISO.TYPE o n => ormap
        "#,
    );
}

/// A field is a register and a counter on top of it: what is no number cannot be counted on.
#[test]
fn ormap_fields_that_are_set_and_counted() {
    script(
        r#"
        ORMAP.SET o n text abc => 1
        ORMAP.INCRBY o n text 1 => -ERR hash value is not an integer
        ORMAP.GET o n text => "abc"
        ORMAP.LEN o n => 1

        # A number that was set can be counted on, and setting starts anew.
        ORMAP.SET o n visits 10 => 1
        ORMAP.INCRBY o n visits 5 => 15
        ORMAP.GET o n visits => "15"
        ORMAP.SET o n visits 3 => 0
        ORMAP.GET o n visits => "3"
        ORMAP.GETALL o other => [] || {}
        "#,
    );
}

/// One name holds one type: every command of any other type answers WRONGTYPE and changes nothing.
#[test]
fn wrong_types() {
    let writes = [
        ("gcounter", "GCOUNTER.ADD o {} 1"),
        ("pncounter", "PNCOUNTER.ADD o {} 1"),
        ("gset", "GSET.ADD o {} a"),
        ("orset", "ORSET.ADD o {} a"),
        ("mvreg", "MVREG.SET o {} a"),
        ("ewflag", "EWFLAG.ENABLE o {}"),
        ("ormap", "ORMAP.SET o {} f v"),
    ];
    let all = [
        "GCOUNTER.ADD o {} 1",
        "GCOUNTER.GET o {}",
        "GCOUNTER.MADD o free 1 {} 1",
        "GCOUNTER.MGET o free {}",
        "PNCOUNTER.ADD o {} 1",
        "PNCOUNTER.SUB o {} 1",
        "PNCOUNTER.GET o {}",
        "PNCOUNTER.MADD o free 1 {} 1",
        "PNCOUNTER.MGET o free {}",
        "GSET.ADD o {} a",
        "GSET.MEMBERS o {}",
        "GSET.ISMEMBER o {} a",
        "GSET.MISMEMBER o {} a",
        "GSET.CARD o {}",
        "GSET.SCAN o {} 0",
        "GSET.RANDMEMBER o {}",
        "ORSET.ADD o {} a",
        "ORSET.REM o {} a",
        "ORSET.CLEAR o {}",
        "ORSET.MEMBERS o {}",
        "ORSET.ISMEMBER o {} a",
        "ORSET.MISMEMBER o {} a",
        "ORSET.CARD o {}",
        "ORSET.SCAN o {} 0",
        "ORSET.RANDMEMBER o {}",
        "MVREG.SET o {} v",
        "MVREG.GET o {}",
        "MVREG.VALUE o {}",
        "EWFLAG.ENABLE o {}",
        "EWFLAG.DISABLE o {}",
        "EWFLAG.SET o {} 0",
        "EWFLAG.SET o {} 1",
        "EWFLAG.GET o {}",
        "ORMAP.SET o {} f v",
        "ORMAP.GET o {} f",
        "ORMAP.GETMV o {} f",
        "ORMAP.MGET o {} f",
        "ORMAP.GETALL o {}",
        "ORMAP.DEL o {} f",
        "ORMAP.EXISTS o {} f",
        "ORMAP.KEYS o {}",
        "ORMAP.VALS o {}",
        "ORMAP.LEN o {}",
        "ORMAP.SCAN o {} 0",
        "ORMAP.INCRBY o {} f 1",
    ];
    let node = Node::start();
    let mut s = node.session();
    for (name, write) in writes {
        let reply = s.run(&write.replace("{}", name));
        assert!(!reply.is_error(), "{write}: {reply}");
    }
    let before = s.run("HGETALL o").to_string();
    for (name, _) in writes {
        assert_eq!(s.run(&format!("MISO.TYPE o {name}")).text(), name);
        for command in all {
            if command.to_lowercase().starts_with(&format!("{name}.")) {
                continue;
            }
            let line = command.replace("{}", name);
            assert_eq!(
                s.run(&line).to_string(),
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
                "{line}"
            );
        }
    }
    assert_eq!(s.run("HGETALL o").to_string(), before);
    assert_eq!(s.run("MISO.TYPE o free").text(), "none");

    // Deleted, the name is free for any type.
    s.script(
        r#"
        MISO.DEL o gcounter => 1
        ORSET.ADD o gcounter a => 1
        MISO.TYPE o gcounter => orset
        "#,
    );
}

/// What a set that was emptied leaves: nothing that a read could tell from never having been.
#[test]
fn emptied_is_absent() {
    script(
        r#"
        ORSET.ADD o s a => 1
        ORSET.REM o s a => 1
        ORSET.MEMBERS o s => ~[]
        ORMAP.SET o m f v => 1
        ORMAP.DEL o m f => 1
        ORMAP.GETALL o m => [] || {}
        EWFLAG.ENABLE o f => 1
        EWFLAG.DISABLE o f => 1
        EWFLAG.GET o f => 0 || false
        "#,
    );
}

/// The sets and maps beside Redis's own, over a long random history.
#[test]
fn sets_and_maps_answer_as_redis_does() {
    let miso = Node::start();
    let redis = Node::redis(&[]);
    for (resp, seed) in [(Resp::V2, 1), (Resp::V3, 2)] {
        let (mut m, mut r) = (miso.session_in(resp), redis.session_in(resp));
        let mut rng = Rng::new(seed);
        let object = format!("o{seed}");
        for step in 0..3000 {
            let a = rng.below(20);
            let b = rng.below(20);
            let (ours, theirs) = match rng.below(16) {
                0..4 => {
                    (format!("ORSET.ADD {object} s {a} {b}"), format!("SADD s{object} {a} {b}"))
                }
                4 => (format!("ORSET.REM {object} s {a} {b}"), format!("SREM s{object} {a} {b}")),
                5 => (format!("ORSET.ISMEMBER {object} s {a}"), format!("SISMEMBER s{object} {a}")),
                6 => (
                    format!("ORSET.MISMEMBER {object} s {a} {b}"),
                    format!("SMISMEMBER s{object} {a} {b}"),
                ),
                7 => (format!("ORSET.CARD {object} s"), format!("SCARD s{object}")),
                8 => (format!("ORSET.MEMBERS {object} s"), format!("SMEMBERS s{object}")),
                9..12 => (
                    format!("ORMAP.SET {object} m {a} x{b} {b} y"),
                    format!("HSET h{object} {a} x{b} {b} y"),
                ),
                12 => (format!("ORMAP.DEL {object} m {a} {b}"), format!("HDEL h{object} {a} {b}")),
                13 => {
                    (format!("ORMAP.MGET {object} m {a} {b}"), format!("HMGET h{object} {a} {b}"))
                }
                14 => (format!("ORMAP.LEN {object} m"), format!("HLEN h{object}")),
                _ => (format!("ORMAP.KEYS {object} m"), format!("HKEYS h{object}")),
            };
            let (got, expected) = (m.run(&ours), r.run(&theirs));
            let unordered = ours.contains("MEMBERS") || ours.contains("KEYS");
            let same = if unordered { got.sorted() == expected.sorted() } else { got == expected };
            assert!(same, "step {step}, seed {seed}: {ours}\n  ours   {got}\n  theirs {expected}");
        }
    }
}

/// Counters beside Redis's INCRBY, near zero and near both limits. (A counter keeps what was added and what was taken
/// apart, 64 bits each, so a name cannot be swung through the whole range for ever; each has a few great amounts.)
#[test]
fn counters_answer_as_redis_does() {
    let miso = Node::start();
    let redis = Node::redis(&[]);
    let (mut m, mut r) = (miso.session(), redis.session());
    let mut rng = Rng::new(3);
    for round in 0..50 {
        for step in 0..40 {
            let amount = match (step, rng.below(3)) {
                (0, 0) => i64::MAX - rng.below(100) as i64,
                (0, 1) => i64::MIN + rng.below(100) as i64,
                (20, _) => rng.bits() as i64,
                _ => rng.below(200) as i64 - 100,
            };
            let (ours, theirs) = (
                m.run(&format!("PNCOUNTER.ADD o n{round} {amount}")),
                r.run(&format!("INCRBY n{round} {amount}")),
            );
            assert_eq!(ours.to_string(), theirs.to_string(), "adding {amount} to n{round}");
        }
    }
}

/// Typed replies through the `redis` crate, as an application would read them.
#[test]
fn typed_replies() -> redis::RedisResult<()> {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut session = node.session_in(resp);
        let c = session.redis();
        let total: i64 = redis::cmd("GCOUNTER.ADD").arg("o").arg("n").arg(5).query(c)?;
        assert_eq!(total, 5);
        let totals: Vec<i64> = redis::cmd("GCOUNTER.MGET").arg("o").arg("n").arg("x").query(c)?;
        assert_eq!(totals, [5, 0]);
        let on: bool = redis::cmd("EWFLAG.GET").arg("o").arg("f").query(c)?;
        assert!(!on);
        let on: bool = redis::cmd("EWFLAG.ENABLE").arg("o").arg("f").query(c)?;
        assert!(on);
        let on: bool = redis::cmd("EWFLAG.GET").arg("o").arg("f").query(c)?;
        assert!(on);
        let new: i64 = redis::cmd("ORSET.ADD").arg("o").arg("s").arg(&["a", "b"]).query(c)?;
        assert_eq!(new, 2);
        let members: BTreeSet<String> = redis::cmd("ORSET.MEMBERS").arg("o").arg("s").query(c)?;
        assert_eq!(members, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        let none: Option<String> = redis::cmd("MVREG.VALUE").arg("o").arg("r").query(c)?;
        assert_eq!(none, None);
        redis::cmd("MVREG.SET").arg("o").arg("r").arg("x").exec(c)?;
        let values: Vec<String> = redis::cmd("MVREG.GET").arg("o").arg("r").query(c)?;
        assert_eq!(values, ["x"]);
        redis::cmd("ORMAP.SET").arg("o").arg("m").arg("f").arg("v").exec(c)?;
        let map: BTreeMap<String, String> =
            redis::cmd("ORMAP.GETALL").arg("o").arg("m").query(c)?;
        assert_eq!(map, BTreeMap::from([("f".to_owned(), "v".to_owned())]));
    }
    Ok(())
}
