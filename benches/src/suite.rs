//! Everything in one go, and the page that tells it.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::Result;
use crate::environment::Environment;
use crate::report::{self, Report};
use crate::servers::Programs;
use crate::table::{Table, verdict};
use crate::{allreduce, compare, instructions, latency, memory, startup};

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// A minute or two instead of ten: for a look, not for a record
    #[arg(long)]
    quick: bool,
    /// The folder under which the files are written [default: the workspace]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// The workspace that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    let crate_folder =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let crate_folder = PathBuf::from(crate_folder);
    crate_folder.parent().map_or_else(|| crate_folder.clone(), Path::to_owned)
}

/// Runs every benchmark; what each found is written as soon as it has ended.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<()> {
    let quick = options.quick;
    let began = Instant::now();
    let environment = Environment::look(programs);
    let mut page = Page::new(options.output.clone().unwrap_or_else(workspace), &environment);
    report::write_json(&page.root.join("benches/results/environment.json"), &environment)?;
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
    page.add(
        "Start and idle size",
        "startup",
        &startup::run(programs, &startup::Options::standard())?,
    )?;
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

/// `docs/benchmarks.md` as it grows.
struct Page {
    root: PathBuf,
    head: String,
    targets: Table,
    sections: String,
}

impl Page {
    fn new(root: PathBuf, environment: &Environment) -> Page {
        let head = format!(
            "# Benchmarks\n\n\
             <!-- Written by `cargo run --release -p miso-benches -- all`. -->\n\n\
             Measured by `cargo run --release -p miso-benches -- all`, which needs `redis-server` and\n\
             (for the instruction counts) `valgrind`, and takes about ten minutes on a machine that is\n\
             otherwise idle. Both servers run with their defaults, in memory, on the loopback, and by\n\
             turns. The figures as JSON: [benches/results](../benches/results).\n\n\
             {}",
            environment.markdown()
        );
        let targets = Table::new(&["figure", "measured", "at most", ""]);
        Page { root, head, targets, sections: String::new() }
    }

    fn add<R: Report>(&mut self, title: &str, command: &str, report: &R) -> Result<()> {
        let markdown = report.markdown();
        println!("## {title}\n\n{markdown}");
        for target in report.targets() {
            self.targets.row([
                target.what,
                format!("{:.2}", target.figure),
                format!("{:.2}", target.at_most),
                verdict(target.met).to_owned(),
            ]);
        }
        let name = R::NAME;
        report::write_json(&self.root.join(format!("benches/results/{name}.json")), report)?;
        write!(self.sections, "\n## {title}\n\n{markdown}")?;
        if let Some(chart) = report.chart() {
            report::write_text(&self.root.join(format!("docs/charts/{name}.svg")), &chart.svg()?)?;
            write!(self.sections, "\n![{title}](charts/{name}.svg)\n")?;
        }
        write!(self.sections, "\nAgain: `cargo run --release -p miso-benches -- {command}`\n")?;
        Ok(())
    }

    fn finish(self, quick: bool) -> Result<()> {
        let Page { root, head, targets, sections } = self;
        let quick = if quick { "\nThis was a `--quick` run: its figures are rough.\n" } else { "" };
        let targets = format!("## What was to be reached\n\n{targets}");
        println!("{targets}");
        let text = format!("{head}{quick}\n{targets}{sections}");
        report::write_text(&root.join("docs/benchmarks.md"), &text)
    }
}
