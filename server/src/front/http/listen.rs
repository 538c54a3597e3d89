//! The sockets that HTTP is listened for on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::error::CommandError;
use crate::front::Front;
use crate::front::balance::Work;
use crate::front::listener::{Listening, accept_each, open, port_of, prepare};
use crate::front::transport::Accepted;
use crate::settings::Settings;

/// What a connection is told for which there is no room.
fn full() -> String {
    let json = format!("{{\"error\":\"{}\"}}", CommandError::HttpConnections);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Retry-After: 1\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    )
}

/// Opens the sockets to listen on, those of a kind all with the port of the first; none if HTTP is off.
///
/// # Errors
/// If an address cannot be bound; says which, and what to do.
pub(crate) fn bind(settings: &Settings) -> Result<Vec<Listening>, String> {
    let mut listeners = Vec::new();
    let plain = ("http-port", settings.http_port(), false);
    let encrypted = ("http-tls-port", settings.http_tls_port(), true);
    for (setting, port, encrypted) in [plain, encrypted] {
        for mut address in settings.http_addresses(port) {
            if address.port() == 0 {
                address.set_port(port_of(&listeners, encrypted));
            }
            let socket = open(address, settings.tcp_backlog()).map_err(|error| {
                let expected = match error.kind() {
                    io::ErrorKind::AddrInUse => format!("a free port (--{setting})"),
                    _ => "addresses of this host (--http-bind)".into(),
                };
                format!("{setting}: cannot listen on {address}: {error}; expected {expected}")
            })?;
            listeners.push(Listening { socket, encrypted });
        }
    }
    Ok(listeners)
}

/// Accepts connections, which speak TLS if they are `encrypted`, and hands them to the workers in turn.
pub(crate) async fn accept(listener: tokio::net::TcpListener, encrypted: bool, front: Arc<Front>) {
    accept_each(listener, |stream, _| {
        let node = &front.engine.node;
        let stats = &node.stats;
        stats.connections.fetch_add(1, Ordering::Relaxed);
        prepare(&stream, node);
        let max = node.settings.http_max_connections() as u64;
        if stats.http_connections.fetch_add(1, Ordering::Relaxed) >= max {
            // What is answered without a handshake would be no TLS.
            if !encrypted {
                let _ = stream.try_write(full().as_bytes());
            }
        } else if let Ok(socket) = stream.into_std() {
            let number = front.http.accepted.fetch_add(1, Ordering::Relaxed);
            let tls = encrypted.then(|| node.tls.http()).flatten();
            if tls.is_some() == encrypted {
                let work = Work::Http(Accepted { socket, tls });
                front.balance.send(front.balance.place(number), work);
                return;
            }
        }
        stats.http_connections.fetch_sub(1, Ordering::Relaxed);
        stats.refused.fetch_add(1, Ordering::Relaxed);
    })
    .await;
}
