//! What a row of the command table says, and what follows from it.
//!
//! A [`Row`] states what cannot be derived: name, arguments, access, group, flags, how it merges, texts.
//! Derived, so that no two of them can disagree: arity and whether a number of arguments fits, which
//! words are keys or secrets, flags and ACL categories as `COMMAND` prints them, hints, the reference and
//! the compatibility page. Arities are Redis's: the name counts, of a subcommand both words, and a
//! negative one is the least.
//!
//! A [`Table`] finds rows by name, in upper or lower case, without allocating; a row's number is stable,
//! so that the server keeps handlers and counters in vectors beside it. It knows no handlers itself.
//!
//! A row is written with named parts:
//!
//! ```
//! use miso_protocol::command::{Arg, Group, Row, Table};
//!
//! const KEY: Arg = Arg::key("key");
//! static SET: Row = Row::command("SET")
//!     .args(&[KEY, Arg::string("value"), Arg::integer("seconds").with_token("EX").optional()])
//!     .group(Group::String)
//!     .writes()
//!     .decides_here("NX and XX ask what this node has")
//!     .summary("Sets a key")
//!     .reply("OK")
//!     .example(&[("SET greeting hello", "OK")]);
//! static ZUNIONSTORE: Row = Row::command("ZUNIONSTORE")
//!     .args(&[
//!         Arg::key("destination").written(),
//!         Arg::integer("numkeys"),
//!         KEY.read().counted_by("numkeys"),
//!     ])
//!     .group(Group::SortedSet)
//!     .writes()
//!     .complexity("O(N log N) with N members in all sets")
//!     .summary("Stores the union of sorted sets");
//! static CONFIG: Row = Row::command("CONFIG").parent().summary("About settings");
//! static GET: Row = Row::subcommand("GET")
//!     .args(&[Arg::pattern("parameter").multiple()])
//!     .admin()
//!     .summary("The settings that match");
//!
//! assert_eq!((SET.arity(), ZUNIONSTORE.arity(), GET.arity()), (-3, -4, -3));
//! // A server keeps a subcommand's row beside its handler, and gives the table both.
//! let table = Table::with_subcommands([(&SET, vec![]), (&ZUNIONSTORE, vec![]), (&CONFIG, vec![&GET])]);
//! let config = table.find(b"config").expect("a command");
//! assert_eq!(table.subcommand(config, b"get"), Some(0));
//! ```

mod arg;
mod bound;
mod builder;
mod counting;
mod flags;
mod keys;
mod merging;
mod row;
mod table;
mod walk;

pub use arg::{Access, Arg, ArgKind, NAME, OBJECT, Secret};
pub use bound::Bound;
pub use counting::{CountPlace, Counting};
pub use flags::{Categories, Flags, Group, KeyFlags};
pub use keys::{Begin, Find, Key, KeySpec, Keys, Spec};
pub use merging::{Deciding, Merging, Until};
pub use row::Row;
pub use table::Table;

#[cfg(test)]
mod tests {
    use super::*;

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
        const PARENT: Row = row(&[]).parent();
        const ALONE: Row = PARENT.flags(Flags::ALONE);
        assert_eq!((GET.arity(), PARENT.arity(), ALONE.arity()), (3, -2, -1));
        assert_eq!(GET.key_spec(), (2, 2, 1));
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
    fn what_administers_is_refused_unless_its_row_says_otherwise() {
        let row = Row::command("T");
        assert_eq!(row.bound(), Bound::Connection);
        assert_eq!(row.reads().bound(), Bound::Own);
        assert_eq!(row.group(Group::Miso).bound(), Bound::Own);
        assert_eq!(row.writes().admin().bound(), Bound::Refused);
        assert_eq!(row.admin().for_bound(Bound::Node).bound(), Bound::Node);
    }
}
