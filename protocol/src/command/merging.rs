//! How commands merge what nodes did while they could not hear each other.

/// What becomes of a command's effect when another node ran a command on the same key at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merging {
    /// It changes no data; a read answers what this node has.
    Local,
    /// Its effect merges: nothing that was acknowledged is lost, whatever the others did.
    Merges,
    /// Its answer, and what it does, follow from what this node knows at that moment; another node may
    /// decide otherwise at the same time. What both did merges as any other change.
    DecidesHere,
    /// It is not served, because its effect could not merge; with the reason, a sentence without its
    /// first capital and its stop: `scripts do not merge`.
    Refused(&'static str),
}

impl Merging {
    /// As documents say it in a word or two.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Merging::Local => "local",
            Merging::Merges => "merges",
            Merging::DecidesHere => "decides here",
            Merging::Refused(_) => "refused",
        }
    }
}
