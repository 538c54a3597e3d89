//! Tries mutants of one build: a copy of the workspace in which each stands behind a switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::edits;
use super::mutant::Mutant;
use crate::process::{installed, program, root};

/// What is added to a package for its switches.
const SWITCH: &str = "
/// Whether the mutant of this number is on.
pub(crate) fn mutant(number: u32) -> bool {
    extern crate std; // not every package has it
    static ON: std::sync::LazyLock<Option<u32>> =
        std::sync::LazyLock::new(|| std::env::var(\"MISO_MUTANT\").ok()?.parse().ok());
    *ON == Some(number)
}
";

/// The most memory that a test may ask for, in bytes: a mutant that takes all ends by itself.
const MEMORY: u64 = 6 << 30;

/// A program of tests, and what its environment says.
#[derive(Clone, Copy)]
pub(super) struct Tests {
    pub(super) package: &'static str,
    /// The name of a file of `tests`, or nothing: the unit tests.
    pub(super) target: Option<&'static str>,
    pub(super) env: &'static [(&'static str, &'static str)],
    /// Which of its tests, as a program of tests is told.
    pub(super) args: &'static [&'static str],
}

/// How a mutant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Caught,
    /// Noticed because the tests did not end.
    TimedOut,
    Missed,
    /// It does not compile behind a switch, or cannot stand there.
    Left,
}

/// Mutants of one package, and the tests that are to notice, the quickest first.
pub(super) struct Group<'a> {
    /// The package's name and its folder.
    pub(super) package: (&'static str, &'static str),
    pub(super) mutants: Vec<&'a Mutant>,
    pub(super) tests: Vec<Tests>,
}

/// Tries each mutant of each group.
///
/// # Errors
/// If the copy cannot be built, or tests fail with no mutant on.
pub(super) fn try_all(groups: &[Group], folder: &Path) -> Result<Vec<Vec<Ending>>, String> {
    let numbered: Vec<(usize, &Mutant)> = groups
        .iter()
        .enumerate()
        .flat_map(|(group, all)| all.mutants.iter().map(move |mutant| (group, *mutant)))
        .collect();
    let tree = Tree::copy(folder)?;
    let left = tree.mutate(groups, &numbered)?;
    let programs = Programs::build(&tree, groups)?;
    let scratch = folder.join("scratch");
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let endings: Vec<(usize, Ending)> = std::thread::scope(|scope| {
        let tries = || {
            let mut endings = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((group, mutant)) = numbered.get(at) else { return Ok(endings) };
                let number = u32::try_from(at).map_err(|error| error.to_string())?;
                let scratch = scratch.join(at.to_string());
                let (ending, by) = if left.contains(&number) {
                    (Ending::Left, "the compiler")
                } else {
                    programs.meet(number, &groups[*group].tests, &scratch)?
                };
                println!("{:9} by {by:14} {}", format!("{ending:?}"), mutant.name);
                endings.push((at, ending));
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(tries)).collect();
        let ends = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        ends.collect::<Result<Vec<_>, String>>().map(|all| all.concat())
    })?;
    let endings: BTreeMap<usize, Ending> = endings.into_iter().collect();
    let mut endings = endings.into_values();
    Ok(groups.iter().map(|group| endings.by_ref().take(group.mutants.len()).collect()).collect())
}

/// A copy of the workspace.
struct Tree {
    folder: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Copies what git knows of, as it is in the working tree.
    fn copy(folder: &Path) -> Result<Tree, String> {
        let tree = Tree { folder: folder.join("tree"), target: folder.join("build") };
        let list = program("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .quietly()?;
        let list = String::from_utf8(list).map_err(|error| error.to_string())?;
        let names: BTreeSet<&str> =
            list.split('\0').filter(|name| root().join(name).is_file()).collect();
        tree.forget_others(&tree.folder, &names)?;
        for name in names {
            let text = fs::read(root().join(name)).map_err(|error| format!("{name}: {error}"))?;
            tree.write(name, &text)?;
        }
        Ok(tree)
    }

    /// Removes what an earlier copy had and the workspace has no more.
    fn forget_others(&self, folder: &Path, names: &BTreeSet<&str>) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        if !folder.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.strip_prefix(&self.folder).ok().and_then(Path::to_str);
            if path.is_dir() {
                self.forget_others(&path, names)?;
            } else if name.is_none_or(|name| !names.contains(name)) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Writes a file unless it is so: what is not touched is not built again.
    fn write(&self, name: &str, text: &[u8]) -> Result<(), String> {
        let path = self.folder.join(name);
        if fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let parent = path.parent().expect("it is in a folder");
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(args)
            .args(["--message-format", "json", "--quiet"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // Text behind a switch is as no person writes it.
            .env("RUSTFLAGS", "--cap-lints=allow")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        command
    }

    /// Puts all mutants behind their switches, but for those that the compiler refuses there: their numbers.
    fn mutate(
        &self,
        groups: &[Group],
        numbered: &[(usize, &Mutant)],
    ) -> Result<BTreeSet<u32>, String> {
        let mut by_file: BTreeMap<&str, Vec<(u32, &Mutant)>> = BTreeMap::new();
        for (number, (_, mutant)) in (0..).zip(numbered) {
            by_file.entry(&mutant.file).or_default().push((number, mutant));
        }
        let roots: Vec<String> =
            groups.iter().map(|group| format!("{}/src/lib.rs", group.package.1)).collect();
        for name in &roots {
            by_file.entry(name).or_default();
        }
        let mut left = BTreeSet::new();
        loop {
            let mut places: Vec<(String, u32, Range<usize>)> = Vec::new();
            for (name, mutants) in &by_file {
                let text = fs::read_to_string(root().join(name))
                    .map_err(|error| format!("{name}: {error}"))?;
                let tried: Vec<(u32, &Mutant)> =
                    mutants.iter().filter(|(number, _)| !left.contains(number)).copied().collect();
                let mut file =
                    edits::switched(&text, &tried).map_err(|error| format!("{name}: {error}"))?;
                if roots.iter().any(|root| root == name) {
                    file.text.push_str(SWITCH);
                }
                left.extend(file.left);
                let all = file.places.into_iter();
                places.extend(all.map(|(number, range)| ((*name).to_owned(), number, range)));
                self.write(name, file.text.as_bytes())?;
            }
            let refused = self.refused(groups, &places)?;
            if refused.is_empty() {
                return Ok(left);
            }
            eprintln!("{} mutants do not compile behind a switch", refused.len());
            left.extend(refused);
        }
    }

    /// Which mutants the compiler refuses.
    fn refused(
        &self,
        groups: &[Group],
        places: &[(String, u32, Range<usize>)],
    ) -> Result<BTreeSet<u32>, String> {
        let packages = groups.iter().flat_map(|group| ["--package", group.package.0]);
        let args: Vec<&str> = ["check", "--lib"].into_iter().chain(packages).collect();
        let output = self.cargo(&args).output().map_err(|error| format!("cargo: {error}"))?;
        let mut refused = BTreeSet::new();
        for message in messages(&output.stdout) {
            let message = &message["message"];
            if message["level"] != "error" || message["spans"].as_array().is_none_or(Vec::is_empty)
            {
                continue;
            }
            let found = innermost(message, places);
            refused.insert(found.ok_or_else(|| {
                format!(
                    "the copy does not compile: {}",
                    message["rendered"].as_str().unwrap_or("?")
                )
            })?);
        }
        if refused.is_empty() && !output.status.success() {
            return Err("the copy does not compile".to_owned());
        }
        Ok(refused)
    }
}

/// What cargo says, line by line.
fn messages(output: &[u8]) -> impl Iterator<Item = Value> {
    output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// The smallest mutant that an error of the compiler points at: by its first place, or by another that it names.
fn innermost(message: &Value, places: &[(String, u32, Range<usize>)]) -> Option<u32> {
    let spans = message["spans"].as_array()?;
    let (first, others): (Vec<&Value>, Vec<&Value>) =
        spans.iter().partition(|span| span["is_primary"] == true);
    first.into_iter().chain(others).find_map(|span| {
        let file = span["file_name"].as_str()?;
        let byte = |name: &str| usize::try_from(span[name].as_u64()?).ok();
        let (start, end) = (byte("byte_start")?, byte("byte_end")?);
        let touched =
            places.iter().filter(|(name, _, at)| name == file && at.start < end && start < at.end);
        touched.min_by_key(|(_, _, at)| at.len()).map(|(_, number, _)| *number)
    })
}

/// The programs of tests, by package and target.
struct Programs {
    folder: PathBuf,
    all: Vec<(Tests, PathBuf)>,
    /// How long each takes on the processor with no mutant on.
    usual: Vec<Duration>,
}

impl Programs {
    fn build(tree: &Tree, groups: &[Group]) -> Result<Programs, String> {
        let mut tests: Vec<Tests> = Vec::new();
        for wanted in groups.iter().flat_map(|group| &group.tests) {
            if tests.iter().all(|tests| tests.name() != wanted.name()) {
                tests.push(*wanted);
            }
        }
        let mut args = vec!["test", "--no-run", "--lib"];
        let packages: BTreeSet<&str> = tests.iter().map(|tests| tests.package).collect();
        packages.iter().for_each(|name| args.extend(["--package", name]));
        let targets: BTreeSet<&str> = tests.iter().filter_map(|tests| tests.target).collect();
        targets.iter().for_each(|name| args.extend(["--test", name]));
        let output = tree.cargo(&args).output().map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            let errors = messages(&output.stdout);
            let errors: Vec<String> = errors
                .filter_map(|m| Some(m["message"]["rendered"].as_str()?.to_owned()))
                .collect();
            return Err(format!("the copy's tests do not compile:\n{}", errors.concat()));
        }
        let built: Vec<Value> = messages(&output.stdout).collect();
        let mut programs =
            Programs { folder: tree.folder.clone(), all: Vec::new(), usual: Vec::new() };
        for tests in tests {
            let path = built.iter().find_map(|message| tests.program(message));
            let path = path.ok_or_else(|| format!("{} was not built", tests.name()))?;
            programs.all.push((tests, path));
        }
        for at in 0..programs.all.len() {
            let scratch = tree.target.join("scratch");
            let (ended, took) = programs.run(at, None, &scratch)?;
            let name = programs.all[at].0.name();
            println!("{name} takes {:.1} s", took.as_secs_f32());
            if ended != Some(true) {
                return Err(format!("{name} fails without any change"));
            }
            programs.usual.push(took);
        }
        Ok(programs)
    }

    /// Whether one of these tests notices a mutant, and which.
    fn meet(
        &self,
        number: u32,
        tests: &[Tests],
        scratch: &Path,
    ) -> Result<(Ending, &'static str), String> {
        for tests in tests {
            let same = |(other, _): &(Tests, PathBuf)| other.name() == tests.name();
            let at = self.all.iter().position(same).expect("all were built");
            let by = tests.target.unwrap_or("units");
            match self.run(at, Some(number), scratch)?.0 {
                Some(true) => {}
                Some(false) => return Ok((Ending::Caught, by)),
                None => return Ok((Ending::TimedOut, by)),
            }
        }
        Ok((Ending::Missed, "none"))
    }

    /// Whether a program's tests hold with a mutant on, nothing if they do not end; and the time that they
    /// take on the processor.
    fn run(
        &self,
        at: usize,
        number: Option<u32>,
        scratch: &Path,
    ) -> Result<(Option<bool>, Duration), String> {
        let (tests, path) = &self.all[at];
        // What a machine that does much else takes is no sign: time on the processor counts, and a wait that
        // nothing ends.
        let usual = self.usual.get(at).copied().unwrap_or(Duration::from_secs(120));
        let processor = (usual * 3).as_secs() + 5;
        let patience = usual * 20 + Duration::from_secs(60);
        let mut command = if installed("prlimit") {
            let mut command = Command::new("prlimit");
            command.args([
                format!("--cpu={processor}"),
                format!("--as={MEMORY}"),
                "--core=0".into(),
            ]);
            command.arg(path);
            command
        } else {
            Command::new(path)
        };
        command.args(tests.args);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(scratch).map_err(failed)?;
        command
            .current_dir(self.folder.join(tests.folder()))
            .env("TMPDIR", scratch)
            .envs(tests.env.iter().copied())
            .envs(number.map(|number| ("MISO_MUTANT", number.to_string())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let deadline = Instant::now() + patience;
        let mut took = Duration::ZERO;
        let ended = loop {
            took = took.max(used(child.id()));
            if let Some(status) = child.try_wait().map_err(failed)? {
                // A test that fails says so by its code; SIGXCPU says that it did not end.
                break match status.code() {
                    Some(code) => Some(code == 0),
                    None if spent(status) => None,
                    None => Some(false),
                };
            }
            if Instant::now() >= deadline {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        fs::remove_dir_all(scratch).map_err(failed)?;
        Ok((ended, took))
    }
}

/// How long a program has been on the processor, to a hundredth of a second; nothing once it has ended.
fn used(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Fields 14 and 15 of proc_pid_stat(5), in ticks; the second, a name, may have spaces and ends with a parenthesis.
    let ticks = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

/// Whether a program was ended because it had used its time on the processor: SIGXCPU, or the SIGKILL after it.
fn spent(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    matches!(status.signal(), Some(24 | 9))
}

impl Tests {
    /// Which they are.
    fn name(&self) -> String {
        let env: Vec<String> =
            self.env.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let (target, args) = (self.target.unwrap_or("units"), self.args.join(" "));
        format!("{} {target}{} {args}", self.package, env.concat())
    }

    /// Their program, if this is what cargo says of it.
    fn program(&self, message: &Value) -> Option<PathBuf> {
        let target = &message["target"];
        let is_ours = message["package_id"].as_str()?.contains(&format!("#{}@", self.package));
        let is_it = match self.target {
            Some(name) => target["name"] == name && target["kind"][0] == "test",
            None => target["kind"][0] == "lib",
        };
        let program = message["executable"].as_str()?;
        (is_ours && is_it && message["profile"]["test"] == true).then(|| program.into())
    }

    /// The folder of their package.
    fn folder(&self) -> &'static str {
        self.package.strip_prefix("miso-").unwrap_or(self.package)
    }
}
