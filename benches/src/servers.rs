//! The servers under test: real processes on free loopback ports, ended when dropped.
//!
//! Children also ask the kernel to be killed when the thread that started them ends (all are
//! started by the main thread), so that nothing is left running by Ctrl-C, a panic or a kill.

use std::env;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::resp::Client;

/// How long a server may take to answer its first PING, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another process may take a port between our looking and the server's binding.
const PORT_ATTEMPTS: usize = 5;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Miso,
    Redis,
}

impl Kind {
    pub(crate) const BOTH: [Kind; 2] = [Kind::Miso, Kind::Redis];

    /// Both, starting with another one each round, so that neither always runs second.
    pub(crate) fn alternating(round: usize) -> [Kind; 2] {
        if round.is_multiple_of(2) { Kind::BOTH } else { [Kind::Redis, Kind::Miso] }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Miso => "MISO",
            Kind::Redis => "Redis",
        }
    }
}

/// The programs that the benchmarks run.
pub(crate) struct Programs {
    pub(crate) miso: PathBuf,
    pub(crate) redis: PathBuf,
    pub(crate) redis_benchmark: PathBuf,
}

impl Programs {
    /// Finds them, and brings `miso-server` up to date where cargo runs this program.
    pub(crate) fn find() -> Result<Programs> {
        Ok(Programs {
            miso: miso_server()?,
            redis: on_path("redis-server")?,
            redis_benchmark: on_path("redis-benchmark")?,
        })
    }
}

fn miso_server() -> Result<PathBuf> {
    if let Some(path) = env::var_os("MISO_SERVER") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("MISO_SERVER names no file: {}", path.display()).into())
        };
    }
    let own = env::current_exe()?;
    let folder = own.parent().ok_or("this program stands in no folder")?;
    if let (Some(cargo), Some(target)) = (env::var_os("CARGO"), folder.parent()) {
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "miso-server", "--target-dir"]).arg(target);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        if !build.status()?.success() {
            return Err("miso-server does not build".into());
        }
    }
    let path = folder.join("miso-server");
    if path.is_file() {
        Ok(path)
    } else {
        Err("no miso-server beside this program: build it, or name it by MISO_SERVER".into())
    }
}

/// Where a program stands on the PATH.
pub(crate) fn on_path(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{program} is not installed").into())
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    port: u16,
    ready_after: Duration,
}

impl Server {
    /// Starts a server with its defaults, on the loopback, in memory only.
    pub(crate) fn start(programs: &Programs, kind: Kind) -> Result<Server> {
        match kind {
            Kind::Miso => Server::launch(|port| miso_command(&programs.miso, port)),
            Kind::Redis => Server::launch(|port| redis_command(&programs.redis, port)),
        }
    }

    /// Starts another `redis-server`, or a `valkey-server`, with its defaults, in memory only.
    pub(crate) fn redis_of(program: &Path) -> Result<Server> {
        Server::launch(|port| redis_command(program, port))
    }

    /// As [`Server::start`], but keeping in `directory` what it has, with `appendfsync` as told. Redis
    /// does not rewrite its log by itself: its child's CPU would not be seen, and its log is to be read.
    pub(crate) fn start_on(
        programs: &Programs,
        kind: Kind,
        directory: &Path,
        fsync: &str,
    ) -> Result<Server> {
        Server::launch(|port| match kind {
            Kind::Miso => {
                let mut command = Command::new(&programs.miso);
                miso_basics(&mut command, port);
                command.arg("--data-dir").arg(directory).args(["--appendfsync", fsync]);
                command
            }
            Kind::Redis => {
                let mut command = redis_basics(&programs.redis, port);
                command
                    .args(["--appendonly", "yes", "--appendfsync", fsync])
                    .args(["--auto-aof-rewrite-percentage", "0"])
                    .current_dir(directory);
                command
            }
        })
    }

    /// Starts what `command` says for a port, and waits until it answers PING.
    pub(crate) fn launch(command: impl Fn(u16) -> Command) -> Result<Server> {
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            match Server::launch_on(command(port), port) {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| "no free port".into()))
    }

    fn launch_on(mut command: Command, port: u16) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        die_with_us(&mut command);
        let program = command.get_program().to_owned();
        let began = Instant::now();
        let child = command.spawn()?;
        let mut server = Server { child, port, ready_after: Duration::ZERO };
        loop {
            if answers_ping(port) {
                server.ready_after = began.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{} ended at once: {status}", program.display()).into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{} does not answer PING", program.display()).into());
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From just before exec to the first PONG.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub(crate) fn connect(&self) -> Result<Client> {
        Client::connect(self.port)
    }

    /// The CPU time that all its threads have used, to the nanosecond.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut clock = MaybeUninit::uninit();
        // SAFETY: `clock` is valid for writes, and is read only if the call says that it wrote it.
        let failed = unsafe { libc::clock_getcpuclockid(self.pid(), clock.as_mut_ptr()) };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed).into());
        }
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: as above, for `time`; `clock` was written.
        let failed = unsafe { libc::clock_gettime(clock.assume_init(), time.as_mut_ptr()) };
        if failed != 0 {
            return Err(io::Error::last_os_error().into());
        }
        // SAFETY: clock_gettime succeeded and wrote it.
        let time = unsafe { time.assume_init() };
        Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
    }

    /// The CPU time that its thread of this name has used; none if it has no such thread.
    pub(crate) fn thread_cpu(&self, name: &str) -> Result<Duration> {
        for task in std::fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let task = task?.path();
            if std::fs::read_to_string(task.join("comm"))?.trim_end() == name {
                let times = std::fs::read_to_string(task.join("schedstat"))?;
                let ran = times.split(' ').next().ok_or("the kernel tells no times of threads")?;
                return Ok(Duration::from_nanos(ran.parse()?));
            }
        }
        Ok(Duration::ZERO)
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("the kernel tells no resident size")?.parse::<u64>()? * 1024)
    }

    /// Resident bytes once they no longer move: servers give freed pages back with a delay.
    pub(crate) fn settled_resident(&self) -> Result<u64> {
        const STILL: u32 = 5;
        let deadline = Instant::now() + Duration::from_secs(5);
        let (mut last, mut still) = (self.resident()?, 0);
        while still < STILL && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(100));
            let now = self.resident()?;
            still = if now.abs_diff(last) <= 64 * 1024 { still + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn terminate(mut self) -> Result<ExitStatus> {
        // SAFETY: the child is ours and has not been waited for, so the pid is still its own.
        unsafe { libc::kill(self.pid(), libc::SIGTERM) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err("a server does not end on SIGTERM".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> libc::pid_t {
        self.child.id().cast_signed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either may fail if it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both servers, started with their defaults.
pub(crate) struct Pair {
    miso: Server,
    redis: Server,
}

impl Pair {
    pub(crate) fn start(programs: &Programs) -> Result<Pair> {
        Ok(Pair {
            miso: Server::start(programs, Kind::Miso)?,
            redis: Server::start(programs, Kind::Redis)?,
        })
    }

    pub(crate) fn get(&self, kind: Kind) -> &Server {
        match kind {
            Kind::Miso => &self.miso,
            Kind::Redis => &self.redis,
        }
    }
}

fn miso_command(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    miso_settings(&mut command, port);
    command
}

/// Our defaults in memory.
pub(crate) fn miso_settings(command: &mut Command, port: u16) {
    miso_basics(command, port);
    command.args(["--data-dir", "none"]);
}

/// Our defaults but for the ports and mDNS; settings in this program's environment are not for the server.
pub(crate) fn miso_basics(command: &mut Command, port: u16) {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"MISO_") {
            command.env_remove(name);
        }
    }
    command.args(["--peer-port", "0", "--mdns", "no"]);
    command.args(["--loglevel", "warn", "--port", &port.to_string()]);
}

fn redis_command(program: &Path, port: u16) -> Command {
    let mut command = redis_basics(program, port);
    command.args(["--appendonly", "no"]).current_dir(env::temp_dir());
    command
}

/// Redis's defaults but for what is kept.
pub(crate) fn redis_basics(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
        .args(["--port", &port.to_string()]);
    command
}

/// Has the kernel kill the child when the thread that starts it ends.
pub(crate) fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn answers_ping(port: u16) -> bool {
    // Looking first is cheaper than a client, and this runs every 100 microseconds.
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    Client::new(stream).and_then(|mut client| client.ok(&["PING"])).is_ok()
}
