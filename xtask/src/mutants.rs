//! `cargo xtask mutants`: whether the tests notice when the code is changed.
//!
//! cargo-mutants changes one function or operator at a time and runs the tests: a mutant is *caught* if a
//! test fails, *missed* if none does. All mutants of a package take a day, so a sample is drawn by a seed;
//! the same seed draws the same sample from the same code. What no test can or need notice is exempted in
//! `.cargo/mutants.toml`, each with its reason.
//!
//! Most mutants are caught by the unit tests of their own package, which build in seconds. So these are
//! run first, and all tests only for the mutants that are left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::build::target;
use crate::process::{cargo, installed, program};

/// Mutants of a package that are tried, unless told otherwise.
const SAMPLE: usize = 30;

/// The seed that draws them.
const SEED: u64 = 10;

/// A package, and the tests that are to notice: what follows `cargo test`.
struct Package {
    name: &'static str,
    crate_name: &'static str,
    /// Further packages whose tests are run on what the unit tests leave.
    tested_by: &'static [&'static str],
    tests: &'static [&'static str],
}

/// Which tests are to notice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Units,
    All,
}

impl Stage {
    const ALL: [(Stage, &'static str); 2] = [(Stage::Units, "units"), (Stage::All, "all")];
}

const PACKAGES: [Package; 3] = [
    Package {
        name: "crdt",
        crate_name: "miso-crdt",
        tested_by: &[],
        tests: &[
            "--test",
            "formats",
            "--test",
            "memory",
            "--test",
            "model",
            "--test",
            "specification",
        ],
    },
    Package {
        name: "store",
        crate_name: "miso-store",
        tested_by: &["miso-tests"],
        tests: &["--test", "dead_writers", "--test", "simulation", "--test", "scenes"],
    },
    Package {
        name: "replication",
        crate_name: "miso-replication",
        tested_by: &["miso-tests"],
        tests: &["--test", "simulation", "--test", "scenes"],
    },
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    packages: Vec<String>,
    sample: usize,
    seed: u64,
    /// Only what has changed since this commit.
    diff: Option<String>,
    /// Names the sample and tries none of it.
    list: bool,
}

impl Options {
    fn read(args: &[String]) -> Result<Options, String> {
        let (packages, list, diff) = (Vec::new(), false, None);
        let mut options = Options { packages, sample: SAMPLE, seed: SEED, diff, list };
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            let mut number = || {
                let n = args.next().and_then(|n| n.parse::<u64>().ok());
                n.ok_or_else(|| format!("{arg} takes a number"))
            };
            match arg.as_str() {
                "--sample" => options.sample = usize::try_from(number()?).unwrap_or(usize::MAX),
                "--seed" => options.seed = number()?,
                "--list" => options.list = true,
                "--diff" => {
                    let is_base = |next: &&String| {
                        !next.starts_with('-') && PACKAGES.iter().all(|p| p.name != next.as_str())
                    };
                    options.diff =
                        Some(args.next_if(is_base).map_or("main", |base| base).to_owned());
                }
                name if PACKAGES.iter().any(|package| package.name == name) => {
                    options.packages.push(name.to_owned());
                }
                other => {
                    return Err(format!(
                        "mutants takes packages (crdt, store, replication), --sample N, --seed N, --diff [BASE] and \
                         --list, and not '{other}'"
                    ));
                }
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(args: &[String]) -> Outcome {
    let options = Options::read(args)?;
    if !installed("cargo-mutants")
        && !cargo(&["install", "cargo-mutants", "--locked", "--quiet"]).run()?
    {
        return Err("cargo-mutants cannot be installed".to_owned());
    }
    let folder = target().join("mutants");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let diff = match &options.diff {
        Some(base) => {
            let text = program("git").args(["diff", &format!("{base}...HEAD")]).quietly()?;
            let path = folder.join("diff");
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            Some(path)
        }
        None => None,
    };
    let mut lines = Vec::new();
    let mut missed = Vec::new();
    for package in &PACKAGES {
        if !options.packages.is_empty() && options.packages.iter().all(|name| name != package.name)
        {
            continue;
        }
        let all = list(package, diff.as_deref())?;
        // What was changed is tried in full.
        let chosen =
            if diff.is_some() { all.clone() } else { sample(&all, options.sample, options.seed) };
        if chosen.is_empty() {
            lines.push(format!("{:12} no mutants", package.name));
            continue;
        }
        if options.list {
            chosen.iter().for_each(|name| println!("{name}"));
            continue;
        }
        let output = folder.join(package.name);
        let result = try_all(package, &chosen, &output)?;
        let seed = options.seed;
        lines.push(format!(
            "{:12} seed {seed}: {} of {} mutants; {result}",
            package.name,
            chosen.len(),
            all.len()
        ));
        missed.extend(result.missed);
    }
    println!();
    lines.iter().for_each(|line| println!("{line}"));
    if !missed.is_empty() {
        println!("\nmissed:");
        missed.iter().for_each(|name| println!("  {name}"));
    }
    Ok(missed.is_empty())
}

/// The names of a package's mutants, without those that are exempt.
fn list(package: &Package, diff: Option<&Path>) -> Result<Vec<String>, String> {
    let mut line = cargo(&["mutants", "--list", "--package", package.crate_name]);
    if let Some(diff) = diff {
        line = line.args([Path::new("--in-diff"), diff]);
    }
    let text = String::from_utf8(line.quietly()?).map_err(|error| error.to_string())?;
    Ok(text.lines().filter(|line| line.contains(": ")).map(str::to_owned).collect())
}

/// Some of them, drawn without return. In the order of their places, so that the output is easy to follow.
fn sample(all: &[String], count: usize, seed: u64) -> Vec<String> {
    let (mut state, mut drawn) = (seed, BTreeSet::new());
    while drawn.len() < count.min(all.len()) {
        // SplitMix64, as in the tests.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn.insert(((z ^ (z >> 31)) % all.len() as u64) as usize);
    }
    drawn.into_iter().map(|at| all[at].clone()).collect()
}

/// Tries the mutants of these names with the unit tests, and what these miss with all others.
fn try_all(package: &Package, chosen: &[String], output: &Path) -> Result<Tried, String> {
    let mut result = Tried { missed: chosen.to_vec(), ..Tried::default() };
    for (stage, name) in Stage::ALL {
        let left = std::mem::take(&mut result.missed);
        if left.is_empty() {
            break;
        }
        let output = output.join(name);
        fs::create_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
        try_them(package, stage, &left, &output)?;
        let tried = Tried::read(&output.join("mutants.out"), &left)?;
        if tried.all() == 0 {
            return Err(format!("{}: the tests fail without any change", package.name));
        }
        result.add(tried);
    }
    Ok(result)
}

/// Tries the mutants of these names with the tests of one stage.
fn try_them(
    package: &Package,
    stage: Stage,
    names: &[String],
    output: &Path,
) -> Result<(), String> {
    let mut line = cargo(&["mutants", "--no-shuffle", "--package", package.crate_name]);
    line = line.args([Path::new("--output"), output]);
    for name in names {
        line = line.args(["--re", &format!("^{}$", literally(name))]);
    }
    let all = [&[package.crate_name], package.tested_by].concat();
    let (by, tests) = match stage {
        Stage::Units => (&all[..1], &["--lib"][..]),
        Stage::All => (&all[..], package.tests),
    };
    line = line.args(["--test-package", &by.join(",")]);
    // As arguments of every call of cargo: what follows `--` does not reach the builds, which then make all targets.
    for argument in tests {
        line = line.args([format!("--cargo-arg={argument}")]);
    }
    // Fewer worlds than the tests play by themselves: a mutant that none of them notices is looked at by hand.
    let line = line.env("SIM_SEEDS", "100");
    // It fails if a mutant was missed, which its output says.
    line.run().map(drop)
}

/// A text as a regular expression that matches nothing else.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// How the mutants of a run ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tried {
    caught: usize,
    /// Noticed because tests did not end.
    timed_out: usize,
    /// Those that do not compile.
    unviable: usize,
    missed: Vec<String>,
}

impl Tried {
    fn all(&self) -> usize {
        self.caught + self.timed_out + self.unviable + self.missed.len()
    }

    /// What a later stage made of the mutants that were missed.
    fn add(&mut self, later: Tried) {
        self.caught += later.caught;
        self.timed_out += later.timed_out;
        self.unviable += later.unviable;
        self.missed = later.missed;
    }

    /// Of these mutants alone: cargo-mutants 27.1 tries those of the kind `delete field` whatever names it is given.
    fn read(folder: &Path, chosen: &[String]) -> Result<Tried, String> {
        let lines = |name: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let chosen = text.lines().map(str::to_owned).filter(|name| chosen.contains(name));
            Ok::<_, String>(chosen.collect::<Vec<_>>())
        };
        Ok(Tried {
            caught: lines("caught.txt")?.len(),
            timed_out: lines("timeout.txt")?.len(),
            unviable: lines("unviable.txt")?.len(),
            missed: lines("missed.txt")?,
        })
    }
}

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (caught, missed) = (self.caught + self.timed_out, self.missed.len());
        let share = 100 * caught / (caught + missed).max(1);
        let unviable = self.unviable;
        write!(f, "{caught} caught, {missed} missed ({share} % caught), {unviable} did not compile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line() {
        let options = read("crdt --sample 5 --seed 7").expect("well formed");
        assert_eq!(
            (options.packages, options.sample, options.seed),
            (vec!["crdt".to_owned()], 5, 7)
        );
        assert_eq!(read("--diff").expect("well formed").diff.as_deref(), Some("main"));
        assert_eq!(read("--diff v1 store").expect("well formed").diff.as_deref(), Some("v1"));
        assert_eq!(read("--diff store").expect("well formed").packages, ["store"]);
        assert!(read("--sample many").is_err() && read("server").is_err());
    }

    #[test]
    fn a_seed_draws_the_same_sample() {
        let all: Vec<String> = (0..100).map(|n| format!("mutant {n:03}")).collect();
        let drawn = sample(&all, 30, 1);
        assert_eq!(drawn.len(), 30);
        assert!(drawn.is_sorted() && drawn == sample(&all, 30, 1) && drawn != sample(&all, 30, 2));
        assert_eq!(sample(&all, 1_000, 1), all);
    }

    #[test]
    fn names_become_patterns() {
        let name = "crdt/src/set.rs:12:5: replace Set::add -> (bool, u8)";
        assert_eq!(literally(name), r"crdt/src/set\.rs:12:5: replace Set::add \-> \(bool, u8\)");
    }

    #[test]
    fn the_share_leaves_out_what_does_not_compile() {
        let tried = Tried { caught: 8, timed_out: 1, unviable: 5, missed: vec!["one".to_owned()] };
        assert_eq!(tried.to_string(), "9 caught, 1 missed (90 % caught), 5 did not compile");
    }
}
