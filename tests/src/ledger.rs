//! A client that keeps books of all types, so that a test can tell exactly what must be there.

use crate::wire::encode;
use crate::{Frame, Rng, Session, Wire, split};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Members and fields of a client's sets and maps: few, so that they are added and removed again.
const MEMBERS: u64 = 12;

/// What one client wrote into an object of its own, and into a counter that it shares with others.
///
/// A command that was answered counts. Of those whose answers were not seen, a node that died did the first few: as
/// each connection's commands are run in order, and each is journaled when it is run. [`Ledger::settle`] finds out how
/// many, and fails if what is there is not what any such number comes to.
#[derive(Debug)]
pub struct Ledger {
    object: String,
    rng: Rng,
    /// After all that was answered.
    state: State,
    /// Sent, and not answered, oldest first.
    open: VecDeque<Op>,
}

/// The shared counter lies in the object `shared`, under this name.
const SHARED: &str = "total";

#[derive(Clone, Debug)]
enum Op {
    Count(u64),
    Move(i64),
    Collect(u64),
    Add(u64),
    Remove(u64),
    Clear,
    Register(u64),
    Flag(bool),
    Field(u64, u64),
    Hits(u64, i64),
    Unfield(u64),
    Delete(&'static str),
    DeleteAll,
    Shared(u64),
    /// A transaction: all of it, or nothing.
    Together(Vec<Op>),
}

/// What the object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    count: Option<u64>,
    moved: Option<i64>,
    collected: BTreeSet<u64>,
    set: BTreeSet<u64>,
    register: Option<u64>,
    flag: bool,
    map: BTreeMap<u64, i64>,
    /// What this client gave to the counter that it shares with others, of which only the sum can be read.
    shared: u64,
}

const NAMES: [&str; 7] = ["count", "moved", "collected", "set", "register", "flag", "map"];

impl Op {
    fn random(rng: &mut Rng) -> Op {
        match rng.below(40) {
            0 => Op::Together((0..2 + rng.below(4)).map(|_| Op::single(rng)).collect()),
            _ => Op::single(rng),
        }
    }

    fn single(rng: &mut Rng) -> Op {
        let n = rng.below(MEMBERS);
        match rng.below(40) {
            0..=5 => Op::Count(1 + rng.below(9)),
            6..=9 => Op::Move(rng.below(200) as i64 - 100),
            10..=11 => Op::Collect(rng.below(1_000)),
            12..=15 => Op::Add(n),
            16..=18 => Op::Remove(n),
            19 => Op::Clear,
            20..=22 => Op::Register(rng.below(1_000)),
            23..=25 => Op::Flag(rng.below(2) == 0),
            26..=28 => Op::Field(n, rng.below(1_000)),
            29..=31 => Op::Hits(n, rng.below(20) as i64 - 10),
            32..=33 => Op::Unfield(n),
            34..=35 => Op::Delete(NAMES[rng.below(NAMES.len() as u64) as usize]),
            36 => Op::DeleteAll,
            _ => Op::Shared(1 + rng.below(5)),
        }
    }

    /// The commands that it is, each of which is answered.
    fn lines(&self, object: &str) -> Vec<String> {
        let line = match self {
            Op::Count(n) => format!("GCOUNTER.ADD {object} count {n}"),
            Op::Move(n) => format!("PNCOUNTER.ADD {object} moved {n}"),
            Op::Collect(n) => format!("GSET.ADD {object} collected {n}"),
            Op::Add(n) => format!("ORSET.ADD {object} set {n}"),
            Op::Remove(n) => format!("ORSET.REM {object} set {n}"),
            Op::Clear => format!("ORSET.CLEAR {object} set"),
            Op::Register(n) => format!("MVREG.SET {object} register {n}"),
            Op::Flag(on) => format!("EWFLAG.SET {object} flag {}", u8::from(*on)),
            Op::Field(n, value) => format!("ORMAP.SET {object} map {n} {value}"),
            Op::Hits(n, by) => format!("ORMAP.INCRBY {object} map {n} {by}"),
            Op::Unfield(n) => format!("ORMAP.DEL {object} map {n}"),
            Op::Delete(name) => format!("MISO.DEL {object} {name}"),
            Op::DeleteAll => format!("MISO.DEL {object}"),
            Op::Shared(n) => format!("GCOUNTER.ADD shared {SHARED} {n}"),
            Op::Together(ops) => {
                let within = ops.iter().flat_map(|op| op.lines(object));
                let lines = std::iter::once("MULTI".to_owned()).chain(within);
                return lines.chain(["EXEC".to_owned()]).collect();
            }
        };
        vec![line]
    }
}

impl State {
    /// Does what the node should do; what it should answer, if only this client decides that.
    fn apply(&mut self, op: &Op) -> Option<Frame> {
        let changed = |yes: bool| Some(Frame::Integer(i64::from(yes)));
        match op {
            Op::Count(n) => {
                let count = self.count.get_or_insert(0);
                *count += n;
                Some(Frame::Integer(*count as i64))
            }
            Op::Move(n) => {
                let moved = self.moved.get_or_insert(0);
                *moved += n;
                Some(Frame::Integer(*moved))
            }
            Op::Collect(n) => changed(self.collected.insert(*n)),
            Op::Add(n) => changed(self.set.insert(*n)),
            Op::Remove(n) => changed(self.set.remove(n)),
            Op::Clear => {
                let had = std::mem::take(&mut self.set).len();
                Some(Frame::Integer(had as i64))
            }
            Op::Register(n) => {
                self.register = Some(*n);
                Some(Frame::Simple("OK".to_owned()))
            }
            Op::Flag(on) => changed(std::mem::replace(&mut self.flag, *on) != *on),
            Op::Field(n, value) => changed(self.map.insert(*n, *value as i64).is_none()),
            Op::Hits(n, by) => {
                let field = self.map.entry(*n).or_default();
                *field += by;
                Some(Frame::Integer(*field))
            }
            Op::Unfield(n) => changed(self.map.remove(n).is_some()),
            Op::Delete(name) => changed(self.delete(name)),
            Op::DeleteAll => {
                let had = NAMES.iter().filter(|name| self.delete(name)).count();
                Some(Frame::Integer(had as i64))
            }
            Op::Shared(n) => {
                self.shared += n;
                None
            }
            Op::Together(ops) => {
                ops.iter().for_each(|op| _ = self.apply(op));
                None
            }
        }
    }

    /// Does what the node has done, and says what is wrong with its answer, if anything is.
    fn answered(&mut self, op: &Op, answer: Frame) -> Result<(), String> {
        if let Op::Together(ops) = op {
            if answer.is_error() {
                return Err(format!("{op:?} is answered with {answer}"));
            }
            let answers = answer.items();
            if answers.len() != ops.len() {
                return Err(format!("{op:?} is answered with {answers:?}"));
            }
            return ops.iter().zip(answers).try_for_each(|(op, answer)| self.answered(op, answer));
        }
        let expected = self.apply(op);
        let right = expected.as_ref().map_or(!answer.is_error(), |right| *right == answer);
        if right {
            Ok(())
        } else {
            Err(format!("{op:?} is answered with {answer}, not {expected:?}"))
        }
    }

    fn delete(&mut self, name: &str) -> bool {
        match name {
            "count" => self.count.take().is_some(),
            "moved" => self.moved.take().is_some(),
            "collected" => !std::mem::take(&mut self.collected).is_empty(),
            "set" => !std::mem::take(&mut self.set).is_empty(),
            "register" => self.register.take().is_some(),
            "flag" => std::mem::take(&mut self.flag),
            "map" => !std::mem::take(&mut self.map).is_empty(),
            other => unreachable!("no name {other}"),
        }
    }

    /// What a node should say of the object. A counter at 0 and none read the same, and are told apart by
    /// [`State::names`].
    fn text(&self) -> String {
        let State { count, moved, collected, set, register, flag, map, shared: _ } = self;
        let (count, moved) = (count.unwrap_or(0), moved.unwrap_or(0));
        let register: Vec<&u64> = register.iter().collect();
        format!(
            "count {count}, moved {moved}, collected {collected:?}, set {set:?}, register {register:?}, flag {flag}, \
             map {map:?}, names {:?}",
            self.names()
        )
    }

    /// The names that the object has.
    fn names(&self) -> BTreeSet<&str> {
        let mut copy = self.clone();
        NAMES.into_iter().filter(|name| copy.delete(name)).collect()
    }
}

/// Whether a command was refused because the disk takes nothing, or a transaction because of such a one.
fn is_full(frame: &Frame) -> bool {
    matches!(frame, Frame::Error(line) if line.contains("MISCONF "))
}

/// Bounds of a sum of which some commands may or may not have been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Without any of them.
    pub least: u64,
    /// With all of them.
    pub most: u64,
}

impl Ledger {
    /// The command that reads the counter which all ledgers share.
    pub const READ_SHARED: &str = "GCOUNTER.GET shared total";

    /// Of a client that writes the object `object`.
    #[must_use]
    pub fn new(object: &str, seed: u64) -> Ledger {
        Ledger {
            object: object.to_owned(),
            rng: Rng::new(seed),
            state: State::default(),
            open: VecDeque::new(),
        }
    }

    /// Sends `depth` random commands at once and reads their answers, each of which has to be right. `answered` is
    /// counted up for each.
    ///
    /// # Errors
    /// The connection broke: what was not answered is open now. A command that is refused with MISCONF was not done,
    /// and is an error of the kind `StorageFull`, after the answers that follow it have been read.
    #[track_caller]
    pub fn write(&mut self, wire: &mut Wire, depth: usize, answered: &AtomicU64) -> io::Result<()> {
        assert!(self.open.is_empty(), "{} is not settled", self.object);
        let mut bytes = Vec::new();
        for _ in 0..depth {
            let op = Op::random(&mut self.rng);
            op.lines(&self.object).iter().for_each(|line| bytes.extend(encode(&split(line))));
            self.open.push_back(op);
        }
        // A node that dies may have read the beginning.
        wire.send(&bytes)?;
        let mut refused = Ok(());
        while let Some(op) = self.open.front() {
            let mut frame = wire.read()?;
            let mut full = is_full(&frame);
            for _ in 1..op.lines(&self.object).len() {
                frame = wire.read()?;
                full |= is_full(&frame);
            }
            if full {
                refused = Err(io::Error::new(io::ErrorKind::StorageFull, frame.to_string()));
            } else if let Err(wrong) = self.state.answered(op, frame) {
                panic!("{}: {wrong}", self.object);
            } else {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            self.open.pop_front();
        }
        refused
    }

    /// Finds out which of the open commands were done, by what a node says that has restarted. Those count from now on.
    /// Gives what this client added to the shared counter since it was last settled.
    ///
    /// # Panics
    /// Something that was answered is not there, or something is that was not done.
    #[track_caller]
    pub fn settle(&mut self, session: &mut Session) -> Bounds {
        let found = self.read(session);
        let open = std::mem::take(&mut self.open);
        let (mut state, mut tried) = (self.state.clone(), String::new());
        let mut fits = None;
        for done in 0..=open.len() {
            if done > 0 {
                state.apply(&open[done - 1]);
            }
            if state.text() == found {
                fits = Some(state.clone());
            }
            tried += &format!("\n  {done}: {}", state.text());
        }
        let shared = Bounds { least: self.state.shared, most: state.shared };
        // Several may fit, and then hold the same: what can differ is the shared counter, which begins anew here.
        self.state = fits.unwrap_or_else(|| {
            panic!("{} is {found}\nnot what these come to: {open:?}{tried}", self.object)
        });
        self.state.shared = 0;
        shared
    }

    /// Where it is known that nothing was done that was not answered.
    pub fn forget_open(&mut self) {
        self.open.clear();
    }

    /// Whether a node says exactly what was written. Nothing must be open.
    #[must_use]
    pub fn is_on(&self, session: &mut Session) -> bool {
        assert!(self.open.is_empty(), "{} is not settled", self.object);
        self.read(session) == self.state.text()
    }

    /// What a node says of the object.
    #[must_use]
    pub fn read(&self, session: &mut Session) -> String {
        let object = &self.object;
        let numbers = |frame: Frame| -> BTreeSet<u64> {
            let texts = frame.sorted();
            texts.iter().map(|text| text.parse().expect("what was written is a number")).collect()
        };
        let mut ask = |what: &str| session.run(&what.replace("OBJECT", object));
        let fields = ask("ORMAP.GETALL OBJECT map").items();
        let number = |frame: &Frame| frame.text().parse::<i64>().expect("a number");
        let map: BTreeMap<i64, i64> =
            fields.chunks_exact(2).map(|pair| (number(&pair[0]), number(&pair[1]))).collect();
        let names: BTreeSet<String> = ask("HKEYS OBJECT").sorted().into_iter().collect();
        format!(
            "count {}, moved {}, collected {:?}, set {:?}, register {:?}, flag {}, map {map:?}, names {names:?}",
            ask("GCOUNTER.GET OBJECT count").integer(),
            ask("PNCOUNTER.GET OBJECT moved").integer(),
            numbers(ask("GSET.MEMBERS OBJECT collected")),
            numbers(ask("ORSET.MEMBERS OBJECT set")),
            // More than one value would be shown as they are.
            ask("MVREG.GET OBJECT register").items().iter().map(number).collect::<Vec<_>>(),
            ask("EWFLAG.GET OBJECT flag").integer() == 1,
        )
    }

    /// How many commands were sent and not answered.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }
}
