//! The journal: what a node acknowledged, on its own disk.
//!
//! Records are opaque bytes here. A caller appends one for each change while it holds the lock under
//! which it made the change, so the order of records is the order of changes; or it adds to one, and
//! says in which order. Before it replies it commits. Replaying records must be idempotent, as joins
//! are.
//!
//! ```text
//! add     -> a lane in memory, each thread its own           (no I/O)
//! append  -> a buffer in memory, under a short lock          (no I/O; after all that was added)
//! commit  -> write(2) of the whole buffer, by one for all    (a dead process loses nothing)
//! synced  -> fdatasync by a thread, one for all that waits   (a dead machine loses nothing)
//!
//! journal-1.log  journal-801.log  journal-1502.log           (names are the first record's number)
//!                checkpoint-1502.miso                        (all up to 1501: older files go)
//! recovery = the checkpoint, then all records from 1502 on
//! ```
//!
//! What always holds:
//! - Records are numbered from 1 without a gap, over all segments.
//! - A segment is begun only when all before it is durable; its head says so (`sound`). Within a
//!   segment, a *mark* says up to which number all was durable when it was written.
//! - A checkpoint has its name only once it is whole and durable, and older files go only after that.
//! - A failed write is tried again at the same place until it works ([`Status::Failing`]). A failed
//!   fsync is never tried again: the kernel may have dropped the pages and say yes the next time. The
//!   segment is given up, nothing more is written ([`Status::Broken`]), and only a checkpoint of
//!   everything, in new files, makes the journal whole again. Restarting does not: the file
//!   `identity` remembers it.
//!
//! # A torn tail or damage
//! At the first place that cannot be read, recovery asks what stood there. It is **damage**, and the
//! server does not start, if a later mark or head says that the record was durable; or if the kernel
//! has not died since (so all that was written must be there) and any readable record follows, in
//! this segment or a later one; or if the search for such records had to be given up. Else it is the
//! **tail** of what was never durable: it is cut, and reported. A power cut under `everysec` may
//! well leave readable records after a hole, since the kernel writes pages in any order; they go with
//! the tail. Zeros up to the end are space that was written ahead, and the end of the log.
//!
//! # How it is used
//! ```
//! # use std::sync::Arc;
//! # use miso_store::journal::{Identity, Journal, Options, RealDisk};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("miso-doc-{}", std::process::id()));
//! # let (random, other_random) = (1, 2);
//! let disk = Arc::new(RealDisk::new(&directory)?);
//! let recovered = Journal::open(disk)?.replay(|kind, payload| Ok(()))?;
//! let identity = match (&recovered.identity, recovered.may_keep()) {
//!     (None, _) => Identity::new(random, other_random),
//!     (Some(identity), Ok(())) => identity.clone(),
//!     (Some(identity), Err(_why)) => identity.renewed(random),
//! };
//! let journal = recovered.start(identity, Options::default())?;
//! journal.admit()?; // before the change; then, under the lock under which it is made:
//! let position = journal.append(7, |out| out.extend_from_slice(b"what changed"));
//! journal.commit(position)?; // before the reply; under `always`: on_synced(position).await
//! let mut checkpoint = journal.begin()?; // in the background, while writes go on
//! checkpoint.put(7, |out| out.extend_from_slice(b"all there is"))?;
//! checkpoint.finish()?;
//! journal.close()?;
//! # std::fs::remove_dir_all(directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! Files are as `record.rs` and `meta.rs` draw them.

mod checkpoint;
mod directory;
mod disk;
mod error;
#[cfg(any(test, feature = "faulty-disk"))]
mod faulty;
mod lanes;
mod log;
mod meta;
mod policy;
mod record;
mod recover;
mod repair;
mod reserve;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointSummary};
pub use directory::data_bytes;
pub use disk::{Disk, DiskFile, Environment, RealDisk};
pub use error::{Failed, OpenError};
#[cfg(any(test, feature = "faulty-disk"))]
pub use faulty::FaultyDisk;
pub use log::{Journal, Stats, Synced};
pub use meta::{Cut, Identity, RecoveredSummary, State, Why};
pub use policy::{Options, Position, Status, SyncPolicy, Ticket};
pub use recover::{Recovered, Recovery, Visit};
pub use repair::{Report, check, repair};

/// Kinds below this are the caller's.
pub const KINDS: u8 = record::OWN_KINDS;
