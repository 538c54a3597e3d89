//! One connection: reads what is there, runs every complete command in it, writes all replies at
//! once.
//!
//! Buffers belong to the worker thread, so an idle connection holds none. A connection keeps only an
//! incomplete command and replies that the socket did not take. While there are such replies, nothing
//! more is read.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use miso_protocol::reply::Reply;
use miso_protocol::request::{Limits, Parser};
use miso_store::journal::Ticket;
use tokio::io::ReadBuf;

use crate::engine::call::Batch;
use crate::engine::error::CommandError;
use crate::engine::session::Session;
use crate::engine::wait::{After, Wait};
use crate::front::ahead::{AHEAD, Ahead, BUFFERS, Buffers, Command, INPUT, Stop};
use crate::front::balance::{Resp, Work};
use crate::front::transport::Transport;
use crate::front::{Front, dispatch, kept};
use crate::node::Node;
use crate::node::clients::{Client, Unblocked};
use crate::node::stats::Worker;

/// Replies beyond which a batch is written out before more of it is run.
const OUTPUT_STEP: usize = 256 << 10;
/// Room for replies that a worker keeps between batches.
const OUTPUT_KEEP: usize = 512 << 10;
/// Room for input that a connection keeps while little of it is in use.
const REST_KEEP: usize = 64 << 10;

/// The most bytes that a client which has not logged in may leave unread, as in Redis.
const UNREAD_BEFORE_LOGIN: usize = 1024;

/// How long the handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// What the connection does after a batch.
enum Next {
    /// Waits for more input.
    Read,
    /// Goes on with what was read already.
    Again,
    /// Takes the messages of other connections.
    Called,
    /// Waits for a reply, and goes on.
    Wait(Box<Wait>),
    /// Waits for the end of CLIENT PAUSE.
    Pause,
    Close,
}

/// Why a wait ended.
enum Woken<T> {
    /// The result is there.
    Ready(T),
    Called,
    Closed,
}

/// A connection that a worker serves.
pub(crate) struct Connection {
    stream: Transport,
    front: Arc<Front>,
    worker: Arc<Worker>,
    /// The number of the worker that it is on.
    place: usize,
    client: Arc<Client>,
    session: Session,
    parser: Parser,
    /// Input that is not run yet: an incomplete command, or what waits for replies to be taken.
    rest: Vec<u8>,
    /// Replies that the socket has not taken; it has taken the first `sent` bytes.
    unsent: Vec<u8>,
    sent: usize,
    /// The position that the journal must have reached before they go out.
    unjournaled: Option<Ticket>,
}

/// Registers a connection with this thread's runtime.
///
/// # Errors
/// If the runtime cannot watch its socket.
pub(crate) fn open(
    work: Resp,
    front: &Arc<Front>,
    worker: &Arc<Worker>,
    place: usize,
) -> io::Result<Connection> {
    Ok(Connection {
        stream: Transport::new(work.stream)?,
        front: Arc::clone(front),
        worker: Arc::clone(worker),
        place,
        client: Arc::clone(&work.session.client),
        session: work.session,
        parser: Parser::new(),
        rest: Vec::new(),
        unsent: Vec::new(),
        sent: 0,
        unjournaled: None,
    })
}

/// A reply that comes after `duration`.
pub(super) fn sleep(duration: Duration, reply: &'static [u8]) -> Box<Wait> {
    let now = Instant::now();
    let until = now.checked_add(duration).unwrap_or(now + FOR_EVER);
    let later = async move {
        tokio::time::sleep_until(until.into()).await;
        reply.to_vec()
    };
    Wait::blocking(later, std::future::ready(reply.to_vec()))
}

impl Connection {
    /// Serves it until it ends, or moves to another worker.
    #[expect(clippy::manual_async_fn, reason = "an async fn holds its argument twice, 456 bytes")]
    pub(crate) fn serve(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let client = Arc::clone(&self.client);
            match self.run().await {
                Ok(None) => {}
                Ok(Some(place)) => match self.stream.park() {
                    Ok(stream) => {
                        let work = Resp { stream, session: self.session };
                        self.front.balance.send(place, Work::Resp(work));
                    }
                    Err(error) => {
                        tracing::warn!(id = client.id, %error, "a connection could not move to another worker")
                    }
                },
                Err(error) => {
                    tracing::debug!(id = client.id, address = %client.address, %error, "connection ended");
                }
            }
        }
    }

    fn node(&self) -> &Node {
        &self.front.engine.node
    }

    /// The worker that it belongs to, if that is another one and it can move: it has neither input nor
    /// replies left.
    fn elsewhere(&self) -> Option<usize> {
        let place = self.front.balance.place(self.client.id);
        let is_idle = self.rest.is_empty() && self.unsent.is_empty() && !self.stream.has_unsent();
        (place != self.place && is_idle).then_some(place)
    }

    /// Waits for the handshake of TLS, if there is one.
    async fn agree(&mut self) -> io::Result<()> {
        let agreed = poll_fn(|task| self.stream.poll_agreed(task));
        match tokio::time::timeout(HANDSHAKE, agreed).await {
            Ok(agreed) => agreed,
            Err(_) => Err(io::Error::other("the handshake of TLS took too long")),
        }
    }

    /// Serves it until it ends (none), or is to move to another worker.
    async fn run(&mut self) -> io::Result<Option<usize>> {
        // The connection is one task all its life, so its waker need not be given again.
        poll_fn(|task| {
            self.client.listen(task.waker());
            Poll::Ready(())
        })
        .await;
        self.agree().await?;
        loop {
            let mut next = poll_fn(|task| self.poll_next(task)).await?;
            loop {
                next = match next {
                    Next::Read => {
                        self.flush().await?;
                        // A call may have come while a command waited.
                        if self.is_over() {
                            return Ok(None);
                        }
                        if let Some(place) = self.elsewhere() {
                            return Ok(Some(place));
                        }
                        break;
                    }
                    Next::Again => {
                        self.flush().await?;
                        self.run_rest()
                    }
                    Next::Called => {
                        if self.take_messages() {
                            return Ok(None);
                        }
                        if self.is_over() {
                            return self.flush().await.map(|()| None);
                        }
                        Next::Read
                    }
                    Next::Wait(wait) => {
                        self.flush().await?;
                        let Some(reply) = self.wait(wait).await? else {
                            return Ok(None);
                        };
                        self.unsent.extend_from_slice(&reply);
                        Next::Again
                    }
                    Next::Pause => {
                        self.flush().await?;
                        let until = self.node().clients.paused_until();
                        let mut over = Box::pin(tokio::time::sleep_until(until.into()));
                        self.client.paused.store(true, Ordering::Release);
                        let woken = self.idle(&mut over).await;
                        self.client.active_ms.store(self.node().uptime_ms(), Ordering::Relaxed);
                        self.client.paused.store(false, Ordering::Release);
                        match woken? {
                            Woken::Closed => return Ok(None),
                            Woken::Called if self.take_messages() || self.is_over() => {
                                return Ok(None);
                            }
                            Woken::Called | Woken::Ready(()) => Next::Again,
                        }
                    }
                    Next::Close => return self.flush().await.map(|()| None),
                };
            }
        }
    }

    /// Reads once and runs the complete commands; or returns that the connection was called.
    ///
    /// Reading by `poll_read` matters: it takes a short read for the end of what is there, where
    /// `try_read` costs a second system call to find that out.
    fn poll_next(&mut self, task: &mut std::task::Context<'_>) -> Poll<io::Result<Next>> {
        if self.client.is_called() {
            return Poll::Ready(Ok(Next::Called));
        }
        if !self.rest.is_empty() {
            self.client.unparsed.store(self.rest.len(), Ordering::Relaxed);
            let read = ready!(self.poll_read_more(task))?;
            return Poll::Ready(Ok(if read == 0 { Next::Close } else { self.run_rest() }));
        }
        BUFFERS.with_borrow_mut(|buffers| {
            let Buffers { input, output, batch, ahead } = buffers;
            let mut into = ReadBuf::new(input);
            ready!(self.stream.poll_read(task, &mut into))?;
            let input = into.filled();
            if input.is_empty() {
                return Poll::Ready(Ok(Next::Close));
            }
            self.worker.read(input.len());
            let (next, done) = self.run_batch(input, output, batch, ahead);
            self.rest.extend_from_slice(&input[done..]);
            Poll::Ready(Ok(next))
        })
    }

    /// Reads more of an incomplete command. Returns how many bytes, 0 at the end of the stream.
    fn poll_read_more(&mut self, task: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
        let known = self.rest.len();
        let wanted = self.parser.wanted(known);
        let read = if wanted <= INPUT {
            ready!(BUFFERS.with_borrow_mut(|buffers| {
                let mut into = ReadBuf::new(&mut buffers.input);
                ready!(self.stream.poll_read(task, &mut into))?;
                self.rest.extend_from_slice(into.filled());
                Poll::Ready(Ok::<_, io::Error>(into.filled().len()))
            }))?
        } else {
            // Room grows with what arrives, not with what was announced.
            self.rest.reserve(wanted.min(known.max(INPUT)));
            ready!(self.stream.poll_read_large(task, &mut self.rest))?
        };
        self.worker.read(read);
        Poll::Ready(Ok(read))
    }

    /// Whether the process is stopping. Then nothing more is read, and no other node is waited for.
    fn is_over(&self) -> bool {
        self.node().stopping.load(Ordering::Acquire)
    }

    /// Takes the messages of other connections. Returns whether this connection is to end.
    fn take_messages(&mut self) -> bool {
        let messages = self.client.take_messages();
        self.unsent.extend_from_slice(&messages);
        self.client.is_killed()
    }

    /// Waits for a reply, or until CLIENT UNBLOCK or the end of the process. Returns the reply; none if
    /// the connection has ended.
    async fn wait(&mut self, wait: Box<Wait>) -> io::Result<Option<Vec<u8>>> {
        let Wait { mut reply, mut at_once, blocks, silent } = *wait;
        let _blocked = blocks.then(|| self.node().clients.block(&self.client));
        let client = Arc::clone(&self.client);
        let reply = loop {
            // When the process ends, the answer is what is true now, as after a timeout.
            if self.is_over()
                && let Some(now) = at_once.take()
            {
                reply = now;
            }
            match self.idle(&mut reply).await? {
                Woken::Ready(reply) => break reply,
                Woken::Closed => return Ok(None),
                Woken::Called if self.take_messages() => return Ok(None),
                Woken::Called => match client.unblocked() {
                    Some(Unblocked::Error) => break CommandError::Unblocked.reply(),
                    Some(Unblocked::Timeout) if at_once.is_some() => {
                        reply = at_once.take().expect("there is one");
                    }
                    Some(Unblocked::Timeout) | None => self.flush().await?,
                },
            }
        };
        Ok(Some(if silent { Vec::new() } else { reply }))
    }

    /// Waits for `what`, a call, or the end of the stream. Input that arrives meanwhile is kept.
    async fn idle<T>(
        &mut self,
        what: &mut (impl Future<Output = T> + Send + Unpin),
    ) -> io::Result<Woken<T>> {
        let limit = self.node().settings.query_bytes();
        poll_fn(|task| {
            if self.client.is_called() {
                return Poll::Ready(Ok(Woken::Called));
            }
            if let Poll::Ready(ready) = Pin::new(&mut *what).poll(task) {
                return Poll::Ready(Ok(Woken::Ready(ready)));
            }
            loop {
                if ready!(self.poll_read_more(task))? == 0 {
                    return Poll::Ready(Ok(Woken::Closed));
                }
                if self.rest.len() > limit {
                    return Poll::Ready(Err(io::Error::other(
                        "client-query-buffer-limit exceeded",
                    )));
                }
            }
        })
        .await
    }

    /// Writes what waits to be written. A client that does not read waits here; one that is
    /// killed, or passes the limit, does not come back.
    async fn flush(&mut self) -> io::Result<()> {
        if let Some(ticket) = self.unjournaled.take() {
            kept::until_kept(self.node(), self.client.id, ticket).await?;
        }
        if self.unsent.is_empty() && !self.stream.has_unsent() {
            return Ok(());
        }
        let mut over_soft = None;
        while self.sent < self.unsent.len() || self.stream.has_unsent() {
            match self.stream.try_write(&self.unsent[self.sent..]) {
                Ok(written) => {
                    self.worker.wrote(written);
                    self.sent += written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let until = self.note_unread(&mut over_soft)?;
                    self.wait_writable(until).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        self.unsent.clear();
        if self.unsent.capacity() > OUTPUT_KEEP {
            self.unsent = Vec::new();
        }
        self.client.unread.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Checks the bytes that the client has not read against its limit. Returns until when they may stay
    /// above the soft limit.
    fn note_unread(&self, over_soft: &mut Option<Instant>) -> io::Result<Option<Instant>> {
        let unread = self.unsent.len() - self.sent;
        self.client.unread.store(unread, Ordering::Relaxed);
        let mut limit = self.node().settings.output_limit(self.session.listening());
        if self.session.user.is_none() {
            limit.hard = UNREAD_BEFORE_LOGIN;
        }
        let soft = limit.soft > 0 && unread > limit.soft;
        let until = soft.then(|| *over_soft.get_or_insert_with(Instant::now) + limit.soft_for);
        if !soft {
            *over_soft = None;
        }
        if (limit.hard > 0 && unread > limit.hard) || until.is_some_and(|at| at <= Instant::now()) {
            tracing::warn!(id = self.client.id, unread, "client-output-buffer-limit exceeded");
            return Err(io::Error::other("client-output-buffer-limit exceeded"));
        }
        Ok(until)
    }

    /// Waits until the socket takes more, or `until`.
    async fn wait_writable(&self, until: Option<Instant>) -> io::Result<()> {
        // Meanwhile, messages gather in the outbox, which has the same limit.
        let writable = poll_fn(|task| {
            if self.client.is_killed() {
                return Poll::Ready(Err(io::Error::other("killed")));
            }
            self.stream.poll_write_ready(task)
        });
        match until {
            None => writable.await,
            Some(until) => tokio::time::timeout_at(until.into(), writable).await.unwrap_or(Ok(())),
        }
    }

    /// Runs the input that was kept.
    fn run_rest(&mut self) -> Next {
        if self.rest.is_empty() {
            return Next::Read;
        }
        BUFFERS.with_borrow_mut(|buffers| self.run_kept(buffers))
    }

    fn run_kept(&mut self, buffers: &mut Buffers) -> Next {
        let rest = std::mem::take(&mut self.rest);
        let Buffers { output, batch, ahead, .. } = buffers;
        let (next, done) = self.run_batch(&rest, output, batch, ahead);
        self.rest = rest;
        self.rest.drain(..done);
        if self.rest.is_empty() {
            self.client.unparsed.store(0, Ordering::Relaxed);
            self.rest = Vec::new();
            self.parser.trim();
            ahead.trim();
        }
        if self.rest.capacity() > REST_KEEP && self.rest.capacity() / 4 > self.rest.len() {
            self.rest.shrink_to(REST_KEEP);
        }
        next
    }

    /// Runs the complete commands at the start of `input`. Returns what to do next, and how many bytes are
    /// done with. Replies go out at once as far as the socket takes them.
    fn run_batch(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        batch: &mut Batch,
        ahead: &mut Ahead,
    ) -> (Next, usize) {
        let began = Instant::now();
        let now = u64::try_from((began - self.node().started).as_millis()).unwrap_or(u64::MAX);
        self.client.active_ms.store(now, Ordering::Relaxed);
        output.clear();
        batch.limit_replies(self.node().settings.output_limit(self.session.listening()).hard);
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_commands(input, output, batch, ahead)));
        let (next, done) = ran.unwrap_or_else(|_| {
            tracing::error!(id = self.client.id, "a command panicked; its connection is closed");
            output.extend_from_slice(&CommandError::Internal.reply());
            (Next::Close, input.len())
        });
        batch.finish(began.elapsed(), &self.worker);
        if std::mem::take(&mut batch.wrote)
            && let Some(journal) = self.node().store.journal()
        {
            self.unjournaled = Some(journal.ticket());
        }
        if !output.is_empty() {
            let at_once = self.unsent.is_empty() && self.unjournaled.is_none();
            let written = if at_once { self.stream.try_write(output).unwrap_or(0) } else { 0 };
            if at_once {
                self.worker.wrote(written);
            }
            self.unsent.extend_from_slice(&output[written..]);
        }
        if output.capacity() > OUTPUT_KEEP {
            *output = Vec::with_capacity(INPUT);
        }
        (next, done)
    }

    /// Reads up to [`AHEAD`] commands ahead, prefetches their objects and runs them, until no complete
    /// command is left.
    fn run_commands(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        batch: &mut Batch,
        ahead: &mut Ahead,
    ) -> (Next, usize) {
        let mut at = 0;
        loop {
            let limits = self.limits();
            // The limits of the next command depend on whether AUTH succeeded.
            let window = if limits.unauthenticated { 1 } else { AHEAD };
            let (count, stop) = ahead.read(&mut self.parser, input, at, window, &limits);
            ahead.prefetch(&self.front.engine, &mut self.session, input, count);
            for command in ahead.commands(count) {
                let next = self.run_command(&input[command.at..], command, output, batch);
                if !next.retries() {
                    at = command.at + command.length;
                }
                let next = match next {
                    After::Continue | After::Refused | After::Exec | After::Once => {
                        if output.len() <= OUTPUT_STEP {
                            continue;
                        }
                        Next::Again
                    }
                    After::RetryAfterPause => Next::Pause,
                    After::Close => return (Next::Close, input.len()),
                    After::Sleep(duration, reply) => Next::Wait(sleep(duration, reply)),
                    After::Wait(wait) | After::RetryWhen(wait) => Next::Wait(wait),
                };
                // The commands that were read ahead are read again from here.
                self.parser = Parser::new();
                return (next, at);
            }
            match stop {
                Stop::Full => {}
                Stop::Incomplete if input.len() - at > self.node().settings.query_bytes() => {
                    tracing::warn!(id = self.client.id, "client-query-buffer-limit exceeded");
                    return (Next::Close, input.len());
                }
                Stop::Incomplete => return (Next::Read, at),
                Stop::Error(error) => {
                    let error = CommandError::text(error.to_string());
                    Reply::new(output, self.session.resp).error(error.line());
                    self.front.engine.node.stats.error(error.code());
                    return (Next::Close, input.len());
                }
            }
        }
    }

    fn run_command(
        &mut self,
        bytes: &[u8],
        command: &Command,
        output: &mut Vec<u8>,
        batch: &mut Batch,
    ) -> After {
        if !self.session.refresh_user() {
            self.client.kill();
        }
        if self.client.is_killed() {
            return After::Close;
        }
        let args = command.parsed.args(bytes);
        if args.is_empty() {
            return After::Continue;
        }
        let (engine, worker) = (&self.front.engine, &self.worker);
        dispatch::execute(engine, worker, &mut self.session, batch, (command.row, args), output)
    }

    fn limits(&self) -> Limits {
        Limits {
            bulk_bytes: self.node().settings.bulk_bytes(),
            unauthenticated: self.session.user.is_none(),
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand idle connections hold ten thousand of these.
    #[test]
    fn an_idle_connection_is_small() {
        fn bytes<F>(_: fn(Connection) -> F) -> usize {
            size_of::<F>()
        }
        let all = bytes(Connection::serve) + size_of::<Client>();
        assert!(all < 1400, "{all} bytes");
    }
}
