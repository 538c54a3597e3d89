//! Runs the commands of a request, one after another, and waits for what they wait for.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use miso_protocol::request::Args;

use super::served::{Served, Speaker};
use crate::engine::error::CommandError;
use crate::engine::wait::{After, Wait};
use crate::front::connection::sleep;
use crate::front::kept;
use crate::node::clients::Unblocked;

/// Why a request is not answered by its commands' replies.
#[derive(Debug)]
pub(super) enum Stop {
    /// By this error instead.
    Error(CommandError),
    /// The token is not good; the error's line.
    Refused(Box<[u8]>),
    /// Not at all: the connection is to end.
    Closed,
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Stop {
        Stop::Error(error)
    }
}

/// Why a wait ended.
enum Woken {
    Ready(Vec<u8>),
    Called,
}

/// The commands of one request.
pub(super) struct Run<'a> {
    served: &'a Served,
    speaker: &'a mut Speaker,
    /// Their replies, in RESP2.
    out: Vec<u8>,
    /// The most bytes of replies.
    limit: usize,
    /// Since when the commands that are not counted yet have run.
    began: Instant,
    /// Whether the session is to end with the request.
    ends: bool,
}

impl<'a> Run<'a> {
    /// A request of a session.
    pub(super) fn new(served: &'a Served, speaker: &'a mut Speaker) -> Run<'a> {
        let settings = &served.node().settings;
        let limit = match settings.output_limit(false).hard {
            0 => settings.http_max_answer(),
            hard => hard.min(settings.http_max_answer()),
        };
        speaker.batch.limit_replies(limit);
        let began = Instant::now();
        Run { served, speaker, out: Vec::new(), limit, began, ends: false }
    }

    /// Runs a command as the only one of its request, or as one of several, unless it is one that is refused
    /// over HTTP.
    pub(super) async fn checked(&mut self, args: Args<'_>, is_alone: bool) -> Result<(), Stop> {
        match self.refusal(args, is_alone) {
            None => self.command(args).await,
            Some(error) => {
                self.served.node().stats.error(error.code());
                self.out.extend_from_slice(&error.reply());
                Ok(())
            }
        }
    }

    /// Why a command is refused over HTTP.
    pub(super) fn refusal(&self, args: Args<'_>, is_alone: bool) -> Option<CommandError> {
        if args.is_empty() {
            return Some(CommandError::HttpEmpty("command".into()));
        }
        if self.out.len() >= self.limit {
            return Some(CommandError::HttpAnswerTooLarge(self.limit.to_string().into()));
        }
        let front = &self.served.front;
        let refused = front.http.refused(&self.served.node().table, args, is_alone)?;
        Some(CommandError::HttpUnavailable(refused.into()))
    }

    /// Runs a command until it has replied.
    ///
    /// # Errors
    /// If the session was killed.
    pub(super) async fn command(&mut self, args: Args<'_>) -> Result<(), Stop> {
        loop {
            let client = &self.speaker.session.client;
            if client.is_killed() || !self.speaker.session.refresh_user() {
                self.served.kill();
                return Err(Stop::Closed);
            }
            match self.attempt(args) {
                After::Continue | After::Refused | After::Exec | After::Once => return Ok(()),
                After::Close => {
                    self.ends = true;
                    return Ok(());
                }
                After::Sleep(duration, reply) => return self.wait(sleep(duration, reply)).await,
                After::Wait(wait) => return self.wait(wait).await,
                After::RetryWhen(wait) => self.wait(wait).await?,
                After::RetryAfterPause => self.pause().await?,
            }
        }
    }

    /// Runs a command once.
    fn attempt(&mut self, args: Args<'_>) -> After {
        let (engine, worker) = (&self.served.front.engine, &self.served.worker);
        let Speaker { session, batch, .. } = &mut *self.speaker;
        let (start, out) = (self.out.len(), &mut self.out);
        let ran = catch_unwind(AssertUnwindSafe(|| engine.run(worker, session, batch, args, out)));
        let after = ran.unwrap_or_else(|_| {
            tracing::error!(id = session.client.id, "a command panicked; its session is closed");
            out.truncate(start);
            out.extend_from_slice(&CommandError::Internal.reply());
            After::Close
        });
        if matches!(after, After::Close) && out.len() == start {
            let error = CommandError::HttpAnswerTooLarge(self.limit.to_string().into());
            out.extend_from_slice(&error.reply());
        }
        after
    }

    /// Counts the commands that have run: what comes now is waiting.
    fn count(&mut self) {
        self.speaker.batch.finish(self.began.elapsed(), &self.served.worker);
    }

    /// Waits for a reply, or until CLIENT UNBLOCK or the end of the process.
    async fn wait(&mut self, wait: Box<Wait>) -> Result<(), Stop> {
        self.count();
        let Wait { mut reply, mut at_once, blocks, .. } = *wait;
        let client = Arc::clone(&self.speaker.session.client);
        let node = self.served.node();
        let _blocked = blocks.then(|| node.clients.block(&client));
        let reply = loop {
            if node.stopping.load(Ordering::Acquire)
                && let Some(now) = at_once.take()
            {
                reply = now;
            }
            let woken = poll_fn(|task| {
                client.listen(task.waker());
                if client.is_called() {
                    return Poll::Ready(Woken::Called);
                }
                Pin::new(&mut reply).poll(task).map(Woken::Ready)
            });
            match woken.await {
                Woken::Ready(reply) => break reply,
                Woken::Called => self.take_call()?,
            }
            match client.unblocked() {
                Some(Unblocked::Error) => break CommandError::Unblocked.reply(),
                Some(Unblocked::Timeout) => reply = at_once.take().unwrap_or(reply),
                None => {}
            }
        };
        self.out.extend_from_slice(&reply);
        self.began = Instant::now();
        Ok(())
    }

    /// Waits for the end of CLIENT PAUSE.
    async fn pause(&mut self) -> Result<(), Stop> {
        self.count();
        let client = Arc::clone(&self.speaker.session.client);
        let until = self.served.node().clients.paused_until();
        let mut over = Box::pin(tokio::time::sleep_until(until.into()));
        client.paused.store(true, Ordering::Release);
        let called = poll_fn(|task| {
            client.listen(task.waker());
            if client.is_called() {
                return Poll::Ready(true);
            }
            over.as_mut().poll(task).map(|()| false)
        })
        .await;
        client.paused.store(false, Ordering::Release);
        if called {
            self.take_call()?;
            if self.served.node().stopping.load(Ordering::Acquire) {
                return Err(Stop::Closed);
            }
        }
        self.began = Instant::now();
        Ok(())
    }

    /// Looks at why the session was called.
    ///
    /// # Errors
    /// If it was killed.
    fn take_call(&self) -> Result<(), Stop> {
        let client = &self.speaker.session.client;
        client.take_messages();
        if client.is_killed() {
            self.served.kill();
            return Err(Stop::Closed);
        }
        Ok(())
    }

    /// The replies so far.
    pub(super) fn replies(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The session.
    pub(super) fn session(&mut self) -> &mut crate::engine::session::Session {
        &mut self.speaker.session
    }

    /// Counts the commands, and waits until what they wrote is kept. Returns their replies, and whether
    /// the session goes on.
    ///
    /// # Errors
    /// If it is not kept: the connection is to end without an answer.
    pub(super) async fn finish(mut self) -> Result<(Vec<u8>, bool), Stop> {
        self.count();
        let node = self.served.node();
        if std::mem::take(&mut self.speaker.batch.wrote)
            && let Some(journal) = node.store.journal()
        {
            let (id, ticket) = (self.speaker.session.client.id, journal.ticket());
            kept::until_kept(node, id, ticket).await.map_err(|_| {
                self.served.kill();
                Stop::Closed
            })?;
        }
        let now = node.uptime_ms();
        self.speaker.session.client.active_ms.store(now, Ordering::Relaxed);
        Ok((self.out, !self.ends))
    }
}
