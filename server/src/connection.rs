//! One connection: reads what is there, runs every complete command in it, writes all replies at
//! once.
//!
//! Buffers belong to the worker thread, so an idle connection holds none: only the rest of an
//! incomplete command, and replies that the socket did not take, are kept by the connection. While
//! replies wait to be taken, nothing more is read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use miso_protocol::reply::Reply;
use miso_protocol::request::{Limits, Parser, ProtocolError};
use tokio::net::TcpStream;

use crate::clients::Client;
use crate::context::After;
use crate::dispatch::{self, Batch};
use crate::session::Session;
use crate::shared::Shared;
use crate::stats::Worker;

/// What a worker reads into at once.
const INPUT: usize = 32 << 10;
/// Replies beyond which a batch is written out before more of it is run.
const OUTPUT_STEP: usize = 256 << 10;
/// Room for replies that a worker keeps between batches.
const OUTPUT_KEEP: usize = 512 << 10;
/// How soon a paused connection tries again.
const PAUSE_STEP: Duration = Duration::from_millis(5);

/// How many commands are read ahead.
const AHEAD: usize = 16;
/// From how many on it pays to have their objects brought near.
const PREFETCH_FROM: usize = 4;

/// A worker's buffers.
struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
    batch: Batch,
    ahead: Ahead,
}

/// A command that was read ahead: where it stands in the input, and the parser that cut it.
#[derive(Default)]
struct Command {
    at: usize,
    length: usize,
    parsed: Parser,
}

#[derive(Default)]
struct Ahead {
    commands: [Command; AHEAD],
}

/// Why no more commands were read ahead.
enum Stop {
    /// There may be more.
    Full,
    /// The next one is not complete.
    Incomplete,
    Error(ProtocolError),
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        input: vec![0; INPUT].into(),
        output: Vec::with_capacity(INPUT),
        batch: Batch::default(),
        ahead: Ahead::default(),
    });
}

/// What the connection does after a batch.
enum Next {
    /// Waits for more input.
    Read,
    /// Goes on with what was read already.
    Again,
    /// Waits, answers, and goes on.
    Sleep(Duration, &'static [u8]),
    Close,
}

/// Why the socket is looked at.
enum Event {
    Readable,
    Called,
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    client: Arc<Client>,
    session: Session,
    parser: Parser,
    /// Input that is not run yet: an incomplete command, or what waits for replies to be taken.
    rest: Vec<u8>,
    /// Replies that the socket did not take.
    unsent: Vec<u8>,
    generation: u64,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(
    stream: TcpStream,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    client: Arc<Client>,
) {
    let mut session =
        Session::new(Arc::clone(&client), shared.settings.text("default-function").as_bytes());
    let generation = shared.acl.generation();
    session.user = shared.acl.anonymous();
    session.describe();
    let mut connection = Connection {
        stream,
        shared: Arc::clone(&shared),
        worker,
        client: Arc::clone(&client),
        session,
        parser: Parser::new(),
        rest: Vec::new(),
        unsent: Vec::new(),
        generation,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(id = client.id, address = %client.address, %error, "connection ended");
    }
    connection.session.leave(&shared);
    shared.clients.close(client.id);
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.wait().await? {
                Event::Called => {
                    if self.client.is_killed() {
                        return Ok(());
                    }
                    let messages = self.client.take_messages();
                    self.unsent.extend_from_slice(&messages);
                    self.flush().await?;
                    continue;
                }
                Event::Readable => {}
            }
            let mut next = match self.read_and_run() {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            loop {
                self.flush().await?;
                next = match next {
                    Next::Read => break,
                    Next::Close => return Ok(()),
                    Next::Again => self.run_rest(),
                    Next::Sleep(duration, reply) => {
                        if self.sleep(duration).await? {
                            return Ok(());
                        }
                        self.unsent.extend_from_slice(reply);
                        Next::Again
                    }
                };
            }
        }
    }

    /// Waits until there is something to read, or somebody calls.
    async fn wait(&self) -> io::Result<Event> {
        poll_fn(|task| {
            if self.client.poll_called(task.waker()) {
                return Poll::Ready(Ok(Event::Called));
            }
            self.stream.poll_read_ready(task).map_ok(|()| Event::Readable)
        })
        .await
    }

    /// Sleeps; whether the connection was killed meanwhile.
    async fn sleep(&self, duration: Duration) -> io::Result<bool> {
        let until = tokio::time::Instant::now() + duration;
        let killed = poll_fn(|task| {
            self.client.listen(task.waker());
            if self.client.is_killed() { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            () = killed => Ok(true),
            () = tokio::time::sleep_until(until) => Ok(false),
        }
    }

    /// Writes what waits to be written. A client that does not read waits here; one that is
    /// killed, or passes the limit, does not come back.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.try_write(&self.unsent) {
                Ok(written) => {
                    self.worker.bytes_out.add(written as u64);
                    self.unsent.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.note_unread()?;
                    self.wait_writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        if self.unsent.capacity() > OUTPUT_KEEP {
            self.unsent = Vec::new();
        }
        self.client.unread.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn note_unread(&self) -> io::Result<()> {
        let unread = self.unsent.len();
        self.client.unread.store(unread, Ordering::Relaxed);
        let limit = self.shared.settings.output_limit(self.session.subscriptions() > 0);
        if limit.hard > 0 && unread > limit.hard {
            return Err(io::Error::other("client-output-buffer-limit passed"));
        }
        Ok(())
    }

    async fn wait_writable(&self) -> io::Result<()> {
        poll_fn(|task| {
            // Messages gather in the outbox meanwhile, under its own limit.
            self.client.listen(task.waker());
            if self.client.is_killed() {
                return Poll::Ready(Err(io::Error::other("killed")));
            }
            self.stream.poll_write_ready(task)
        })
        .await
    }

    /// Reads once and runs what is complete; none at the end of the stream.
    fn read_and_run(&mut self) -> io::Result<Option<Next>> {
        BUFFERS.with_borrow_mut(|buffers| {
            if self.rest.is_empty() {
                let read = self.stream.try_read(&mut buffers.input)?;
                if read == 0 {
                    return Ok(None);
                }
                self.worker.bytes_in.add(read as u64);
                let Buffers { input, output, batch, ahead } = buffers;
                let (next, done) = self.run_batch(&input[..read], output, batch, ahead);
                self.rest.extend_from_slice(&input[done..read]);
                return Ok(Some(next));
            }
            // The rest grows with what arrives, not with what was announced.
            let known = self.rest.len();
            let room = self.parser.wanted(known).clamp(INPUT, known.max(INPUT));
            self.rest.resize(known + room, 0);
            let read = self.stream.try_read(&mut self.rest[known..]);
            self.rest.truncate(known + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Ok(None);
            }
            self.worker.bytes_in.add((self.rest.len() - known) as u64);
            Ok(Some(self.run_kept(buffers)))
        })
    }

    /// Runs what was read before.
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
            self.rest = Vec::new();
            ahead.commands.iter_mut().for_each(|command| command.parsed.trim());
        }
        next
    }

    /// Runs the complete commands at the start of `input`; what to do next, and how many bytes are
    /// done with. Replies go out at once as far as the socket takes them.
    fn run_batch(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        batch: &mut Batch,
        ahead: &mut Ahead,
    ) -> (Next, usize) {
        let began = Instant::now();
        let now = u64::try_from((began - self.shared.started).as_millis()).unwrap_or(u64::MAX);
        self.client.active_ms.store(now, Ordering::Relaxed);
        output.clear();
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_commands(input, output, batch, ahead)));
        let (next, done) = ran.unwrap_or_else(|_| {
            tracing::error!(id = self.client.id, "a command panicked; its connection is closed");
            output.extend_from_slice(b"-ERR internal error\r\n");
            (Next::Close, input.len())
        });
        batch.finish(began.elapsed(), &self.worker);
        if !output.is_empty() {
            let written =
                if self.unsent.is_empty() { self.stream.try_write(output).unwrap_or(0) } else { 0 };
            self.worker.bytes_out.add(written as u64);
            self.unsent.extend_from_slice(&output[written..]);
        }
        if output.capacity() > OUTPUT_KEEP {
            *output = Vec::with_capacity(INPUT);
        }
        (next, done)
    }

    /// Reads ahead up to [`AHEAD`] commands, has what they are about brought near, runs them, and
    /// so on.
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
            // What a client may send depends on whether AUTH went well.
            let window = if limits.unauthenticated { 1 } else { AHEAD };
            let (count, stop) = self.read_ahead(input, at, window, &limits, ahead);
            if count >= PREFETCH_FROM {
                self.prefetch(input, &ahead.commands[..count]);
            }
            for command in &ahead.commands[..count] {
                let next = self.run_command(&input[command.at..], command, output, batch);
                if next != After::Retry {
                    at = command.at + command.length;
                }
                let next = match next {
                    After::Continue if output.len() > OUTPUT_STEP => Next::Again,
                    After::Continue => continue,
                    After::Retry => Next::Sleep(PAUSE_STEP, b""),
                    After::Close => return (Next::Close, input.len()),
                    After::Sleep(duration, reply) => Next::Sleep(duration, reply),
                };
                // What was read ahead is read again from here.
                self.parser = Parser::new();
                return (next, at);
            }
            match stop {
                Stop::Full => {}
                Stop::Incomplete if input.len() - at > self.shared.settings.query_bytes() => {
                    tracing::warn!(id = self.client.id, "client-query-buffer-limit passed");
                    return (Next::Close, input.len());
                }
                Stop::Incomplete => return (Next::Read, at),
                Stop::Error(error) => {
                    Reply { out: output, resp: self.session.resp }.error(&error.to_string());
                    return (Next::Close, input.len());
                }
            }
        }
    }

    /// Cuts up to `window` commands; how many there are, and why there are no more.
    fn read_ahead(
        &mut self,
        input: &[u8],
        mut at: usize,
        window: usize,
        limits: &Limits,
        ahead: &mut Ahead,
    ) -> (usize, Stop) {
        for count in 0..window {
            match self.parser.next(&input[at..], limits) {
                Ok(Some(length)) => {
                    let command = &mut ahead.commands[count];
                    (command.at, command.length) = (at, length);
                    std::mem::swap(&mut self.parser, &mut command.parsed);
                    at += length;
                }
                Ok(None) => return (count, Stop::Incomplete),
                Err(error) => return (count, Stop::Error(error)),
            }
        }
        (window, Stop::Full)
    }

    /// Has the objects of several commands brought near at once, so that their cache misses overlap
    /// instead of following each other.
    fn prefetch(&self, input: &[u8], commands: &[Command]) {
        let Some(function) = &self.session.function else { return };
        let mut hashes = [None; AHEAD];
        for (command, slot) in commands.iter().zip(&mut hashes) {
            if let Some(object) = command.parsed.args(&input[command.at..]).get(1) {
                let hash = miso_store::hash(object);
                *slot = Some(hash);
                function.lock(function.shard_of(hash)).prefetch_bucket(hash);
            }
        }
        for hash in hashes.into_iter().flatten() {
            function.lock(function.shard_of(hash)).prefetch_object(hash);
        }
    }

    fn run_command(
        &mut self,
        bytes: &[u8],
        command: &Command,
        output: &mut Vec<u8>,
        batch: &mut Batch,
    ) -> After {
        self.refresh_user();
        if self.client.is_killed() {
            return After::Close;
        }
        let args = command.parsed.args(bytes);
        if args.is_empty() {
            return After::Continue;
        }
        let (shared, worker) = (&self.shared, &self.worker);
        dispatch::execute(shared, worker, &mut self.session, batch, args, output)
    }

    fn limits(&self) -> Limits {
        Limits {
            bulk_bytes: self.shared.settings.bulk_bytes(),
            unauthenticated: self.session.user.is_none(),
            ..Limits::default()
        }
    }

    /// Looks the user up again if any user changed.
    fn refresh_user(&mut self) {
        let generation = self.shared.acl.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        if let Some(user) = &self.session.user {
            match self.shared.acl.get(&user.name) {
                Some(user) => self.session.user = Some(user),
                None => self.client.kill(),
            }
        }
    }
}
