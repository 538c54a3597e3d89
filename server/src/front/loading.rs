//! What clients are answered while the node reads its data directory.
//!
//! The sockets are open before that begins, since reading may take minutes: health
//! checks and load balancers must see a node that lives and is not ready. RESP answers LOADING, as Redis
//! does; HTTP answers 503, and `/readyz` says how far the node is. A start that is quick is not told of:
//! then connections wait in their sockets' queues until the workers take them. So do those of TLS always.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::durability::Progress;
use crate::engine::error::CommandError;
use crate::front::http;
use crate::front::listener::{Listening, accept_each};

/// A start that takes no longer is not told of.
const QUICK: Duration = Duration::from_millis(250);
/// How many connections are answered at a time; others are closed.
const CONNECTIONS: usize = 64;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// New connections are answered so until this is dropped. What is being answered by then is answered to
/// its end, while the start goes on.
#[derive(Debug)]
pub(crate) struct Loading {
    _stop: oneshot::Sender<()>,
}

impl Loading {
    /// Begins to answer on these sockets.
    ///
    /// # Errors
    /// If the system has no descriptors or threads left.
    pub(crate) fn begin(
        resp: &[Listening],
        http: &[Listening],
        progress: &Arc<Progress>,
    ) -> io::Result<Loading> {
        let (resp, http) = (plain(resp)?, plain(http)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let progress = Arc::clone(progress);
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            if let Err(error) = runtime.block_on(answer(resp, http, progress, stopped)) {
                tracing::warn!("clients are not told that the node reads its data: {error}");
            }
        };
        std::thread::Builder::new().name("miso-loading".into()).spawn(work)?;
        Ok(Loading { _stop: stop })
    }
}

/// Second handles of the sockets that speak no TLS.
fn plain(listeners: &[Listening]) -> io::Result<Vec<TcpListener>> {
    let plain = listeners.iter().filter(|listening| !listening.encrypted);
    plain.map(|listening| listening.socket.try_clone()).collect()
}

/// Answers all that connect until it is stopped.
async fn answer(
    resp: Vec<TcpListener>,
    http: Vec<TcpListener>,
    progress: Arc<Progress>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    if tokio::time::timeout(QUICK, &mut stopped).await.is_ok() {
        return Ok(());
    }
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut listening = JoinSet::new();
    let all = resp.into_iter().map(|socket| (socket, false));
    for (socket, is_http) in all.chain(http.into_iter().map(|socket| (socket, true))) {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let (room, progress) = (Arc::clone(&room), Arc::clone(&progress));
        listening.spawn(accept_each(socket, move |stream, _| {
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { return };
            let progress = Arc::clone(&progress);
            tokio::spawn(async move {
                let answered = async {
                    if is_http {
                        http::answer_loading(stream, progress).await;
                    } else {
                        // An error says that the client has gone.
                        let _ = refuse(stream).await;
                    }
                };
                // Whether it ended or took too long, it is closed.
                let _ = tokio::time::timeout(PATIENCE, answered).await;
                drop(permit);
            });
        }));
    }
    // It never says anything: its sender is dropped.
    let _ = stopped.await;
    drop(listening);
    // Once all permits are back, no connection is left. The semaphore is never closed.
    let _ = room.acquire_many(CONNECTIONS as u32).await;
    Ok(())
}

/// Answers LOADING to what a client sends first, and closes the connection.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let mut asked = [0; 4096];
    if stream.read(&mut asked).await? == 0 {
        return Ok(());
    }
    stream.write_all(&CommandError::Loading.reply()).await?;
    stream.shutdown().await?;
    // What is not read would take the answer with it when the socket is closed.
    while stream.read(&mut asked).await? > 0 {}
    Ok(())
}
