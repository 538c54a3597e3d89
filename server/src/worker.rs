//! Worker threads, each a current-thread runtime, and the listener that hands them connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::connection;
use crate::error::CommandError;
use crate::session::Session;
use crate::shared::Shared;

/// How long the listener rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(50);

/// How long connections may take to answer what they have read when the process stops.
pub(crate) const FINISH: Duration = Duration::from_secs(5);

/// How many keepalive probes may go unanswered, as in Redis.
const PROBES: u32 = 3;

/// A connection on its way to a worker: a new one, or one that moves.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) session: Session,
}

/// Opens the sockets to listen on; all of them have the port of the first.
///
/// # Errors
/// If an address cannot be had; says which.
pub(crate) fn bind(shared: &Shared) -> Result<Vec<std::net::TcpListener>, String> {
    let backlog = shared.settings.tcp_backlog();
    let mut listeners = Vec::new();
    for mut address in shared.settings.addresses() {
        if address.port() == 0 {
            address.set_port(shared.port.load(Ordering::Relaxed));
        }
        let listener = open(address, backlog).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port: cannot listen on {address}: address already in use; expected a free port (--port)"
            ),
            _ => format!(
                "bind: cannot listen on {address}: {error}; expected an address of this host"
            ),
        })?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        shared.port.store(port, Ordering::Relaxed);
        listeners.push(listener);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts a worker thread, and has it sent connections; it ends with them once nobody can send any.
///
/// # Errors
/// If the thread or its runtime cannot be made.
pub(crate) fn start(shared: &Arc<Shared>, number: usize) -> io::Result<JoinHandle<()>> {
    let (sender, mut work) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    shared.balance.add(sender, runtime.metrics());
    let shared = Arc::clone(shared);
    let serve = async move {
        let worker = shared.stats.worker();
        while let Some(work) = work.recv().await {
            match connection::take_over(work, &shared, &worker, number) {
                Ok(connection) => drop(tokio::spawn(connection.serve())),
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        }
        finish().await;
    };
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || runtime.block_on(serve))
}

/// Lets the connections of this worker answer what they have read. They have been told that the
/// process is stopping.
async fn finish() {
    let (until, tasks) = (Instant::now() + FINISH, tokio::runtime::Handle::current().metrics());
    while tasks.num_alive_tasks() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Accepts connections and hands them to the workers.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: trying at once again would spin, and a line for
                // each try would fill the log.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        failing = false;
        if let Some(work) = admit(stream, address, &shared) {
            shared.balance.send(shared.balance.place(work.session.client.id), work);
        }
    }
}

/// Lets a connection in, or tells it why not.
fn admit(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared>) -> Option<Work> {
    shared.stats.connections.fetch_add(1, Ordering::Relaxed);
    let _ = stream.set_nodelay(true);
    if let Some(idle) = shared.settings.keepalive() {
        let probes = TcpKeepalive::new()
            .with_time(idle)
            .with_interval((idle / 3).max(Duration::from_secs(1)))
            .with_retries(PROBES);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
    }
    let outside = !address.ip().to_canonical().is_loopback();
    if outside && shared.settings.protected() && shared.acl.anonymous().is_some() {
        let _ = stream.try_write(&CommandError::ProtectedMode.reply());
        shared.stats.refused.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let local = stream.local_addr().ok()?;
    let max = shared.settings.maxclients();
    let Some(client) = shared.clients.open(address, local, shared.uptime_ms(), max) else {
        let _ = stream.try_write(&CommandError::MaxClients.reply());
        shared.stats.refused.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let session = Session::new(client, Arc::clone(shared));
    let stream = stream.into_std().ok()?;
    Some(Work { stream, session })
}
