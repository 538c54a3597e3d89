//! Worker threads. Each is a current-thread runtime that serves the connections it is sent.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::front::balance::Work;
use crate::front::{Front, connection, http};

/// How long connections may take to answer what they have read when the process stops.
pub(crate) const FINISH: Duration = Duration::from_secs(5);

/// Starts a worker thread and adds it to the balance. It ends after the balance is closed, once its
/// connections have ended.
///
/// # Errors
/// If the thread or its runtime cannot be made.
pub(crate) fn start(front: &Arc<Front>, number: usize) -> io::Result<JoinHandle<()>> {
    let (sender, mut work) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    front.balance.add(sender, runtime.metrics());
    let front = Arc::clone(front);
    let serve = async move {
        let node = &front.engine.node;
        let worker = node.stats.worker();
        while let Some(work) = work.recv().await {
            let opened = match work {
                Work::Resp(work) => connection::open(work, &front, &worker, number)
                    .map(|connection| drop(tokio::spawn(connection.serve()))),
                Work::Http(accepted) => http::open(accepted, &front, &worker)
                    .map(|connection| drop(tokio::spawn(connection))),
            };
            if let Err(error) = opened {
                tracing::warn!(%error, "a connection could not be served");
            }
        }
        finish().await;
    };
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || runtime.block_on(serve))
}

/// Waits until the connections of this worker have answered what they have read. They know already
/// that the process is stopping.
async fn finish() {
    let (until, tasks) = (Instant::now() + FINISH, tokio::runtime::Handle::current().metrics());
    while tasks.num_alive_tasks() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
