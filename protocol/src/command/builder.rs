//! Rows with named parts: `Row::command("SET").args(&[..]).writes().fast()`.

use super::{
    Access, Arg, Bound, Categories, Counting, Deciding, Flags, Group, Merging, Row, Until,
};

impl Row {
    /// A command of this name, in upper case.
    #[must_use]
    pub const fn command(name: &'static str) -> Row {
        Row { name, ..Row::EMPTY }
    }

    /// A subcommand of this name, in upper case.
    #[must_use]
    pub const fn subcommand(name: &'static str) -> Row {
        Row { name, is_subcommand: true, ..Row::EMPTY }
    }

    /// The same with these arguments.
    #[must_use]
    pub const fn args(self, args: &'static [Arg]) -> Row {
        Row { args, ..self }
    }

    /// The same, and it reads objects.
    #[must_use]
    pub const fn reads(self) -> Row {
        Row { access: Access::Read, ..self }
    }

    /// The same, and it changes objects.
    #[must_use]
    pub const fn writes(self) -> Row {
        Row { access: Access::Write, ..self }
    }

    /// The same, and it changes objects but takes no memory, so it runs also when memory is full.
    #[must_use]
    pub const fn deletes(self) -> Row {
        self.writes().flags(Flags::NO_DENYOOM)
    }

    /// The same in this group.
    #[must_use]
    pub const fn group(self, group: Group) -> Row {
        Row { group, ..self }
    }

    /// The same, and it counts there.
    #[must_use]
    pub const fn counts(self, counts: Counting) -> Row {
        Row { counts, ..self }
    }

    /// The same with these flags too.
    #[must_use]
    pub const fn flags(self, flags: Flags) -> Row {
        Row { flags: self.flags.with(flags), ..self }
    }

    /// The same, and it takes O(1) or O(log N).
    #[must_use]
    pub const fn fast(self) -> Row {
        self.flags(Flags::FAST)
    }

    /// The same, and it is for administrators.
    #[must_use]
    pub const fn admin(self) -> Row {
        self.flags(Flags::ADMIN)
    }

    /// The same, and it may keep its connection waiting.
    #[must_use]
    pub const fn blocking(self) -> Row {
        self.flags(Flags::BLOCKING)
    }

    /// The same with these ACL categories too.
    #[must_use]
    pub const fn categories(self, categories: Categories) -> Row {
        Row { categories: self.categories.with(categories), ..self }
    }

    /// The same, brought by this version.
    #[must_use]
    pub const fn since(self, since: &'static str) -> Row {
        Row { since, ..self }
    }

    /// The same, and this is how long it takes; `O(1)` where nothing is said.
    #[must_use]
    pub const fn complexity(self, complexity: &'static str) -> Row {
        Row { complexity, ..self }
    }

    /// The same, and its effect merges, with more about how: `the sum, always exact`.
    #[must_use]
    pub const fn merges(self, note: &'static str) -> Row {
        Row { merging: Some(Merging::Merges), merge_note: note, ..self }
    }

    /// The same, and its answer is this node's view, with more about what it decides.
    #[must_use]
    pub const fn decides_here(self, note: &'static str) -> Row {
        Row { merging: Some(Merging::DecidesHere), merge_note: note, ..self }
    }

    /// The same, and it decides here if one of these options stands among its words from `from` on.
    #[must_use]
    pub const fn decides_with(
        self,
        options: &'static [&'static str],
        from: usize,
        until: Until,
    ) -> Row {
        Row { deciding: Some(Deciding { options, from, until }), ..self }
    }

    /// The same, and it is not served, for this reason: `scripts do not merge`.
    #[must_use]
    pub const fn refused(self, reason: &'static str) -> Row {
        Row { merging: Some(Merging::Refused(reason)), ..self }
    }

    /// The same, and this is what it does for a user that is bound to a function.
    #[must_use]
    pub const fn for_bound(self, bound: Bound) -> Row {
        Row { of_bound: Some(bound), ..self }
    }

    /// The same, and this is what it does, in a sentence without its stop.
    #[must_use]
    pub const fn summary(self, summary: &'static str) -> Row {
        Row { summary, ..self }
    }

    /// The same, and this is what it answers.
    #[must_use]
    pub const fn reply(self, reply: &'static str) -> Row {
        Row { reply, ..self }
    }

    /// The same with an example: lines, and what redis-cli prints for them.
    #[must_use]
    pub const fn example(self, example: &'static [(&'static str, &'static str)]) -> Row {
        Row { example, ..self }
    }

    /// The same, and it has subcommands, whose rows the table is given beside it.
    #[must_use]
    pub const fn parent(self) -> Row {
        self.flags(Flags::PARENT)
    }
}
