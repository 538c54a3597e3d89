//! `miso-server`: a Redis-protocol server of CRDTs.
//!
//! The modules stand on floors, and each imports only lower floors and its neighbours: `settings`,
//! `clock`, `process`, `progress`, `random`, `supervisor`; `node`, the state that all connections share; `durability`, `peers`,
//! `cluster`, the node's duties; `engine`, which runs a command for any caller; `commands`, the rows and
//! their handlers; `front`, which serves sockets; and this file, which wires them.
//! `cargo xtask check arrows` holds that. ARCHITECTURE.md is the map.

mod allocator;
mod clock;
mod cluster;
mod commands;
mod durability;
mod engine;
mod front;
#[cfg(test)]
mod mutated;
mod node;
mod observe;
mod peers;
mod process;
mod progress;
mod random;
mod settings;
mod status;
mod supervisor;
mod tls;

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use miso_store::Store;
use miso_store::journal::RecoveredSummary;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use engine::Engine;
use front::listener::Listening;
use front::loading::Loading;
use front::{Front, http, listener, worker};
use node::Node;
use process::{end_at_next_signal, raise_descriptors, within};
use settings::Settings;
use settings::cli::{Page, Start, from_process};
use settings::kind::LogFormat;

/// How much longer than the workers' own limit the end waits for them.
const GRACE: Duration = Duration::from_secs(1);

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

fn main() -> ExitCode {
    match from_process().map_err(|error| error.to_string()).and_then(start) {
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
                Page::Settings => settings::reference::markdown(),
                Page::Errors => engine::error::markdown(),
                Page::Metrics => observe::metrics::markdown(),
                Page::Configuration => settings::reference::configuration(),
                Page::Compatibility => {
                    miso_protocol::reference::compatibility(&commands::table().0)
                }
            };
            return print(text.as_bytes());
        }
        Start::Text(text) => return print(&text),
        Start::CheckData(directory) => return durability::check(&directory),
        Start::Repair(directory) => return durability::repair(&directory),
        Start::Run(settings) => return run(*settings),
        Start::Cluster(cluster) => return cluster::run(&cluster),
        Start::Certs(certs) => return tls::certs::run(&certs),
        Start::Status(target) => return status::run(&target),
    }
    Ok(())
}

fn print(text: &[u8]) -> Result<(), String> {
    let printed = std::io::stdout().write_all(text);
    printed.map_err(|error| format!("cannot print the page: {error}"))
}

/// The store as the last run left it, or a new one; and what was read. Clients are told meanwhile.
fn recover(
    settings: &Settings,
    resp: &[Listening],
    http: &[Listening],
) -> Result<(Store, RecoveredSummary), String> {
    let Some(opening) = durability::Opening::of(settings)? else {
        return Ok((durability::in_memory(settings), RecoveredSummary::default()));
    };
    let loading = Loading::begin(resp, http, &opening.progress);
    let _loading = loading.map_err(|error| format!("cannot start: {error}"))?;
    opening.open(settings)
}

/// How often expired keys are looked for.
const EXPIRY: Duration = Duration::from_millis(100);

fn run(settings: Settings) -> Result<(), String> {
    log(&settings);
    let clients = raise_descriptors(settings.maxclients(), settings.http_connections());
    if clients < settings.maxclients() {
        tracing::warn!("maxclients lowered to {clients}: there are no file descriptors for more");
        settings.lower_maxclients(clients);
    }
    miso_store::seed_hashes(random::seed());
    let bare = allocator::used_bytes();
    let (listeners, port) = listener::bind(&settings)?;
    let http_listeners = http::bind(&settings)?;
    let (store, recovered) = recover(&settings, &listeners, &http_listeners)?;
    let with_data = allocator::used_bytes();
    let (table, handlers) = commands::table();
    let node = Arc::new(Node::new(settings, store, table));
    node.port.store(port, Ordering::Relaxed);
    for (port, encrypted) in [(&node.http_port, false), (&node.http_tls_port, true)] {
        port.store(listener::port_of(&http_listeners, encrypted), Ordering::Relaxed);
    }
    let front = Arc::new(Front::new(Engine::new(Arc::clone(&node), handlers)));
    node.saving.recovered(&recovered);
    load_acl(&node)?;
    node.open_audit()?;
    node.set_quotas();
    peers::load_tls(&node)?;
    durability::start(&node).map_err(|error| format!("cannot start: {error}"))?;
    peers::start(&node)?;
    let threads = node.settings.threads();
    let workers = (0..threads)
        .map(|number| worker::start(&front, number))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("threads: cannot start {threads} workers: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let startup = bare + allocator::used_bytes().saturating_sub(with_data);
    node.stats.startup_memory.store(startup, Ordering::Relaxed);
    let listening = runtime.block_on(async {
        let failed = |error: std::io::Error| format!("cannot take signals: {error}");
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        // A terminal that closes does not end the server, as it does not end Redis. Certificates are read
        // again, and the audit log is opened again.
        let hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let mut listening = JoinSet::new();
        for Listening { socket, encrypted } in listeners {
            let address = socket.local_addr().map_err(|error| error.to_string())?;
            let socket = tokio::net::TcpListener::from_std(socket).map_err(|e| e.to_string())?;
            listening.spawn(listener::accept(socket, encrypted, Arc::clone(&front)));
            let by = if encrypted { " by TLS" } else { "" };
            tracing::info!("Ready to accept connections on {address}{by}");
        }
        for Listening { socket, encrypted } in http_listeners {
            let address = socket.local_addr().map_err(|error| error.to_string())?;
            let socket = tokio::net::TcpListener::from_std(socket).map_err(|e| e.to_string())?;
            listening.spawn(http::accept(socket, encrypted, Arc::clone(&front)));
            let by = if encrypted { " by TLS" } else { "" };
            tracing::info!("Ready to accept HTTP connections on {address}{by}");
        }
        supervisor::tell(&[NotifyState::Ready]);
        until_stopped(&front, [terminate, interrupt], hangup).await?;
        supervisor::tell(&[NotifyState::Stopping]);
        end_at_next_signal();
        Ok::<_, String>(listening)
    })?;
    // The listeners and channels end now, and each worker once its connections have answered what they have
    // read.
    drop(listening);
    node.stopping.store(true, Ordering::Release);
    front.http.stop();
    front.balance.close();
    node.clients.list().iter().for_each(|client| client.wake());
    let ended = within(worker::FINISH + GRACE, move || {
        for worker in workers {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    });
    if ended.is_none() {
        tracing::error!(
            "the workers did not end in time: a command does not end, or the disk does not answer"
        );
    }
    runtime.block_on(peers::leave(&node));
    node.audit.close();
    durability::close(&node)
}

/// Runs what is due every second, at every look for expired keys and every step of the balance, until a signal or SHUTDOWN asks to stop.
///
/// # Errors
/// If replication reports that this node must not go on; says why.
async fn until_stopped(
    front: &Front,
    [mut terminate, mut interrupt]: [Signal; 2],
    mut hangup: Signal,
) -> Result<(), String> {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut expiry = tokio::time::interval(EXPIRY);
    let mut step = tokio::time::interval(front::balance::STEP);
    let node = &*front.engine.node;
    let balanced = node.settings.threads() > 1;
    let mut fatal = pin!(peers::fatal(node));
    let mut telling = pin!(node.registry.keep_telling());
    let mut watched = pin!(supervisor::answer_watchdog());
    while !node.stopping.load(Ordering::Acquire) {
        tokio::select! {
            _ = second.tick() => node.tick(),
            _ = expiry.tick() => node.expire(),
            _ = step.tick(), if balanced => front.balance.look(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                match peers::load_tls(node) {
                    Ok(()) => tracing::info!("read the certificates again"),
                    Err(error) => tracing::warn!("the certificates stay as they were: {error}"),
                }
                if let Err(error) = peers::read_secrets(node) {
                    tracing::warn!("the cluster secrets stay as they were: {error}");
                }
                if let Err(error) = node.open_audit() {
                    tracing::warn!("the audit log stays as it was: {error}");
                }
            }
            () = node.stop.notified() => {}
            () = &mut telling => {}
            () = &mut watched => {}
            reason = &mut fatal => return Err(reason),
        }
    }
    tracing::info!("stopping");
    Ok(())
}

fn log(settings: &Settings) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(settings.log_level())
        .with_target(false)
        .with_ansi(std::io::stdout().is_terminal())
        // The reader of the log may have ended; the server goes on without it.
        .log_internal_errors(false);
    match settings.log_format() {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.init(),
    }
}

fn load_acl(node: &Node) -> Result<(), String> {
    let Some(path) = node.settings.aclfile() else { return Ok(()) };
    let text = std::fs::read(&path).map_err(|error| {
        format!("aclfile: cannot read {path}: {error}; expected a file of users")
    })?;
    let password = node.settings.requirepass();
    let loaded = node.acl.load(&text, &node.table, password.as_bytes());
    loaded.map_err(|error| format!("aclfile: {path}: {error}"))
}
