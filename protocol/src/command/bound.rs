//! What a command does for a user that is bound to a function.

use super::{Access, Flags, Group, Merging, Row};

/// What is left of a command for a user that is bound to a function: it neither sees nor touches another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// It works on what the function has.
    Own,
    /// It is about the connection, or about what is the same for everybody.
    Connection,
    /// It tells of the node as a whole and names no function.
    Node,
    /// It shows or touches what others have, too; what of that is left, a sentence without its stop.
    Part(&'static str),
    /// It is refused: it acts on the node, or on all functions.
    Refused,
}

impl Bound {
    /// As documents say it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Bound::Own => "what its function has",
            Bound::Connection => "its connection, or the same as for everybody",
            Bound::Node => "figures of the node as a whole",
            Bound::Part(what) => what,
            Bound::Refused => "refused",
        }
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

    /// The same, and this is what it does for a user that is bound to a function.
    #[must_use]
    pub const fn for_bound(self, bound: Bound) -> Row {
        Row { of_bound: Some(bound), ..self }
    }

    /// Whether it is answered at all: others say why they are not served.
    pub(crate) const fn is_served(&self) -> bool {
        !matches!(self.merging(), Merging::Refused(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
