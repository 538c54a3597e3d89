//! How soon a server answers after exec, and how much it holds before it has done anything.

use clap::Args;
use serde::Serialize;

use crate::error::Result;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::servers::{Kind, Programs, Server};
use crate::statistics::{Spread, median, sorted};
use crate::table::{Table, verdict};

const READY_MS_TARGET: f64 = 15.0;
const IDLE_MIB_TARGET: f64 = 15.0;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How often each is started
    #[arg(long, default_value_t = 20)]
    starts: usize,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard() -> Options {
        Options { starts: 20 }
    }
}

#[derive(Serialize)]
struct Start {
    ready_ms: Spread,
    idle_mib: f64,
}

#[derive(Serialize)]
pub(crate) struct Startup {
    starts: usize,
    miso: Start,
    redis: Start,
    ready_ms_target: f64,
    idle_mib_target: f64,
}

/// Starts both servers by turns.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Startup> {
    let bar = progress::bar("startup", options.starts);
    let mut ready = [Vec::new(), Vec::new()];
    let mut idle = [Vec::new(), Vec::new()];
    for number in 0..options.starts {
        for kind in Kind::alternating(number) {
            let server = Server::start(programs, kind)?;
            ready[kind as usize].push(server.ready_after().as_secs_f64() * 1e3);
            idle[kind as usize].push(server.resident()? as f64 / f64::from(1 << 20));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let start = |kind: Kind| Start {
        ready_ms: Spread::of(&ready[kind as usize]),
        idle_mib: median(&sorted(&idle[kind as usize])),
    };
    Ok(Startup {
        starts: options.starts,
        miso: start(Kind::Miso),
        redis: start(Kind::Redis),
        ready_ms_target: READY_MS_TARGET,
        idle_mib_target: IDLE_MIB_TARGET,
    })
}

impl Report for Startup {
    const NAME: &'static str = "startup";

    fn markdown(&self) -> String {
        let mut table = Table::new(&["", "MISO", "target", "Redis"]);
        table.row([
            "exec to first PONG, ms, median".into(),
            format!("{:.1}", self.miso.ready_ms.median),
            format!(
                "{:.0} {}",
                self.ready_ms_target,
                verdict(Some(self.miso.ready_ms.median <= self.ready_ms_target))
            ),
            format!("{:.1}", self.redis.ready_ms.median),
        ]);
        table.row([
            "exec to first PONG, ms, min to max".into(),
            format!("{:.1} to {:.1}", self.miso.ready_ms.min, self.miso.ready_ms.max),
            String::new(),
            format!("{:.1} to {:.1}", self.redis.ready_ms.min, self.redis.ready_ms.max),
        ]);
        table.row([
            "resident when idle, MiB".into(),
            format!("{:.1}", self.miso.idle_mib),
            format!(
                "{:.0} {}",
                self.idle_mib_target,
                verdict(Some(self.miso.idle_mib <= self.idle_mib_target))
            ),
            format!("{:.1}", self.redis.idle_mib),
        ]);
        format!("{} starts of each server, by turns.\n\n{table}", self.starts)
    }

    fn targets(&self) -> Vec<Target> {
        let target = |what: &str, figure: f64, at_most: f64| Target {
            what: what.to_owned(),
            figure,
            limit: Limit::AtMost(at_most),
            met: Some(figure <= at_most),
        };
        vec![
            target("ms from exec to first PONG", self.miso.ready_ms.median, self.ready_ms_target),
            target("MiB resident when idle", self.miso.idle_mib, self.idle_mib_target),
        ]
    }
}
