//! What a command does for a user that is bound to a function.

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
