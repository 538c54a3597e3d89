//! Matches the words of a real command to the arguments of its row.
//!
//! Arguments without a token stand in their order; those with a token may come in any order, as Redis's
//! own parsers take them. A word that fits nothing is passed over: the command itself will refuse it.
//! So what is found is at least what a command that is well formed uses.

use super::arg::{Arg, ArgKind, least};
use crate::request::Args;

/// What the words of a command looked like.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Some word fits no argument.
    pub(super) stray: bool,
    /// A count such as `numkeys` is no number, is 0, or is more than there are words.
    pub(super) bad_count: bool,
}

/// Calls `visit` with the index of each word that is the value of an argument, and that argument.
/// The first argument's word is at `start`. Allocates nothing.
pub(super) fn walk<'a>(
    args: &'static [Arg],
    start: usize,
    words: Args<'a>,
    visit: &mut dyn FnMut(usize, &'static Arg),
) -> Found {
    let mut walk = Walk { words, at: start, count: None, found: Found::default(), visit };
    walk.list(args, true, 0);
    walk.found.stray |= walk.at < words.len();
    walk.found
}

struct Walk<'a, 'v> {
    words: Args<'a>,
    /// The next word.
    at: usize,
    /// The last integer argument, and its value if it is a count.
    count: Option<(&'static str, Option<usize>)>,
    found: Found,
    visit: &'v mut dyn FnMut(usize, &'static Arg),
}

impl Walk<'_, '_> {
    fn left(&self) -> usize {
        self.words.len().saturating_sub(self.at)
    }

    /// Arguments in their order, of which `last` says that nothing but them follows; after them come at
    /// least `after` words.
    fn list(&mut self, args: &'static [Arg], last: bool, after: usize) {
        let mut rest = args;
        while let Some((arg, others)) = rest.split_first() {
            if arg.is_option() {
                let run = rest.iter().take_while(|arg| arg.is_option()).count();
                let (options, others) = rest.split_at(run);
                self.options(options, last && others.is_empty(), after + least(others));
                rest = others;
            } else {
                self.positional(arg, last && others.is_empty(), after + least(others));
                rest = others;
            }
        }
    }

    /// Options in any order. At the end of a command a word that is none of them is passed over.
    fn options(&mut self, options: &'static [Arg], last: bool, after: usize) {
        while self.left() > after {
            match self.named(options) {
                Some(arg) => self.option(arg, options, after),
                None if last => {
                    self.found.stray = true;
                    self.at += 1;
                }
                None => break,
            }
        }
    }

    /// The option that the next word names.
    fn named(&self, options: &'static [Arg]) -> Option<&'static Arg> {
        let word = self.words.get(self.at)?;
        options.iter().find_map(|arg| match (arg.token, arg.kind) {
            (Some(token), _) => token.as_bytes().eq_ignore_ascii_case(word).then_some(arg),
            (None, ArgKind::OneOf(args)) => self.named(args),
            (None, ArgKind::Block(args)) => {
                self.named(args.get(..1).unwrap_or_default()).map(|_| arg)
            }
            _ => None,
        })
    }

    /// An option whose token, or whose block's first token, is the next word.
    fn option(&mut self, arg: &'static Arg, among: &'static [Arg], after: usize) {
        self.at += usize::from(arg.token.is_some());
        self.value(arg, after);
        // As WEIGHTS: its words go on until another option is named.
        while arg.multiple && !arg.token_repeats && self.left() > after {
            let at = self.at;
            if self.named(among).is_some() {
                break;
            }
            self.value(arg, after);
            if self.at == at {
                break;
            }
        }
    }

    fn positional(&mut self, arg: &'static Arg, last: bool, after: usize) {
        if arg.optional && self.left() <= after {
            return;
        }
        let times = match arg.counted_by {
            _ if !arg.multiple => 1,
            None => usize::MAX,
            Some(name) => self.counted(arg, name),
        };
        for time in 0..times {
            let at = self.at;
            let enough = arg.counted_by.is_none() && time > 0 && self.left() <= after;
            if self.left() == 0 || enough {
                break;
            }
            if arg.multiple || !last {
                self.value(arg, after);
            } else {
                self.tail(arg, after);
            }
            if self.at == at {
                break;
            }
        }
    }

    /// How often `arg` is repeated by the count called `name`.
    fn counted(&mut self, arg: &'static Arg, name: &'static str) -> usize {
        let words = match arg.kind {
            ArgKind::Block(args) => least(args).max(1),
            _ => 1,
        };
        let most = self.left() / words;
        let said = self.count.filter(|(of, _)| *of == name).and_then(|(_, count)| count);
        self.found.bad_count |=
            said.is_none_or(|count| count > most || (count == 0 && !arg.optional));
        // Of a count that is wrong all words that may be keys are taken for keys.
        said.unwrap_or(usize::MAX)
    }

    /// As [`Walk::value`] of the last argument of all.
    fn tail(&mut self, arg: &'static Arg, after: usize) {
        match arg.kind {
            ArgKind::Block(args) => self.list(args, true, after),
            _ => self.value(arg, after),
        }
    }

    /// The words of one argument, after its token.
    fn value(&mut self, arg: &'static Arg, after: usize) {
        match arg.kind {
            ArgKind::Token => {}
            ArgKind::Block(args) => self.list(args, false, after),
            ArgKind::OneOf(args) => match self.named(args) {
                Some(option) => self.option(option, args, after),
                None => match args.iter().find(|arg| !arg.is_option()) {
                    Some(arg) => self.value(arg, after),
                    None => {
                        self.found.stray = true;
                        self.at += 1;
                    }
                },
            },
            _ => {
                let Some(word) = self.words.get(self.at) else { return };
                if arg.kind == ArgKind::Integer {
                    let count = core::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
                    self.count = Some((arg.name, count));
                }
                (self.visit)(self.at, arg);
                self.at += 1;
            }
        }
    }
}
