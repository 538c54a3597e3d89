//! What was written is kept before it is answered.

use std::io;

use miso_store::journal::{SyncPolicy, Ticket};

use crate::node::Node;

/// Waits until the journal has what a client wrote up to `ticket`: handed to the system, and with
/// `appendfsync always` on the disk. Other connections that are ready run first, so that one write
/// serves all of them.
///
/// # Errors
/// If it has not. The writes may still become known to other connections and peers, so neither a reply
/// nor an error would be right.
pub(super) async fn until_kept(node: &Node, client: u64, ticket: Ticket) -> io::Result<()> {
    let Some(journal) = node.store.journal() else { return Ok(()) };
    tokio::task::yield_now().await;
    let kept = match journal.commit_added(ticket) {
        Ok(position) if journal.policy() == SyncPolicy::Always => {
            Box::pin(journal.on_synced(position)).await
        }
        written => written.map(drop),
    };
    kept.map_err(|failed| {
        tracing::warn!(id = client, "a client's writes are not in the journal: {failed}");
        io::Error::other("the journal does not accept records")
    })
}
