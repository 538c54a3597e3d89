//! What a command's handler works with.

use std::collections::BTreeMap;
use std::sync::Arc;

use miso_protocol::names;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::{Function, Held, ShardGuard};

use crate::engine::admit;
use crate::engine::error::CommandError;
use crate::engine::quota;
use crate::engine::session::Session;
use crate::engine::wait::After;
use crate::node::Node;
use crate::node::stats::Worker;

/// Checks the name of a function or a replica; `what` says which.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn check_name(what: &str, name: &[u8]) -> Result<(), CommandError> {
    let bad = |why: names::BadName| CommandError::BadName(what.into(), why.to_string().into());
    names::check(name).map_err(bad)
}

/// What EXEC holds while its commands run.
pub(crate) struct Holds<'a> {
    /// Shards of the database that the commands work on.
    pub(crate) own: Held<'a>,
    /// Those of other databases, by number; none unless the commands reach others.
    pub(crate) beside: Option<BTreeMap<u32, Held<'a>>>,
}

/// What a command's handler works with.
pub(crate) struct Context<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) session: &'a mut Session,
    pub(crate) reply: Reply<'a>,
    pub(crate) after: After,
    pub(crate) worker: &'a Worker,
    /// What EXEC holds while its commands run. One word: a context is made for every command, and dropped.
    pub(crate) held: Option<Box<Holds<'a>>>,
}

impl Context<'_> {
    /// The connection's function, registered by its first touch.
    pub(crate) fn function(&mut self) -> Arc<Function> {
        self.session.function()
    }

    /// The function `name`, registered as running here until this connection ends.
    ///
    /// # Errors
    /// If it is new here and there are `max-functions` already.
    pub(crate) fn run_function(&mut self, name: &[u8]) -> Result<Arc<Function>, CommandError> {
        admit::check_room(self.node, name)?;
        if self.session.function_name() == name {
            return Ok(self.function());
        }
        let function = self.node.store.function(name);
        self.session.registrations.touch(&self.node.registry, &function);
        Ok(function)
    }

    /// The name under which the database that the connection works on is stored.
    pub(crate) fn function_name(&self) -> &[u8] {
        self.session.function_name()
    }

    /// Makes `function` the connection's.
    ///
    /// # Errors
    /// If the name breaks the rule, if the user is bound to another function, or within MULTI.
    pub(crate) fn bind_function(&mut self, function: &[u8]) -> Result<(), CommandError> {
        self.check_function(function)?;
        if self.session.owner() == function {
            self.session.names_function = true;
            return Ok(());
        }
        check_name("function", function)?;
        if self.session.transaction.is_some() || self.held.is_some() {
            return Err(CommandError::FunctionInMulti);
        }
        quota::check_connection(self.node, self.session, function)?;
        self.session.set_function(function);
        Ok(())
    }

    /// The function that the user is bound to: it is shown nothing of others.
    pub(crate) fn bound_function(&self) -> Option<Box<[u8]>> {
        self.session.user.as_ref().and_then(|user| user.function()).map(Box::from)
    }

    /// Whether this connection may speak for `function`, or a database of it.
    pub(crate) fn check_function(&self, function: &[u8]) -> Result<(), CommandError> {
        if names::owner(function) == names::RESERVED {
            return Err(CommandError::ReservedFunction);
        }
        match self.session.user.as_ref().and_then(|user| user.function()) {
            Some(bound) if bound != names::owner(function) => {
                Err(CommandError::OtherFunction(bound.into()))
            }
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
        if let Some(Holds { own: held, .. }) = self.held.as_deref_mut() {
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

    /// Works on several objects with all their shards locked; the changes are journaled as one.
    pub(crate) fn with_objects<R>(
        &mut self,
        objects: Args<'_>,
        work: impl FnOnce(&mut Held<'_>) -> R,
    ) -> R {
        self.with_keys(objects.iter(), work)
    }

    /// As [`Context::with_objects`], of keys that do not stand side by side.
    pub(crate) fn with_keys<'k, R>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        work: impl FnOnce(&mut Held<'_>) -> R,
    ) -> R {
        if let Some(Holds { own: held, .. }) = self.held.as_deref_mut() {
            return work(held);
        }
        let function = self.function();
        let shards = keys.map(|key| function.shard_index(key)).collect();
        work(&mut Held::shards(&function, shards))
    }

    /// Works on all of the function with all its shards locked; the changes are journaled as one.
    pub(crate) fn with_all<R>(&mut self, work: impl FnOnce(&mut Held<'_>) -> R) -> R {
        if let Some(Holds { own: held, .. }) = self.held.as_deref_mut() {
            return work(held);
        }
        let function = self.function();
        work(&mut Held::shards(&function, (0..function.shards()).collect()))
    }

    /// Works on the whole function.
    pub(crate) fn with_held<R>(
        &mut self,
        work: impl FnOnce(&mut Held<'_>, &mut Reply<'_>) -> R,
    ) -> R {
        if let Some(Holds { own: held, .. }) = self.held.as_deref_mut() {
            return work(held, &mut self.reply);
        }
        let function = self.function();
        work(&mut Held::none(&function), &mut self.reply)
    }

    /// Counts a look-up.
    pub(crate) fn hit(&self, found: bool) {
        self.worker.hit(found);
    }
}
