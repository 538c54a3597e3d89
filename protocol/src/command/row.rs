//! A row of the table: what it states, and what follows from that by itself.

use super::arg::{Access, Arg};
use super::bound::Bound;
use super::counting::Counting;
use super::flags::{Categories, Flags, Group};
use super::merging::{Deciding, Merging};
use crate::request::Args;

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
    /// How it merges; none: what follows from `access`. See [`Row::merging`].
    pub merging: Option<Merging>,
    /// More about how it merges, where that needs saying: `the sum, always exact`.
    pub merge_note: &'static str,
    /// What it counts: see [`Counting::places`].
    pub counts: Counting,
    /// Options with which it decides here although it merges otherwise.
    pub deciding: Option<Deciding>,
    /// What it does for a user that is bound to a function; none: what follows from the rest. See [`Row::bound`].
    pub of_bound: Option<Bound>,
    /// What it does, in a sentence without its stop.
    pub summary: &'static str,
    /// What it answers.
    pub reply: &'static str,
    /// Lines, and what redis-cli prints for them.
    pub example: &'static [(&'static str, &'static str)],
    /// Whether it is a subcommand: then its arity counts its parent's word.
    pub is_subcommand: bool,
}

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
        merging: None,
        merge_note: "",
        counts: Counting::Nothing,
        deciding: None,
        of_bound: None,
        summary: "",
        reply: "",
        example: &[],
        is_subcommand: false,
    };

    /// Whether a command of these words decides here: see [`Merging::DecidesHere`].
    #[must_use]
    pub fn decides(&self, args: Args<'_>) -> bool {
        self.merging() == Merging::DecidesHere
            || self.deciding.is_some_and(|with| with.is_met(args))
    }

    /// Redis's arity: how many words, the name counted; negative if that is the least.
    #[must_use]
    pub const fn arity(&self) -> i32 {
        let mut least = if self.is_subcommand { 2 } else { 1 };
        if self.is_parent() && self.args.is_empty() {
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
            if !arg.is_plain() || arg.multiple {
                return None;
            }
            most += 1;
            at += 1;
        }
        if self.is_parent() { None } else { Some(most) }
    }

    /// Whether it has subcommands.
    #[must_use]
    pub const fn is_parent(&self) -> bool {
        self.flags.has(Flags::PARENT)
    }

    /// Whether a command of `words` words has the right number of them.
    #[must_use]
    pub const fn fits(&self, words: usize) -> bool {
        let (least, most) = self.bounds();
        words >= least && words <= most
    }

    /// The fewest and the most words it may have.
    pub(super) const fn bounds(&self) -> (usize, usize) {
        if matches!(self.merging, Some(Merging::Refused(_))) {
            return (0, usize::MAX); // it answers why it is not served, whatever its words
        }
        let arity = self.arity();
        let least = arity.unsigned_abs() as usize;
        match self.most() {
            _ if arity >= 0 => (least, least),
            Some(most) => (least, most),
            None => (least, usize::MAX),
        }
    }

    /// Whether it administers: the node itself, or all of a function at once.
    #[must_use]
    pub fn administers(&self) -> bool {
        let writes_all = matches!(self.access, Access::Write) && !self.has_keys();
        self.flags.has(Flags::ADMIN) || writes_all
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
        let movable = if self.legacy_range().1 { Flags::MOVABLE_KEYS } else { Flags::NONE };
        self.all_flags().with(movable).names().filter(|name| !name.is_empty())
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
        all = all.with(self.group.category());
        if self.flags.has(Flags::ADMIN) {
            all = all.with(Categories::ADMIN).with(Categories::DANGEROUS);
        }
        if self.flags.has(Flags::BLOCKING) {
            all = all.with(Categories::BLOCKING);
        }
        all.with(if self.flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
    }
}

impl Row {
    /// What it does for a user that is bound to a function: what its row says, else what follows from its access and
    /// its group. What administers is refused.
    #[must_use]
    pub const fn bound(&self) -> Bound {
        match (self.of_bound, self.access) {
            (Some(bound), _) => bound,
            (None, _) if self.flags.has(Flags::ADMIN) => Bound::Refused,
            (None, Access::Read | Access::Write) => Bound::Own,
            (None, Access::None) => match self.group {
                Group::Miso | Group::PubSub | Group::Transactions => Bound::Own,
                _ => Bound::Connection,
            },
        }
    }

    /// Whether it is answered at all: others say why they are not served.
    pub(crate) const fn is_served(&self) -> bool {
        !matches!(self.merging(), Merging::Refused(_))
    }
}

impl Row {
    /// How it merges: what its row says, else what follows from its access.
    #[must_use]
    pub const fn merging(&self) -> Merging {
        match (self.merging, self.access) {
            (Some(merging), _) => merging,
            (None, Access::Write) => Merging::Merges,
            (None, Access::Read | Access::None) => Merging::Local,
        }
    }

    /// Its summary with how it merges: `Sets a key (decides here)`; of what changes no data the summary
    /// alone.
    #[must_use]
    pub fn full_summary(&self) -> String {
        match (self.merging(), self.merge_note) {
            (Merging::Local, _) => self.summary.to_owned(),
            (Merging::Refused(reason), _) => format!("{} (not served: {reason})", self.summary),
            (merging, "") => format!("{} ({})", self.summary, merging.name()),
            (merging, note) => format!("{} ({}: {note})", self.summary, merging.name()),
        }
    }

    /// The error that a refused command answers; none if it is served. `parent` is the name of the
    /// command whose subcommand it is.
    ///
    /// ```
    /// use miso_protocol::command::Row;
    ///
    /// const EVAL: Row = Row::command("EVAL").refused("scripts do not merge");
    /// let error = "ERR 'eval' is not served: scripts do not merge; see docs/compatibility.md#eval";
    /// assert_eq!(EVAL.refusal(None).as_deref(), Some(error));
    /// ```
    #[must_use]
    pub fn refusal(&self, parent: Option<&str>) -> Option<String> {
        let Merging::Refused(reason) = self.merging() else { return None };
        let name = parent.map_or_else(String::new, |parent| format!("{parent} ")) + self.name;
        let name = name.to_ascii_lowercase();
        let anchor = name.replace(' ', "-");
        Some(format!("ERR '{name}' is not served: {reason}; see docs/compatibility.md#{anchor}"))
    }
}
