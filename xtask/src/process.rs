//! Running other programs.

use crate::Outcome;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_owned()
}

/// A command line that is shown before it runs.
pub(crate) struct Line(Command);

/// The program, to be run at the top of the workspace.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Line {
    let mut command = Command::new(name);
    command.current_dir(root());
    Line(command)
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Line {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args)
}

/// True if a program of this name is on the path.
pub(crate) fn installed(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

impl Line {
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Line {
        self.0.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Line {
        self.0.env(name, value);
        self
    }

    pub(crate) fn folder(mut self, folder: impl AsRef<Path>) -> Line {
        self.0.current_dir(folder);
        self
    }

    fn shown(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        let mut text: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        if let Some(name) = Path::new(&text[0]).file_name() {
            text[0] = name.to_string_lossy().into_owned();
        }
        text.join(" ")
    }

    /// Runs it with our own output.
    pub(crate) fn run(mut self) -> Outcome {
        eprintln!("\n$ {}", self.shown());
        match self.0.status() {
            Ok(status) => Ok(status.success()),
            Err(error) => Err(format!("{} does not run: {error}", self.shown())),
        }
    }

    /// Runs it and answers what it wrote to its standard output.
    ///
    /// # Errors
    /// If it fails, with all that it wrote.
    pub(crate) fn quietly(mut self) -> Result<Vec<u8>, String> {
        let output = self
            .0
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} does not run: {error}", self.shown()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = [output.stdout, output.stderr].concat();
        Err(format!("{} failed:\n{}", self.shown(), String::from_utf8_lossy(&text)))
    }

    /// Runs it, shows its output line by line as it comes, and hands each line on without its colours.
    pub(crate) fn watch(mut self, mut each: impl FnMut(&str)) -> Outcome {
        eprintln!("\n$ {}", self.shown());
        let failed = |error: io::Error| format!("cannot run a test suite: {error}");
        let (reader, writer) = io::pipe().map_err(failed)?;
        if io::stdout().is_terminal() {
            self.0.env("CARGO_TERM_COLOR", "always").env("FORCE_COLOR", "1");
        }
        self.0.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let shown = self.shown();
        let mut child = self.0.spawn().map_err(|error| format!("{shown} does not run: {error}"))?;
        // The command holds the other ends of the pipe; without this it would never close.
        drop(self);
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            // The reader of our output may be gone; the tests go on.
            let _ = io::stdout().write_all(&line);
            each(plain(&String::from_utf8_lossy(&line)).trim_end());
            line.clear();
        }
        Ok(child.wait().map_err(failed)?.success())
    }
}

/// The text without its terminal colours.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(plain("\u{1b}[32;1m3 passed\u{1b}[0m, x"), "3 passed, x");
    }
}
