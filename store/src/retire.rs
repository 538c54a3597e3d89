//! Writers that will never count again, and what they have counted.
//!
//! A counter has an entry for each writer that ever counted in it, and the entry of one that is gone
//! for good would stay for ever. So one node *adopts* such counts: it deletes the entries and adds what
//! was left of them under its own name, as plain events of its own stream. A [`Retirement`] then says
//! that these writers are silent: a node that knows their last event and the adoption drops what is
//! left of them. Nothing else is special: a node that was away meanwhile gets the events as all others
//! do, and a join is a join.
//!
//! Two things must be agreed on: which node adopts, and that deletes pause meanwhile. See
//! `miso_replication`'s `retire`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use miso_crdt::{Context, Dot, ReplicaId, Seen, Writer};

use crate::durable::records;
use crate::function::Function;
use crate::joining::{LOCAL, Refused, Retirement, Silence, Vector};
use crate::object::Slot;

/// Objects that are looked through before commands get at the shard again.
const TURN: usize = 256;

/// A delete that runs: see [`Function::begin_delete`].
#[derive(Debug)]
pub struct Deleting(Arc<Function>);

impl Drop for Deleting {
    fn drop(&mut self) {
        self.0.deleting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Function {
    /// Pauses deletes, or lets them resume. While another node adopts what retired writers have counted,
    /// a delete that does not see the adoption would not remove the adopted counts.
    pub fn pause_deletes(&self, paused: bool) {
        self.deletes_paused.store(paused, Ordering::SeqCst);
    }

    /// Whether deletes have to wait.
    #[must_use]
    pub fn deletes_paused(&self) -> bool {
        self.deletes_paused.load(Ordering::SeqCst)
    }

    /// Lets a delete through, unless deletes are paused: it runs as long as what this answers lives.
    #[must_use]
    pub fn begin_delete(self: &Arc<Self>) -> Option<Deleting> {
        // This counts first and then looks, and a pause is stored first and then the count is read. So
        // either this sees the pause, or the thread that paused sees this.
        self.deleting.fetch_add(1, Ordering::SeqCst);
        let deleting = Deleting(Arc::clone(self));
        (!self.deletes_paused()).then_some(deleting)
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

    /// Adopts what `writers` have counted up to their last events, wherever that is. Linear in what the
    /// function holds; commands get at the shards in between. Answers how many names it concerned.
    pub fn adopt_counts(&self, writers: &Vector) -> usize {
        let mut gone = Context::new();
        {
            let joining = self.joining.lock();
            for (id, last) in writers {
                joining.writers.index(*id).into_iter().for_each(|writer| gone.raise(writer, *last));
            }
        }
        // What counts twice is taken back first: afterwards it is not told apart.
        self.adopt_claims(&gone);
        let mut names = 0;
        for which in 0..self.shards() {
            let mut cursor = 0;
            loop {
                let Some(mut shard) = self.lock_made(which) else { break };
                let mut counted = Vec::new();
                cursor = shard.objects().scan(cursor, TURN, |object, held| {
                    for (name, slot) in held.all() {
                        if counts(slot, |dot| gone.seen(dot)) {
                            counted.push((Box::<[u8]>::from(object), Box::<[u8]>::from(name)));
                        }
                    }
                });
                for (object, name) in &counted {
                    let key = (miso_crdt::table::hash(object), &**object, &**name);
                    shard.adopt_counts(key, |dot| gone.seen(dot));
                    if let Some(hll) = shard.hll(key.0, object) {
                        self.note_sketches(object, hll);
                    }
                }
                names += counted.len();
                if cursor == 0 {
                    break;
                }
            }
        }
        names
    }

    /// Records that writers are retired; answers whether that is new. What is kept for their sake goes
    /// with the next [`Function::collect`] for which all of it is known here.
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
                return Err(Refused::Malformed("retired writer"));
            };
            if let Err(at) = joining.retired.find(writer) {
                let silence = Silence { writer, by, last: *last, event: retirement.by.1 };
                joining.retired.0.insert(at, silence);
                joining.summaries.remove(&writer);
                new = true;
            }
        }
        joining.retired.0.shrink_to_fit();
        if new && let Some(journal) = self.hooks.journal() {
            records::retired(journal, self.name(), retirement);
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

    /// Whether a node that knows `vector` has seen more of a retired writer than the nodes that retired
    /// it: then what it holds and what was adopted would count twice.
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
    slot.values().iter().any(|value| value.counts(&which))
}
