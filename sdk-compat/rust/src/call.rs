//! Calls: what a method of a proxy makes, to be awaited or queued in a batch.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::Value;

use crate::error::{Error, Result};
use crate::link::Link;
use crate::reply::{Read, failed};

/// A command's words, and whether it writes.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) write: bool,
}

impl Command {
    pub(crate) fn read(verb: impl Into<Vec<u8>>) -> Command {
        Command { words: vec![verb.into()], write: false }
    }

    pub(crate) fn write(verb: impl Into<Vec<u8>>) -> Command {
        Command { words: vec![verb.into()], write: true }
    }

    pub(crate) fn arg(mut self, word: impl Into<Vec<u8>>) -> Command {
        self.words.push(word.into());
        self
    }
}

/// The ids of the writes of an object: random ones, or the platform's own id of a call and a number.
#[derive(Debug)]
pub(crate) struct Ids {
    call: Option<String>,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn random() -> Arc<Ids> {
        Arc::new(Ids { call: None, next: AtomicU64::new(0) })
    }

    pub(crate) fn of_call(call: &str) -> Result<Arc<Ids>> {
        checked(format!("{call}:0"))?;
        Ok(Arc::new(Ids { call: Some(call.to_owned()), next: AtomicU64::new(0) }))
    }

    pub(crate) fn next(&self) -> Result<String> {
        match &self.call {
            None => Ok(format!("{:032x}", fastrand::u128(..))),
            Some(call) => checked(format!("{call}:{}", self.next.fetch_add(1, Ordering::Relaxed))),
        }
    }
}

fn checked(id: String) -> Result<String> {
    if (1..=64).contains(&id.len()) {
        return Ok(id);
    }
    let length = id.len();
    let message =
        format!("the id '{id}' has {length} bytes, expected 1 to 64: give a shorter call id");
    Err(Error::Argument(message))
}

/// How the calls of an object reach its node.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) link: Arc<Link>,
    pub(crate) ids: Arc<Ids>,
}

/// A call that has not been made yet: await it, or queue it in a [`Batch`].
#[must_use = "a call does nothing until it is awaited or queued"]
#[derive(Debug)]
pub struct Call<T> {
    pub(crate) path: Path,
    pub(crate) command: Result<Command>,
    pub(crate) read: Read<T>,
}

impl<T: Send + 'static> Call<T> {
    pub(crate) fn new(path: &Path, command: Result<Command>, read: Read<T>) -> Call<T> {
        Call { path: path.clone(), command, read }
    }

    async fn run(self) -> Result<T> {
        let command = self.command?;
        let id = if command.write { Some(self.path.ids.next()?) } else { None };
        let mut replies = self.path.link.run(&[(command, id)], None).await?;
        let reply = replies.pop().unwrap_or_default();
        failed(&reply).map_or_else(|| (self.read)(reply), Err)
    }
}

impl<T: Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Where the answer of a queued call is found.
#[derive(Debug)]
pub struct Place<T> {
    index: usize,
    read: Read<T>,
    kind: PhantomData<T>,
}

/// Calls that are sent together by [`Batch::send`].
#[must_use = "a batch does nothing until it is sent"]
#[derive(Debug)]
pub struct Batch {
    path: Path,
    calls: Vec<(Command, Option<String>)>,
    atomic: bool,
}

impl Batch {
    pub(crate) fn new(path: &Path, atomic: bool) -> Batch {
        Batch { path: path.clone(), calls: Vec::new(), atomic }
    }

    /// Queues a call; answers where its answer will be.
    ///
    /// # Errors
    /// If the call has an argument that it cannot take.
    pub fn queue<T: Send + 'static>(&mut self, call: Call<T>) -> Result<Place<T>> {
        let command = call.command?;
        let own = command.write && !self.atomic;
        let id = if own { Some(self.path.ids.next()?) } else { None };
        self.calls.push((command, id));
        Ok(Place { index: self.calls.len() - 1, read: call.read, kind: PhantomData })
    }

    /// Sends all calls at once.
    ///
    /// # Errors
    /// If the node was not reached, or nobody knows whether the writes ran. What a single call was answered, an error
    /// too, is in [`Answers`].
    pub async fn send(self) -> Result<Answers> {
        if self.calls.is_empty() {
            return Ok(Answers { replies: Vec::new() });
        }
        let id = if self.atomic { Some(self.path.ids.next()?) } else { None };
        Ok(Answers { replies: self.path.link.run(&self.calls, id).await? })
    }
}

/// What the calls of a batch were answered.
#[derive(Debug)]
pub struct Answers {
    replies: Vec<Value>,
}

impl Answers {
    /// The answer of one call, which must be of this batch.
    ///
    /// # Errors
    /// What the call was answered.
    pub fn get<T>(&self, place: &Place<T>) -> Result<T> {
        let missing = || Error::Argument("no call of this batch".to_owned());
        let reply = self.replies.get(place.index).ok_or_else(missing)?;
        failed(reply).map_or_else(|| (place.read)(reply.clone()), Err)
    }

    /// The first error that a call was answered.
    ///
    /// # Errors
    /// That error.
    pub fn all(&self) -> Result<()> {
        self.replies.iter().find_map(failed).map_or(Ok(()), Err)
    }
}
