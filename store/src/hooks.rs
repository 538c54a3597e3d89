//! What a store tells the rest of the node.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use miso_crdt::Type;

use crate::function::Function;
use crate::journal::Journal;

/// Who is told.
pub trait Observer: Send + Sync + Debug {
    /// The function has something to send, for the first time since its last batch was taken. May
    /// be called under a shard's lock, so it must not wait, nor touch the function's objects.
    fn wrote(&self, function: &Arc<Function>);

    /// What a peer sent has changed a value. Called without any lock.
    fn changed(&self, function: &Function, object: &[u8], name: &[u8], kind: Type);

    /// Whether anybody wants to hear of [`Observer::changed`].
    fn listens(&self) -> bool;
}

/// Shared by all functions of a store.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    observer: OnceLock<Arc<dyn Observer>>,
    /// Whether changes are gathered from a function's first one on.
    tracked: AtomicBool,
    journal: OnceLock<Journal>,
}

impl Hooks {
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        // One store has one node around it; a second observer would be a mistake in the wiring.
        assert!(self.observer.set(observer).is_ok(), "a store is observed once");
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.get()
    }

    /// From now on, what changes is journaled. Once only.
    pub(crate) fn journal_to(&self, journal: Journal) {
        assert!(self.journal.set(journal).is_ok(), "a store has one journal");
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    pub(crate) fn track(&self) {
        self.tracked.store(true, Ordering::Release);
    }

    pub(crate) fn tracked(&self) -> bool {
        self.tracked.load(Ordering::Acquire)
    }
}
