//! A store and its journal: commits and checkpoints.

use super::records::{KNOWN, PART, RETIRED, known_record, part_record, retired_record};
use crate::journal::{CheckpointSummary, Failed, SyncPolicy};
use crate::store::Store;

/// Bytes of a record of a checkpoint, about.
const PART_BYTES: usize = 256 << 10;

impl Store {
    /// Makes what has been changed outlive the process, and under `always` the machine: to be called
    /// before anybody is told. Blocks.
    ///
    /// # Errors
    /// It could not be written.
    pub fn commit(&self) -> Result<(), Failed> {
        let Some(journal) = self.journal() else { return Ok(()) };
        let position = journal.appended();
        match journal.policy() {
            SyncPolicy::Always => journal.wait_synced(position),
            _ => journal.commit(position),
        }
    }

    /// Writes a checkpoint while changes go on; older segments go. None if there is no journal.
    ///
    /// # Errors
    /// It could not be written; then the older files stay.
    pub fn checkpoint(&self) -> Result<Option<CheckpointSummary>, Failed> {
        let Some(journal) = self.journal() else { return Ok(None) };
        let mut checkpoint = journal.begin()?;
        for function in self.functions() {
            // Read before the walk: whatever it covers is there to be walked over.
            let known = function.token();
            function.export_pieces(PART_BYTES, |message| {
                checkpoint.put(PART, |out| part_record(function.name(), None, message, out))
            })?;
            for retirement in function.retirements() {
                checkpoint.put(RETIRED, |out| retired_record(function.name(), &retirement, out))?;
            }
            checkpoint.put(KNOWN, |out| known_record(function.name(), &known, out))?;
        }
        checkpoint.finish().map(Some)
    }
}
