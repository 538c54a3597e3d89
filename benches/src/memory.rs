//! Resident bytes per item: what a million of them adds to a fresh server, less their own bytes.

use clap::Args;
use serde::Serialize;

use crate::chart::{Bar, Chart};
use crate::error::Result;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::resp::encode;
use crate::servers::{Kind, Programs, Server};
use crate::table::{Table, grouped, verdict};

/// Commands sent at once.
const BATCH: usize = 1_000;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How many of each
    #[arg(long, default_value_t = 1_000_000)]
    items: usize,
}

impl Options {
    /// What `all` runs. Not fewer in a hurry: the targets speak of a million.
    pub(crate) fn standard() -> Options {
        Options { items: 1_000_000 }
    }
}

/// One thing to have a million of. In the commands `{}` is the item's number.
struct Case {
    name: &'static str,
    /// For the chart.
    label: &'static str,
    miso: &'static [&'static str],
    redis: &'static [&'static str],
    /// Which words of our command are the item's own bytes; the same for Redis's.
    miso_own: &'static [usize],
    redis_own: &'static [usize],
    target: Option<f64>,
}

const CASES: &[Case] = &[
    Case {
        name: "GCounter, a name of one object",
        label: "GCounter,\nname of one object",
        miso: &["GCOUNTER.ADD", "object", "n:{}", "1"],
        redis: &["HINCRBY", "object", "n:{}", "1"],
        miso_own: &[2],
        redis_own: &[2],
        target: Some(77.0),
    },
    Case {
        name: "GCounter, an object of its own",
        label: "GCounter,\nobject of its own",
        miso: &["GCOUNTER.ADD", "o:{}", "c", "1"],
        redis: &["INCRBY", "o:{}", "1"],
        miso_own: &[1, 2],
        redis_own: &[1],
        target: Some(170.0),
    },
    Case {
        name: "ORSet element",
        label: "ORSet element",
        miso: &["ORSET.ADD", "object", "set", "e:{}"],
        redis: &["SADD", "set", "e:{}"],
        miso_own: &[3],
        redis_own: &[2],
        target: Some(90.0),
    },
    Case {
        name: "PNCounter, a name of one object",
        label: "PNCounter,\nname of one object",
        miso: &["PNCOUNTER.ADD", "object", "n:{}", "-1"],
        redis: &["HINCRBY", "object", "n:{}", "-1"],
        miso_own: &[2],
        redis_own: &[2],
        target: None,
    },
    Case {
        name: "MVRegister of 8 bytes, a name of one object",
        label: "MVRegister of 8 bytes,\nname of one object",
        miso: &["MVREG.SET", "object", "n:{}", "xxxxxxxx"],
        redis: &["HSET", "object", "n:{}", "xxxxxxxx"],
        miso_own: &[2, 3],
        redis_own: &[2, 3],
        target: None,
    },
];

impl Case {
    fn command(&self, kind: Kind) -> (&'static [&'static str], &'static [usize]) {
        match kind {
            Kind::Miso => (self.miso, self.miso_own),
            Kind::Redis => (self.redis, self.redis_own),
        }
    }
}

/// The bytes of one item.
#[derive(Clone, Copy, Serialize, Default)]
struct Growth {
    /// Resident growth per item.
    bytes: f64,
    /// Of which names, elements and values as they were sent.
    own: f64,
}

impl Growth {
    fn beyond(self) -> f64 {
        self.bytes - self.own
    }
}

#[derive(Serialize)]
struct Measured {
    item: &'static str,
    #[serde(skip)]
    label: &'static str,
    miso_command: String,
    redis_command: String,
    miso: Growth,
    redis: Growth,
    miso_beyond_own: f64,
    redis_beyond_own: f64,
    target: Option<f64>,
    met: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Memory {
    items: usize,
    cases: Vec<Measured>,
}

/// Fills a fresh server of either kind for each case.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Memory> {
    let bar = progress::bar("memory", CASES.len() * 2);
    let mut cases = Vec::new();
    for case in CASES {
        let mut growth = [Growth::default(); 2];
        for kind in Kind::BOTH {
            bar.set_message(format!("{}: {}", kind.name(), case.name));
            let server = Server::start(programs, kind)?;
            let (words, own) = case.command(kind);
            growth[kind as usize] = grow(&server, words, own, options.items)?;
            bar.inc(1);
        }
        let [miso, redis] = growth;
        cases.push(Measured {
            item: case.name,
            label: case.label,
            miso_command: case.miso.join(" "),
            redis_command: case.redis.join(" "),
            miso,
            redis,
            miso_beyond_own: miso.beyond(),
            redis_beyond_own: redis.beyond(),
            target: case.target,
            met: case.target.map(|target| miso.beyond() <= target),
        });
    }
    bar.finish_and_clear();
    Ok(Memory { items: options.items, cases })
}

fn grow(server: &Server, words: &[&str], own: &[usize], items: usize) -> Result<Growth> {
    let before = server.settled_resident()?;
    let own_bytes = fill(server, words, own, items)?;
    let after = server.settled_resident()?;
    let per_item = |bytes: usize| bytes as f64 / items as f64;
    let grown = usize::try_from(after.saturating_sub(before))?;
    Ok(Growth { bytes: per_item(grown), own: per_item(own_bytes) })
}

/// Sends `words` once per item, with the item's number in place of `{}`; how many bytes the words
/// at the places `own` had in all.
pub(crate) fn fill(server: &Server, words: &[&str], own: &[usize], items: usize) -> Result<usize> {
    let mut client = server.connect()?;
    let mut own_bytes = 0;
    let mut out = Vec::new();
    for first in (0..items).step_by(BATCH) {
        let batch = first..items.min(first + BATCH);
        out.clear();
        for number in batch.clone() {
            let command = numbered(words, number);
            own_bytes += own.iter().map(|&word| command[word].len()).sum::<usize>();
            encode(&mut out, &command);
        }
        client.batch(&out, batch.len())?;
    }
    Ok(own_bytes)
}

/// The command about the item of this number.
pub(crate) fn numbered(words: &[&str], number: usize) -> Vec<String> {
    let number = format!("{number:010}");
    words.iter().map(|word| word.replace("{}", &number)).collect()
}

impl Report for Memory {
    const NAME: &'static str = "memory";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "bytes per item beyond its own bytes",
            "MISO",
            "target",
            "Redis",
            "own bytes",
            "MISO's command",
            "Redis's command",
        ]);
        for case in &self.cases {
            table.row([
                case.item.into(),
                format!("{:.0}", case.miso_beyond_own),
                case.target.map_or_else(String::new, |target| {
                    format!("{target:.0} {}", verdict(case.met))
                }),
                format!("{:.0}", case.redis_beyond_own),
                format!("{:.0}", case.miso.own),
                format!("`{}`", case.miso_command),
                format!("`{}`", case.redis_command),
            ]);
        }
        format!(
            "Growth of the resident size of a fresh server by {} items, per item, less the bytes of \
             its names, elements and values.\n\n{table}",
            grouped(self.items as u64)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let targets = self.cases.iter().filter_map(|case| {
            Some(Target {
                what: format!("bytes beyond its own, {}", case.item),
                figure: case.miso_beyond_own,
                limit: Limit::AtMost(case.target?),
                met: case.met,
            })
        });
        targets.collect()
    }

    fn chart(&self) -> Option<Chart> {
        let groups = self.cases.iter().map(|case| {
            let miso = Bar { value: case.miso_beyond_own, target: case.target };
            let redis = Bar { value: case.redis_beyond_own, target: None };
            (case.label.to_owned(), vec![miso, redis])
        });
        Some(Chart {
            title: "Memory per item".into(),
            subtitle: format!(
                "growth of the resident size by {} items, less their own bytes; lower is better",
                grouped(self.items as u64)
            ),
            axis: "bytes per item beyond its own".into(),
            series: vec!["MISO".into(), "Redis (hash field, key or set element)".into()],
            groups: groups.collect(),
            reference: None,
            digits: 0,
        })
    }
}
