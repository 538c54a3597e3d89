//! Everything in one go, and the page that tells it.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::directory::workspace;
use crate::environment::Environment;
use crate::error::Result;
use crate::report::{self, Report};
use crate::servers::Programs;
use crate::table::{Table, verdict};
use crate::{
    allreduce, compare, durability, http, instructions, latency, memory, neighbour, once, plain,
    replication, startup, tls,
};

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// A minute or two instead of ten: for a look, not for a record
    #[arg(long)]
    quick: bool,
    /// The folder under which the files are written [default: the workspace]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Runs every benchmark; what each found is written as soon as it has ended.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<()> {
    let quick = options.quick;
    let began = Instant::now();
    let environment = Environment::look(programs);
    let root = options.output.clone().unwrap_or_else(workspace);
    report::write_json(&root.join("benches/results/environment.json"), &environment)?;
    let mut page = Page::new(Some(root), &environment);
    page.add(
        "The main job: AllReduce",
        "allreduce --repetitions 50",
        &allreduce::run(programs, &allreduce::Options::standard(quick))?,
    )?;
    page.add(
        "CPU per command",
        "compare",
        &compare::run(programs, &compare::Options::standard(quick))?,
    )?;
    page.add(
        "Latency at a fixed rate",
        "latency",
        &latency::run(programs, &latency::Options::standard(quick))?,
    )?;
    page.add("Memory per item", "memory", &memory::run(programs, &memory::Options::standard())?)?;
    match plain::Peers::find(programs) {
        Ok(peers) => {
            let (prices, sizes) = plain::measure(&peers, quick)?;
            page.add(plain::SECTIONS[0], plain::COMMAND, &prices)?;
            page.add(plain::SECTIONS[1], plain::COMMAND, &sizes)?;
        }
        Err(error) => eprintln!("miso-benches: no plain keys were measured: {error}"),
    }
    page.add(
        "Start and idle size",
        "startup",
        &startup::run(programs, &startup::Options::standard())?,
    )?;
    page.add(
        "What is kept on disk",
        "durability",
        &durability::run(programs, &durability::Options::standard(quick))?,
    )?;
    page.add("HTTP", "http", &http::run(programs, &http::Options::standard(quick))?)?;
    page.add(
        "Writes that run once",
        "once",
        &once::run(programs, &once::Options::standard(quick))?,
    )?;
    page.add("TLS", "tls", &tls::run(programs, &tls::Options::standard(quick))?)?;
    page.add(
        "A noisy neighbour",
        "neighbour",
        &neighbour::run(programs, &neighbour::Options::standard(quick))?,
    )?;
    add_replication(&mut page, programs, &replication::Options::standard(quick))?;
    if instructions::available() {
        page.add(
            "Instructions per command",
            "instructions",
            &instructions::run(programs, &instructions::Options::standard())?,
        )?;
    } else {
        eprintln!("miso-benches: valgrind is not installed, so no instructions were counted");
    }
    page.finish(quick)?;
    eprintln!("miso-benches: done in {} s", began.elapsed().as_secs());
    Ok(())
}

/// The tables of many nodes alone; written only where that is asked for, and never to the page.
pub(crate) fn run_replication(programs: &Programs, options: &replication::Options) -> Result<()> {
    let output = options.output.clone();
    let mut page = Page::new(output, &Environment::look(programs));
    add_replication(&mut page, programs, options)?;
    println!("## What was to be reached\n\n{}", page.targets);
    Ok(())
}

fn add_replication(
    page: &mut Page,
    programs: &Programs,
    options: &replication::Options,
) -> Result<()> {
    use replication::Part;
    if options.wants(Part::Load) {
        let report = replication::spread(programs, options)?;
        page.add("Many nodes: the paper's load", "replication --part load", &report)?;
    }
    if options.wants(Part::Intervals) {
        let report = replication::intervals(programs, options)?;
        page.add("Many nodes: intervals", "replication --part intervals", &report)?;
    }
    if options.wants(Part::Peers) {
        let report = replication::peers(programs, options)?;
        page.add("What a peer costs", "replication --part peers", &report)?;
    }
    if options.wants(Part::Size) {
        let report = replication::size(programs, options)?;
        page.add("Writes in a large state", "replication --part size", &report)?;
    }
    Ok(())
}

/// `docs/benchmarks.md` as it grows.
struct Page {
    /// Where files are written, if any are.
    root: Option<PathBuf>,
    head: String,
    targets: Table,
    sections: String,
}

impl Page {
    fn new(root: Option<PathBuf>, environment: &Environment) -> Page {
        let head = format!(
            "# Benchmarks\n\n\
             <!-- Written by `cargo run --release -p miso-benches -- all`. -->\n\n\
             Measured by `cargo run --release -p miso-benches -- all`, which needs `redis-server` and\n\
             (for the instruction counts) `valgrind`, and takes about half an hour on a machine that is\n\
             otherwise idle. Both servers run with their defaults, in memory (but where it is about the\n\
             disk), on the loopback, and by turns. The figures as JSON: [benches/results](../benches/results).\n\n\
             {}",
            environment.markdown()
        );
        let targets = Table::new(&["figure", "measured", "wanted", ""]);
        Page { root, head, targets, sections: String::new() }
    }

    fn add<R: Report>(&mut self, title: &str, command: &str, report: &R) -> Result<()> {
        let markdown = report.markdown();
        println!("## {title}\n\n{markdown}");
        for target in report.targets() {
            self.targets.row([
                target.what,
                format!("{:.2}", target.figure),
                target.limit.to_string(),
                verdict(target.met).to_owned(),
            ]);
        }
        let name = R::NAME;
        if let Some(root) = &self.root {
            report::write_json(&root.join(format!("benches/results/{name}.json")), report)?;
        }
        self.sections += &report::section(title, command, report, self.root.as_deref())?;
        Ok(())
    }

    fn finish(self, quick: bool) -> Result<()> {
        let Page { root, head, targets, sections } = self;
        let Some(root) = root else { return Ok(()) };
        let quick = if quick { "\nThis was a `--quick` run: its figures are rough.\n" } else { "" };
        let targets = format!("## What was to be reached\n\n{targets}");
        println!("{targets}");
        let text = format!("{head}{quick}\n{targets}{sections}");
        report::write_text(&root.join("docs/benchmarks.md"), &text)
    }
}
