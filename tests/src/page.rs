//! Pages of the documentation, of which tests run what is printed.

use crate::{Namespace, Node, Tool, find_program};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A page.
pub struct Page {
    text: String,
}

impl Page {
    /// Reads a page, by its path in the repository.
    #[track_caller]
    pub fn read(path: &str) -> Page {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
        let text = std::fs::read_to_string(&path);
        Page { text: text.unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    /// The section of this title, up to the next one of its level.
    #[track_caller]
    pub fn section(&self, title: &str) -> Page {
        let after = self.text.split(&format!("## {title}\n")).nth(1);
        let after = after.unwrap_or_else(|| panic!("there is no section '{title}'"));
        Page { text: after.split("\n## ").next().unwrap_or_default().to_owned() }
    }

    /// The lines of each block of this language. A line that ends in `\` goes on in the next.
    pub fn blocks(&self, language: &str) -> Vec<Vec<String>> {
        let fence = format!("```{language}\n");
        let blocks = self.text.split(&fence).skip(1).map(|block| {
            let block = block.split("```").next().unwrap_or_default().replace("\\\n", " ");
            block.lines().map(str::to_owned).collect()
        });
        blocks.collect()
    }

    /// The commands of its blocks that show redis-cli, each with what it prints.
    pub fn transcript(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        for line in self.blocks("console").into_iter().flatten() {
            let prompt = line.strip_prefix("127.0.0.1:6379> ").or_else(|| line.strip_prefix("> "));
            match (prompt, all.last_mut()) {
                (Some(command), _) => all.push((command.to_owned(), String::new())),
                // The line of the shell that begins it.
                (None, None) => assert!(line.starts_with("$ "), "output without a command: {line}"),
                (None, Some((_, output))) => {
                    output.push_str(&line);
                    output.push('\n');
                }
            }
        }
        all
    }
}

/// A machine on which a page's lines are typed: a network of its own, so that ports are as printed, and a directory.
pub struct Machine<'a> {
    /// Its network.
    pub network: &'a Namespace,
    /// Where the lines are typed.
    pub directory: &'a Path,
}

impl Machine<'_> {
    /// A line of the shell, as it is typed; `miso-server` is the server under test.
    pub fn shell(&self, line: &str) -> Command {
        let binaries = Node::binary();
        let binaries = binaries.parent().expect("a directory").display().to_string();
        let mut command = self.network.command(find_program("sh"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["-c", line]).current_dir(self.directory);
        command.env("PATH", format!("{binaries}:{path}"));
        command
    }

    /// Runs a line to its end; what it prints.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        Tool::spawn(&mut self.shell(line)).wait().stdout.trim().to_owned()
    }

    /// Runs a line to its end, which must be a success.
    #[track_caller]
    pub fn must(&self, line: &str) -> String {
        let output = Tool::spawn(&mut self.shell(line)).wait();
        assert_eq!(output.code, Some(0), "{line}: {output:?}");
        output.stdout.trim().to_owned()
    }

    /// Starts a line that does not end by itself, or only after the test.
    pub fn start(&self, line: &str) -> Tool {
        Tool::spawn(&mut self.shell(&format!("exec {line}")))
    }
}
