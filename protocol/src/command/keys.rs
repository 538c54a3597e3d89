//! Which words of a command are keys, and what is done to each; which words are secrets.

use super::arg::{Arg, ArgKind, Secret, least};
use super::flags::KeyFlags;
use super::walk::walk;
use super::{Access, Flags, Row};
use crate::request::Args;

/// A key of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    /// Which word it is; the command's name is word 0.
    pub at: usize,
    /// The key itself.
    pub word: &'a [u8],
    /// What the command does to it.
    pub flags: KeyFlags,
}

/// The keys of a command, in the order of its words. Where they stand in one row (the first word, all
/// words, every second one) nothing is allocated; otherwise they are gathered first.
#[derive(Debug)]
pub struct Keys<'a> {
    words: Args<'a>,
    next: usize,
    end: usize,
    step: usize,
    flags: KeyFlags,
    /// Those that do not stand in one row.
    gathered: std::vec::IntoIter<Key<'a>>,
}

impl<'a> Iterator for Keys<'a> {
    type Item = Key<'a>;

    fn next(&mut self) -> Option<Key<'a>> {
        if self.next >= self.end {
            return self.gathered.next();
        }
        let at = self.next;
        self.next += self.step;
        Some(Key { at, word: self.words.get(at)?, flags: self.flags })
    }
}

/// Keys that stand in one row: the first, how many words at the end are none of them, the step.
struct Run {
    first: usize,
    /// `None`: one key only.
    until: Option<usize>,
    step: usize,
    flags: KeyFlags,
}

fn is_key(arg: &Arg) -> bool {
    arg.kind == ArgKind::Key
}

impl Row {
    /// The index of its first argument's word.
    const fn first_word(&self) -> usize {
        if self.is_subcommand { 2 } else { 1 }
    }

    /// Whether it has arguments that are keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.args.iter().any(|arg| arg.any(is_key))
    }

    /// Whether it reads or writes objects of the session's function, or names some.
    #[must_use]
    pub fn touches(&self) -> bool {
        self.access != Access::None || self.has_keys()
    }

    /// What it does to the key `arg`.
    pub(super) fn flags_of(&self, arg: &Arg) -> KeyFlags {
        if arg.kind == ArgKind::ShardChannel {
            return KeyFlags::NOT_KEY;
        }
        arg.key_flags.unwrap_or_else(|| {
            let removes = self.flags.has(Flags::NO_DENYOOM);
            match self.access {
                Access::Write if removes && arg.multiple => KeyFlags::DELETED,
                Access::Write if removes => KeyFlags::RW.with(KeyFlags::DELETE),
                Access::Write => KeyFlags::READ_WRITTEN,
                Access::Read => KeyFlags::READ,
                Access::None => KeyFlags::RO,
            }
        })
    }

    /// Its keys, if they stand in one row after words that are always there.
    fn run(&self) -> Option<Run> {
        let at = self.args.iter().position(|arg| arg.any(is_key))?;
        let (before, rest) = self.args.split_at(at);
        let (arg, after) = rest.split_first()?;
        let fixed = before.iter().all(Arg::is_one_word) && !after.iter().any(|arg| arg.any(is_key));
        let fixed = fixed && arg.token.is_none() && !arg.optional && arg.counted_by.is_none();
        let first = self.first_word() + at;
        match arg.kind {
            ArgKind::Key if fixed => {
                let until = arg.multiple.then(|| least(after));
                Some(Run { first, until, step: 1, flags: self.flags_of(arg) })
            }
            // Every second word, or third ..: a key, and words that are none.
            ArgKind::Block([key, others @ ..])
                if fixed
                    && arg.multiple
                    && is_key(key)
                    && key.is_one_word()
                    && others.iter().all(|arg| arg.is_one_word() && !is_key(arg)) =>
            {
                let until = Some(least(after));
                Some(Run { first, until, step: 1 + others.len(), flags: self.flags_of(key) })
            }
            _ => None,
        }
    }

    /// The keys among the words `args` of a command, the name included, with what it does to each.
    ///
    /// What a well-formed command uses is always among them. Of a command that its own parser will
    /// refuse there may be more or fewer.
    ///
    /// ```
    /// use miso_protocol::command::{Arg, Row};
    /// use miso_protocol::request::OwnedArgs;
    ///
    /// const COPY: Row = Row::command("COPY")
    ///     .args(&[Arg::key("source").read(), Arg::key("destination").written()])
    ///     .writes();
    /// let words = OwnedArgs::from_parts(&[b"COPY", b"a", b"b"]);
    /// let keys: Vec<_> = COPY.keys(words.as_args()).collect();
    /// assert!(keys[0].at == 1 && keys[0].flags.reads() && !keys[0].flags.writes());
    /// assert!(keys[1].word == b"b" && keys[1].flags.writes());
    /// ```
    #[must_use]
    pub fn keys<'a>(&self, args: Args<'a>) -> Keys<'a> {
        let none = Vec::new().into_iter();
        let mut keys =
            Keys { words: args, next: 0, end: 0, step: 1, flags: KeyFlags::NONE, gathered: none };
        if let Some(Run { first, until, step, flags }) = self.run() {
            let end = until.map_or(first + 1, |until| args.len().saturating_sub(until));
            (keys.next, keys.end, keys.step, keys.flags) =
                (first, end.min(args.len()), step, flags);
        } else if self.has_keys() {
            let mut all = Vec::new();
            self.for_each_key(args, |key| all.push(key));
            keys.gathered = all.into_iter();
        }
        keys
    }

    /// As [`Row::keys`], for all shapes without allocating. False if a count such as `numkeys` is no
    /// number, is 0, or is more than there are words: then the command will be refused.
    pub fn for_each_key<'a>(&self, args: Args<'a>, mut each: impl FnMut(Key<'a>)) -> bool {
        let found = walk(self.args, self.first_word(), args, &mut |at, arg| {
            if is_key(arg) {
                each(Key { at, word: args.get(at).unwrap_or_default(), flags: self.flags_of(arg) });
            }
        });
        !found.bad_count
    }

    /// Whether some of its arguments are secrets.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.args.iter().any(|arg| arg.any(|arg| arg.secret != Secret::No))
    }

    /// The indexes of the words that MONITOR, SLOWLOG, logs and errors must withhold. `is_secret` says
    /// of the name of a setting whether its value is secret; of a name it does not know it should say
    /// so too, since a mistyped name comes with a real value.
    ///
    /// Words that fit no argument may be secrets in a wrong place: then all words are withheld that
    /// follow the command's name.
    ///
    /// ```
    /// use miso_protocol::command::{Arg, Row};
    /// use miso_protocol::request::OwnedArgs;
    ///
    /// const AUTH: Row = Row::command("AUTH")
    ///     .args(&[Arg::string("username").optional(), Arg::string("password").secret()]);
    /// let words = OwnedArgs::from_parts(&[b"AUTH", b"alice", b"pw"]);
    /// assert_eq!(AUTH.secrets(words.as_args(), |_| false), [2]);
    /// ```
    #[must_use]
    pub fn secrets(&self, args: Args<'_>, is_secret: impl Fn(&[u8]) -> bool) -> Vec<usize> {
        let mut secrets = Vec::new();
        if !self.has_secrets() {
            return secrets;
        }
        let start = self.first_word();
        let found = walk(self.args, start, args, &mut |at, arg| {
            let secret = match arg.secret {
                Secret::No => false,
                Secret::Yes => true,
                Secret::BySetting => is_secret(args.get(at - 1).unwrap_or_default()),
            };
            if secret {
                secrets.push(at);
            }
        });
        if found.stray || found.bad_count {
            secrets = (start.min(args.len())..args.len()).collect();
        }
        secrets
    }
}

/// Where a key specification begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// At this word; the name is word 0.
    Index(i32),
    /// After the first word like this from a word on.
    Keyword(&'static str, i32),
}

/// Which keys a key specification finds from where it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// Up to this word, counted from the first key, or from the end if negative; every how many words.
    Range {
        /// The last key.
        last: i32,
        /// The distance from key to key.
        step: i32,
    },
    /// As many as the word where it begins says, from the next one on; every how many words.
    Counted {
        /// The distance from key to key.
        step: i32,
    },
}

/// A key specification, as COMMAND INFO gives it: how a client finds keys without knowing the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Where it begins.
    pub begin: Begin,
    /// Which keys it finds from there.
    pub find: Find,
    /// What is done to them.
    pub flags: KeyFlags,
}

/// Where a command's keys stand: the first, the last (negative from the end), the step; zeros if it
/// has none.
pub type KeySpec = (i32, i32, i32);

fn is_routed(arg: &Arg) -> bool {
    matches!(arg.kind, ArgKind::Key | ArgKind::ShardChannel)
}

fn number(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

impl Row {
    /// Its key specifications, one for each argument that is a key or a shard channel, in their order.
    #[must_use]
    pub fn specs(&self) -> Vec<Spec> {
        let mut specs = Vec::new();
        let mut at = self.first_word();
        for (i, arg) in self.args.iter().enumerate() {
            let after = least(&self.args[i + 1..]);
            self.add_specs(arg, at, 1, None, after, &mut specs);
            at += least(core::slice::from_ref(arg));
        }
        specs
    }

    /// Adds those of `arg`, which stands at word `at` and repeats every `step` words if it does, as often
    /// as the word `counted` says; after it come at least `after` words.
    fn add_specs(
        &self,
        arg: &Arg,
        at: usize,
        step: usize,
        repeats: Option<Find>,
        after: usize,
        specs: &mut Vec<Spec>,
    ) {
        if !arg.any(is_routed) {
            return;
        }
        let step = match arg.kind {
            ArgKind::Block(args) if arg.multiple => least(args),
            _ => step,
        };
        let repeats = match (arg.multiple, arg.counted_by) {
            (false, _) => repeats,
            (true, None) => Some(Find::Range { last: -1 - number(after), step: number(step) }),
            (true, Some(_)) => Some(Find::Counted { step: number(step) }),
        };
        if is_routed(arg) {
            let find = repeats.unwrap_or(Find::Range { last: 0, step: 1 });
            let begin = match (arg.token, find) {
                (Some(token), _) => Begin::Keyword(token, number(at)),
                // It begins at its count, which stands right before the first key.
                (None, Find::Counted { .. }) => Begin::Index(number(at.saturating_sub(1))),
                (None, Find::Range { .. }) => Begin::Index(number(at)),
            };
            specs.push(Spec { begin, find, flags: self.flags_of(arg) });
            return;
        }
        let one_of = matches!(arg.kind, ArgKind::OneOf(_));
        let mut inner = at + usize::from(arg.token.is_some());
        for part in arg.inner() {
            self.add_specs(part, inner, step, repeats, after, specs);
            inner += if one_of { 0 } else { least(core::slice::from_ref(part)) };
        }
    }

    /// The range of its keys that stand in one row from the first: what COMMAND said before there were
    /// key specifications. Zeros if there is none.
    #[must_use]
    pub fn key_spec(&self) -> KeySpec {
        if self.has_keys() { self.routing_spec() } else { (0, 0, 0) }
    }

    /// As [`Row::key_spec`], of what tells a client of a cluster where to send it: keys or shard channels.
    #[must_use]
    pub fn routing_spec(&self) -> KeySpec {
        self.legacy_range().0
    }

    /// Redis's `populateCommandLegacyRangeSpec`: the range, and whether it leaves keys out.
    pub(super) fn legacy_range(&self) -> (KeySpec, bool) {
        let specs = self.specs();
        if let [Spec { begin: Begin::Index(first), find: Find::Range { last, step }, .. }] =
            specs[..]
        {
            let last = if last < 0 { last } else { first + last };
            return ((first, last, step), false);
        }
        let mut range: Option<(i32, i32)> = None;
        let mut movable = false;
        for spec in &specs {
            match (spec.begin, spec.find) {
                (Begin::Index(at), Find::Range { last, step: 1 })
                    if range.is_none_or(|(_, before)| before == at - 1) =>
                {
                    let last = if last < 0 { last } else { at + last };
                    range = Some((range.map_or(at, |(first, _)| first), last));
                }
                _ => movable = true,
            }
        }
        (range.map_or((0, 0, 0), |(first, last)| (first, last, 1)), movable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::OBJECT;
    use crate::request::OwnedArgs;

    const KEY: Arg = Arg::key("key");
    const NUMKEYS: Arg = Arg::integer("numkeys");
    const SOURCES: Arg = KEY.read().counted_by("numkeys");
    const TARGET: Arg = Arg::key("destination").written();
    const STORE: &[Arg] =
        &[TARGET.with_token("STORE"), Arg::key("destination").written().with_token("STOREDIST")];
    const COUNT: &[Arg] =
        &[Arg::integer("count").with_token("COUNT"), Arg::token("ANY").optional()];
    const UNITS: &[Arg] = &[Arg::token("M"), Arg::token("KM")];
    const LIMIT: &[Arg] = &[Arg::integer("offset"), Arg::integer("count")];
    const PAIRS: &[Arg] = &[KEY.written(), Arg::string("value")];

    /// Each shape that a row can say, by the name of a command that has it.
    static ROWS: [Row; 20] = [
        Row::command("GET").args(&[KEY]).reads(),
        Row::command("SET")
            .args(&[KEY, Arg::string("value"), Arg::token("GET").optional()])
            .writes(),
        Row::command("DEL").args(&[KEY.multiple()]).deletes(),
        Row::command("BLPOP")
            .args(&[KEY.with_key_flags(KeyFlags::TAKEN).multiple(), Arg::double("timeout")])
            .deletes(),
        Row::command("RENAME")
            .args(&[KEY.with_key_flags(KeyFlags::TAKEN), Arg::key("newkey").written()])
            .writes(),
        Row::command("COPY")
            .args(&[
                Arg::key("source").read(),
                TARGET,
                Arg::integer("db").with_token("DB").optional(),
                Arg::token("REPLACE").optional(),
            ])
            .writes(),
        Row::command("SMOVE")
            .args(&[
                Arg::key("source").with_key_flags(KeyFlags::TAKEN),
                Arg::key("destination").with_key_flags(KeyFlags::INSERTED),
                Arg::string("member"),
            ])
            .writes(),
        Row::command("MSET").args(const { &[Arg::block("data", PAIRS).multiple()] }).writes(),
        Row::command("ZUNION")
            .args(&[
                NUMKEYS,
                SOURCES,
                Arg::integer("weight").with_token("WEIGHTS").multiple().optional(),
                Arg::one_of("aggregate", &[Arg::token("SUM"), Arg::token("MIN")])
                    .with_token("AGGREGATE")
                    .optional(),
                Arg::token("WITHSCORES").optional(),
            ])
            .reads(),
        Row::command("ZUNIONSTORE").args(&[TARGET, NUMKEYS, SOURCES]).writes(),
        Row::command("SINTERSTORE")
            .args(&[
                Arg::key("destination").with_key_flags(KeyFlags::RW.with(KeyFlags::UPDATE)),
                KEY.read().multiple(),
            ])
            .writes(),
        Row::command("SORT")
            .args(&[
                KEY.read(),
                Arg::pattern("by").with_token("BY").optional(),
                Arg::block("limit", LIMIT).with_token("LIMIT").optional(),
                Arg::pattern("get").with_token("GET").multiple_token().optional(),
                TARGET.with_token("STORE").optional(),
            ])
            .writes(),
        Row::command("GEORADIUS")
            .args(&[
                KEY.read(),
                Arg::double("longitude"),
                Arg::double("latitude"),
                Arg::double("radius"),
                Arg::one_of("unit", UNITS),
                Arg::block("count-block", COUNT).optional(),
                Arg::one_of("store", STORE).optional(),
            ])
            .writes(),
        Row::command("EVAL")
            .args(&[
                Arg::string("script"),
                NUMKEYS,
                KEY.counted_by("numkeys").optional(),
                Arg::string("arg").multiple().optional(),
            ])
            .writes()
            .flags(Flags::NO_MANDATORY_KEYS),
        Row::command("ZMPOP")
            .args(&[
                NUMKEYS,
                KEY.with_key_flags(KeyFlags::TAKEN).counted_by("numkeys"),
                Arg::one_of("where", &[Arg::token("MIN"), Arg::token("MAX")]),
            ])
            .writes(),
        Row::command("BITOP")
            .args(&[Arg::string("operation"), TARGET, KEY.read().multiple()])
            .writes(),
        Row::command("MSETEX")
            .args(const { &[NUMKEYS, Arg::block("data", PAIRS).counted_by("numkeys")] })
            .writes(),
        Row::command("XREAD")
            .args(&[
                Arg::integer("count").with_token("COUNT").optional(),
                KEY.multiple().with_token("STREAMS"),
            ])
            .reads(),
        Row::command("PING").args(&[Arg::string("message").optional()]),
        Row::subcommand("ENCODING").args(&[KEY]),
    ];

    fn words(line: &str) -> OwnedArgs {
        OwnedArgs::from_parts(&line.split_whitespace().map(str::as_bytes).collect::<Vec<_>>())
    }

    fn row(line: &str) -> Row {
        let name = line.split_whitespace().next().unwrap_or_default();
        let named = |row: &&Row| row.name == name || (name == "OBJECT" && row.is_subcommand);
        *ROWS.iter().find(named).expect("one of the shapes")
    }

    /// `key flag flag key flag`, as redis-cli prints COMMAND GETKEYSANDFLAGS on one line.
    fn keys(line: &str) -> String {
        let (row, words) = (row(line), words(line));
        let printed: Vec<String> = row
            .keys(words.as_args())
            .map(|key| {
                assert_eq!(words.as_args().get(key.at), Some(key.word));
                let flags: Vec<&str> = key.flags.names().collect();
                format!("{} {}", String::from_utf8_lossy(key.word), flags.join(" "))
            })
            .collect();
        let mut each = Vec::new();
        row.for_each_key(words.as_args(), |key| each.push(key));
        assert_eq!(row.keys(words.as_args()).collect::<Vec<_>>(), each, "{line}");
        printed.join(" ")
    }

    /// What a Redis 7.0.15 answers to COMMAND GETKEYSANDFLAGS.
    #[test]
    fn keys_of_every_shape_are_those_of_redis() {
        for (line, expected) in [
            ("GET a", "a RO access"),
            ("SET k v get", "k RW access update"),
            ("DEL a b c", "a RM delete b RM delete c RM delete"),
            ("BLPOP a b 0", "a RW access delete b RW access delete"),
            ("RENAME a b", "a RW access delete b OW update"),
            ("COPY a b", "a RO access b OW update"),
            ("COPY a b DB 1 REPLACE", "a RO access b OW update"),
            ("SMOVE a b m", "a RW access delete b RW insert"),
            ("MSET a 1 b 2", "a OW update b OW update"),
            ("MSET a 1 b", "a OW update b OW update"),
            ("ZUNION 2 a b", "a RO access b RO access"),
            ("ZUNION 2 a b weights 1 2 aggregate min", "a RO access b RO access"),
            ("SINTERSTORE d a b", "d RW update a RO access b RO access"),
            ("ZUNIONSTORE d 2 a b", "d OW update a RO access b RO access"),
            ("SORT k", "k RO access"),
            ("SORT k by store store d", "k RO access d OW update"),
            ("SORT k get a get b limit 1 2 store d", "k RO access d OW update"),
            ("GEORADIUS k 1 2 3 m count 2 any store d", "k RO access d OW update"),
            ("GEORADIUS k 1 2 3 m storedist d count 2", "k RO access d OW update"),
            ("EVAL s 0", ""),
            ("EVAL s 1 k a", "k RW access update"),
            ("ZMPOP 1 a min", "a RW access delete"),
            ("BITOP and d a b", "d OW update a RO access b RO access"),
            ("OBJECT encoding k", "k RO"),
            ("PING a", ""),
        ] {
            assert_eq!(keys(line), expected, "{line}");
        }
        // Shapes of commands that Redis 7.0.15 lacks, or that have parts here left out.
        assert_eq!(keys("MSETEX 2 a 1 b 2 EX"), "a OW update b OW update");
        assert_eq!(keys("XREAD COUNT 2 STREAMS a b"), "a RO access b RO access");
        assert_eq!(keys("XREAD STREAMS COUNT"), "COUNT RO access");
    }

    #[test]
    fn a_count_that_does_not_fit_is_told() {
        let sound = |line: &str| row(line).for_each_key(words(line).as_args(), |_| {});
        for line in ["ZUNION 3 a b", "ZUNION 0 a", "ZUNION x a b", "ZUNION -1 a", "MSETEX 2 a 1 b"]
        {
            assert!(!sound(line), "{line}");
        }
        for line in ["ZUNION 2 a b", "EVAL s 0", "EVAL s 0 a", "MSETEX 1 a 1"] {
            assert!(sound(line), "{line}");
        }
        // What is too many for the words still names those that are there.
        assert_eq!(keys("ZUNION 3 a b"), "a RO access b RO access");
        assert_eq!(keys("ZUNION 18446744073709551615 a"), "a RO access");
    }

    #[test]
    fn commands_that_are_cut_short_have_the_keys_that_are_there() {
        for row in &ROWS {
            for count in 0..8 {
                let line = format!("{} {}", row.name, "2 ".repeat(count));
                let words = words(&line);
                let keys: Vec<Key<'_>> = row.keys(words.as_args()).collect();
                assert!(keys.iter().all(|key| (1..=count).contains(&key.at)), "{line}");
            }
        }
        assert_eq!(keys("DEL"), "");
        assert_eq!(keys("SORT k STORE"), "k RO access");
    }

    #[test]
    fn specifications_are_those_of_redis() {
        let index = |at, last, step| (Begin::Index(at), Find::Range { last, step });
        let one = |at| index(at, 0, 1);
        let counted = |at, step| (Begin::Index(at), Find::Counted { step });
        let store = |word, at| (Begin::Keyword(word, at), Find::Range { last: 0, step: 1 });
        for (name, specs, legacy) in [
            ("GET", vec![one(1)], ((1, 1, 1), false)),
            ("DEL", vec![index(1, -1, 1)], ((1, -1, 1), false)),
            ("BLPOP", vec![index(1, -2, 1)], ((1, -2, 1), false)),
            ("RENAME", vec![one(1), one(2)], ((1, 2, 1), false)),
            ("MSET", vec![index(1, -1, 2)], ((1, -1, 2), false)),
            ("ZUNION", vec![counted(1, 1)], ((0, 0, 0), true)),
            ("SINTERSTORE", vec![one(1), index(2, -1, 1)], ((1, -1, 1), false)),
            ("ZUNIONSTORE", vec![one(1), counted(2, 1)], ((1, 1, 1), true)),
            ("SORT", vec![one(1), store("STORE", 2)], ((1, 1, 1), true)),
            (
                "GEORADIUS",
                vec![one(1), store("STORE", 6), store("STOREDIST", 6)],
                ((1, 1, 1), true),
            ),
            ("EVAL", vec![counted(2, 1)], ((0, 0, 0), true)),
            ("BITOP", vec![one(2), index(3, -1, 1)], ((2, -1, 1), false)),
            ("MSETEX", vec![counted(1, 2)], ((0, 0, 0), true)),
            ("PING", vec![], ((0, 0, 0), false)),
            ("ENCODING", vec![one(2)], ((2, 2, 1), false)),
        ] {
            let row = ROWS.iter().find(|row| row.name == name).expect("one of the shapes");
            let found: Vec<_> = row.specs().iter().map(|spec| (spec.begin, spec.find)).collect();
            assert_eq!((found, row.legacy_range()), (specs, legacy), "{name}");
            assert_eq!(row.flag_names().any(|flag| flag == "movablekeys"), legacy.1, "{name}");
        }
    }

    #[test]
    fn a_shard_channel_is_no_key() {
        let sharded =
            Row::command("SSUBSCRIBE").args(const { &[Arg::shard_channel("channel").multiple()] });
        assert_eq!(sharded.keys(words("SSUBSCRIBE a").as_args()).count(), 0);
        assert_eq!((sharded.routing_spec(), sharded.key_spec()), ((1, -1, 1), (0, 0, 0)));
        assert!(!sharded.has_keys());
        assert_eq!(sharded.specs()[0].flags, KeyFlags::NOT_KEY);
        assert!(Row::command("T.X").args(&[OBJECT]).has_keys());
    }

    #[test]
    fn secrets_are_withheld() {
        const LOGIN: &[Arg] = &[Arg::string("username").secret(), Arg::string("password").secret()];
        const HELLO: &[Arg] = &[
            Arg::integer("protover"),
            Arg::block("auth", LOGIN).with_token("AUTH").optional(),
            Arg::string("clientname").with_token("SETNAME").optional(),
        ];
        const SETTING: &[Arg] =
            &[Arg::string("parameter"), Arg::string("value").secret_by_setting()];
        let hello = Row::command("HELLO").args(const { &[Arg::block("args", HELLO).optional()] });
        let auth = Row::command("AUTH").args(
            const { &[Arg::string("username").optional(), Arg::string("password").secret()] },
        );
        let config =
            Row::subcommand("SET").args(const { &[Arg::block("data", SETTING).multiple()] });
        let user = Row::subcommand("SETUSER").args(
            const { &[Arg::string("username"), Arg::string("rule").secret().multiple().optional()] },
        );
        let secrets = |row: &Row, line: &str| {
            row.secrets(words(line).as_args(), |setting| setting == b"requirepass")
        };
        assert_eq!(secrets(&hello, "HELLO"), []);
        assert_eq!(secrets(&hello, "HELLO 3"), []);
        assert_eq!(secrets(&hello, "HELLO 3 SETNAME me auth u p"), [5, 6]);
        assert_eq!(secrets(&hello, "HELLO AUTH u p"), [1, 2, 3], "in a wrong place");
        assert_eq!(secrets(&auth, "AUTH p"), [1]);
        assert_eq!(secrets(&auth, "AUTH u p"), [2]);
        assert_eq!(secrets(&auth, "AUTH u p x"), [1, 2, 3]);
        assert_eq!(secrets(&config, "CONFIG SET maxmemory 1 requirepass p"), [5]);
        assert_eq!(secrets(&config, "CONFIG SET"), []);
        assert_eq!(secrets(&user, "ACL SETUSER bob on >p ~*"), [3, 4, 5]);
        assert_eq!(secrets(&row("GET a"), "GET a"), []);
    }
}
