//! Instructions per command, counted by callgrind on the real server.
//!
//! Counts hardly depend on the machine's load, so they show a slow creep that times hide. Two runs
//! that differ in the number of commands alone are subtracted from each other, which leaves the
//! commands; what the kernel does is not counted. The committed figures hold for one compiler, which
//! they name: with another one they are shown and fail nothing, until `--update`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::directory::workspace;
use crate::environment;
use crate::error::Result;
use crate::progress;
use crate::report::{self, Report};
use crate::resp::encode;
use crate::servers::{Programs, Server, miso_settings, on_path};
use crate::table::Table;

/// Commands sent at once, on one connection.
const DEPTH: usize = 64;
const OBJECTS: usize = 1_000;
/// Both runs go over all objects first, so that the difference creates nothing.
const SHORT: usize = 2_048;
const LONG: usize = 34_816;
/// Runs of each; the fewest instructions count: whether the server sleeps before the next batch is chance, and
/// sleeping costs instructions.
const RUNS: usize = 3;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// The committed figures [default: benches/instructions.json]
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// By how many percent a command may exceed them
    #[arg(long, default_value_t = 5.0)]
    tolerance: f64,
    /// Write the figures down as the new baseline
    #[arg(long)]
    update: bool,
    /// Only commands whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard() -> Options {
        Options { baseline: None, tolerance: 5.0, update: false, only: String::new() }
    }
}

/// The hot path. `{}` is the object's number; a command that reads is sent after one that fills.
const COMMANDS: &[(&[&str], Option<&[&str]>)] = &[
    (&["GCOUNTER.ADD", "o:{}", "total", "1"], None),
    (&["GCOUNTER.GET", "o:{}", "total"], Some(&["GCOUNTER.ADD", "o:{}", "total", "1"])),
    (&["PNCOUNTER.ADD", "o:{}", "stock", "-1"], None),
    (&["GSET.ADD", "o:{}", "seen", "apple"], None),
    (&["ORSET.ADD", "o:{}", "tags", "apple"], None),
    (&["ORSET.ISMEMBER", "o:{}", "tags", "apple"], Some(&["ORSET.ADD", "o:{}", "tags", "apple"])),
    (&["MVREG.SET", "o:{}", "note", "xxxxxxxx"], None),
    (&["EWFLAG.ENABLE", "o:{}", "open"], None),
    (&["ORMAP.SET", "o:{}", "profile", "field", "value"], None),
    (&["PING"], None),
];

/// The committed figures.
#[derive(Serialize, Deserialize, Default)]
struct Baseline {
    /// What they were compiled with.
    #[serde(default)]
    compiler: String,
    /// Instructions per command.
    instructions: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct Measured {
    command: &'static str,
    instructions: f64,
    baseline: Option<f64>,
    regressed: bool,
}

#[derive(Serialize)]
pub(crate) struct Instructions {
    depth: usize,
    compiler: String,
    baseline_compiler: String,
    tolerance_percent: f64,
    commands: Vec<Measured>,
}

impl Instructions {
    /// Whether any command costs more than the baseline and the tolerance allow.
    pub(crate) fn regressed(&self) -> bool {
        self.comparable() && self.commands.iter().any(|measured| measured.regressed)
    }

    fn comparable(&self) -> bool {
        self.compiler == self.baseline_compiler
    }
}

/// Whether callgrind is there: `all` goes on without it.
pub(crate) fn available() -> bool {
    on_path("valgrind").is_ok()
}

/// Counts, and compares with the baseline.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Instructions> {
    let valgrind = on_path("valgrind")?;
    let path =
        options.baseline.clone().unwrap_or_else(|| workspace().join("benches/instructions.json"));
    let mut baseline = read_baseline(&path)?;
    let limit = 1.0 + options.tolerance / 100.0;
    let chosen: Vec<_> = COMMANDS
        .iter()
        .filter(|(words, _)| words[0].contains(&options.only.to_ascii_uppercase()))
        .collect();
    let bar = progress::bar("instructions", chosen.len() * 2 * RUNS);
    let mut commands = Vec::new();
    for (words, fill) in chosen {
        bar.set_message(words[0]);
        let mut fewest = [u64::MAX; 2];
        for _ in 0..RUNS {
            for (fewest, commands) in fewest.iter_mut().zip([SHORT, LONG]) {
                *fewest = count(&valgrind, &programs.miso, words, *fill, commands)?.min(*fewest);
                bar.inc(1);
            }
        }
        let [short, long] = fewest;
        let instructions = long.saturating_sub(short) as f64 / (LONG - SHORT) as f64;
        // A tenth is more than the counts repeat to, and keeps the file readable.
        let instructions = (instructions * 10.0).round() / 10.0;
        let before = baseline.instructions.get(words[0]).copied();
        let regressed =
            !options.update && before.is_some_and(|before| instructions > before * limit);
        commands.push(Measured { command: words[0], instructions, baseline: before, regressed });
    }
    bar.finish_and_clear();
    let compiler = environment::compiler();
    let baseline_compiler = baseline.compiler.clone();
    if options.update {
        baseline.compiler = compiler.clone();
        for measured in &commands {
            baseline.instructions.insert(measured.command.to_owned(), measured.instructions);
        }
        report::write_json(&path, &baseline)?;
    }
    let tolerance_percent = options.tolerance;
    Ok(Instructions { depth: DEPTH, compiler, baseline_compiler, tolerance_percent, commands })
}

fn read_baseline(path: &Path) -> Result<Baseline> {
    if !path.exists() {
        return Ok(Baseline::default());
    }
    let read = || -> Result<Baseline> { Ok(serde_json::from_str(&fs::read_to_string(path)?)?) };
    read().map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The instructions of a server's whole life, in which it runs `count` commands.
fn count(
    valgrind: &Path,
    miso: &Path,
    words: &[&str],
    fill: Option<&[&str]>,
    commands: usize,
) -> Result<u64> {
    let out = env::temp_dir().join(format!("miso-callgrind-{}.out", process::id()));
    let mut out_option = OsString::from("--callgrind-out-file=");
    out_option.push(&out);
    let server = Server::launch(|port| {
        let mut command = Command::new(valgrind);
        command.args(["-q", "--tool=callgrind"]).arg(&out_option).arg(miso);
        miso_settings(&mut command, port);
        command.args(["--threads", "1"]);
        command
    })?;
    let mut client = server.connect()?;
    let mut send = |words: &[&str], commands: usize| -> Result<()> {
        let mut batch = Vec::new();
        for first in (0..commands).step_by(DEPTH) {
            batch.clear();
            for number in first..first + DEPTH {
                let number = format!("{:06}", number % OBJECTS);
                let command: Vec<String> =
                    words.iter().map(|word| word.replace("{}", &number)).collect();
                encode(&mut batch, &command);
            }
            client.batch(&batch, DEPTH)?;
        }
        Ok(())
    };
    if let Some(fill) = fill {
        send(fill, OBJECTS.next_multiple_of(DEPTH))?;
    }
    send(words, commands)?;
    drop(client);
    server.terminate()?;
    let text = fs::read_to_string(&out)?;
    fs::remove_file(&out)?;
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")));
    Ok(total.ok_or("callgrind wrote no totals")?.trim().parse()?)
}

impl Report for Instructions {
    const NAME: &'static str = "instructions";

    fn markdown(&self) -> String {
        let mut table = Table::new(&["command", "instructions", "baseline", "change", ""]);
        for measured in &self.commands {
            let change = measured
                .baseline
                .map(|before| format!("{:+.1} %", (measured.instructions / before - 1.0) * 100.0));
            table.row([
                measured.command.into(),
                format!("{:.0}", measured.instructions),
                measured.baseline.map_or_else(String::new, |before| format!("{before:.0}")),
                change.unwrap_or_default(),
                if measured.regressed { "too many".into() } else { String::new() },
            ]);
        }
        let verdict = if self.comparable() {
            format!("{} % beyond the baseline fails", self.tolerance_percent)
        } else {
            format!(
                "compiled with {}, the baseline with {}: a comparison would say nothing",
                self.compiler, self.baseline_compiler
            )
        };
        format!(
            "Instructions per command in user space, by callgrind at pipeline depth {} on one \
             connection; {verdict}.\n\n{table}",
            self.depth
        )
    }
}
