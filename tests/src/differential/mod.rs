//! The differential test: random commands, good and bad, on our node and on a real `redis-server`, and the
//! same replies from both, to the byte where Redis defines their order.
//!
//! - `groups` are the commands, as lines with gaps; `grammar` reads lines, `words` fills gaps.
//! - `play` sends pipelines to both servers; `reply` reads what comes back; `compare` says what of it
//!   must be the same; `known` which differences docs/compatibility.md lists.
//! - `shrink` drops what a difference does not need.
//!
//! A case is some hundred commands on empty servers and a look at all keys after them. Each case has a seed.

mod compare;
mod grammar;
pub mod groups;
mod known;
mod play;
mod reply;
mod shrink;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use self::compare::Order;
use self::groups::{Command, Commands, Group, Step};
use self::play::Pair;
use self::words::{Draw, KEYS};
use crate::{Frame, Node, Resp};

/// Random steps in a case.
pub const STEPS: u64 = 400;

/// The most differences that a run collects before it ends.
const DIFFERENCES: usize = 25;

/// Our node beside a Redis.
pub struct Trial {
    pairs: [Pair; 2],
    version: (u8, u8),
    unserved: BTreeSet<&'static str>,
}

/// What a trial came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The commands that were compared.
    pub commands: u64,
    /// Differences, each as a text: the seed of its case, the fewest commands that show it, both answers.
    pub differences: Vec<String>,
    /// How often each known difference was met, by name.
    pub known: BTreeMap<&'static str, u64>,
}

impl Trial {
    /// Holds `ours` against `theirs`.
    pub fn new(ours: &Node, theirs: &Node) -> Trial {
        let version = theirs.info("redis_version");
        let mut numbers = version.split('.').map_while(|number| number.parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let pairs = Resp::BOTH.map(|resp| Pair::open(ours, theirs, resp, version));
        let mut wire = ours.wire();
        let mut serves =
            |name: &str| wire.ask(&format!("COMMAND INFO {name}")).items() != [Frame::Null];
        let unserved = groups::names().into_iter().filter(|name| !serves(name)).collect();
        Trial { pairs, version, unserved }
    }

    /// The commands of all groups that our node does not have. They are not played.
    pub fn unserved(&self) -> &BTreeSet<&'static str> {
        &self.unserved
    }

    /// Plays cases from `seed` on until `commands` are compared.
    pub fn run(&mut self, groups: &[Group], seed: u64, commands: u64) -> Outcome {
        let source = Commands::new(groups, self.version, |name| !self.unserved.contains(name));
        let mut outcome = Outcome::default();
        // One difference per command and kinds of answers: the others of its kind may be the same fault.
        let mut seen = Vec::new();
        for seed in seed.. {
            if outcome.commands >= commands || outcome.differences.len() >= DIFFERENCES {
                break;
            }
            self.case(&source, seed, &mut outcome, &mut seen);
        }
        outcome
    }

    fn case(
        &mut self,
        source: &Commands,
        seed: u64,
        outcome: &mut Outcome,
        seen: &mut Vec<(Vec<u8>, u8, u8)>,
    ) {
        let mut draw = Draw::new(seed);
        let mut steps: Vec<Step> = (0..STEPS).map(|_| source.draw(&mut draw)).collect();
        steps.extend(look());
        let which = usize::from(seed % 2 == 1);
        let pair = &mut self.pairs[which];
        let mut play = |steps: &[Step]| {
            pair.play(steps)
                .unwrap_or_else(|error| panic!("DIFF_SEED={seed}: {error}\n{}", show(steps)))
        };
        let played = play(&steps);
        outcome.commands += played.commands;
        for name in played.known {
            *outcome.known.entry(name).or_default() += 1;
        }
        let Some(first) = played.difference else { return };
        let name = steps[first.step][first.command].words[0].to_ascii_uppercase();
        let kind = (name, first.ours.kind, first.theirs.kind);
        if seen.contains(&kind) {
            return;
        }
        seen.push(kind);
        steps.truncate(first.step + 1);
        let differs = |steps: &[Step]| {
            play(steps).difference.is_some_and(|difference| difference.step + 1 == steps.len())
        };
        let fewest = shrink::shortest(&steps, differs);
        let mut text = format!("DIFF_SEED={seed} in {:?}:\n{}", Resp::BOTH[which], show(&fewest));
        let (ours, theirs) = match play(&fewest).difference {
            Some(difference) => (difference.ours, difference.theirs),
            None => {
                text.push_str("   which does not show again; at first it was\n");
                (first.ours, first.theirs)
            }
        };
        let _ = write!(text, "   redis {theirs}\n   ours  {ours}");
        outcome.differences.push(text);
    }
}

/// What every key holds, and for how long.
fn look() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut ask = |line: &[&str], order| {
        let words = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        steps.push(vec![Command { words, order }]);
    };
    for (kind, keys) in KEYS {
        for key in keys {
            ask(&["TYPE", key], Order::Exact);
            ask(&["PTTL", key], Order::Near(20_000));
            match kind {
                "hash" => ask(&["HGETALL", key], Order::Pairs),
                "set" | "numbers" => ask(&["SMEMBERS", key], Order::Unordered),
                "zset" | "lex" | "geo" => {
                    ask(&["ZRANGE", key, "0", "-1", "WITHSCORES"], Order::Exact);
                }
                "hll" => ask(&["PFCOUNT", key], Order::Exact),
                _ => ask(&["GET", key], Order::Exact),
            }
        }
    }
    ask(&["KEYS", "*"], Order::Unordered);
    steps
}

/// Commands as one types them.
fn show(steps: &[Step]) -> String {
    let quoted = |word: &Vec<u8>| {
        let plain =
            !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
        if plain {
            String::from_utf8_lossy(word).into_owned()
        } else {
            format!("\"{}\"", word.escape_ascii())
        }
    };
    let mut text = String::new();
    for command in steps.iter().flatten() {
        let words: Vec<String> = command.words.iter().map(quoted).collect();
        let _ = writeln!(text, "   {}", words.join(" "));
    }
    text
}
