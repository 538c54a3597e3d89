//! What a row of the command table says, and what follows from it.
//!
//! A [`Row`] states what cannot be derived: name, arguments, access, group, flags, words for people.
//! Derived, so that no two of them can disagree: arity and whether a number of arguments fits, where
//! the keys stand, flags and ACL categories as `COMMAND` prints them, hints and the reference page.
//! Arities are Redis's: the name counts, of a subcommand both words, and a negative one means at least.
//!
//! A [`Table`] finds rows by name, whatever its case, without allocating; a row's number is stable, so
//! that the server keeps handlers and counters in vectors beside it. It knows no handlers itself.

use crate::request::Args;

/// How a command treats objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reads objects.
    Read,
    /// Changes objects.
    Write,
    /// Touches none.
    None,
}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $title:literal;)*) => {
        /// Where a command stands in the reference, and its ACL category where it has one.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Group { $($(#[$doc])* $name,)* }

        impl Group {
            /// All groups, in the reference's order.
            pub const ALL: &'static [Group] = &[$(Group::$name,)*];

            /// As COMMAND DOCS names it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Group::$name => $text,)* }
            }

            /// Its heading in the reference.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Group::$name => $title,)* }
            }
        }
    };
}

groups! {
    /// Grow-only counters.
    GCounter, "gcounter", "Grow-only counters";
    /// Counters.
    PnCounter, "pncounter", "Counters";
    /// Grow-only sets.
    GSet, "gset", "Grow-only sets";
    /// Observed-remove sets.
    OrSet, "orset", "Sets";
    /// Registers.
    MvReg, "mvreg", "Registers";
    /// Flags.
    EwFlag, "ewflag", "Flags";
    /// Maps.
    OrMap, "ormap", "Maps";
    /// Objects, functions, nodes.
    Miso, "miso", "Objects and functions";
    /// Objects as keys.
    Keyspace, "generic", "Objects as keys, read-only";
    /// Objects as hashes.
    Hash, "hash", "Objects as hashes, read-only";
    /// The connection.
    Connection, "connection", "Connection";
    /// Transactions.
    Transactions, "transactions", "Transactions";
    /// Messages.
    PubSub, "pubsub", "Messages";
    /// The server.
    Server, "server", "Server";
}

macro_rules! bits {
    ($(#[$outer:meta])* $type:ident($int:ty) { $($(#[$doc:meta])* $name:ident = $bit:literal $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $type($int);

        impl $type {
            /// None.
            pub const NONE: $type = $type(0);
            $($(#[$doc])* pub const $name: $type = $type(1 << $bit);)*

            /// These and `other`.
            #[must_use]
            pub const fn with(self, other: $type) -> $type {
                $type(self.0 | other.0)
            }

            /// These without `other`.
            #[must_use]
            pub const fn without(self, other: $type) -> $type {
                $type(self.0 & !other.0)
            }

            /// Whether all of `other` are among these.
            #[must_use]
            pub const fn has(self, other: $type) -> bool {
                self.0 & other.0 == other.0
            }

            /// All that exist, with their names.
            pub const ALL: &'static [($type, &'static str)] = &[$(($type::$name, $text),)*];

            /// The names of these.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::ALL.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| *name)
            }

            /// The one with this name, whatever its case.
            #[must_use]
            pub fn named(name: &[u8]) -> Option<$type> {
                let found = Self::ALL.iter().find(|(_, n)| n.as_bytes().eq_ignore_ascii_case(name));
                found.map(|(bit, _)| *bit)
            }
        }
    };
}

bits! {
    /// How a command behaves, under the names that COMMAND prints and in its order; those it does
    /// not print have none.
    Flags(u32) {
        /// Changes objects. Derived.
        WRITE = 0 "write",
        /// Reads objects. Derived.
        READONLY = 1 "readonly",
        /// Refused when memory is full. Derived for writes.
        DENYOOM = 2 "denyoom",
        /// For administrators.
        ADMIN = 3 "admin",
        /// About messages.
        PUBSUB = 4 "pubsub",
        /// Not from scripts; there are none, but tools ask.
        NOSCRIPT = 5 "noscript",
        /// May keep its connection waiting.
        BLOCKING = 6 "blocking",
        /// Also while loading.
        LOADING = 7 "loading",
        /// Also when out of touch.
        STALE = 8 "stale",
        /// Not shown to MONITOR.
        SKIP_MONITOR = 9 "skip_monitor",
        /// Not in the slow log.
        SKIP_SLOWLOG = 10 "skip_slowlog",
        /// O(1) or O(log N): not timed one by one.
        FAST = 11 "fast",
        /// Before authentication too.
        NO_AUTH = 12 "no_auth",
        /// Not within MULTI.
        NO_MULTI = 13 "no_multi",
        /// Takes memory back, so it works when memory is full.
        NO_DENYOOM = 14 "",
        /// Within a RESP2 subscription too.
        ALLOW_SUBSCRIBED = 15 "",
        /// Runs at once within MULTI instead of being queued.
        IMMEDIATE = 16 "",
        /// Stands without a subcommand too.
        ALONE = 17 "",
        /// Deletes what was counted: waits while another node takes over what writers have counted that
        /// are gone.
        RESETS = 18 "",
    }
}

bits! {
    /// ACL categories: Redis's, and one for each type.
    Categories(u64) {
        /// Objects as keys.
        KEYSPACE = 0 "keyspace",
        /// Reads.
        READ = 1 "read",
        /// Writes.
        WRITE = 2 "write",
        /// Redis's sets.
        SET = 3 "set",
        /// Redis's sorted sets.
        SORTEDSET = 4 "sortedset",
        /// Redis's lists.
        LIST = 5 "list",
        /// Redis's hashes.
        HASH = 6 "hash",
        /// Redis's strings.
        STRING = 7 "string",
        /// Redis's bitmaps.
        BITMAP = 8 "bitmap",
        /// Redis's hyperloglogs.
        HYPERLOGLOG = 9 "hyperloglog",
        /// Redis's geo sets.
        GEO = 10 "geo",
        /// Redis's streams.
        STREAM = 11 "stream",
        /// Messages.
        PUBSUB = 12 "pubsub",
        /// Administration.
        ADMIN = 13 "admin",
        /// Fast.
        FAST = 14 "fast",
        /// Slow.
        SLOW = 15 "slow",
        /// May wait.
        BLOCKING = 16 "blocking",
        /// Dangerous.
        DANGEROUS = 17 "dangerous",
        /// The connection.
        CONNECTION = 18 "connection",
        /// Transactions.
        TRANSACTION = 19 "transaction",
        /// Scripts.
        SCRIPTING = 20 "scripting",
        /// Grow-only counters.
        GCOUNTER = 21 "gcounter",
        /// Counters.
        PNCOUNTER = 22 "pncounter",
        /// Grow-only sets.
        GSET = 23 "gset",
        /// Sets.
        ORSET = 24 "orset",
        /// Registers.
        MVREG = 25 "mvreg",
        /// Flags.
        EWFLAG = 26 "ewflag",
        /// Maps.
        ORMAP = 27 "ormap",
        /// Objects and functions.
        MISO = 28 "miso",
    }
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgKind {
    /// An object id, a key to Redis.
    Key,
    /// A channel that a cluster's client sends where the key of that name would be; no key to anyone else.
    ShardChannel,
    /// Any bytes.
    String,
    /// An integer.
    Integer,
    /// A floating-point number.
    Double,
    /// A pattern.
    Pattern,
    /// A word that stands for itself.
    Token,
    /// One of several.
    OneOf(&'static [Arg]),
    /// Several together.
    Block(&'static [Arg]),
}

/// An argument, or a group of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// The word before it.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
}

impl Arg {
    const fn of(name: &'static str, kind: ArgKind) -> Arg {
        Arg { name, kind, token: None, optional: false, multiple: false }
    }

    /// An object id.
    #[must_use]
    pub const fn key(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Key)
    }

    /// A shard channel.
    #[must_use]
    pub const fn shard_channel(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::ShardChannel)
    }

    /// Any bytes.
    #[must_use]
    pub const fn string(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::String)
    }

    /// An integer.
    #[must_use]
    pub const fn integer(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Integer)
    }

    /// A floating-point number.
    #[must_use]
    pub const fn double(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Double)
    }

    /// A pattern.
    #[must_use]
    pub const fn pattern(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Pattern)
    }

    /// A word that stands for itself.
    #[must_use]
    pub const fn token(word: &'static str) -> Arg {
        Arg { token: Some(word), ..Arg::of(word, ArgKind::Token) }
    }

    /// One of several.
    #[must_use]
    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg::of(name, ArgKind::OneOf(args))
    }

    /// Several together.
    #[must_use]
    pub const fn block(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg::of(name, ArgKind::Block(args))
    }

    /// The same, and it may be left out.
    #[must_use]
    pub const fn optional(self) -> Arg {
        Arg { optional: true, ..self }
    }

    /// The same, and it may be repeated.
    #[must_use]
    pub const fn multiple(self) -> Arg {
        Arg { multiple: true, ..self }
    }

    /// The same behind a word.
    #[must_use]
    pub const fn with_token(self, word: &'static str) -> Arg {
        Arg { token: Some(word), ..self }
    }

    /// The fewest words it takes, and whether it may take more.
    const fn words(&self) -> (i32, bool) {
        if self.optional {
            return (0, true);
        }
        let (mut least, mut more) = match self.kind {
            ArgKind::Token => (0, false),
            ArgKind::Block(args) => {
                let (mut least, mut more, mut at) = (0, false, 0);
                while at < args.len() {
                    let (n, m) = args[at].words();
                    least += n;
                    more = more || m;
                    at += 1;
                }
                (least, more)
            }
            ArgKind::OneOf(args) => {
                let (mut least, mut more, mut at) = (i32::MAX, false, 0);
                while at < args.len() {
                    let (n, m) = args[at].words();
                    more = more || m || (at > 0 && n != least);
                    least = if n < least { n } else { least };
                    at += 1;
                }
                (least, more)
            }
            _ => (1, false),
        };
        if self.token.is_some() {
            least += 1;
        }
        if self.multiple {
            more = true;
        }
        (least, more)
    }
}

/// The object that a command is about: its first argument.
pub const OBJECT: Arg = Arg::key("object");
/// The name of a CRDT in an object.
pub const NAME: Arg = Arg::string("name");

/// All there is to know of a command, but for what it does.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// In upper case; of a subcommand its own word.
    pub name: &'static str,
    /// Its arguments.
    pub args: &'static [Arg],
    /// How it treats objects.
    pub access: Access,
    /// Where it stands in the reference.
    pub group: Group,
    /// How it behaves, beyond what `access` says.
    pub flags: Flags,
    /// ACL categories beyond those that follow from the rest.
    pub categories: Categories,
    /// The version that brought it.
    pub since: &'static str,
    /// How long it takes.
    pub complexity: &'static str,
    /// What it does, in a sentence without its stop.
    pub summary: &'static str,
    /// What it answers.
    pub reply: &'static str,
    /// Lines, and what redis-cli prints for them.
    pub example: &'static [(&'static str, &'static str)],
    /// Its subcommands.
    pub subcommands: &'static [Row],
    /// Whether it is a subcommand: then its arity counts its parent's word.
    pub is_subcommand: bool,
}

/// Where a command's keys stand: the first, the last (negative from the end), the step; zeros if it
/// has none.
pub type KeySpec = (i32, i32, i32);

impl Row {
    /// A row with nothing in it, to take the rest of a row from.
    pub const EMPTY: Row = Row {
        name: "",
        args: &[],
        access: Access::None,
        group: Group::Server,
        flags: Flags::NONE,
        categories: Categories::NONE,
        since: "0.1.0",
        complexity: "O(1)",
        summary: "",
        reply: "",
        example: &[],
        subcommands: &[],
        is_subcommand: false,
    };

    /// Redis's arity: how many words, the name counted; negative if that is the least.
    #[must_use]
    pub const fn arity(&self) -> i32 {
        let mut least = if self.is_subcommand { 2 } else { 1 };
        if !self.subcommands.is_empty() && self.args.is_empty() {
            return if self.flags.has(Flags::ALONE) { -1 } else { -2 };
        }
        let (mut more, mut at) = (false, 0);
        while at < self.args.len() {
            let (n, m) = self.args[at].words();
            least += n;
            more = more || m;
            at += 1;
        }
        if more { -least } else { least }
    }

    /// The most words it may have; none if there is no end to them, or if words stand for options:
    /// then the command itself says what is a syntax error.
    const fn most(&self) -> Option<usize> {
        let mut most = if self.is_subcommand { 2 } else { 1 };
        let mut at = 0;
        while at < self.args.len() {
            let arg = &self.args[at];
            let plain = matches!(
                arg.kind,
                ArgKind::Key
                    | ArgKind::ShardChannel
                    | ArgKind::String
                    | ArgKind::Integer
                    | ArgKind::Double
                    | ArgKind::Pattern
            );
            if !plain || arg.multiple || arg.token.is_some() {
                return None;
            }
            most += 1;
            at += 1;
        }
        if self.subcommands.is_empty() { Some(most) } else { None }
    }

    /// Whether a command of `words` words has the right number of them.
    #[must_use]
    pub const fn fits(&self, words: usize) -> bool {
        let (least, most) = self.bounds();
        words >= least && words <= most
    }

    /// The fewest and the most words it may have.
    const fn bounds(&self) -> (usize, usize) {
        let arity = self.arity();
        let least = arity.unsigned_abs() as usize;
        match self.most() {
            _ if arity >= 0 => (least, least),
            Some(most) => (least, most),
            None => (least, usize::MAX),
        }
    }

    /// Where its keys stand.
    #[must_use]
    pub fn key_spec(&self) -> KeySpec {
        self.spec(|kind| kind == ArgKind::Key)
    }

    /// Where stands what tells a cluster's client where to send it: its keys, or its shard channels.
    #[must_use]
    pub fn routing_spec(&self) -> KeySpec {
        self.spec(|kind| matches!(kind, ArgKind::Key | ArgKind::ShardChannel))
    }

    fn spec(&self, wanted: impl Fn(ArgKind) -> bool) -> KeySpec {
        let offset = if self.is_subcommand { 2 } else { 1 };
        match self.args.iter().position(|arg| wanted(arg.kind)) {
            None => (0, 0, 0),
            Some(at) => {
                let first = offset + i32::try_from(at).unwrap_or(i32::MAX);
                (first, if self.args[at].multiple { -1 } else { first }, 1)
            }
        }
    }

    /// The keys among `args`.
    pub fn keys<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (first, last, _) = self.key_spec();
        let count = match (first, last) {
            (0, _) => 0,
            (first, -1) => args.len().saturating_sub(first as usize),
            _ => 1,
        };
        args.tail(first as usize).iter().take(count)
    }

    /// Its flags, those included that follow from how it treats objects.
    #[must_use]
    pub const fn all_flags(&self) -> Flags {
        let flags = match self.access {
            Access::Read => self.flags.with(Flags::READONLY),
            Access::Write => self.flags.with(Flags::WRITE),
            Access::None => self.flags,
        };
        if matches!(self.access, Access::Write) && !flags.has(Flags::NO_DENYOOM) {
            flags.with(Flags::DENYOOM)
        } else {
            flags
        }
    }

    /// Its flags as COMMAND prints them.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        self.all_flags().names().filter(|name| !name.is_empty())
    }

    /// What it does to its keys, as the key specifications of COMMAND say it.
    #[must_use]
    pub fn key_flags(&self) -> &'static [&'static str] {
        if self.key_spec().0 == 0 {
            return &["not_key"];
        }
        let removes = self.flags.has(Flags::NO_DENYOOM);
        let whole = self.key_spec().1 == -1;
        match self.access {
            Access::Write if removes && whole => &["RM", "delete"],
            Access::Write if removes => &["RW", "delete"],
            Access::Write => &["RW", "access", "update"],
            Access::Read => &["RO", "access"],
            Access::None => &["RO"],
        }
    }

    /// Its ACL categories.
    #[must_use]
    pub const fn acl_categories(&self) -> Categories {
        let mut all = self.categories;
        all = match self.access {
            Access::Read => all.with(Categories::READ),
            Access::Write => all.with(Categories::WRITE),
            Access::None => all,
        };
        all = match self.group {
            Group::GCounter => all.with(Categories::GCOUNTER),
            Group::PnCounter => all.with(Categories::PNCOUNTER),
            Group::GSet => all.with(Categories::GSET),
            Group::OrSet => all.with(Categories::ORSET),
            Group::MvReg => all.with(Categories::MVREG),
            Group::EwFlag => all.with(Categories::EWFLAG),
            Group::OrMap => all.with(Categories::ORMAP),
            Group::Miso => all.with(Categories::MISO),
            Group::Keyspace => all.with(Categories::KEYSPACE),
            Group::Hash => all.with(Categories::HASH),
            Group::Connection => all.with(Categories::CONNECTION),
            Group::Transactions => all.with(Categories::TRANSACTION),
            Group::PubSub => all.with(Categories::PUBSUB),
            Group::Server => all,
        };
        if self.flags.has(Flags::ADMIN) {
            all = all.with(Categories::ADMIN).with(Categories::DANGEROUS);
        }
        if self.flags.has(Flags::BLOCKING) {
            all = all.with(Categories::BLOCKING);
        }
        all.with(if self.flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
    }
}

/// All commands, found by name.
#[derive(Debug)]
pub struct Table {
    rows: Vec<&'static Row>,
    /// Of each row: counting its arguments anew would be a tenth of a short command.
    bounds: Vec<(usize, usize)>,
    /// Row numbers by hash of the name; open addressing, a power of two, at most half full.
    slots: Box<[u16]>,
}

const FREE: u16 = u16::MAX;

/// A hash of the name that takes its case away: of its length, its first and its last eight bytes.
/// Names that differ in the middle alone meet in one slot and are told apart there.
fn hash(name: &[u8]) -> usize {
    // The bit that upper and lower case differ in; that other bytes lose it does no harm here.
    const CASE: u64 = !0x2020_2020_2020_2020;
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    let h = (first & CASE).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (last & CASE).rotate_left(29);
    let h = (h ^ name.len() as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (h ^ h >> 32) as usize
}

impl Table {
    /// The table of these rows; a row's number is its place among them.
    ///
    /// # Panics
    /// If two rows have one name: the table is written in the source.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = &'static Row>) -> Table {
        let rows: Vec<&'static Row> = rows.into_iter().collect();
        let slots = vec![FREE; (rows.len() * 2 + 1).next_power_of_two()].into_boxed_slice();
        let mut table = Table { rows: Vec::new(), bounds: Vec::new(), slots };
        for row in rows {
            assert!(table.find(row.name.as_bytes()).is_none(), "{} is there twice", row.name);
            let number = u16::try_from(table.rows.len()).expect("fewer than 65535 commands");
            let mut at = hash(row.name.as_bytes()) & (table.slots.len() - 1);
            while table.slots[at] != FREE {
                at = (at + 1) & (table.slots.len() - 1);
            }
            table.slots[at] = number;
            table.rows.push(row);
            table.bounds.push(row.bounds());
        }
        table
    }

    /// The number of the command `name`, whatever its case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let mut at = hash(name) & (self.slots.len() - 1);
        loop {
            let number = self.slots[at];
            let known = self.rows.get(usize::from(number))?.name.as_bytes();
            if known == name || known.eq_ignore_ascii_case(name) {
                return Some(number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Whether the command with this number may have so many words; see [`Row::fits`].
    #[must_use]
    pub fn fits(&self, number: u16, words: usize) -> bool {
        let (least, most) = self.bounds[usize::from(number)];
        words >= least && words <= most
    }

    /// The row of a number that [`Table::find`] gave.
    #[must_use]
    pub fn row(&self, number: u16) -> &'static Row {
        self.rows[usize::from(number)]
    }

    /// The place of the subcommand `name` among those of a row.
    #[must_use]
    pub fn subcommand(&self, number: u16, name: &[u8]) -> Option<usize> {
        let mut rows = self.row(number).subcommands.iter();
        rows.position(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'static Row> + '_ {
        self.rows.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::OwnedArgs;

    const fn row(args: &'static [Arg]) -> Row {
        Row { name: "T.X", args, ..Row::EMPTY }
    }

    const LIMIT: Arg = Arg::integer("count").with_token("COUNT").optional();

    /// The arity of a row, and how many words fit out of zero to seven.
    fn check(args: &'static [Arg], arity: i32, fitting: &[usize]) {
        let row = row(args);
        assert_eq!(row.arity(), arity, "{args:?}");
        let fits: Vec<usize> = (0..8).filter(|words| row.fits(*words)).collect();
        assert_eq!(fits, fitting, "{args:?}");
    }

    #[test]
    fn arity_follows_from_the_arguments() {
        const PAIR: &[Arg] = &[Arg::string("name"), Arg::integer("n")];
        const ONE_OR_TWO: &[Arg] = &[Arg::token("ON"), Arg::integer("n").with_token("FOR")];
        check(const { &[] }, 1, &[1]);
        check(const { &[OBJECT, NAME] }, 3, &[3]);
        check(const { &[OBJECT, NAME, Arg::integer("n").optional()] }, -3, &[3, 4]);
        check(const { &[OBJECT, NAME.multiple()] }, -3, &[3, 4, 5, 6, 7]);
        check(const { &[OBJECT, Arg::block("pair", PAIR).multiple()] }, -4, &[4, 5, 6, 7]);
        check(const { &[Arg::string("cursor"), LIMIT] }, -2, &[2, 3, 4, 5, 6, 7]);
        check(const { &[Arg::token("NOW")] }, 2, &[2]);
        check(const { &[Arg::one_of("how", ONE_OR_TWO)] }, -2, &[2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn subcommands_count_their_parents_word() {
        const GET: Row = Row { name: "GET", is_subcommand: true, ..row(&[OBJECT]) };
        const PARENT: Row = Row { subcommands: &[GET], ..row(&[]) };
        const ALONE: Row = Row { flags: Flags::ALONE, ..PARENT };
        assert_eq!((GET.arity(), PARENT.arity(), ALONE.arity()), (3, -2, -1));
        assert_eq!(GET.key_spec(), (2, 2, 1));
    }

    #[test]
    fn keys_are_where_the_row_says() {
        let keys = |row: &Row, args: &[&[u8]]| {
            let args = OwnedArgs::from_parts(args);
            row.keys(args.as_args()).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let none: [&[u8]; 0] = [];
        assert_eq!(keys(&row(&[NAME]), &[b"T.X", b"a"]), none);
        assert_eq!(keys(&row(&[OBJECT, NAME]), &[b"T.X", b"a", b"b"]), [b"a"]);
        assert_eq!(keys(&row(const { &[OBJECT.multiple()] }), &[b"DEL", b"a", b"b"]), [b"a", b"b"]);
        assert_eq!(keys(&row(const { &[OBJECT.multiple()] }), &[b"DEL"]), none);
        assert_eq!(keys(&row(&[OBJECT]), &[b"T.X"]), none);

        // A shard channel tells where to send the command, and is no key.
        let sharded = row(const { &[Arg::shard_channel("channel").multiple()] });
        assert_eq!(keys(&sharded, &[b"SSUBSCRIBE", b"a"]), none);
        assert_eq!((sharded.routing_spec(), sharded.key_spec()), ((1, -1, 1), (0, 0, 0)));
        assert_eq!(sharded.key_flags(), ["not_key"]);
    }

    #[test]
    fn a_write_is_refused_without_memory_unless_it_frees_some() {
        let names = |flags| {
            let row = Row { access: Access::Write, flags, ..Row::EMPTY };
            row.flag_names().collect::<Vec<_>>()
        };
        assert_eq!(names(Flags::FAST), ["write", "denyoom", "fast"]);
        assert_eq!(names(Flags::NO_DENYOOM), ["write"]);
    }

    #[test]
    fn categories_follow_from_the_rest() {
        let names = |row: Row| row.acl_categories().names().collect::<Vec<_>>();
        let add = Row { access: Access::Write, group: Group::GCounter, ..Row::EMPTY };
        assert_eq!(names(Row { flags: Flags::FAST, ..add }), ["write", "fast", "gcounter"]);
        assert_eq!(names(add), ["write", "slow", "gcounter"]);
        let admin = Row { flags: Flags::ADMIN.with(Flags::BLOCKING), ..Row::EMPTY };
        assert_eq!(names(admin), ["admin", "slow", "blocking", "dangerous"]);
        let hget = Row { access: Access::Read, group: Group::Hash, ..Row::EMPTY };
        assert_eq!(names(hget), ["read", "hash", "slow"]);
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        static ROWS: [Row; 3] = [
            Row { name: "PING", ..Row::EMPTY },
            Row { name: "GCOUNTER.ADD", ..Row::EMPTY },
            Row { name: "GCOUNTER.GET", ..Row::EMPTY },
        ];
        let table = Table::new(&ROWS);
        assert_eq!((table.len(), table.iter().len()), (3, 3));
        for (number, row) in ROWS.iter().enumerate() {
            let number = u16::try_from(number).ok();
            assert_eq!(table.find(row.name.as_bytes()), number);
            assert_eq!(table.find(row.name.to_ascii_lowercase().as_bytes()), number);
        }
        for unknown in ["", "PIN", "PINGS", "GCOUNTER.ADE", "gcounter_add", "\0\u{e9}"] {
            assert_eq!(table.find(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    #[should_panic(expected = "PING is there twice")]
    fn names_are_unique() {
        static ROWS: [Row; 2] = [Row { name: "PING", ..Row::EMPTY }; 2];
        let _ = Table::new(&ROWS);
    }

    #[test]
    fn bits_have_names() {
        assert_eq!(Categories::named(b"Read"), Some(Categories::READ));
        assert_eq!(Categories::named(b"nosuch"), None);
        let mut all: Vec<_> = Categories::ALL.iter().map(|(_, name)| *name).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Categories::ALL.len());
    }
}
