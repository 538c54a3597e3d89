//! Files of every format that there was are read by this build, with all that is in them.
//!
//! `fixtures/format-N` is a data directory as format N has it, and `expected.txt` what it comes to.
//! `format-1` was written by the first version, later ones by `write_the_newest` below. When the format
//! changes: raise the version, add a directory, and leave the old ones alone.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miso_store::crdt::plain::{self, FOREVER, hll::Registers, items::Mode};
use miso_store::crdt::{ReplicaId, Type, Value, Writers, kind};
use miso_store::journal::{Disk, Options, RealDisk};
use miso_store::{Config, Function, Held, Place, Recovery, Retirement, Store};

/// The types that formats up to the newest know. A new tag is a new format.
const TYPES: [(u8, &str); 13] = [
    (1, "gcounter"),
    (2, "pncounter"),
    (3, "gset"),
    (4, "orset"),
    (5, "mvreg"),
    (6, "ewflag"),
    (7, "ormap"),
    (8, "string"),
    (9, "hash"),
    (10, "set"),
    (11, "zset"),
    (12, "hyperloglog"),
    (13, "once"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn copy(of: &Path) -> Directory {
        let name = of.file_name().expect("it has a name").to_string_lossy().into_owned();
        let path = std::env::temp_dir().join(format!("miso-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary directory");
        for entry in fs::read_dir(of).expect("it is there") {
            let entry = entry.expect("readable");
            if entry.file_name() != "expected.txt" {
                fs::copy(entry.path(), path.join(entry.file_name())).expect("room");
            }
        }
        Directory(path)
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(RealDisk::existing(&self.0).expect("it is there"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NOW: u64 = 1_700_000_000_000;

fn config(replica: ReplicaId) -> Config {
    Config::new(replica, 2, Arc::new(|| NOW))
}

fn open(disk: &Arc<dyn Disk>) -> Recovery {
    let options = Options { background: false, reserve_bytes: 0, ..Options::default() };
    miso_store::recover(disk, options, config, || 77).expect("a sound directory")
}

fn shown(value: &Value, writers: &Writers) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all: Vec<String> = match value {
        Value::GCounter(counter) | Value::PnCounter(counter) => vec![counter.value().to_string()],
        Value::GSet(set) | Value::OrSet(set) => {
            set.elements().iter().map(|(element, _)| text(element)).collect()
        }
        Value::MvRegister(register) => register.values().into_iter().map(text).collect(),
        Value::EwFlag(flag) => vec![flag.enabled().to_string()],
        Value::OrMap(map) => {
            let field = |name: &[u8]| map.get(name)?.value(writers).map(|value| text(&value));
            map.fields()
                .iter()
                .filter_map(|(name, _)| Some(format!("{}={}", text(name), field(name)?)))
                .collect()
        }
        Value::PlainString(string) => {
            string.values(NOW, writers).into_iter().map(|value| text(&value)).collect()
        }
        Value::PlainHash(hash) => {
            let fields = hash.fields(NOW, writers);
            fields.map(|(name, value)| format!("{}={}", text(name), text(&value))).collect()
        }
        Value::PlainSet(set) => set.iter(NOW, writers).map(|(member, _)| text(member)).collect(),
        Value::PlainZSet(zset) => {
            let score = |member: &[u8]| zset.score(member, NOW, writers).expect("it is there");
            let members = zset.iter(NOW, writers);
            members.map(|(member, _)| format!("{}={}", text(member), score(member))).collect()
        }
        Value::Hll(hll) => {
            hll.registers(NOW, writers).map(|all| all.count().to_string()).into_iter().collect()
        }
        // The store's own, which reads as absent.
        Value::OnceIds(_) => Vec::new(),
    };
    if let Some(at) = plain::deadline(value, NOW, writers).filter(|at| *at != FOREVER) {
        all.push(format!("until {at}"));
    }
    all.sort();
    all.join(" ")
}

/// All that reads as present, a line for each value, and how far each function's sequence has come.
fn all(store: &Store) -> String {
    let mut out = String::new();
    for function in store.functions() {
        let name = String::from_utf8_lossy(function.name()).into_owned();
        let _ = writeln!(out, "{name}: {} objects", function.object_count());
        let mut lines = Vec::new();
        for shard in 0..function.shards() {
            let shard = function.lock(shard);
            for (object, held) in shard.objects().iter() {
                for (held_name, slot) in held.iter() {
                    for value in slot.values().iter().filter(|value| !value.is_absent()) {
                        let of = String::from_utf8_lossy(object).into_owned();
                        let what = shown(value, shard.writers());
                        let held_name = String::from_utf8_lossy(held_name);
                        let kind = value.kind().name();
                        lines.push(format!("  {of} {held_name} {kind}: {what}"));
                    }
                }
            }
        }
        lines.sort();
        lines.iter().for_each(|line| _ = writeln!(out, "{line}"));
        function.settle_once();
        for id in [&b"before"[..], b"after", b"other", b"peer", b"second", b"third"] {
            if let Some(reply) = function.once_reply(id) {
                let [id, reply] = [id, &reply].map(String::from_utf8_lossy);
                let _ = writeln!(out, "  once: {id} answered {reply}");
            }
        }
        for retirement in function.retirements() {
            let _ = writeln!(out, "  retired: {:?}", retirement.writers);
        }
    }
    out
}

#[test]
fn files_of_every_format_are_read() {
    let mut read = 0;
    for version in 1.. {
        let fixture = fixtures().join(format!("format-{version}"));
        if !fixture.is_dir() {
            break;
        }
        let expected = fs::read_to_string(fixture.join("expected.txt")).expect("what it comes to");
        let directory = Directory::copy(&fixture);
        let disk = directory.disk();
        let report = miso_store::check(&disk, config(ReplicaId(0)), 1).expect("it can be read");
        assert!(report.is_sound(), "format {version}: {report:?}");
        let recovered = open(&disk);
        // A copy goes on under a new incarnation.
        assert!(recovered.renewed.is_some());
        assert_eq!(all(&recovered.store), expected, "format {version}");
        // Written anew, it is of the newest format, and says the same.
        recovered.store.checkpoint().expect("room");
        recovered.store.journal().expect("it has one").close().expect("room");
        drop(recovered);
        assert_eq!(all(&open(&disk).store), expected, "format {version}, written anew");
        read = version;
    }
    assert_eq!(read, 4, "each format has its fixture");
}

#[test]
fn a_new_type_is_a_new_format() {
    let types: Vec<(u8, &str)> = Type::ALL.iter().map(|kind| (*kind as u8, kind.name())).collect();
    assert_eq!(
        types, TYPES,
        "a type's tag is part of the format: raise `VERSION` in journal/record.rs, add a fixture \
         (`write_the_newest`), describe it in docs/format.md, and then add the type here"
    );
}

fn fill(function: &Function, text: &[u8]) {
    let hash = miso_store::hash(b"o");
    let context = function.context();
    let mut shard = function.lock(function.shard_of(hash));
    let writers = shard.shared_writers();
    macro_rules! write {
        ($kind:ident, $name:literal, $update:expr) => {
            _ = shard.write::<kind::$kind, _>((hash, b"o", $name), $update).expect("its type")
        };
    }
    write!(GCounter, b"g", |c, mint, _| c.add(5, 0, mint).is_ok());
    write!(PnCounter, b"p", |c, mint, _| c.add(7, 9, mint).is_ok());
    write!(GSet, b"gs", |s, mint, d| s.add(text, mint, d));
    write!(OrSet, b"s", |s, mint, d| s.add(text, mint, d));
    write!(OrSet, b"s", |s, mint, d| s.add(b"removed", mint, d));
    write!(OrSet, b"s", |s, mint, d| s.remove(b"removed", mint, d));
    write!(OrSet, b"cleared", |s, mint, d| s.add(text, mint, d));
    write!(OrSet, b"cleared", |s, mint, d| s.clear(&context, mint, d) > 0);
    write!(MvRegister, b"r", |r, mint, d| r.set(text, mint, d));
    write!(EwFlag, b"f", |f, mint, d| f.enable(mint, d));
    write!(OrMap, b"m", |m, mint, d| m.set(text, b"1", mint, d));
    write!(OrMap, b"m", |m, mint, d| m.add(b"counted", 3, &writers, mint, d).is_ok());
    assert!(shard.delete(hash, b"o", b"g"));
    write!(GCounter, b"g", |c, mint, _| c.add(2, 0, mint).is_ok());
    drop(shard);
    fill_plain(function, text);
    // A write that runs once, in one record with its id.
    let place = Place { object: b"o", name: b"p", field: b"" };
    let shards = vec![function.once_shard(text), function.shard_index(b"o")];
    let mut held = Held::shards(function, shards);
    let once = held.begin_once(text, std::iter::once(place));
    held.with_object(b"o", |shard, hash| {
        let key = (hash, &b"o"[..], &b"p"[..]);
        let added = shard.write::<kind::PnCounter, _>(key, |c, mint, _| c.add(1, 0, mint).is_ok());
        added.expect("its type");
    });
    held.end_once(once, [text]);
}

/// Plain keys: values, counts, deadlines, what was deleted and what has expired.
fn fill_plain(function: &Function, text: &[u8]) {
    macro_rules! write {
        ($kind:ident, $key:literal, $update:expr) => {{
            let hash = miso_store::hash($key);
            let mut shard = function.lock(function.shard_of(hash));
            _ = shard.write_plain::<kind::$kind, _>((hash, $key), NOW, $update).expect("its type");
        }};
    }
    let later = NOW + 3_600_000;
    write!(PlainString, b"string", |s, _, mint, d| s.set(text, FOREVER, mint, d));
    write!(PlainString, b"cache", |s, _, mint, d| s.set(text, later, mint, d));
    write!(PlainString, b"count", |s, at, mint, d| s.add(3, at, mint, d).is_ok());
    let half = plain::fixed::parse(b"0.5").expect("a number");
    write!(PlainString, b"sum", |s, at, mint, d| s.add_decimal(half, at, mint, d).is_ok());
    write!(PlainString, b"gone", |s, at, mint, d| s.add(3, at, mint, d).is_ok());
    write!(PlainString, b"gone", |s, at, mint, d| s.delete(at, mint, d));
    write!(PlainHash, b"hash", |h, at, mint, d| h.set((text, b"1", FOREVER), at, mint, d));
    write!(PlainHash, b"hash", |h, at, mint, d| h.set((b"timed", b"2", later), at, mint, d));
    write!(PlainHash, b"hash", |h, at, mint, d| h.add((b"n", 2), at, mint, d).is_ok());
    write!(PlainHash, b"hash", |h, at, mint, d| h.expire(later, at, mint, d));
    write!(PlainSet, b"set", |s, at, mint, d| s.add(text, at, mint, d));
    write!(PlainSet, b"set", |s, at, mint, d| s.add(b"removed", at, mint, d));
    write!(PlainSet, b"set", |s, at, mint, d| s.remove(b"removed", at, mint, d));
    write!(PlainZSet, b"zset", |z, at, mint, d| z.set((text, 1.5, Mode::Set), at, mint, d));
    write!(PlainZSet, b"zset", |z, at, mint, d| z.add((b"sum", 2.0), at, mint, d).is_ok());
    let some = Registers::of([text, b"x"]);
    write!(Hll, b"hll", |h, at, mint, d| h.add(&some, at, mint, d));
}

/// Writes the fixture of the newest format: with `--ignored`, after the version was raised.
#[test]
#[ignore = "writes a fixture, once for each format"]
fn write_the_newest() {
    let path = fixtures().join("format-4");
    assert!(!path.exists(), "fixtures of formats that were released are never changed");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&path).expect("it can be made"));
    let store = open(&disk).store;
    store.track();
    let function = store.function(b"f");
    let peer = |id: u64, text: &[u8]| {
        let there = Store::new(config(ReplicaId(id)));
        there.track();
        let there = there.function(b"f");
        fill(&there, text);
        there
    };
    let join = |from: &Function, id: u64| {
        let batch = from.take_batch().expect("a change");
        function.join_batch(ReplicaId(id), (batch.first, batch.last), &batch.message).expect("new");
    };
    fill(&function, b"before");
    join(&peer(8, b"peer"), 8);
    store.checkpoint().expect("room");
    // In the log: what this node writes, a batch, parts of a sync, what is known by it, a retirement.
    fill(&function, b"after");
    join(&peer(9, b"second"), 9);
    let third = peer(10, b"third");
    let _ = third.take_batch();
    let (part, _) = third.export(&Vec::new(), 0, 1 << 20).expect("a vector");
    function.join_changes(&part).expect("a part");
    function.join_whole(&third.vector(), &part).expect("a part");
    function.finish_sync(&third.vector(), false).expect("a vector");
    let writers = vec![(ReplicaId(8), function.upto(ReplicaId(8)))];
    function.adopt_counts(&writers);
    let by = (store.replica(), function.seq());
    assert_eq!(function.retire(&Retirement { by, writers }), Ok(true));
    fill(&store.function(b"other"), b"other");
    store.commit().expect("room");
    fs::write(path.join("expected.txt"), all(&store)).expect("room");
    // Not closed: the state is `running`, as a process that was killed leaves it.
    drop(store);
    fs::remove_file(path.join("lock")).expect("it is there");
}
