//! The words of random commands: few keys, fields and members, so that commands meet; values of all sorts.

use super::grammar::Words;
use crate::Rng;

/// A source of random words.
#[derive(Debug)]
pub(super) struct Draw {
    rng: Rng,
    /// The first key since [`Draw::begin`].
    first: Option<Vec<u8>>,
}

/// Keys by what they usually hold. `lex`: sorted sets in which all scores are equal, since ranges by name
/// are defined for these alone. `numbers`: sets of integers, which SORT takes.
/// `hll`: the only keys of HyperLogLogs, which commands of strings may meet under these names alone.
/// `geo`: sorted sets that only GEOADD writes, since other scores are no places.
pub(super) const KEYS: [(&str, &[&str]); 8] = [
    ("string", &["s1", "s2", "s3", "s\u{e4} 4"]),
    ("hash", &["h1", "h2", "h3"]),
    ("set", &["t1", "t2", "t3", "t4"]),
    ("zset", &["z1", "z2", "z3"]),
    ("numbers", &["n1", "n2"]),
    ("hll", &["p1", "p2", "p3"]),
    ("lex", &["l1", "l2"]),
    ("geo", &["g1", "g2"]),
];

const MEMBERS: [&str; 14] =
    ["a", "b", "c", "d", "e", "1", "2", "3", "10", "-7", "foo", "", "a b", "\u{e9}\u{1}"];
const INTEGERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "-12",
    "100",
    "65536",
    "4611686018427387904",
    "9223372036854775807",
    "-9223372036854775808",
];
const FLOATS: [&str; 12] =
    ["0.5", "-0.5", "1.25", "3", "-2", "0.1", "10.125", "1e3", "100.75", "0", "5.0", "1.5e-2"];
const SCORES: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "-1", "-2.5", "0.5", "1.5", "3.25", "1e3", "inf", "-inf", "+inf",
    "10",
];
const PATTERNS: [&str; 12] =
    ["*", "?", "a*", "[a-c]", "[^a]", "s?", "*1", "h[12]", "\\*", "z*", "*o*", "nothing"];
/// No positive number below a hundred thousand is among these: where a time is wanted, a key would go while
/// the test runs.
const JUNK: [&str; 22] = [
    "",
    "abc",
    "-1",
    "0",
    "3.5",
    "1e3",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "nan",
    "inf",
    "-inf",
    " 100000000",
    "+100000000",
    "0100000000",
    "0x7fffffff",
    "(1",
    "[a",
    "+",
    "*",
    "NX",
];
const JUNK_BYTES: [&[u8]; 3] = [b"\xff\x00", b"a\r\nb", b"\x80"];

impl Draw {
    /// Starts at `seed`.
    pub(super) fn new(seed: u64) -> Draw {
        Draw { rng: Rng::new(seed), first: None }
    }

    /// A command, or some that belong together, begins.
    pub(super) fn begin(&mut self) {
        self.first = None;
    }

    /// True in `percent` of all cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    /// One to four, one the most often.
    pub(super) fn few(&mut self) -> usize {
        [1, 1, 2, 2, 3, 4][self.below(6)]
    }

    /// One of some.
    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    /// A word for a gap of a line. Panics if no such kind is known.
    pub(super) fn word(&mut self, kind: &str) -> Vec<u8> {
        if let Some(key) = self.key(kind) {
            self.first.get_or_insert_with(|| key.clone());
            return key;
        }
        let text = |text: &&str| text.as_bytes().to_vec();
        match kind {
            "same" => self.first.clone().expect("a key stands before it"),
            "field" | "member" => self.member(),
            "value" => self.value(),
            "int" => text(self.pick(&INTEGERS)),
            "float" => text(self.pick(&FLOATS)),
            "score" => text(self.pick(&SCORES)),
            "by" => text(self.pick(&["s*", "h*->a", "h*->1", "z*", "t*", "nothing-*"])),
            "pattern" => text(self.pick(&PATTERNS)),
            "min" | "max" => {
                let score = self.pick(&SCORES);
                let open = if self.chance(25) { "(" } else { "" };
                format!("{open}{score}").into_bytes()
            }
            "lexmin" | "lexmax" => self.lexical(kind),
            "index" => self.number(-12, 12),
            "count" => self.number(0, 6),
            "signed" => self.number(-6, 6),
            "small" => self.number(0, 3),
            "offset" => self.number(0, 60),
            "bit" => self.number(0, 400),
            "bits" => self.bits(),
            "place" => {
                let mark = if self.chance(30) { "#" } else { "" };
                format!("{mark}{}", self.below(40)).into_bytes()
            }
            // Far enough apart that no two deadlines are alike, and none passes while the test runs.
            "seconds" => self.number(1_000, 2_000_000),
            "ms" => self.number(1_000_000, 2_000_000_000),
            "at" => self.number(4_102_444_800, 4_202_444_800),
            "at-ms" => self.number(4_102_444_800_000, 4_202_444_800_000),
            "longitude" => {
                format!("{}.{:06}", self.rng.below(30), self.rng.below(1_000_000)).into_bytes()
            }
            "latitude" => {
                format!("{}.{:06}", self.rng.below(50), self.rng.below(1_000_000)).into_bytes()
            }
            "distance" => self.number(1, 4000),
            other => panic!("no word is called {other}"),
        }
    }

    /// A key that usually holds what is asked for, and sometimes something else.
    fn key(&mut self, kind: &str) -> Option<Vec<u8>> {
        let plain = &KEYS[..6];
        let keys = match kind {
            "key" => self.pick(&KEYS[..5]).1,
            "any" => self.pick(&KEYS).1,
            _ => {
                let (_, own) = KEYS.iter().find(|(name, _)| *name == kind)?;
                let own_alone = &[("hll", *own)][..];
                let others = match kind {
                    "lex" | "geo" => &KEYS[..3],
                    "hll" => own_alone,
                    _ => plain,
                };
                if self.chance(3) { self.pick(others).1 } else { own }
            }
        };
        Some(self.pick(keys).as_bytes().to_vec())
    }

    fn number(&mut self, from: i64, to: i64) -> Vec<u8> {
        let span = (to - from + 1) as u64;
        (from + self.rng.below(span) as i64).to_string().into_bytes()
    }

    fn member(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => format!("m{}", self.below(300)).into_bytes(),
            1 => vec![b'x'; 70],
            _ => self.pick(&MEMBERS).as_bytes().to_vec(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=2 => self.pick(&INTEGERS).as_bytes().to_vec(),
            3 => self.pick(&FLOATS).as_bytes().to_vec(),
            4 => {
                let len = self.below(40);
                self.rng.bytes(len)
            }
            5 => vec![b"az01"[self.below(4)]; self.below(100)],
            6 => self.pick(&JUNK).as_bytes().to_vec(),
            _ => self.member(),
        }
    }

    fn lexical(&mut self, kind: &str) -> Vec<u8> {
        match self.below(6) {
            0 => b"-".to_vec(),
            1 => b"+".to_vec(),
            2 if kind == "lexmin" => b"-".to_vec(),
            2 => b"+".to_vec(),
            n => [if n == 3 { &b"("[..] } else { b"[" }, &self.member()].concat(),
        }
    }

    /// A type of BITFIELD.
    fn bits(&mut self) -> Vec<u8> {
        let signed = self.chance(50);
        let width = [1, 2, 5, 8, 16, 31, 63, if signed { 64 } else { 62 }][self.below(8)];
        format!("{}{width}", if signed { 'i' } else { 'u' }).into_bytes()
    }

    /// Makes a command a bad one, or another: a word less, a word more, another word in a place from
    /// `kept` on.
    pub(super) fn spoil(&mut self, words: &mut Words, kept: usize) {
        let len = words.len();
        let junk = |draw: &mut Draw| match draw.below(10) {
            0 => draw.pick(&JUNK_BYTES).to_vec(),
            _ => draw.pick(&JUNK).as_bytes().to_vec(),
        };
        match self.below(8) {
            0 if len > kept => drop(words.remove(kept + self.below(len - kept))),
            1 => words.push(junk(self)),
            2 if len > kept => {
                let at = kept + self.below(len - kept);
                words.insert(at, words[at].clone());
            }
            3 => words.truncate(kept + self.below(len - kept + 1)),
            _ if len > kept => {
                let at = kept + self.below(len - kept);
                words[at] = junk(self);
            }
            _ => {}
        }
    }

    /// Writes a word in small letters, or in both.
    pub(super) fn respell(&mut self, word: &mut [u8]) {
        for letter in word {
            if self.chance(50) {
                letter.make_ascii_lowercase();
            }
        }
    }
}
