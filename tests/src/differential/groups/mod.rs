//! The commands of each group, as lines with gaps.

mod collections;
mod keys;
mod sorted_sets;
mod strings;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::compare::Order;
use super::grammar::{Line, Words};
use super::words::Draw;

/// A group of commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Strings.
    Strings,
    /// Bits of strings.
    Bitmaps,
    /// Hashes, and deadlines of their fields.
    Hashes,
    /// Sets.
    Sets,
    /// Sorted sets.
    SortedSets,
    /// Places, which are sorted sets.
    Geo,
    /// HyperLogLogs.
    HyperLogLog,
    /// Keys of any type.
    Keys,
}

impl Group {
    /// All of them.
    pub const ALL: [Group; 8] = [
        Group::Strings,
        Group::Bitmaps,
        Group::Hashes,
        Group::Sets,
        Group::SortedSets,
        Group::Geo,
        Group::HyperLogLog,
        Group::Keys,
    ];

    fn rows(self) -> &'static [Row] {
        match self {
            Group::Strings => strings::STRINGS,
            Group::Bitmaps => strings::BITMAPS,
            Group::HyperLogLog => strings::HYPERLOGLOG,
            Group::Hashes => collections::HASHES,
            Group::Sets => collections::SETS,
            Group::SortedSets => sorted_sets::SORTED_SETS,
            Group::Geo => sorted_sets::GEO,
            Group::Keys => keys::KEYS,
        }
    }
}

/// A command and how its replies are compared.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Its words.
    pub(super) words: Words,
    /// How replies to it are compared.
    pub(super) order: Order,
}

/// Commands that belong together: most stand alone; a random answer stands after a read of what it is drawn
/// from, and before a command that makes both servers alike again.
pub(super) type Step = Vec<Command>;

/// The names of all commands of all groups, each once.
pub(super) fn names() -> BTreeSet<&'static str> {
    PARSED.iter().flat_map(|row| &row.lines).flat_map(|(line, _)| line.names()).collect()
}

/// What a line stands for.
pub(super) struct Row {
    /// How often it is drawn.
    weight: usize,
    /// The version of Redis that has it first: major and minor.
    since: (u8, u8),
    /// Whether it is never made a bad one.
    whole: bool,
    lines: &'static [(&'static str, Order)],
}

impl Row {
    const fn new(lines: &'static [(&'static str, Order)]) -> Row {
        Row { weight: 2, since: (7, 0), whole: false, lines }
    }

    /// Twice as often as others.
    const fn often(self) -> Row {
        Row { weight: 5, ..self }
    }

    /// Once while others come five times.
    const fn rarely(self) -> Row {
        Row { weight: 1, ..self }
    }

    /// Never made a bad one: with other words its answer is in no order.
    const fn whole(self) -> Row {
        Row { whole: true, ..self }
    }

    const fn since(self, major: u8, minor: u8) -> Row {
        Row { since: (major, minor), ..self }
    }
}

/// A row that has been read.
struct Parsed {
    group: Group,
    weight: usize,
    since: (u8, u8),
    whole: bool,
    lines: Vec<(Line, Order)>,
}

static PARSED: LazyLock<Vec<Parsed>> = LazyLock::new(|| {
    let parse = |group, row: &Row| Parsed {
        group,
        weight: row.weight,
        since: row.since,
        whole: row.whole,
        lines: row.lines.iter().map(|(text, order)| (Line::new(text), *order)).collect(),
    };
    let of = |group: Group| group.rows().iter().map(move |row| parse(group, row));
    Group::ALL.into_iter().flat_map(of).collect()
});

/// The commands of some groups that a version of Redis has.
pub(super) struct Commands {
    rows: Vec<&'static Parsed>,
    weight: usize,
}

impl Commands {
    /// Those of `groups` that are known to version `has` of Redis, and that our node `serves`.
    pub(super) fn new(groups: &[Group], has: (u8, u8), serves: impl Fn(&str) -> bool) -> Commands {
        let served =
            |row: &&Parsed| row.lines.iter().flat_map(|(line, _)| line.names()).all(&serves);
        let of_groups = PARSED.iter().filter(|row| groups.contains(&row.group) && row.since <= has);
        let rows: Vec<_> = of_groups.filter(served).collect();
        let weight = rows.iter().map(|row| row.weight).sum();
        assert!(weight > 0, "no commands in {groups:?}");
        Commands { rows, weight }
    }

    /// A random step. One in eight is bad, or another command than its row says.
    pub(super) fn draw(&self, draw: &mut Draw) -> Step {
        let mut at = draw.below(self.weight);
        let row = self.rows.iter().find(|row| {
            let found = at < row.weight;
            at = at.saturating_sub(row.weight);
            found
        });
        let row = row.expect("the number is below the sum of the weights");
        draw.begin();
        let mut step: Step = row
            .lines
            .iter()
            .map(|(line, order)| Command { words: line.fill(draw), order: *order })
            .collect();
        // The key of a random answer stays: else what it changes stays unknown. So do words that say what it
        // is made of.
        let at = usize::from(step.len() > 1);
        let command = &mut step[at];
        let kept = match command.order {
            Order::DrawnPairs => command.words.len(),
            Order::Drawn => 2.min(command.words.len()),
            _ if command.words[0].starts_with(b"PF") => 2.min(command.words.len()),
            _ => 1,
        };
        if draw.chance(12) && !row.whole {
            draw.spoil(&mut command.words, kept);
        }
        if draw.chance(5) {
            command.words.iter_mut().enumerate().for_each(|(at, word)| {
                let is_option =
                    at == 0 || word.len() > 2 && word.iter().all(u8::is_ascii_uppercase);
                if is_option {
                    draw.respell(word);
                }
            });
        }
        step
    }
}
