//! How commands merge what nodes did while they could not hear each other.

use super::{Access, Row};

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
