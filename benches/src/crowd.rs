//! A data directory whose counter thousands of replicas have added to: as many incarnations of nodes
//! would take an hour to arrange from outside.

use std::path::Path;
use std::sync::Arc;

use miso_store::crdt::counter::Entry;
use miso_store::crdt::{Changes, Delta, Dot, ReplicaId, Type, Writer, Writers};
use miso_store::journal::{Disk, Options, RealDisk};
use miso_store::{Config, recover};

use crate::error::Result;

/// The counter: `GCOUNTER.GET object total`.
pub(crate) const OBJECT: &str = "o";
pub(crate) const NAME: &str = "total";

/// Makes `directory` that of a node which has received an addition of 1 from each of `replicas`.
pub(crate) fn gather(directory: &Path, replicas: u64) -> Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory)?);
    let config = |id| Config::new(id, 16, Arc::new(|| 0));
    let store = recover(&disk, Options::default(), config, || u64::MAX)
        .map_err(|error| error.to_string())?
        .store;
    let function = store.function(b"default");
    let dot = Dot::new(Writer(0), 1).ok_or("no dot")?;
    for replica in 1..=replicas {
        let mut delta = Delta::empty(Type::GCounter);
        if let Delta::GCounter(counter) = &mut delta {
            counter.note(Entry { dot, birth: 1, p: 1, n: 0, floor: None });
        }
        let mut changes = Changes::new();
        changes.push(OBJECT.as_bytes(), NAME.as_bytes(), &delta);
        let id = ReplicaId(replica);
        function
            .join_batch(id, (1, 1), &changes.finish(&Writers::of(id)))
            .map_err(|refused| format!("{refused:?}"))?;
    }
    store.checkpoint().map_err(|failed| failed.0)?;
    store.journal().map_or(Ok(()), |journal| journal.close()).map_err(|failed| failed.0)?;
    Ok(())
}
