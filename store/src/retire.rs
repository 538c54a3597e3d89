//! Writers that will never count again, and what they have counted.
//!
//! A counter has an entry for each writer that ever counted in it, and the entry of one that is gone
//! for good would stay for ever (`semantics.md` 3.5). So one node *takes over*: it deletes such entries
//! and adds what was left of them under its own name, as plain events of its own stream. A
//! [`Retirement`] then says that these writers are silent: whoever knows their last event and the
//! taking over drops what is left of them. Nothing else is special: who was away meanwhile gets the
//! events as all others, and a join is a join.
//!
//! What must be agreed on is only who takes over, and that nobody deletes meanwhile: see
//! `miso_replication`'s `retire`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use miso_crdt::{Context, Dot, ReplicaId, Seen, Value, Writer};

use crate::Slot;
use crate::durable;
use crate::function::{Function, LOCAL};
use crate::replica::{Refused, Vector};

/// So many objects are looked through before commands get at the shard again.
const TURN: usize = 256;

/// That some writers will never count again, and who has taken over what they counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retirement {
    /// Who took over, and the event by which that was done.
    pub by: (ReplicaId, u64),
    /// The writers, and their last events: all that anybody has seen of them.
    pub writers: Vector,
}

/// What is known of silent writers, in their order: 24 bytes each, for ever.
#[derive(Debug, Default)]
pub(crate) struct Retired(Vec<Silence>);

#[derive(Clone, Copy, Debug)]
struct Silence {
    writer: Writer,
    by: Writer,
    last: u64,
    event: u64,
}

impl Retired {
    /// Whether an event is one that a retired writer cannot have made.
    pub(crate) fn has(&self, writer: Writer, seq: u64) -> bool {
        self.find(writer).is_ok_and(|at| seq > self.0[at].last)
    }

    fn find(&self, writer: Writer) -> Result<usize, usize> {
        self.0.binary_search_by_key(&writer, |silence| silence.writer)
    }

    /// The events of those of which all is known, the taking over included: what is kept for their
    /// sake may go. Of a writer that was lost a value may be here that nobody knows all before: that
    /// is not among them, and stays.
    pub(crate) fn silent(&self, known: &Context, own: u64) -> Context {
        let upto = |writer| if writer == LOCAL { own } else { known.upto(writer) };
        let mut silent = Context::new();
        for silence in &self.0 {
            if upto(silence.writer) >= silence.last && upto(silence.by) >= silence.event {
                silent.raise(silence.writer, silence.last);
            }
        }
        silent
    }
}

/// A delete that runs: see [`Function::begin_delete`].
#[derive(Debug)]
pub struct Deleting(Arc<Function>);

impl Drop for Deleting {
    fn drop(&mut self) {
        self.0.deleting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Function {
    /// Says whether deletes are to wait: while another node takes over what writers have counted, a
    /// delete that does not see it would leave that behind.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }

    /// Whether deletes are to wait.
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }

    /// Lets a delete through, unless deletes are to wait: it runs as long as what this answers lives.
    #[must_use]
    pub fn begin_delete(self: &Arc<Self>) -> Option<Deleting> {
        // First counted and then looked, as a freeze is first said and then counts are looked at: so
        // either this sees the freeze, or whoever froze sees this.
        self.deleting.fetch_add(1, Ordering::SeqCst);
        let deleting = Deleting(Arc::clone(self));
        (!self.frozen()).then_some(deleting)
    }

    /// Whether deletes run that have been let through.
    #[must_use]
    pub fn deletes_run(&self) -> bool {
        self.deleting.load(Ordering::SeqCst) > 0
    }

    /// Those of `writers` that are not retired, and their last known events: 0 if there are none.
    #[must_use]
    pub fn unretired<'a>(&self, writers: impl IntoIterator<Item = &'a ReplicaId>) -> Vector {
        let joining = self.joining.lock();
        let known = self.known();
        let unretired = writers.into_iter().filter_map(|id| match joining.writers.index(*id) {
            Some(LOCAL) => None,
            Some(writer) if joining.retired.find(writer).is_ok() => None,
            writer => Some((*id, writer.map_or(0, |writer| known.upto(writer)))),
        });
        unretired.collect()
    }

    /// Takes over what `writers` have counted up to their last events, wherever that is. Linear in what the function holds;
    /// commands get at the shards in between. How many names it concerned.
    pub fn take_over(&self, writers: &Vector) -> usize {
        let mut gone = Context::new();
        {
            let joining = self.joining.lock();
            for (id, last) in writers {
                joining.writers.index(*id).into_iter().for_each(|writer| gone.raise(writer, *last));
            }
        }
        let mut names = 0;
        for which in 0..self.shards() {
            let mut cursor = 0;
            loop {
                let mut shard = self.lock(which);
                let mut counted = Vec::new();
                cursor = shard.objects().scan(cursor, TURN, |object, held| {
                    for (name, slot) in held.all() {
                        if counts(slot, |dot| gone.seen(dot)) {
                            counted.push((Box::<[u8]>::from(object), Box::<[u8]>::from(name)));
                        }
                    }
                });
                for (object, name) in &counted {
                    let key = (crate::hash(object), &**object, &**name);
                    shard.take_over(key, |dot| gone.seen(dot));
                }
                names += counted.len();
                if cursor == 0 {
                    break;
                }
            }
        }
        names
    }

    /// Hears that writers are retired; whether that is new. What is kept for their sake goes with the
    /// next [`Function::collect`] for which all of it is known here.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn retire(&self, retirement: &Retirement) -> Result<bool, Refused> {
        let mut joining = self.joining.lock();
        let by = vec![retirement.by];
        self.context_of(&mut joining, &by)?;
        self.context_of(&mut joining, &retirement.writers)?;
        let Some(by) = joining.writers.index(retirement.by.0) else { return Ok(false) };
        let mut new = false;
        for (id, last) in &retirement.writers {
            let writer =
                joining.writers.index(*id).filter(|writer| *writer != LOCAL && *writer != by);
            let Some(writer) = writer else {
                return Err(Refused::Malformed("who is retired"));
            };
            if let Err(at) = joining.retired.find(writer) {
                let silence = Silence { writer, by, last: *last, event: retirement.by.1 };
                joining.retired.0.insert(at, silence);
                joining.words.remove(&writer);
                new = true;
            }
        }
        joining.retired.0.shrink_to_fit();
        if new && let Some(journal) = self.hooks.journal() {
            durable::retired(journal, self, retirement);
        }
        Ok(new)
    }

    pub(crate) fn replay_retired(&self, retirement: &Retirement) -> Option<()> {
        let local = self.joining.lock().writers.id(LOCAL)?;
        // A writer of this node's past may be among them, but never the one that it is now: peers
        // would have told it to become another.
        let others =
            retirement.writers.iter().filter(|(id, _)| *id != local && *id != retirement.by.0);
        let writers = others.copied().collect();
        self.retire(&Retirement { writers, ..*retirement }).ok().map(drop)
    }

    /// All that is known of retired writers, those together that were retired together.
    #[must_use]
    pub fn retirements(&self) -> Vec<Retirement> {
        let joining = self.joining.lock();
        let id = |writer| joining.writers.id(writer).unwrap_or(ReplicaId(0));
        let mut together: HashMap<(Writer, u64), Vector> = HashMap::new();
        for silence in &joining.retired.0 {
            let by = (silence.by, silence.event);
            together.entry(by).or_default().push((id(silence.writer), silence.last));
        }
        let mut all: Vec<Retirement> = together
            .into_iter()
            .map(|((by, seq), mut writers)| {
                writers.sort_unstable();
                Retirement { by: (id(by), seq), writers }
            })
            .collect();
        all.sort_unstable_by_key(|retirement| retirement.by);
        all
    }

    /// How many writers are retired.
    #[must_use]
    pub fn retired_count(&self) -> usize {
        self.joining.lock().retired.0.len()
    }

    /// Whether somebody who knows `vector` has seen more of a retired writer than those who retired
    /// it: then what it holds and what was taken over would count twice.
    #[must_use]
    pub fn is_stray(&self, vector: &Vector) -> bool {
        let joining = self.joining.lock();
        let beyond = |(id, last): &(ReplicaId, u64)| {
            joining.writers.index(*id).is_some_and(|writer| joining.retired.has(writer, *last))
        };
        !joining.retired.0.is_empty() && vector.iter().any(beyond)
    }

    /// Whether `id` is retired.
    #[must_use]
    pub fn is_retired(&self, id: ReplicaId) -> bool {
        let joining = self.joining.lock();
        let writer = joining.writers.index(id);
        writer.is_some_and(|writer| joining.retired.find(writer).is_ok())
    }
}

/// Whether something of a slot was counted by some writers.
fn counts(slot: &Slot, which: impl Fn(Dot) -> bool) -> bool {
    slot.values().iter().any(|value| match value {
        Value::GCounter(counter) | Value::PnCounter(counter) => counter.counts(&which),
        Value::OrMap(map) => map.counts(&which),
        _ => false,
    })
}
