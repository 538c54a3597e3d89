//! What a command counts, so that a count can be told from others and taken back.

use crate::request::Args;

/// Where a command adds to counts. Other values that it may change are idempotent by nature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counting {
    /// Nowhere.
    Nothing,
    /// In the counter of the name that is its second argument.
    Name,
    /// In the counters of the names from its second argument on, each followed by an amount.
    Names,
    /// In the field that is its third argument, of the name that is its second.
    MapField,
    /// In the plain key that is its first argument.
    Key,
    /// In a field of that: the argument of this number.
    KeyField(usize),
    /// In a member of that: its last argument.
    LastMember,
}

/// An object, a name in it, which is empty for plain keys, and a field, which is empty for counters.
pub type CountPlace<'a> = (&'a [u8], &'a [u8], &'a [u8]);

impl Counting {
    /// The places in which a command of these arguments may count.
    pub fn places<'a>(self, args: Args<'a>) -> impl Iterator<Item = CountPlace<'a>> + use<'a> {
        let word = move |at: usize| args.get(at).unwrap_or_default();
        let last = match self {
            Counting::Nothing => 2,
            Counting::Names => args.len(),
            _ => 3,
        };
        (2..last).step_by(2).map(move |at| match self {
            Counting::Nothing | Counting::Key => (word(1), &b""[..], &b""[..]),
            Counting::Name | Counting::Names => (word(1), word(at), &b""[..]),
            Counting::MapField => (word(1), word(2), word(3)),
            Counting::KeyField(field) => (word(1), &b""[..], word(field)),
            Counting::LastMember => (word(1), &b""[..], word(args.len() - 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::OwnedArgs;

    #[test]
    fn places_follow_from_the_row() {
        let check = |counts: Counting, command: &str, expected: &[(&str, &str, &str)]| {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            let args = OwnedArgs::from_parts(&words);
            let places: Vec<_> = counts.places(args.as_args()).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(o, n, f)| (o.as_bytes(), n.as_bytes(), f.as_bytes()))
                .collect();
            assert_eq!(places, expected, "{command}");
        };
        check(Counting::Nothing, "SADD k m", &[]);
        check(Counting::Name, "X.ADD o n 5", &[("o", "n", "")]);
        check(Counting::Names, "X.MADD o n 5 m 6", &[("o", "n", ""), ("o", "m", "")]);
        check(Counting::MapField, "X o n f 5", &[("o", "n", "f")]);
        check(Counting::Key, "INCR k", &[("k", "", "")]);
        check(Counting::KeyField(2), "HINCRBY k f 5", &[("k", "", "f")]);
        check(Counting::LastMember, "ZADD k INCR 1 m", &[("k", "", "m")]);
    }
}
