//! Resident bytes per plain key, beside Redis 8.2 and Valkey 9.1: what many of them add to an empty server.

use serde::Serialize;

use super::peers::{Peer, Peers};
use crate::chart::{Bar, Chart};
use crate::error::Result;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::resp::encode;
use crate::servers::Server;
use crate::table::{Table, grouped, verdict};

/// Commands sent at once.
const BATCH: usize = 1_000;

/// One kind of key to have many of. In the commands `{}` is its number.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    /// Ours, where it is another command.
    miso: Option<&'static [&'static str]>,
    target: f64,
}

const fn case(name: &'static str, words: &'static [&'static str], target: f64) -> Case {
    Case { name, words, miso: None, target }
}

const VALUE: &str = "xxxxxxxxxxxxxxxx";

const CASES: &[Case] = &[
    case("INCR", &["INCR", "key:{}"], 58.0),
    case("SET of 16 bytes", &["SET", "key:{}", VALUE], 80.0),
    case("SET of 16 bytes, EX", &["SET", "key:{}", VALUE, "EX", "100000"], 96.0),
    case("SADD, members of one set", &["SADD", "set", "key:{}"], 45.0),
    case("SADD, a set of one member each", &["SADD", "key:{}", "apple"], 80.0),
    case("HSET, a hash of one field each", &["HSET", "key:{}", "f", "xxxxxxxx"], 86.0),
    case("ZADD, members of one set", &["ZADD", "board", "{}", "key:{}"], 88.0),
    Case {
        miso: Some(&["GCOUNTER.ADD", "key:{}", "c", "1"]),
        ..case("GCounter, an object of its own", &["INCR", "key:{}"], 65.0)
    },
    Case {
        miso: Some(&["ORSET.ADD", "key:{}", "s", "apple"]),
        ..case("ORSet of one element each", &["SADD", "key:{}", "apple"], 90.0)
    },
    Case {
        miso: Some(&["ORMAP.SET", "key:{}", "m", "f", "xxxxxxxx"]),
        ..case("ORMap of one field each", &["HSET", "key:{}", "f", "xxxxxxxx"], 96.0)
    },
];

#[derive(Serialize)]
struct Measured {
    what: &'static str,
    miso_command: String,
    redis_command: String,
    miso: f64,
    redis: f64,
    valkey: f64,
    target: f64,
    met: bool,
}

#[derive(Serialize)]
pub(crate) struct Sizes {
    items: usize,
    cases: Vec<Measured>,
}

/// Fills a fresh server of each kind for each case.
pub(super) fn run(peers: &Peers<'_>, items: usize) -> Result<Sizes> {
    let bar = progress::bar("plain", CASES.len() * Peer::ALL.len());
    let mut cases = Vec::new();
    for case in CASES {
        let ours = case.miso.unwrap_or(case.words);
        let mut grown = [0.0; 3];
        for (peer, grown) in Peer::ALL.into_iter().zip(&mut grown) {
            bar.set_message(format!("{peer:?}: {}", case.name));
            let words = if peer == Peer::Miso { ours } else { case.words };
            *grown = grow(&peers.start(peer)?, words, items)?;
            bar.inc(1);
        }
        let [miso, redis, valkey] = grown;
        cases.push(Measured {
            what: case.name,
            miso_command: ours.join(" "),
            redis_command: case.words.join(" "),
            miso,
            redis,
            valkey,
            target: case.target,
            met: miso <= case.target,
        });
    }
    bar.finish_and_clear();
    Ok(Sizes { items, cases })
}

/// By how many bytes a key the server grows.
fn grow(server: &Server, words: &[&str], items: usize) -> Result<f64> {
    let before = server.settled_resident()?;
    let mut client = server.connect()?;
    let mut out = Vec::new();
    for first in (0..items).step_by(BATCH) {
        let batch = first..items.min(first + BATCH);
        out.clear();
        for number in batch.clone() {
            let number = number.to_string();
            let command: Vec<String> =
                words.iter().map(|word| word.replace("{}", &number)).collect();
            encode(&mut out, &command);
        }
        client.batch(&out, batch.len())?;
    }
    drop(client);
    let grown = server.settled_resident()?.saturating_sub(before);
    Ok(grown as f64 / items as f64)
}

impl Report for Sizes {
    const NAME: &'static str = "plain-memory";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "bytes per key",
            "MISO",
            "target",
            "Redis",
            "Valkey",
            "MISO's command",
            "the others' command",
        ]);
        for case in &self.cases {
            table.row([
                case.what.to_owned(),
                format!("{:.0}", case.miso),
                format!("{:.0} {}", case.target, verdict(Some(case.met))),
                format!("{:.0}", case.redis),
                format!("{:.0}", case.valkey),
                format!("`{}`", case.miso_command),
                format!("`{}`", case.redis_command),
            ]);
        }
        format!(
            "Growth of the resident size of an empty server by {} keys or members, for each of them; names and \
             values are in it.\n\n{table}",
            grouped(self.items as u64)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let target = |case: &Measured| {
            Target::new(
                format!("bytes per key, {}", case.what),
                case.miso,
                Limit::AtMost(case.target),
            )
        };
        self.cases.iter().map(target).collect()
    }

    fn chart(&self) -> Option<Chart> {
        let groups = self.cases.iter().map(|case| {
            let miso = Bar { value: case.miso, target: Some(case.target) };
            let others = [case.redis, case.valkey].map(|value| Bar { value, target: None });
            let bars = [miso].into_iter().chain(others).collect();
            (case.what.replacen(", ", ",\n", 1).replacen(" of ", "\nof ", 1), bars)
        });
        Some(Chart {
            title: "Memory per plain key".into(),
            subtitle: format!(
                "growth of the resident size by {} keys or members; lower is better",
                grouped(self.items as u64)
            ),
            axis: "bytes per key".into(),
            series: vec!["MISO".into(), "Redis 8.2".into(), "Valkey 9.1".into()],
            groups: groups.collect(),
            reference: None,
            digits: 0,
        })
    }
}
