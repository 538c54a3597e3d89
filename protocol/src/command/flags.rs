//! Sets of bits with names, flags of commands and of keys, ACL categories, and groups.

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
    /// Strings.
    String, "string", "Strings";
    /// Bitmaps.
    Bitmap, "bitmap", "Bitmaps";
    /// Objects as hashes.
    Hash, "hash", "Objects as hashes, read-only";
    /// Redis's sets.
    Set, "set", "Redis's sets";
    /// Sorted sets.
    SortedSet, "sorted-set", "Sorted sets";
    /// Places on a map.
    Geo, "geo", "Places on a map";
    /// HyperLogLogs.
    HyperLogLog, "hyperloglog", "HyperLogLogs";
    /// Lists.
    List, "list", "Lists";
    /// Streams.
    Stream, "stream", "Streams";
    /// Scripts and functions.
    Scripting, "scripting", "Scripts and functions";
    /// Redis Cluster.
    Cluster, "cluster", "Redis Cluster";
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

            /// Whether any of `other` is among these.
            #[must_use]
            pub const fn meets(self, other: $type) -> bool {
                self.0 & other.0 != 0
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
        /// Other nodes may see an effect of it although it changes no object, as of PUBLISH: a pause
        /// of writes holds it too.
        MAY_REPLICATE = 19 "may_replicate",
        /// May name no key at all: as EVAL with 0 keys.
        NO_MANDATORY_KEYS = 20 "no_mandatory_keys",
        /// Not within MULTI.
        NO_MULTI = 13 "no_multi",
        /// Its legacy key range does not name all keys: a client must ask COMMAND GETKEYS. Derived.
        MOVABLE_KEYS = 21 "movablekeys",
        /// Takes memory back, so it works when memory is full.
        NO_DENYOOM = 14 "",
        /// Within a RESP2 subscription too.
        ALLOW_SUBSCRIBED = 15 "",
        /// Runs at once within MULTI instead of being queued.
        IMMEDIATE = 16 "",
        /// Works without a subcommand too.
        ALONE = 17 "",
        /// Deletes counts: waits while another node adopts the counts of writers that are gone.
        RESETS = 18 "",
        /// Runs the commands that were queued: EXEC.
        EXEC = 22 "",
        /// Runs also while clients are paused, as CLIENT: otherwise nobody could end the pause.
        NEVER_PAUSED = 23 "",
        /// Runs the command that its arguments are: MISO.ONCE.
        ONCE = 26 "",
        /// Its reply may take more than a kilobyte, or what it takes, another node may take, too: it cannot
        /// run once.
        NOT_ONCE = 27 "",
        /// Only its subcommands can be run; set for a parent whose subcommands the table is given
        /// beside the row. See [`Table::with_subcommands`](super::Table::with_subcommands).
        PARENT = 24 "",
        /// Reaches other databases than its connection's: EXEC holds them, too.
        DATABASES = 25 "",
    }
}

bits! {
    /// What a command does to a key, under the names of COMMAND's key specifications and in their order.
    ///
    /// One of the first four says how the key as a whole is treated; those of `access` to `delete` that
    /// apply say what is done with the value in it.
    KeyFlags(u16) {
        /// Reads the key.
        RO = 0 "RO",
        /// Reads it and changes it, or changes a part of it.
        RW = 1 "RW",
        /// Overwrites it whatever it held.
        OW = 2 "OW",
        /// Deletes it.
        RM = 3 "RM",
        /// Data of the value reaches the client or another key.
        ACCESS = 4 "access",
        /// Data of the value is changed.
        UPDATE = 5 "update",
        /// Data is added to the value, and none is changed.
        INSERT = 6 "insert",
        /// Data of the value is deleted.
        DELETE = 7 "delete",
        /// A shard channel: it tells where to send the command and is no key.
        NOT_KEY = 8 "not_key",
        /// The command may use keys that no word names.
        INCOMPLETE = 9 "incomplete",
        /// What is done depends on options.
        VARIABLE_FLAGS = 10 "variable_flags",
    }
}

impl KeyFlags {
    /// Reads: `RO access`.
    pub const READ: KeyFlags = KeyFlags::RO.with(KeyFlags::ACCESS);
    /// Overwrites: `OW update`.
    pub const WRITTEN: KeyFlags = KeyFlags::OW.with(KeyFlags::UPDATE);
    /// Reads and changes: `RW access update`.
    pub const READ_WRITTEN: KeyFlags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE);
    /// Adds to: `RW insert`.
    pub const INSERTED: KeyFlags = KeyFlags::RW.with(KeyFlags::INSERT);
    /// Reads and takes away from: `RW access delete`.
    pub const TAKEN: KeyFlags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE);
    /// Deletes: `RM delete`.
    pub const DELETED: KeyFlags = KeyFlags::RM.with(KeyFlags::DELETE);

    /// Whether data of the value reaches the client: an ACL rule must let the user read the key.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.has(KeyFlags::ACCESS)
    }

    /// Whether the value may change: an ACL rule must let the user write the key.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.has(KeyFlags::UPDATE) || self.has(KeyFlags::INSERT) || self.has(KeyFlags::DELETE)
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

impl Group {
    /// Whether Redis has commands of this group; the others are MISO's own.
    #[must_use]
    pub const fn is_of_redis(self) -> bool {
        !matches!(
            self,
            Group::GCounter
                | Group::PnCounter
                | Group::GSet
                | Group::OrSet
                | Group::MvReg
                | Group::EwFlag
                | Group::OrMap
                | Group::Miso
        )
    }

    /// The ACL category that its commands belong to; none for the server's.
    #[must_use]
    pub const fn category(self) -> Categories {
        match self {
            Group::GCounter => Categories::GCOUNTER,
            Group::PnCounter => Categories::PNCOUNTER,
            Group::GSet => Categories::GSET,
            Group::OrSet => Categories::ORSET,
            Group::MvReg => Categories::MVREG,
            Group::EwFlag => Categories::EWFLAG,
            Group::OrMap => Categories::ORMAP,
            Group::Miso => Categories::MISO,
            Group::Keyspace => Categories::KEYSPACE,
            Group::String => Categories::STRING,
            Group::Bitmap => Categories::BITMAP,
            Group::Hash => Categories::HASH,
            Group::Set => Categories::SET,
            Group::SortedSet => Categories::SORTEDSET,
            Group::Geo => Categories::GEO,
            Group::HyperLogLog => Categories::HYPERLOGLOG,
            Group::List => Categories::LIST,
            Group::Stream => Categories::STREAM,
            Group::Scripting => Categories::SCRIPTING,
            Group::Connection => Categories::CONNECTION,
            Group::Transactions => Categories::TRANSACTION,
            Group::PubSub => Categories::PUBSUB,
            Group::Cluster | Group::Server => Categories::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names() {
        assert_eq!(Categories::named(b"Read"), Some(Categories::READ));
        assert_eq!(Categories::named(b"nosuch"), None);
        let mut all: Vec<_> = Categories::ALL.iter().map(|(_, name)| *name).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Categories::ALL.len());
    }

    #[test]
    fn no_two_flags_share_a_bit() {
        let union = Flags::ALL.iter().fold(Flags::NONE, |all, (flag, name)| {
            assert_eq!(all.without(*flag), all, "{name} shares a bit");
            all.with(*flag)
        });
        assert!(union.has(Flags::WRITE) && union.has(Flags::PARENT));
    }
}
