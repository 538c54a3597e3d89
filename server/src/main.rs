//! `miso-server`: a Redis-protocol server of CRDTs.
//!
//! `settings` reads what was asked for, `worker` accepts connections and runs the threads,
//! `connection` serves one, `dispatch` finds and checks a command, `commands` holds the rows and
//! what they do. ARCHITECTURE.md is the map.

mod acl;
mod allocator;
mod balance;
mod clients;
mod cluster;
mod commands;
mod connection;
mod context;
mod dispatch;
mod durability;
mod error;
mod info;
mod latency;
mod monitor;
mod peers;
mod pubsub;
mod registry;
mod restore;
mod session;
mod settings;
mod shared;
mod slowlog;
mod stats;
mod thaw;
mod token;
mod worker;

use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use settings::{Page, Settings, Start};
use shared::Shared;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// File descriptors beside those of clients.
const RESERVED: u64 = 64;

fn main() -> ExitCode {
    match Settings::from_process().map_err(|error| error.to_string()).and_then(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miso-server: {error}");
            ExitCode::from(1)
        }
    }
}

fn start(start: Start) -> Result<(), String> {
    match start {
        Start::Check => println!("the configuration is valid"),
        Start::Print(page) => {
            let text = match page {
                Page::Commands => miso_protocol::reference::markdown(&commands::table().0),
                Page::Settings => settings::reference(),
            };
            std::io::stdout()
                .write_all(text.as_bytes())
                .map_err(|error| format!("cannot print the page: {error}"))?;
        }
        Start::CheckData(directory) => return durability::check(&directory),
        Start::Repair(directory) => return durability::repair(&directory),
        Start::Run(settings) => return run(*settings),
        Start::Cluster(cluster) => return cluster::run(&cluster),
    }
    Ok(())
}

fn run(settings: Settings) -> Result<(), String> {
    log(&settings);
    let clients = raise_descriptors(settings.maxclients());
    if clients < settings.maxclients() {
        tracing::warn!("maxclients lowered to {clients}: there are no file descriptors for more");
        settings.lower_maxclients(clients);
    }
    miso_store::seed_hashes(RandomState::new().hash_one(0));
    let (store, recovered) = durability::open(&settings)?;
    let shared = Arc::new(Shared::new(settings, store));
    shared.saving.recovered(&recovered);
    load_acl(&shared)?;
    let listeners = worker::bind(&shared)?;
    durability::start(&shared).map_err(|error| format!("cannot start: {error}"))?;
    peers::start(&shared)?;
    let threads = shared.settings.threads();
    let workers = (0..threads)
        .map(|number| worker::start(&shared, number))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("threads: cannot start {threads} workers: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let listening = runtime.block_on(async {
        let failed = |error: std::io::Error| format!("cannot take signals: {error}");
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        // A terminal that closes does not end the server, as it does not end Redis.
        let _hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let mut listening = JoinSet::new();
        for listener in listeners {
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            let listener =
                tokio::net::TcpListener::from_std(listener).map_err(|e| e.to_string())?;
            listening.spawn(worker::accept(listener, Arc::clone(&shared)));
            tracing::info!("Ready to accept connections on {address}");
        }
        until_stopped(&shared, terminate, interrupt).await?;
        end_at_next_signal();
        Ok::<_, String>(listening)
    })?;
    // The listeners and channels end, and each worker once its connections have answered what they read.
    drop(listening);
    shared.stopping.store(true, Ordering::Release);
    shared.balance.close();
    shared.clients.list().iter().for_each(|client| client.wake());
    let ended = within(worker::FINISH + GRACE, move || {
        for worker in workers {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    });
    if ended.is_none() {
        tracing::error!("a command does not end, or the disk does not answer");
    }
    runtime.block_on(peers::leave(&shared));
    durability::close(&shared)
}

/// So much longer than a thread may take, it is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// Runs something that may hang, as all can that speaks to a disk: what it came to, none if it takes
/// longer. Then it goes on beside, and ends with the process.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    what: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("ending".into());
    // If nobody waits any more, nobody is told.
    thread.spawn(move || drop(sender.send(what()))).ok()?;
    receiver.recv_timeout(limit).ok()
}

/// Who asks twice does not want to wait: not for peers, nor for a checkpoint or a disk that hangs.
/// What was acknowledged is in the journal.
fn end_at_next_signal() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: _exit may be called in a signal handler; nothing of the process runs on.
        unsafe { libc::_exit(1) }
    }
    let end: extern "C" fn(libc::c_int) = end;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler does nothing but end the process.
        unsafe { libc::signal(signal, end as libc::sighandler_t) };
    }
}

/// Ticks until somebody asks to stop.
///
/// # Errors
/// If this node must not go on; says why.
async fn until_stopped(
    shared: &Shared,
    mut terminate: Signal,
    mut interrupt: Signal,
) -> Result<(), String> {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut step = tokio::time::interval(balance::STEP);
    let balanced = shared.settings.threads() > 1;
    let mut fatal = pin!(peers::fatal(shared));
    while !shared.stopping.load(Ordering::Acquire) {
        tokio::select! {
            _ = second.tick() => shared.tick(),
            _ = step.tick(), if balanced => shared.balance.look(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = shared.stop.notified() => {}
            reason = &mut fatal => return Err(reason),
        }
    }
    tracing::info!("stopping");
    Ok(())
}

fn log(settings: &Settings) {
    let level = match settings.text("loglevel").as_str() {
        "error" => tracing::Level::ERROR,
        "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        "trace" => tracing::Level::TRACE,
        _ => tracing::Level::INFO,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stdout().is_terminal())
        // Nobody may be reading the log any more; the server goes on.
        .log_internal_errors(false);
    if settings.text("logformat") == "json" {
        builder.json().init();
    } else {
        builder.init();
    }
}

fn load_acl(shared: &Shared) -> Result<(), String> {
    let path = shared.settings.text("aclfile");
    if path.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!("aclfile: cannot read {path}: {error}; expected a file of users")
    })?;
    shared.acl.load(&text, &shared.table).map_err(|error| format!("aclfile: {path}: {error}"))
}

/// Asks for as many file descriptors as the clients may need, as Redis does; how many clients there
/// is room for.
pub(crate) fn raise_descriptors(clients: u64) -> u64 {
    let wanted = clients + RESERVED;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid and lives for the calls; failing changes nothing.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < wanted {
            let more = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &more) != 0 {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
        }
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur.saturating_sub(RESERVED).clamp(1, clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_not_waited_for() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let hangs = || loop {
            std::thread::park();
        };
        assert_eq!(within(Duration::from_millis(1), hangs), None::<()>);
    }
}
