//! Every message that peers say, frozen: `peer/vN.hex` has one line for each of version N, a name and the bytes of an
//! envelope with it. Every later build must read these bytes as the same values, and write them again as
//! the same bytes. A line is never changed: what changes the bytes raises [`VERSION`] (see
//! `docs/format.md`), and gets a file of its own beside this one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use miso_protocol::peer::digest::Entry;
use miso_protocol::peer::function_record::Role;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{
    Ack, Batch, Challenge, Digest, Fetch, Fetched, FunctionRecord, Goodbye, Grant, Heartbeat,
    Hello, NodeRecord, Piece, Proof, Pull, Records, Refusal, Retire, Retired, State, Summary,
    VERSION, Vector, Witness, frame, open, refusal, state,
};

/// A file for each version. The messages of versions 2 and 3 are those of version 1, with more types of data
/// in their changes.
const VERSIONS: [&str; 3] =
    [include_str!("peer/v1.hex"), include_str!("peer/v2.hex"), include_str!("peer/v3.hex")];

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn vector() -> Option<Vector> {
    Some(Vector { writers: vec![1, 0xfedc_ba98_7654_3210], lasts: vec![7, 300] })
}

/// Messages about nodes, each with a value other than the default in every field.
fn about_nodes(protocol: u32) -> Vec<(&'static str, Body)> {
    let addresses = || vec!["10.0.0.1:7379".to_owned(), "[2001:db8::1]:7379".to_owned()];
    let function =
        FunctionRecord { function: bytes("cart"), replicas: vec![bytes("pod-1")], role: 0 };
    let record = NodeRecord {
        node: "node-b".into(),
        replica: 0x0102_0304_0506_0708,
        generation: 1_700_000_000_000,
        version: 3,
        addresses: addresses(),
        functions: vec![
            function,
            FunctionRecord { function: bytes("mail"), replicas: vec![], role: 0 },
        ],
        left: true,
        forgotten: true,
        retired: true,
    };
    let with_role = |name: &'static str, role: Role| FunctionRecord {
        function: bytes(name),
        role: role.into(),
        ..FunctionRecord::default()
    };
    let roles = NodeRecord {
        node: "node-b".into(),
        replica: 1,
        generation: 2,
        version: 3,
        functions: vec![with_role("cart", Role::Holds), with_role("mail", Role::Leaves)],
        ..NodeRecord::default()
    };
    let hello = Hello {
        protocol,
        cluster: "shop".into(),
        node: "node-a".into(),
        replica: 0x1122_3344_5566_7788,
        generation: 1_700_000_000_001,
        addresses: addresses(),
        version: "0.1.0".into(),
        dial: 9,
        clock: 0,
        pieces: false,
    };
    let hello_with_clock = Hello { clock: 1_700_000_000_002, ..hello.clone() };
    let hello_with_pieces = Hello { pieces: true, ..hello_with_clock.clone() };
    let piece = Piece { last: true, bytes: bytes("of a message") };
    let challenge = Challenge {
        protocol,
        cluster: "shop".into(),
        replica: 0x1122_3344_5566_7788,
        nonce: Bytes::from_static(&[0xa5; 32]),
    };
    let refusal = |kind: refusal::Kind| Refusal {
        reason: "another has this name".into(),
        kind: kind.into(),
        addresses: addresses(),
    };
    let entry = Entry { node: "node-b".into(), generation: 1_700_000_000_000, version: 3 };
    vec![
        ("challenge", Body::Challenge(challenge)),
        ("proof", Body::Proof(Proof { mac: Bytes::from_static(&[0x5a; 32]) })),
        ("hello", Body::Hello(hello)),
        ("hello-with-clock", Body::Hello(hello_with_clock)),
        ("hello-with-pieces", Body::Hello(hello_with_pieces)),
        ("piece", Body::Piece(piece)),
        ("refusal-other", Body::Refusal(refusal(refusal::Kind::Other))),
        ("refusal-protocol", Body::Refusal(refusal(refusal::Kind::Protocol))),
        ("refusal-cluster", Body::Refusal(refusal(refusal::Kind::Cluster))),
        ("refusal-name", Body::Refusal(refusal(refusal::Kind::Name))),
        ("refusal-replica", Body::Refusal(refusal(refusal::Kind::Replica))),
        ("refusal-secret", Body::Refusal(refusal(refusal::Kind::Secret))),
        ("heartbeat", Body::Heartbeat(Heartbeat { table: 0xdead_beef_0000_0001 })),
        ("digest", Body::Digest(Digest { entries: vec![entry] })),
        ("records-roles", Body::Records(Records { records: vec![roles] })),
        ("records", Body::Records(Records { records: vec![record] })),
        ("goodbye", Body::Goodbye(Goodbye {})),
    ]
}

fn state_of(kind: state::Kind) -> Body {
    Body::State(State {
        function: bytes("cart"),
        id: 5,
        part: 2,
        kind: kind.into(),
        changes: bytes("changes"),
        size: 4096,
        vector: vector(),
        buckets: vec![0, 65_535],
        origin: 0x1122_3344_5566_7788,
        last: 12,
    })
}

/// Messages of replication, likewise.
fn about_changes() -> Vec<(&'static str, Body)> {
    let batch = Batch {
        function: bytes("cart"),
        origin: 0x1122_3344_5566_7788,
        first: 10,
        last: 12,
        changes: bytes("changes"),
        size: 4096,
        urgent: true,
        witness: None,
    };
    let witness = Witness { seq: 12, life: 1_700_000_000_001, mac: 0xa5a5_5a5a_0102_0304 };
    let batch_with_witness = Batch { witness: Some(witness), ..batch.clone() };
    let summary = Summary {
        function: bytes("cart"),
        vector: vector(),
        kept_from: 4,
        answer: true,
        digest: Some(0x00ff_00ff_00ff_00ff),
        ..Summary::default()
    };
    let question = Summary {
        digest: None,
        carries: true,
        current: true,
        question: 70_000,
        answers: 300,
        ..summary.clone()
    };
    let summary_with_witnesses = Summary {
        mine: Some(witness),
        yours: Some(Witness { seq: 300, ..witness }),
        ..summary.clone()
    };
    let pull = Pull {
        function: bytes("cart"),
        id: 5,
        known: vector(),
        digests: vec![1, 0xffff_ffff_ffff_ffff],
        taken: 2,
        ahead: Vec::new(),
    };
    let pull_with_ahead = Pull { ahead: vec![0, 0x0102_0304_0506_0708], ..pull.clone() };
    let summary_with_ahead = Summary { ahead: Some(300), ..summary.clone() };
    let fetch =
        Fetch { function: bytes("cart"), id: 6, object: bytes("user:1"), name: Some(bytes("")) };
    let fetched = Fetched {
        function: bytes("cart"),
        id: 6,
        found: true,
        changes: bytes("changes"),
        size: 4096,
        object: bytes("user:1"),
    };
    let retire = Retire { function: bytes("cart"), round: 3, writers: vec![1, 2], over: true };
    let grant = Grant {
        function: bytes("cart"),
        round: 3,
        refused: true,
        living: vec![2],
        vector: vector(),
    };
    let retired = Retired { function: bytes("cart"), by: 1, event: 8, writers: vector() };
    vec![
        ("batch", Body::Batch(batch)),
        ("batch-with-witness", Body::Batch(batch_with_witness)),
        ("summary-with-witnesses", Body::Summary(summary_with_witnesses)),
        ("ack", Body::Ack(Ack { function: bytes("cart"), last: 12, durable: 11 })),
        ("summary-question", Body::Summary(question)),
        ("summary", Body::Summary(summary)),
        ("summary-with-ahead", Body::Summary(summary_with_ahead)),
        ("pull", Body::Pull(pull)),
        ("pull-with-ahead", Body::Pull(pull_with_ahead)),
        ("state-changes", state_of(state::Kind::Changes)),
        ("state-buckets", state_of(state::Kind::Buckets)),
        ("state-done", state_of(state::Kind::Done)),
        ("state-too-old", state_of(state::Kind::TooOld)),
        ("state-busy", state_of(state::Kind::Busy)),
        ("fetch", Body::Fetch(fetch)),
        ("fetched", Body::Fetched(fetched)),
        ("retire", Body::Retire(retire)),
        ("grant", Body::Grant(grant)),
        ("retired", Body::Retired(retired)),
    ]
}

fn all(protocol: u32) -> Vec<(&'static str, Body)> {
    about_nodes(protocol).into_iter().chain(about_changes()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String grows");
        text
    })
}

fn unhex(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The lines of a fixture: names and bytes.
fn fixtures(text: &str) -> BTreeMap<&str, Bytes> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, bytes) = line.split_once(' ').expect("a name and bytes");
            (name, unhex(bytes))
        })
        .collect()
}

#[test]
fn every_message_of_every_version_is_read_and_written_as_it_was() {
    for (version, text) in (1..).zip(VERSIONS) {
        let fixtures = fixtures(text);
        let mut wrong = String::new();
        for (name, body) in all(version) {
            let written = frame(body.clone());
            let kept = fixtures.get(name).cloned().unwrap_or_default();
            let read: Vec<_> =
                open(kept.clone()).map(|message| message.ok().and_then(|m| m.body)).collect();
            if read != [Some(body)] || written != kept {
                writeln!(wrong, "{name} {}", hex(&written)).expect("a String grows");
            }
        }
        assert!(wrong.is_empty(), "otherwise than v{version}.hex says:\n{wrong}");
        let known: BTreeSet<&str> = all(version).into_iter().map(|(name, _)| name).collect();
        let kept: BTreeSet<&str> = fixtures.keys().copied().collect();
        assert_eq!(kept, known, "a line without a value, or the other way round");
    }
}

#[test]
fn no_kind_of_message_is_without_a_line() {
    // The key of the one field in a message says its kind.
    let kind = |(_, body): &(&str, Body)| {
        let frame = frame(body.clone());
        let (mut at, mut key, mut shift) = (1, 0_u32, 0);
        while frame[at] & 0x80 != 0 {
            at += 1;
        }
        loop {
            at += 1;
            key |= u32::from(frame[at] & 0x7f) << shift;
            shift += 7;
            if frame[at] & 0x80 == 0 {
                return key >> 3;
            }
        }
    };
    let kinds: BTreeSet<u32> = all(VERSION).iter().map(kind).collect();
    let proto = include_str!("../proto/peer.proto");
    let body = proto.split("oneof body {").nth(1).and_then(|rest| rest.split('}').next());
    let numbers = body.expect("messages have a body").lines().filter_map(|line| {
        let (_, number) = line.split_once('=')?;
        number.trim().split(';').next()?.parse().ok()
    });
    assert_eq!(kinds, numbers.collect::<BTreeSet<u32>>());
}

#[test]
fn the_version_has_its_fixtures() {
    let newest = VERSIONS.len();
    assert_eq!(VERSION as usize, newest, "a new version: keep the files, and add one of its own");
}
