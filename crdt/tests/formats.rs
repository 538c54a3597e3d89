//! Formats are frozen: what an earlier build wrote, this build and every later one must read.
//!
//! `fixtures/deltas.txt` has a line for each shape of each encoding: its name and the bytes in hex. This
//! test makes the same changes anew, and compares bytes and meaning. A line is never changed or removed;
//! a new type, or a new version of the format beside the old, adds lines. For new lines
//! `FIXTURES=print cargo test -p miso-crdt --test formats -- --nocapture` prints the whole table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use miso_crdt::batch::{self, Changes};
use miso_crdt::plain::{FOREVER, Moment, fixed, hll::Registers, items::Mode};
use miso_crdt::{Context, Delta, Dot, Events, Kind, ReplicaId, Type, Value, Writer, Writers, kind};

const FIXTURES: &str = include_str!("fixtures/deltas.txt");

/// Two writers, so that tables of writers have an order.
fn writers() -> Writers {
    let mut writers = Writers::of(ReplicaId(0x0123_4567_89ab_cdef));
    writers.intern(ReplicaId(7)).expect("a second writer");
    writers
}

/// Events of one writer, all of them shown at once.
struct Mint(Writer, u64);

impl Events for Mint {
    fn next(&mut self) -> Dot {
        self.1 += 1;
        Dot::new(self.0, self.1).expect("few events")
    }

    fn unsent(&self, _: Dot) -> bool {
        false
    }

    fn time(&mut self) -> u64 {
        (1_700_000_000_000 + self.1) << 16
    }

    fn writer(&self) -> Writer {
        self.0
    }
}

/// A value that two writers change, and the changes by name.
struct Scene {
    name: &'static str,
    value: Value,
    context: Context,
    mints: [Mint; 2],
    deltas: BTreeMap<String, Delta>,
}

impl Scene {
    fn new(kind: Type) -> Scene {
        Scene {
            name: kind.name(),
            value: Value::empty(kind),
            context: Context::new(),
            // The second writer's numbers take two bytes.
            mints: [Mint(Writer(0), 0), Mint(Writer(1), 299)],
            deltas: BTreeMap::new(),
        }
    }

    /// A change by a writer.
    fn edit<K: Kind>(
        mut self,
        name: &str,
        by: usize,
        edit: impl FnOnce(&mut K::State, &Context, &mut Mint, &mut DeltaOf<K>),
    ) -> Scene {
        let mut delta = Delta::empty(self.value.kind());
        let state = K::of_mut(&mut self.value).expect("of this type");
        let change = K::delta_mut(&mut delta).expect("of this type");
        edit(state, &self.context, &mut self.mints[by], change);
        for seq in 1..=self.mints[by].1 {
            if by == 0 || seq >= 300 {
                self.context.insert(Dot::new(Writer(by as u16), seq).expect("few events"));
            }
        }
        self.deltas.insert(format!("{}.{name}", self.name), delta);
        self
    }

    /// Adds the whole state.
    fn whole(mut self) -> Scene {
        let whole = self.value.whole(&self.context);
        self.deltas.insert(format!("{}.whole", self.name), whole);
        self.deltas.insert(format!("{}.empty", self.name), Delta::empty(self.value.kind()));
        self
    }
}

type DeltaOf<K> = <<K as Kind>::State as miso_crdt::Crdt>::Delta;

fn counter<K>(kind: Type) -> Scene
where
    K: Kind<State = miso_crdt::Counter>,
{
    let taken = if kind == Type::PnCounter { 3 } else { 0 };
    let add = |p: u64, n: u64| {
        move |counter: &mut miso_crdt::Counter,
              _: &Context,
              mint: &mut Mint,
              change: &mut miso_crdt::CounterDelta| {
            counter.add(p, n, mint).expect("it fits");
            change.note(counter.entry(mint.writer()).expect("just counted"));
        }
    };
    Scene::new(kind)
        .edit::<K>("first", 0, add(1, 0))
        .edit::<K>("second", 0, add(1 << 40, taken))
        .edit::<K>("other", 1, add(200, taken))
        .edit::<K>("reset", 0, |counter, _, mint, change| {
            counter.reset(mint, Some(change));
        })
        .edit::<K>("reborn", 0, add(5, 0))
        .whole()
}

fn set<K>(kind: Type) -> Scene
where
    K: Kind<State = Box<miso_crdt::Set>>,
{
    let scene = Scene::new(kind)
        .edit::<K>("add", 0, |set, _, mint, change| {
            set.add(b"apple", mint, Some(change));
        })
        .edit::<K>("add_several", 1, |set, _, mint, change| {
            set.add(b"pear", mint, Some(change));
            set.add(b"", mint, Some(change));
            set.add(&[0xff, 0], mint, Some(change));
        })
        .edit::<K>("add_again", 0, |set, _, mint, change| {
            set.add(b"pear", mint, Some(change));
        })
        .edit::<K>("remove", 1, |set, _, mint, change| {
            set.remove(b"apple", mint, Some(change));
        });
    scene.whole().edit::<K>("clear", 1, |set, context, mint, change| {
        set.clear(context, mint, Some(change));
    })
}

fn register() -> Scene {
    Scene::new(Type::MvRegister)
        .edit::<kind::MvRegister>("set", 0, |register, _, mint, change| {
            register.set(b"red", mint, Some(change));
        })
        .edit::<kind::MvRegister>("set_again", 1, |register, _, mint, change| {
            register.set(&[b'x'; 200], mint, Some(change));
        })
        .whole()
        .edit::<kind::MvRegister>("reset", 0, |register, _, mint, change| {
            register.reset(mint, Some(change));
        })
}

fn flag() -> Scene {
    Scene::new(Type::EwFlag)
        .edit::<kind::EwFlag>("enable", 0, |flag, _, mint, change| {
            flag.enable(mint, Some(change));
        })
        .edit::<kind::EwFlag>("enable_again", 1, |flag, _, mint, change| {
            flag.enable(mint, Some(change));
        })
        .whole()
        .edit::<kind::EwFlag>("disable", 0, |flag, _, mint, change| {
            flag.disable(mint, Some(change));
        })
}

fn map() -> Scene {
    let names = writers();
    Scene::new(Type::OrMap)
        .edit::<kind::OrMap>("set", 0, |map, _, mint, change| {
            map.set(b"colour", b"red", mint, Some(change));
        })
        .edit::<kind::OrMap>("count", 1, |map, _, mint, change| {
            map.add(b"visits", -3, &names, mint, Some(change)).expect("an integer");
        })
        .edit::<kind::OrMap>("set_several", 1, |map, _, mint, change| {
            map.set(b"colour", b"blue", mint, Some(change));
            map.set(b"size", b"", mint, Some(change));
        })
        .edit::<kind::OrMap>("remove", 0, |map, _, mint, change| {
            map.remove(b"colour", mint, Some(change));
            map.remove(b"visits", mint, Some(change));
        })
        .whole()
        .edit::<kind::OrMap>("clear", 0, |map, context, mint, change| {
            map.clear(context, mint, Some(change));
        })
}

/// What a plain type is told of the world: an hour before the deadline that the scenes set.
macro_rules! at {
    ($names:ident, $context:ident) => {
        &Moment { now: DEADLINE - 3_600_000, writers: &$names, context: &|| $context.clone() }
    };
}

const DEADLINE: u64 = 1_700_000_000_000;

fn string() -> Scene {
    let names = writers();
    Scene::new(Type::PlainString)
        .edit::<kind::PlainString>("count", 0, |string, context, mint, change| {
            string.add(-3, at!(names, context), mint, Some(change)).expect("an integer");
        })
        .edit::<kind::PlainString>("count_decimal", 1, |string, context, mint, change| {
            let half = fixed::parse(b"0.5").expect("a number");
            string.add_decimal(half, at!(names, context), mint, Some(change)).expect("fits");
        })
        .edit::<kind::PlainString>("set", 0, |string, _, mint, change| {
            string.set(b"red", FOREVER, mint, Some(change));
        })
        .edit::<kind::PlainString>("set_with_deadline", 1, |string, _, mint, change| {
            string.set(&[b'x'; 200], DEADLINE, mint, Some(change));
        })
        .edit::<kind::PlainString>("expire", 0, |string, context, mint, change| {
            string.expire(DEADLINE + 1, at!(names, context), mint, Some(change));
        })
        .whole()
        .edit::<kind::PlainString>("delete", 0, |string, context, mint, change| {
            string.delete(at!(names, context), mint, Some(change));
        })
}

fn hash() -> Scene {
    let names = writers();
    Scene::new(Type::PlainHash)
        .edit::<kind::PlainHash>("set", 0, |hash, context, mint, change| {
            let field = (&b"colour"[..], &b"red"[..], FOREVER);
            hash.set(field, at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainHash>("count", 1, |hash, context, mint, change| {
            hash.add((b"visits", 7), at!(names, context), mint, Some(change)).expect("an integer");
        })
        .edit::<kind::PlainHash>("expire_field", 0, |hash, context, mint, change| {
            hash.expire_field((b"colour", DEADLINE), at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainHash>("expire", 1, |hash, context, mint, change| {
            hash.expire(DEADLINE, at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainHash>("remove", 0, |hash, context, mint, change| {
            hash.remove(b"visits", at!(names, context), mint, Some(change));
        })
        .whole()
        .edit::<kind::PlainHash>("delete", 0, |hash, context, mint, change| {
            hash.delete(at!(names, context), mint, Some(change));
        })
}

fn plain_set() -> Scene {
    let names = writers();
    Scene::new(Type::PlainSet)
        .edit::<kind::PlainSet>("add", 0, |set, context, mint, change| {
            set.add(b"apple", at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainSet>("add_under_deadline", 1, |set, context, mint, change| {
            set.expire(DEADLINE, at!(names, context), mint, Some(change));
            set.add(b"pear", at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainSet>("remove", 1, |set, context, mint, change| {
            set.remove(b"apple", at!(names, context), mint, Some(change));
        })
        .whole()
}

fn zset() -> Scene {
    let names = writers();
    Scene::new(Type::PlainZSet)
        .edit::<kind::PlainZSet>("set", 0, |zset, context, mint, change| {
            zset.set((b"ada", 1.5, Mode::Set), at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainZSet>("greater", 1, |zset, context, mint, change| {
            zset.set((b"bob", 2.0, Mode::Greater), at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainZSet>("less", 1, |zset, context, mint, change| {
            zset.set((b"cy", -0.1, Mode::Less), at!(names, context), mint, Some(change));
        })
        .edit::<kind::PlainZSet>("add", 0, |zset, context, mint, change| {
            zset.add((b"ada", 0.25), at!(names, context), mint, Some(change)).expect("a number");
        })
        .whole()
}

fn hll() -> Scene {
    let names = writers();
    let many: Vec<Vec<u8>> = (0..20u32).map(|n| n.to_be_bytes().to_vec()).collect();
    Scene::new(Type::Hll)
        .edit::<kind::Hll>("create", 0, |hll, context, mint, change| {
            hll.add(&Registers::default(), at!(names, context), mint, Some(change));
        })
        .edit::<kind::Hll>("add", 1, |hll, context, mint, change| {
            let some = Registers::of(many.iter().map(Vec::as_slice));
            hll.add(&some, at!(names, context), mint, Some(change));
        })
        .whole()
        .edit::<kind::Hll>("delete", 0, |hll, context, mint, change| {
            hll.delete(at!(names, context), mint, Some(change));
        })
}

fn once() -> Scene {
    Scene::new(Type::OnceIds)
        .edit::<kind::OnceIds>("claim", 0, |ids, _, mint, change| {
            ids.claim(b"id-1", b"claim", mint, Some(change));
        })
        .whole()
        .edit::<kind::OnceIds>("replace", 0, |ids, _, mint, change| {
            let old = ids.claims(b"id-1").next().map(|claim| claim.stamp.dot);
            let old = old.expect("claimed above");
            ids.swap(b"id-1", (old, Some(b"lost")), mint, Some(change));
        })
        .edit::<kind::OnceIds>("forget", 1, |ids, _, mint, change| {
            let old = ids.claims(b"id-1").next().map(|claim| claim.stamp.dot);
            ids.swap(b"id-1", (old.expect("claimed above"), None), mint, Some(change));
        })
}

/// Every change that the table has, by name.
fn deltas() -> BTreeMap<String, Delta> {
    let scenes = [
        counter::<kind::GCounter>(Type::GCounter),
        counter::<kind::PnCounter>(Type::PnCounter),
        set::<kind::GSet>(Type::GSet),
        set::<kind::OrSet>(Type::OrSet),
        register(),
        flag(),
        map(),
        string(),
        hash(),
        plain_set(),
        zset(),
        hll(),
        once(),
    ];
    scenes.into_iter().flat_map(|scene| scene.deltas).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn is_of(delta: &Delta, plain: bool) -> bool {
    delta.kind().is_plain() == plain && !delta.kind().is_hidden()
}

/// The changes of MISO's own types as one message, or those of plain types.
fn batch(plain: bool) -> Vec<u8> {
    let mut changes = Changes::new();
    for (name, delta) in deltas().into_iter().filter(|(_, delta)| is_of(delta, plain)) {
        let (object, name) = name.split_once('.').expect("type and shape");
        changes.push(object.as_bytes(), name.as_bytes(), &delta);
    }
    changes.finish(&writers())
}

#[test]
fn what_earlier_builds_wrote_is_read() {
    let mut table: Vec<(String, Vec<u8>)> =
        deltas().iter().map(|(name, delta)| (name.clone(), delta.encode(&writers()))).collect();
    table.push(("batch".to_owned(), batch(false)));
    table.push(("batch_plain".to_owned(), batch(true)));
    if std::env::var("FIXTURES").is_ok_and(|mode| mode == "print") {
        table.iter().for_each(|(name, bytes)| println!("{name} {}", hex(bytes)));
    }
    let frozen: BTreeMap<&str, &str> = FIXTURES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("name and hex"))
        .collect();
    for (name, bytes) in &table {
        let frozen = frozen.get(name.as_str());
        let frozen = frozen.unwrap_or_else(|| panic!("{name} is not in the table yet"));
        assert_eq!(&hex(bytes), frozen, "{name} is written otherwise than before");
    }
    let deltas = deltas();
    for (name, text) in frozen {
        let bytes = unhex(text);
        let mut known = writers();
        if let Some((name, _)) = name.split_once('@') {
            // As an earlier build wrote it: the same changes in other words.
            let readable = if name.starts_with("batch") {
                batch::read(&bytes, 100, &mut known).is_ok()
            } else {
                Delta::decode(&bytes, &mut known).is_ok()
            };
            assert!(readable, "{name}");
            continue;
        }
        if name.starts_with("batch") {
            let read = batch::read(&bytes, 100, &mut known).expect("readable");
            let plain = name == "batch_plain";
            let count = deltas.values().filter(|delta| is_of(delta, plain)).count();
            assert_eq!(read.len(), count);
            for change in read {
                let [object, name] =
                    [&*change.object, &*change.name].map(|n| String::from_utf8(n.into()));
                let name = format!("{}.{}", object.expect("a text"), name.expect("a text"));
                assert_eq!(Some(&change.delta), deltas.get(&name), "{name}");
            }
        } else {
            let delta = Delta::decode(&bytes, &mut known).expect("readable");
            assert_eq!(Some(&delta), deltas.get(name), "{name}");
        }
    }
}

#[test]
fn every_type_is_in_the_table() {
    for kind in Type::ALL {
        let of = |line: &str| line.starts_with(&format!("{}.", kind.name()));
        assert!(FIXTURES.lines().filter(|line| of(line)).count() >= 4, "{}", kind.name());
    }
}
