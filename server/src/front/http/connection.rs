//! One HTTP connection: hyper reads requests and writes answers, HTTP/1.1 or HTTP/2; the time-outs and
//! the end are here.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::routes;
use super::served::Served;
use super::stream::{Stream, agree};
use crate::front::Front;
use crate::front::transport::Accepted;
use crate::node::stats::Worker;

/// The most bytes of a request's head, and of what is read before it is handled.
const HEAD_BYTES: usize = 64 << 10;
/// How many requests may run at a time on one HTTP/2 connection.
const STREAMS: u32 = 32;
/// How many bytes of bodies an HTTP/2 connection may send before they are read.
const WINDOW: u32 = 256 << 10;

/// How long client and node may take to agree on a session of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A socket whose bytes are counted.
struct Counted {
    stream: Stream,
    served: Arc<Served>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(task, into))?;
        let read = into.filled().len() - before;
        if read > 0 {
            self.served.worker.read(read);
            self.served.activity(Activity::hear);
        }
        Poll::Ready(Ok(()))
    }
}

impl Counted {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let bytes = match &written {
            Poll::Ready(Ok(bytes)) => *bytes,
            _ => 0,
        };
        if bytes > 0 {
            self.served.worker.wrote(bytes);
        }
        self.served.activity(|activity| activity.wrote(!written.is_pending()));
        written
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(task, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// A connection that is open: counted until this is dropped.
struct Open(Arc<Front>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.engine.node.stats.http_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Registers a connection with this thread's runtime. The result serves it until it ends.
///
/// # Errors
/// If the runtime cannot watch its socket.
pub(in crate::front) fn open(
    accepted: Accepted,
    front: &Arc<Front>,
    worker: &Arc<Worker>,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let open = Open(Arc::clone(front));
    let Accepted { socket, tls } = accepted;
    let (address, local) = (socket.peer_addr()?, socket.local_addr()?);
    let socket = TcpStream::from_std(socket)?;
    let served = Arc::new(Served::new(Arc::clone(front), Arc::clone(worker), address, local));
    let agreed = agree(socket, tls);
    Ok(async move {
        let mut stopping = served.front.http.stopping.subscribe();
        let agreed = tokio::select! {
            agreed = tokio::time::timeout(HANDSHAKE, agreed) => agreed,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match agreed {
            Ok(Ok(stream)) => serve(stream, served, open).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client does not agree on TLS"),
            Err(_) => tracing::debug!("a client did not agree on TLS in {HANDSHAKE:?}"),
        }
    })
}

async fn serve(stream: Stream, served: Arc<Served>, _open: Open) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW);
    let service = {
        let served = Arc::clone(&served);
        service_fn(move |request| routes::answer(Arc::clone(&served), request))
    };
    let counted = Counted { stream, served: Arc::clone(&served) };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(counted), service));
    let mut stopping = served.front.http.stopping.subscribe();
    let mut stopped = pin!(async move { drop(stopping.wait_for(|stopping| *stopping).await) });
    let first = served.activity(|activity| activity.deadline()).unwrap_or_else(Instant::now);
    let mut timer = pin!(tokio::time::sleep_until(first.into()));
    let mut is_ending = false;
    poll_fn(|task| {
        if served.listen(task.waker()) {
            return Poll::Ready(());
        }
        if !is_ending && stopped.as_mut().poll(task).is_ready() {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(task) {
            if let Err(error) = ended {
                tracing::debug!(error, "an HTTP connection ended");
            }
            return Poll::Ready(());
        }
        // The timer is moved when it must ring earlier. If it may ring later, it rings once in vain.
        let deadline = served.activity(|activity| activity.deadline());
        loop {
            if let Some(deadline) = deadline.filter(|at| timer.deadline() > (*at).into()) {
                timer.as_mut().reset(deadline.into());
            }
            ready!(timer.as_mut().poll(task));
            match deadline {
                Some(at) if at <= Instant::now() => return Poll::Ready(()),
                Some(at) => timer.as_mut().reset(at.into()),
                None => {
                    // Something runs; its end sets a new deadline, and polls this again.
                    timer.as_mut().reset((Instant::now() + super::activity::IDLE).into());
                }
            }
        }
    })
    .await;
}
