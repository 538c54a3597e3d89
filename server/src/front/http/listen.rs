//! The sockets that HTTP is listened for on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;

use crate::engine::error::CommandError;
use crate::front::Front;
use crate::front::balance::Work;
use crate::front::listener::{accept_each, open, prepare};
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

/// Opens the sockets to listen on, all with the port of the first; none if HTTP is off. Returns them and
/// the port, 0 if there is none.
///
/// # Errors
/// If an address cannot be bound; says which, and what to do.
pub(crate) fn bind(settings: &Settings) -> Result<(Vec<std::net::TcpListener>, u16), String> {
    let (mut listeners, mut bound) = (Vec::new(), 0);
    for mut address in settings.http_addresses() {
        if address.port() == 0 {
            address.set_port(bound);
        }
        let listener = open(address, settings.tcp_backlog()).map_err(|error| {
            let expected = match error.kind() {
                io::ErrorKind::AddrInUse => "a free port (--http-port)",
                _ => "addresses of this host (--http-bind)",
            };
            format!("http-port: cannot listen on {address}: {error}; expected {expected}")
        })?;
        bound = listener.local_addr().map_err(|error| error.to_string())?.port();
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

/// Accepts connections and hands them to the workers in turn.
pub(crate) async fn accept(listener: TcpListener, front: Arc<Front>) {
    accept_each(listener, |stream, _| {
        let node = &front.engine.node;
        let stats = &node.stats;
        stats.connections.fetch_add(1, Ordering::Relaxed);
        prepare(&stream, node);
        let max = node.settings.http_max_connections() as u64;
        if stats.http_connections.fetch_add(1, Ordering::Relaxed) >= max {
            let _ = stream.try_write(full().as_bytes());
        } else if let Ok(stream) = stream.into_std() {
            let number = front.http.accepted.fetch_add(1, Ordering::Relaxed);
            front.balance.send(front.balance.place(number), Work::Http(stream));
            return;
        }
        stats.http_connections.fetch_sub(1, Ordering::Relaxed);
        stats.refused.fetch_add(1, Ordering::Relaxed);
    })
    .await;
}
