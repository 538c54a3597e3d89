//! The defects that were reproduced in the published middleware, as far as they show on one node. Each test is named
//! for what must not happen again; the numbers are those of the list in the project's description of it.

use miso_tests::{Node, Resp};

/// 5: removing a set's newest element had no effect elsewhere, and the element came back.
#[test]
fn d5_a_removed_element_stays_removed() {
    let node = Node::start();
    let mut s = node.session();
    for round in 0..50 {
        s.script(&format!("ORSET.ADD o s old new{round} => *\nORSET.REM o s new{round} => 1"));
    }
    s.script(
        r#"
        ORSET.MEMBERS o s => ~["old"]
        ORSET.REM o s old => 1
        ORSET.CARD o s => 0
        ORSET.ADD o s again => 1
        ORSET.MEMBERS o s => ~["again"]
        "#,
    );
}

/// 6: flag and register with one clock for the whole value. On one node: the last write is what is read, however
/// writers on several connections take turns.
#[test]
fn d6_flags_and_registers_follow_their_writers() {
    let node = Node::start();
    let mut writers: Vec<_> = (0..3).map(|_| node.session()).collect();
    for turn in 0..60 {
        let value = turn % 2;
        let writer = &mut writers[turn % 3];
        writer.script(&format!("EWFLAG.SET o f {value} => *\nMVREG.SET o r v{turn} => OK"));
        let reader = &mut writers[(turn + 1) % 3];
        reader.script(&format!("EWFLAG.GET o f => {value}\nMVREG.GET o r => [\"v{turn}\"]"));
    }
}

/// 7: members compared by reference, numbers that turn into strings, reading that corrupts.
#[test]
fn d7_members_are_bytes_and_nothing_else() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(
            r#"
            GSET.ADD o s {"a":1} => 1
            GSET.ADD o s {"a":1} => 0
            GSET.CARD o s => 1
            GSET.ADD o n 1 => 1
            GSET.ADD o n "1" => 0
            GSET.ADD o n 1.0 => 1
            GSET.MEMBERS o n => ~["1", "1.0"]
            MVREG.GET o s => -WRONGTYPE...
            GCOUNTER.GET o s => -WRONGTYPE...
            GSET.MEMBERS o s => ~["{\"a\":1}"]
            "#,
        );
    }
}

/// 8: a map whose `has` deletes, whose `clear` resurrects and whose removed keys can still be read.
#[test]
fn d8_map_reads_change_nothing_and_removed_fields_are_gone() {
    let node = Node::start();
    node.session().script(
        r#"
        ORMAP.SET o m f v => 1
        ORMAP.EXISTS o m f => 1
        ORMAP.EXISTS o m f => 1
        ORMAP.GET o m f => "v"
        ORMAP.DEL o m f => 1
        ORMAP.GET o m f => nil
        ORMAP.GETMV o m f => []
        ORMAP.EXISTS o m f => 0
        ORMAP.GETALL o m => []
        ORMAP.SET o m g w => 1
        ORMAP.KEYS o m => ~["g"]
        MISO.DEL o m => 1
        ORMAP.GETALL o m => []
        ORMAP.SET o m h x => 1
        ORMAP.GETALL o m => ["h", "x"]
        "#,
    );
}

/// 9: a deleted object comes back by itself at the next touch.
#[test]
fn d9_a_deleted_object_stays_deleted() {
    let node = Node::start();
    node.session().script(
        r#"
        GCOUNTER.ADD o c 100 => 100
        ORSET.ADD o s a b => 2
        ORMAP.INCRBY o m f 7 => 7
        MISO.DEL o => 3
        GCOUNTER.GET o c => 0
        ORSET.MEMBERS o s => ~[]
        ORMAP.GET o m f => nil
        EXISTS o => 0
        GCOUNTER.ADD o c 1 => 1
        ORSET.ADD o s c => 1
        ORSET.MEMBERS o s => ~["c"]
        ORMAP.INCRBY o m f 1 => 1
        "#,
    );
}

/// 10: increments past 2^53 vanish, 1.5 is truncated, zero and negative adds fail with a nameless error.
#[test]
fn d10_every_increment_counts_or_says_why_not() {
    for resp in Resp::BOTH {
        let node = Node::start();
        node.session_in(resp).script(
            r#"
            GCOUNTER.ADD o c 9007199254740992 => 9007199254740992
            GCOUNTER.ADD o c 1 => 9007199254740993
            GCOUNTER.ADD o c 1 => 9007199254740994
            GCOUNTER.ADD o c 1 => 9007199254740995
            GCOUNTER.GET o c => 9007199254740995
            PNCOUNTER.ADD o p -9007199254740993 => -9007199254740993
            PNCOUNTER.SUB o p 2 => -9007199254740995
            HGET o c => "9007199254740995"
            GCOUNTER.ADD o c 1.5 => -ERR value is not an integer or out of range
            GCOUNTER.ADD o c 0 => 9007199254740995
            GCOUNTER.ADD o c -1 => -ERR a grow-only counter cannot decrease
            GCOUNTER.GET o c => 9007199254740995
            "#,
        );
    }
}

/// 3: two functions with the same object and name lose one update. `functions.rs` has more on namespaces.
#[test]
fn d3_functions_do_not_share_names() {
    let node = Node::start();
    let (mut a, mut b) = (node.session_of("a", Resp::V2), node.session_of("b", Resp::V2));
    for i in 1..100 {
        a.script(&format!("GCOUNTER.ADD o n => {i}"));
        b.script(&format!("GCOUNTER.ADD o n 2 => {}", 2 * i));
    }
}

/// 13, as far as commands go: an add costs the same in a small set and in a great one, and answers no more than it
/// must.
#[test]
fn d13_writes_answer_with_a_number() {
    let node = Node::start();
    let mut s = node.session();
    for i in 0..20 {
        let members: Vec<String> = (0..1000).map(|j| format!("m{i}-{j}")).collect();
        s.script(&format!("ORSET.ADD o s {} => 1000", members.join(" ")));
    }
    s.script("ORSET.ADD o s one-more => 1\nORSET.CARD o s => 20001");
}
