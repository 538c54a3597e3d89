//! How commands merge what nodes did while they could not hear each other.

use crate::request::Args;

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

/// Options with which a command that merges otherwise decides here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deciding {
    /// The words, in upper case.
    pub options: &'static [&'static str],
    /// The first word of the command that may be one.
    pub from: usize,
    /// Where options end.
    pub until: Until,
}

/// Where the options of a command end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// With the command.
    End,
    /// At the word FIELDS.
    Fields,
    /// At the first number.
    Number,
}

impl Deciding {
    /// Whether the words of a command have one of the options.
    #[must_use]
    pub fn is_met(&self, args: Args<'_>) -> bool {
        let ends = |word: &[u8]| match self.until {
            Until::End => false,
            Until::Fields => word.eq_ignore_ascii_case(b"FIELDS"),
            Until::Number => {
                std::str::from_utf8(word).is_ok_and(|word| word.parse::<f64>().is_ok())
            }
        };
        let mut options = args.iter().skip(self.from).take_while(|word| !ends(word));
        options.any(|word| self.options.iter().any(|o| word.eq_ignore_ascii_case(o.as_bytes())))
    }
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
