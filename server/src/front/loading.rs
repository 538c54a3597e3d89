//! What clients are answered while the node reads its data directory.
//!
//! The sockets are open before that begins, since reading may take minutes: health
//! checks and load balancers must see a node that lives and is not ready. RESP answers LOADING, as Redis
//! does; HTTP answers 503, and `/readyz` says how far the node is. A start that is quick is not told of:
//! then connections wait in their sockets' queues until the workers take them.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

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

/// A socket, and how its connections are answered.
struct Door {
    socket: TcpListener,
    is_http: bool,
    tls: Option<TlsAcceptor>,
}

impl Door {
    /// Second handles of sockets that are served later. `tls` is what those connections begin with that are encrypted.
    fn all(
        listeners: &[Listening],
        is_http: bool,
        tls: Option<&Arc<ServerConfig>>,
    ) -> io::Result<Vec<Door>> {
        let tls = tls.map(|config| TlsAcceptor::from(Arc::clone(config)));
        let door = |listening: &Listening| {
            let tls = tls.clone().filter(|_| listening.encrypted);
            Ok(Door { socket: listening.socket.try_clone()?, is_http, tls })
        };
        // There is no socket for TLS without a certificate.
        listeners.iter().map(door).collect()
    }
}

impl Loading {
    /// Begins to answer on these sockets. `tls` is what encrypted connections of RESP and of HTTP begin with.
    ///
    /// # Errors
    /// If the system has no descriptors or threads left.
    pub(crate) fn begin(
        resp: &[Listening],
        http: &[Listening],
        tls: Option<[Arc<ServerConfig>; 2]>,
        progress: &Arc<Progress>,
    ) -> io::Result<Loading> {
        let [resp_tls, http_tls] =
            tls.as_ref().map_or([None, None], |tls| tls.each_ref().map(Some));
        let mut doors = Door::all(resp, false, resp_tls)?;
        doors.extend(Door::all(http, true, http_tls)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let progress = Arc::clone(progress);
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            if let Err(error) = runtime.block_on(answer(doors, progress, stopped)) {
                tracing::warn!("clients are not told that the node reads its data: {error}");
            }
        };
        std::thread::Builder::new().name("miso-loading".into()).spawn(work)?;
        Ok(Loading { _stop: stop })
    }
}

/// Answers all that connect until it is stopped.
async fn answer(
    doors: Vec<Door>,
    progress: Arc<Progress>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    if tokio::time::timeout(QUICK, &mut stopped).await.is_ok() {
        return Ok(());
    }
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut listening = JoinSet::new();
    for Door { socket, is_http, tls } in doors {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let (room, progress) = (Arc::clone(&room), Arc::clone(&progress));
        listening.spawn(accept_each(socket, move |stream, _| {
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { return };
            let (progress, tls) = (Arc::clone(&progress), tls.clone());
            tokio::spawn(async move {
                let answered = async {
                    match tls {
                        None => serve(stream, is_http, progress).await,
                        // An error says that the client is none, or has gone.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, is_http, progress).await;
                            }
                        }
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

/// Answers a connection to its end.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    is_http: bool,
    progress: Arc<Progress>,
) {
    if is_http {
        http::answer_loading(stream, progress).await;
    } else {
        // An error says that the client has gone.
        let _ = refuse(stream).await;
    }
}

/// Answers LOADING to what a client sends first, and closes the connection.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
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
