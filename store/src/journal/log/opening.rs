//! What a start still has to do before the first record can be written.
//!
//! It keeps to an order in which a crash at any point is harmless: a new incarnation is durable before
//! anything is cut, so that a lost tail is never forgotten; the new segment is durable before the
//! identity says that the node runs. On a full disk it is done later, and until then no write is let in.

use std::io;
use std::sync::Arc;

use crate::journal::directory::segment_name;
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::meta::{IDENTITY, Identity};
use crate::journal::record::{FileHead, LOG_MAGIC};

/// What is to be done, in this order.
#[derive(Debug)]
pub(crate) struct Opening {
    /// To be written first: the old end under a new incarnation, or a new identity.
    pub(crate) before: Option<Identity>,
    /// Files of which nothing is left, or nothing is needed.
    pub(crate) superfluous: Vec<String>,
    /// The segment that may not be durable as it was read, and how long it is to be.
    pub(crate) last_segment: Option<(String, Option<u64>)>,
    /// Of the new segment.
    pub(crate) head: FileHead,
    /// The new segment, once it is there: the identity may name it already, so it is not made twice.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    /// To be written last.
    pub(crate) identity: Identity,
}

impl Opening {
    /// Does it, or what is left of it after a failure. Gives the new segment.
    ///
    /// # Errors
    /// What failed, and the name of the file.
    pub(crate) fn open(
        &mut self,
        disk: &dyn Disk,
    ) -> Result<Arc<dyn DiskFile>, (String, io::Error)> {
        let identity_io = |error| (IDENTITY.to_owned(), error);
        if let Some(identity) = &self.before {
            identity.write(disk).map_err(identity_io)?;
            self.before = None;
        }
        while let Some(name) = self.superfluous.last() {
            disk.remove(name).map_err(|error| (name.clone(), error))?;
            self.superfluous.pop();
        }
        if let Some((name, len)) = &self.last_segment {
            let io = |error| (name.clone(), error);
            let file = disk.open(name, true).map_err(io)?;
            if let Some(len) = len {
                file.set_len(*len).map_err(io)?;
            }
            file.sync().map_err(io)?;
            self.last_segment = None;
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = create_segment(disk, self.head);
                let file = file.map_err(|error| (segment_name(self.head.first), error))?;
                Arc::clone(self.file.insert(file))
            }
        };
        self.identity.write(disk).map_err(identity_io)?;
        Ok(file)
    }
}

/// Begins a segment. It is durable when this returns.
pub(crate) fn create_segment(disk: &dyn Disk, head: FileHead) -> io::Result<Arc<dyn DiskFile>> {
    let name = segment_name(head.first);
    let made = disk.create(&name).and_then(|file| {
        file.write_at(&head.encode(LOG_MAGIC), 0)?;
        file.sync()?;
        disk.sync_dir()?;
        Ok(file)
    });
    if made.is_err() {
        // If it stays, it is an empty segment, which recovery passes over.
        let _ = disk.remove(&name);
    }
    made
}

/// The file of a journal whose first segment could not be begun yet.
#[derive(Debug)]
pub(crate) struct Unopened;

impl DiskFile for Unopened {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stamp(&self) -> io::Result<String> {
        Ok(String::new())
    }
}
