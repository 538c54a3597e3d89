//! Stock programs, run with a deadline.

use crate::DEADLINE;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// The path of a program that the tests need, or a failed test that says how to get it.
#[track_caller]
pub fn find_program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed: `cargo xtask test` installs it, or `apt-get install redis-server`")
        })
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit code, or `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A program that is running.
pub struct Tool {
    child: Child,
    name: String,
    stdout: thread::JoinHandle<Vec<u8>>,
    stderr: thread::JoinHandle<Vec<u8>>,
}

impl Tool {
    /// Runs a program to its end, with `input` on its standard input.
    #[track_caller]
    pub fn run(program: &str, args: &[&str], input: &[u8]) -> Output {
        let mut tool = Tool::start(program, args);
        let mut stdin = tool.child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // Written beside the reading, since a program may answer before it has read everything.
        let writer = thread::spawn(move || {
            // A program that ends early closes the pipe.
            let _ = stdin.write_all(&input);
        });
        let output = tool.wait();
        writer.join().expect("the writer does not panic");
        output
    }

    /// Starts a program.
    #[track_caller]
    pub fn start(program: &str, args: &[&str]) -> Tool {
        let mut command = Command::new(find_program(program));
        command.args(args);
        Tool::spawn(&mut command)
    }

    /// Starts a command.
    pub fn spawn(command: &mut Command) -> Tool {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = drain(child.stdout.take().expect("a pipe"));
        let stderr = drain(child.stderr.take().expect("a pipe"));
        Tool {
            child,
            name,
            stdout,
            stderr,
        }
    }

    /// Waits for its end; fails the test if it does not end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        drop(self.child.stdin.take());
        let start = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status.code();
            }
            if start.elapsed() > DEADLINE {
                let name = self.name.clone();
                let output = self.stop();
                panic!(
                    "{name} does not end; it wrote:\n{}\n{}",
                    output.stdout, output.stderr
                );
            }
            thread::sleep(std::time::Duration::from_millis(2));
        };
        self.collect(code)
    }

    /// Ends it and says what it wrote.
    pub fn stop(mut self) -> Output {
        // Fails only if it has ended by itself.
        let _ = self.child.kill();
        let code = self.child.wait().expect("a child can be waited for").code();
        self.collect(code)
    }

    fn collect(self, code: Option<i32>) -> Output {
        let text = |thread: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().expect("the reader does not panic")).into_owned()
        };
        Output {
            code,
            stdout: text(self.stdout),
            stderr: text(self.stderr),
        }
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe whose writer was killed just ends.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
