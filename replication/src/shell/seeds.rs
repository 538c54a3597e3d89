//! Seeds: `host:port`, resolved again and again by the system's resolver, since a name may stand for
//! many nodes and for others tomorrow (a headless service in Kubernetes).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::peers::Event;

/// How long an answer of the resolver is good.
const EVERY: Duration = Duration::from_secs(5);

/// Resolves one seed for ever. `jitter` is this node's, so that not all ask at once.
pub(super) async fn resolve(seed: String, jitter: Duration, events: mpsc::Sender<Event>) {
    let mut failed = false;
    loop {
        match lookup(&seed).await {
            Ok(found) => {
                failed = false;
                for address in found {
                    let found = Event::Resolved { address: address.to_string() };
                    if events.send(found).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                // Once: a name that is not there yet is usual while a cluster starts.
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(%seed, %error, "cannot resolve a seed; tries again");
                }
            }
        }
        tokio::time::sleep(if failed { EVERY / 5 } else { EVERY } + jitter).await;
    }
}

async fn lookup(seed: &str) -> std::io::Result<Vec<SocketAddr>> {
    // An address needs no resolver, and no thread for it.
    if let Ok(address) = seed.parse() {
        return Ok(vec![address]);
    }
    Ok(tokio::net::lookup_host(seed).await?.collect())
}
