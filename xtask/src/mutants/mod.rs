//! `cargo xtask mutants`: whether the tests notice when the code is changed.
//!
//! cargo-mutants names one change of a function or operator after the other. A mutant is *caught* if a test
//! fails with it, *missed* if none does. All mutants of a package take a day, so a sample is drawn by a seed;
//! the same seed draws the same sample from the same code. What no test can or need notice is exempted in
//! `.cargo/mutants.toml`, each with its reason.
//!
//! All mutants of a sample are built at once, each behind a switch ([`switched`]). What cannot stand behind one,
//! such as a constant, is left to cargo-mutants, which builds each by itself. The quickest tests are run first,
//! the others for the mutants that are left.

mod edits;
mod mutant;
mod switched;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use self::mutant::Mutant;
use self::switched::{Ending, Group, Tests};
use crate::Outcome;
use crate::build::target;
use crate::process::{cargo, installed, program};

/// Mutants of a package that are tried, unless told otherwise.
const SAMPLE: usize = 30;

/// The seed that draws them.
const SEED: u64 = 10;

/// A package, and the tests that are to notice, the quickest first.
struct Package {
    name: &'static str,
    crate_name: &'static str,
    tests: &'static [Tests],
}

/// Unit tests of a package.
const fn units(package: &'static str) -> Tests {
    Tests { package, target: None, env: &[], args: &[] }
}

/// A file of tests of a package.
const fn test(package: &'static str, name: &'static str) -> Tests {
    Tests { package, target: Some(name), env: &[], args: &[] }
}

/// The unit tests of crdt that take longest: random histories of plain values, held against what they are to read as.
const HISTORIES: &str = "plain::play";

/// Some worlds of the simulation: first a few, since most mutants that any of them notices are noticed there. All in
/// all fewer than the tests play by themselves: a mutant that none of them notices is looked at by hand.
const fn worlds(env: &'static [(&'static str, &'static str)]) -> Tests {
    Tests { package: "miso-tests", target: Some("simulation"), env, args: &[] }
}

const FEW: Tests = worlds(&[("SIM_SEEDS", "10")]);
const MORE: Tests = worlds(&[("SIM_FIRST", "10"), ("SIM_SEEDS", "90")]);

const PACKAGES: [Package; 3] = [
    Package {
        name: "crdt",
        crate_name: "miso-crdt",
        tests: &[
            Tests { args: &["--skip", HISTORIES], ..units("miso-crdt") },
            test("miso-crdt", "formats"),
            test("miso-crdt", "memory"),
            test("miso-crdt", "model"),
            test("miso-crdt", "specification"),
            Tests { args: &[HISTORIES], ..units("miso-crdt") },
            // What a value tells of itself (its size, its dots, its digest) only the store asks for.
            units("miso-store"),
            test("miso-store", "dead_writers"),
            FEW,
        ],
    },
    Package {
        name: "store",
        crate_name: "miso-store",
        tests: &[
            units("miso-store"),
            test("miso-store", "formats"),
            test("miso-store", "once"),
            test("miso-store", "dead_writers"),
            test("miso-tests", "scenes"),
            FEW,
            MORE,
        ],
    },
    Package {
        name: "replication",
        crate_name: "miso-replication",
        tests: &[units("miso-replication"), test("miso-tests", "scenes"), FEW, MORE],
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
    let wanted = |package: &&Package| {
        options.packages.is_empty() || options.packages.iter().any(|name| name == package.name)
    };
    let packages: Vec<&Package> = PACKAGES.iter().filter(wanted).collect();
    let mut all = Vec::new();
    for package in &packages {
        let listed = list(package.crate_name, diff.as_deref())?;
        // What was changed is tried in full.
        let count = if diff.is_some() { listed.len() } else { options.sample };
        all.push((sample(&listed, count, options.seed), listed.len()));
    }
    if options.list {
        all.iter().flat_map(|(chosen, _)| chosen).for_each(|mutant| println!("{}", mutant.name));
        return Ok(true);
    }
    let groups: Vec<Group> = packages
        .iter()
        .zip(&all)
        .map(|(package, (chosen, _))| Group {
            package: (package.crate_name, package.name),
            mutants: chosen.iter().collect(),
            tests: package.tests.to_vec(),
        })
        .collect();
    let endings = switched::try_all(&groups, &folder)?;
    let (mut lines, mut missed) = (Vec::new(), Vec::new());
    for (((package, group), endings), (_, of)) in
        packages.iter().zip(&groups).zip(&endings).zip(&all)
    {
        let output = folder.join(package.name);
        let tried = Tried::with(package, &group.mutants, endings, &output)?;
        let (count, seed) = (group.mutants.len(), options.seed);
        lines.push(format!("{:12} seed {seed}: {count} of {of} mutants; {tried}", package.name));
        missed.extend(tried.missed);
    }
    println!();
    lines.iter().for_each(|line| println!("{line}"));
    if !missed.is_empty() {
        println!("\nmissed:");
        missed.iter().for_each(|name| println!("  {name}"));
    }
    Ok(missed.is_empty())
}

/// A package's mutants, without those that are exempt.
fn list(crate_name: &str, diff: Option<&Path>) -> Result<Vec<Mutant>, String> {
    let mut line = cargo(&["mutants", "--list", "--json", "--package", crate_name]);
    if let Some(diff) = diff {
        line = line.args([Path::new("--in-diff"), diff]);
    }
    Mutant::read_all(&line.quietly()?)
}

/// Some of them, drawn without return. In the order of their places, so that the output is easy to follow.
fn sample<T: Clone>(all: &[T], count: usize, seed: u64) -> Vec<T> {
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

/// Tries the mutants of these names as cargo-mutants does: builds each by itself.
fn build_each(package: &Package, names: &[String], output: &Path) -> Result<Tried, String> {
    fs::create_dir_all(output).map_err(|error| format!("{}: {error}", output.display()))?;
    let mut line = cargo(&["mutants", "--no-shuffle", "--package", package.crate_name]);
    line = line.args([Path::new("--output"), output]);
    for name in names {
        let file = name.split(':').next().unwrap_or_default();
        line = line.args(["--re", &format!("^{}$", literally(name)), "--file", file]);
    }
    // cargo-mutants 27.1 tries those of this kind whatever names it is given.
    if names.iter().all(|name| !name.contains(": delete field ")) {
        line = line.args(["--exclude-re", ": delete field "]);
    }
    let by: BTreeSet<&str> = package.tests.iter().map(|tests| tests.package).collect();
    let by: Vec<&str> = by.into_iter().collect();
    line = line.args(["--test-package", &by.join(",")]);
    // As arguments of every call of cargo: what follows `--` does not reach the builds, which then make all targets.
    line = line.args(["--cargo-arg=--lib"]);
    let targets: BTreeSet<&str> = package.tests.iter().filter_map(|tests| tests.target).collect();
    for target in targets {
        line = line.args(["--cargo-arg=--test", &format!("--cargo-arg={target}")]);
    }
    // It fails if a mutant was missed, which its output says.
    line.env("SIM_SEEDS", "100").run()?;
    let tried = Tried::read(&output.join("mutants.out"), names)?;
    if tried.all() == 0 {
        return Err(format!("{}: the tests fail without any change", package.name));
    }
    Ok(tried)
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

    /// How the mutants of a package ended behind their switches; those that were left are built one by one.
    fn with(
        package: &Package,
        mutants: &[&Mutant],
        endings: &[Ending],
        output: &Path,
    ) -> Result<Tried, String> {
        let ended = |wanted: Ending| {
            let all = mutants.iter().zip(endings).filter(move |(_, ending)| **ending == wanted);
            all.map(|(mutant, _)| mutant.name.clone()).collect::<Vec<_>>()
        };
        let left = ended(Ending::Left);
        let mut tried =
            if left.is_empty() { Tried::default() } else { build_each(package, &left, output)? };
        tried.caught += ended(Ending::Caught).len();
        tried.timed_out += ended(Ending::TimedOut).len();
        tried.missed.extend(ended(Ending::Missed));
        Ok(tried)
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
