//! The sockets that clients connect to. A connection that is let in goes to a worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::ServerConnection;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::error::CommandError;
use crate::engine::session::Session;
use crate::front::Front;
use crate::front::balance::{Resp, Work};
use crate::front::transport::Parked;
use crate::node::Node;
use crate::settings::Settings;

/// How long the listener rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(50);

/// How many keepalive probes may go unanswered, as in Redis.
const PROBES: u32 = 3;

/// A socket to listen on.
pub(crate) struct Listening {
    pub(crate) socket: std::net::TcpListener,
    /// Whether its connections speak TLS.
    pub(crate) encrypted: bool,
}

/// The port of the first of these sockets that is `encrypted`, or is not; 0 if there is none.
pub(crate) fn port_of(listeners: &[Listening], encrypted: bool) -> u16 {
    let mut fitting = listeners.iter().filter(|listening| listening.encrypted == encrypted);
    let address = fitting.next().and_then(|listening| listening.socket.local_addr().ok());
    address.map_or(0, |address| address.port())
}

/// Opens the sockets to listen on, all with the port of the first. Returns them and the port.
///
/// # Errors
/// If an address cannot be bound; says which, and what to do.
pub(crate) fn bind(settings: &Settings) -> Result<(Vec<Listening>, u16), String> {
    let (backlog, tls) = (settings.tcp_backlog(), settings.tls_port());
    let (mut listeners, mut bound) = (Vec::new(), 0);
    // As in Redis, a port for TLS and the port 0 beside it leave TLS alone.
    let plain = tls == 0 || settings.port() != 0;
    for mut address in settings.addresses() {
        if tls != 0 {
            address.set_port(tls);
            let socket = open(address, backlog).map_err(|error| {
                format!("tls-port: cannot listen on {address}: {error}; expected a free port")
            })?;
            listeners.push(Listening { socket, encrypted: true });
            address.set_port(settings.port());
        }
        if !plain {
            bound = tls;
            continue;
        }
        if address.port() == 0 {
            address.set_port(bound);
        }
        let listener = open(address, backlog).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port: cannot listen on {address}: address already in use; expected a free port (--port)"
            ),
            _ => format!(
                "bind: cannot listen on {address}: {error}; expected an address of this host"
            ),
        })?;
        bound = listener.local_addr().map_err(|error| error.to_string())?.port();
        listeners.push(Listening { socket: listener, encrypted: false });
    }
    Ok((listeners, bound))
}

/// Opens a socket that listens on `address`.
pub(super) fn open(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
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

/// Accepts connections, which speak TLS if they are `encrypted`, and hands them to the workers.
pub(crate) async fn accept(listener: TcpListener, encrypted: bool, front: Arc<Front>) {
    accept_each(listener, |stream, address| {
        if let Some(work) = admit(stream, address, encrypted, &front.engine.node) {
            front.balance.send(front.balance.place(work.session.client.id), Work::Resp(work));
        }
    })
    .await;
}

/// Accepts connections, and gives `each` to the caller.
pub(super) async fn accept_each(listener: TcpListener, each: impl Fn(TcpStream, SocketAddr)) {
    let mut failing = false;
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely there are no descriptors left. Trying again at once would spin, and a line
                // for each try would fill the log.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        failing = false;
        each(stream, address);
    }
}

/// Lets a connection in, or answers why not.
fn admit(
    stream: TcpStream,
    address: SocketAddr,
    encrypted: bool,
    node: &Arc<Node>,
) -> Option<Resp> {
    node.stats.connections.fetch_add(1, Ordering::Relaxed);
    prepare(&stream, node);
    // What is answered without a handshake would be no TLS.
    let answer = |error: CommandError| {
        if !encrypted {
            let _ = stream.try_write(&error.reply());
        }
        node.stats.refused.fetch_add(1, Ordering::Relaxed);
    };
    let outside = !address.ip().to_canonical().is_loopback();
    if outside && node.settings.protected() && node.acl.anonymous().is_some() {
        answer(CommandError::ProtectedMode);
        return None;
    }
    let local = stream.local_addr().ok()?;
    let max = node.settings.maxclients();
    let Some(client) = node.clients.open(address, local, node.uptime_ms(), max) else {
        answer(CommandError::MaxClients);
        return None;
    };
    let session = Session::new(client, Arc::clone(node));
    let tls = match encrypted {
        true => Some(Box::new(ServerConnection::new(node.tls.server()?).ok()?)),
        false => None,
    };
    let stream = Parked { socket: stream.into_std().ok()?, tls };
    Some(Resp { stream, session })
}

/// Sets what every connection of a client has.
pub(super) fn prepare(stream: &TcpStream, node: &Node) {
    let _ = stream.set_nodelay(true);
    if let Some(idle) = node.settings.keepalive() {
        let probes = TcpKeepalive::new()
            .with_time(idle)
            .with_interval((idle / 3).max(Duration::from_secs(1)))
            .with_retries(PROBES);
        let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
    }
}
