//! What a command's handler works with.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;
use miso_store::crdt::Type;
use miso_store::{Function, Held, ShardGuard};

use crate::error::CommandError;
use crate::session::Session;
use crate::shared::Shared;
use crate::stats::Worker;

/// A reply that is made while the connection waits: its bytes.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// A command that is answered later. Nothing else of its connection runs meanwhile.
pub(crate) struct Wait {
    /// The reply.
    pub(crate) reply: Answering,
    /// What it answers if it may not wait: within EXEC, once CLIENT UNBLOCK ends it, and when the process
    /// ends. None if it waits for this node alone.
    pub(crate) at_once: Option<Answering>,
    /// Whether it counts as blocked, and CLIENT UNBLOCK ends it.
    pub(crate) blocks: bool,
    /// Whether the client does not want to see the reply.
    pub(crate) silent: bool,
}

impl Wait {
    /// A reply that waits for this node alone.
    pub(crate) fn soon(reply: impl Future<Output = Vec<u8>> + Send + 'static) -> Box<Wait> {
        Box::new(Wait { reply: Box::pin(reply), at_once: None, blocks: false, silent: false })
    }

    /// What is to be there before a command runs, if it comes in time.
    pub(crate) fn before(coming: impl Future<Output = ()> + Send + 'static) -> Box<Wait> {
        let reply = async move {
            coming.await;
            Vec::new()
        };
        let at_once: Answering = Box::pin(std::future::ready(Vec::new()));
        let at_once = Some(at_once);
        Box::new(Wait { reply: Box::pin(reply), at_once, blocks: false, silent: false })
    }

    /// A reply that may take as long as others please, and what it is without waiting.
    pub(crate) fn blocking(
        reply: impl Future<Output = Vec<u8>> + Send + 'static,
        at_once: impl Future<Output = Vec<u8>> + Send + 'static,
    ) -> Box<Wait> {
        let at_once: Answering = Box::pin(at_once);
        let at_once = Some(at_once);
        Box::new(Wait { reply: Box::pin(reply), at_once, blocks: true, silent: false })
    }

    /// The reply without waiting for others.
    pub(crate) fn without_waiting(self) -> Answering {
        self.at_once.unwrap_or(self.reply)
    }
}

impl Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait").field("silent", &self.silent).finish_non_exhaustive()
    }
}

/// The bytes of a reply, or of the error that there is instead.
pub(crate) fn encoded(
    shared: &Shared,
    resp: Resp,
    write: impl FnOnce(&mut Reply<'_>) -> Result<(), CommandError>,
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = write(&mut Reply { resp, out: &mut out }) {
        out.clear();
        Reply { resp, out: &mut out }.error(error.line());
        shared.stats.error(error.code());
    }
    out
}

/// What a connection does after a command's reply.
#[derive(Debug, Default)]
pub(crate) enum After {
    /// Goes on.
    #[default]
    Continue,
    /// Closes once the reply is written.
    Close,
    /// The command was not run: it waits for CLIENT UNPAUSE.
    Retry,
    /// Waits, answers these bytes, and goes on.
    Sleep(Duration, &'static [u8]),
    /// Waits for the reply, and goes on.
    Wait(Box<Wait>),
    /// The command was not run: it waits for this.
    Restore(Box<Wait>),
}

/// A command's surroundings.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) session: &'a mut Session,
    pub(crate) reply: Reply<'a>,
    pub(crate) after: After,
    pub(crate) worker: &'a Worker,
    /// The shards that EXEC holds.
    pub(crate) held: Option<Held<'a>>,
}

impl Context<'_> {
    /// The connection's function, registered by its first touch.
    pub(crate) fn function(&mut self) -> Arc<Function> {
        self.session.function()
    }

    /// A function that runs here from now on, as long as this connection lasts.
    pub(crate) fn run_function(&mut self, name: &[u8]) -> Arc<Function> {
        if &*self.session.function_name == name {
            return self.function();
        }
        let function = self.shared.store.function(name);
        if !self.session.registrations.iter().any(|held| held.is_for(name, None)) {
            self.session.registrations.push(self.shared.registry.touch(&function));
        }
        function
    }

    /// The name of the connection's function.
    pub(crate) fn function_name(&self) -> &[u8] {
        &self.session.function_name
    }

    /// Makes `function` the connection's.
    pub(crate) fn bind_function(&mut self, function: &[u8]) -> Result<(), CommandError> {
        self.check_function(function)?;
        if &*self.session.function_name == function {
            return Ok(());
        }
        if self.session.transaction.is_some() || self.held.is_some() {
            return Err(CommandError::FunctionInMulti);
        }
        self.session.set_function(function);
        Ok(())
    }

    /// Whether this connection may speak for `function`.
    pub(crate) fn check_function(&self, function: &[u8]) -> Result<(), CommandError> {
        match self.session.user.as_ref().and_then(|user| user.function()) {
            Some(bound) if bound != function => Err(CommandError::OtherFunction(bound.into())),
            _ => Ok(()),
        }
    }

    /// Works on the shard of `object`, with the object's hash and the reply.
    pub(crate) fn with_shard<R>(
        &mut self,
        object: &[u8],
        work: impl FnOnce(&mut ShardGuard<'_>, u64, &mut Reply<'_>) -> R,
    ) -> R {
        let hash = miso_store::hash(object);
        if let Some(held) = &mut self.held {
            let shard = held.function().shard_of(hash);
            let reply = &mut self.reply;
            return held.with(shard, |guard| work(guard, hash, reply));
        }
        if self.session.function.is_none() {
            self.function();
        }
        let function = self.session.function.as_ref().expect("set above");
        let mut guard = function.lock(function.shard_of(hash));
        work(&mut guard, hash, &mut self.reply)
    }

    /// Works on several objects with all their shards locked: what is done to them is journaled as one.
    pub(crate) fn with_objects<R>(
        &mut self,
        objects: Args<'_>,
        work: impl FnOnce(&mut Held<'_>) -> R,
    ) -> R {
        if let Some(held) = &mut self.held {
            return work(held);
        }
        let function = self.function();
        let shards = objects.iter().map(|object| function.shard_index(object)).collect();
        work(&mut Held::shards(&function, shards))
    }

    /// Works on the whole function.
    pub(crate) fn with_held<R>(
        &mut self,
        work: impl FnOnce(&mut Held<'_>, &mut Reply<'_>) -> R,
    ) -> R {
        if let Some(held) = &mut self.held {
            return work(held, &mut self.reply);
        }
        let function = self.function();
        work(&mut Held::none(&function), &mut self.reply)
    }

    /// Tells who listens that an object changed. One relaxed load if nobody does.
    pub(crate) fn changed(&mut self, object: &[u8], name: &[u8], kind: Type) {
        if self.shared.pubsub.listened.load(Ordering::Relaxed) {
            self.shared.object_changed(&self.session.function_name, object, name, kind);
        }
    }

    /// Counts a look-up.
    pub(crate) fn hit(&self, found: bool) {
        self.worker.hit(found);
    }
}
