//! LCS: the longest common subsequence of two strings.

use std::borrow::Cow;

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use super::string_many::locked;
use super::string_parts::LONGEST;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(crate) const LCS: &[Command] = &[Command::new(
    Row::command("LCS")
        .args(&[
            Arg::key("key1"),
            Arg::key("key2"),
            Arg::token("LEN").optional(),
            Arg::token("IDX").optional(),
            Arg::integer("min-match-len").with_token("MINMATCHLEN").optional(),
            Arg::token("WITHMATCHLEN").optional(),
        ])
        .group(Group::String)
        .reads()
        .complexity("O(N*M) with N and M bytes")
        .summary("The longest common subsequence of two strings")
        .reply("Bulk string; with LEN its length; with IDX where it stands in both"),
    lcs,
)];

/// A run of equal bytes: from and to in the first string, and from in the second.
type Match = (usize, usize, usize);

/// The lengths of the longest common subsequences of all pairs of beginnings.
struct Lengths {
    width: usize,
    all: Vec<u32>,
}

impl Lengths {
    fn of(a: &[u8], b: &[u8]) -> Lengths {
        let width = b.len() + 1;
        let mut lengths = Lengths { width, all: vec![0; (a.len() + 1) * width] };
        for (i, x) in (1..).zip(a) {
            for (j, y) in (1..).zip(b) {
                let length = if x == y {
                    lengths.at(i - 1, j - 1) + 1
                } else {
                    lengths.at(i - 1, j).max(lengths.at(i, j - 1))
                };
                lengths.all[i * width + j] = length;
            }
        }
        lengths
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.all[i * self.width + j]
    }

    /// The runs, from the end on, in the way that Redis takes where there are several.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let (mut i, mut j) = (a.len(), b.len());
        let mut matches: Vec<Match> = Vec::new();
        let mut goes_on = false;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match matches.last_mut().filter(|_| goes_on) {
                    Some(run) => (run.0, run.2) = (i, j),
                    None => matches.push((i, i, j)),
                }
                goes_on = true;
            } else {
                goes_on = false;
                if self.at(i - 1, j) > self.at(i, j - 1) {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
        }
        matches
    }
}

fn lcs(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (mut len, mut idx, mut with_len, mut least) = (false, false, false, 0);
    let mut words = Words::from(args, 3);
    while !words.is_empty() {
        if words.token("LEN") {
            len = true;
        } else if words.token("IDX") {
            idx = true;
        } else if words.token("WITHMATCHLEN") {
            with_len = true;
        } else if words.token("MINMATCHLEN") {
            least = usize::try_from(words.integer()?.max(0)).unwrap_or(usize::MAX);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if len && idx {
        return Err(CommandError::LcsBoth);
    }
    let [a, b] = cx.with_keys([&args[1], &args[2]].into_iter(), |held| {
        let now = held.function().now();
        let mut read = |key: &[u8]| {
            locked(held, (key, now), |locked| {
                let at = locked.at();
                let state = locked.state::<kind::PlainString>();
                let string = state.map_err(|_| CommandError::LcsStrings)?;
                let value = string.and_then(|string| string.get(at.now, at.writers));
                Ok::<_, CommandError>(value.map_or_else(Vec::new, Cow::into_owned))
            })
        };
        Ok::<_, CommandError>([read(&args[1])?, read(&args[2])?])
    })?;
    let cells = (a.len() + 1).checked_mul(b.len() + 1).and_then(|cells| cells.checked_mul(4));
    if cells.is_none_or(|bytes| bytes > LONGEST) {
        return Err(CommandError::LcsMemory);
    }
    let lengths = Lengths::of(&a, &b);
    let total = i64::from(lengths.at(a.len(), b.len()));
    if len {
        cx.reply.integer(total);
        return Ok(());
    }
    let matches = lengths.matches(&a, &b);
    if idx {
        tell(&matches, (least, with_len), total, &mut cx.reply);
        return Ok(());
    }
    let common: Vec<u8> =
        matches.iter().rev().flat_map(|(from, to, _)| &a[*from..=*to]).copied().collect();
    cx.reply.bulk(&common);
    Ok(())
}

fn tell(matches: &[Match], (least, with_len): (usize, bool), total: i64, reply: &mut Reply<'_>) {
    let long: Vec<&Match> = matches.iter().filter(|(from, to, _)| to - from + 1 >= least).collect();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(long.len());
    for (from, to, other) in long {
        reply.array(2 + usize::from(with_len));
        for (from, to) in [(*from, *to), (*other, *other + (to - from))] {
            reply.array(2);
            reply.integer(from as i64);
            reply.integer(to as i64);
        }
        if with_len {
            reply.integer((to - from + 1) as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(total);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_redis() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let lengths = Lengths::of(a, b);
        assert_eq!(lengths.at(a.len(), b.len()), 6);
        assert_eq!(lengths.matches(a, b), [(4, 7, 5), (2, 3, 0)]);
    }
}
