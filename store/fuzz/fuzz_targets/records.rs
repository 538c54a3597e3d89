//! Records that check but say anything at all give a store or an error; and a store that they gave is
//! found again. From `store/`:
//!
//! ```text
//! cargo +nightly fuzz run records fuzz/corpus/records fuzz/seeds/records -- -max_len=4096
//! ```
#![no_main]

#[allow(dead_code)]
mod damage;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use miso_store::journal::{Disk, FaultyDisk, Options};
use miso_store::{Config, Store};

fn recover(disk: &FaultyDisk) -> Option<Store> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options { background: false, ..Options::default() };
    let config = |replica| Config::new(replica, 2, Arc::new(|| 0));
    miso_store::recover(&disk, options, config, || 1).ok().map(|found| found.store)
}

/// What each function holds, and how far its own sequence has come.
fn all(store: &Store) -> Vec<(Vec<u8>, Vec<u64>, u64)> {
    let functions = store.functions();
    functions.iter().map(|f| (f.name().to_vec(), f.digests(64).to_vec(), f.seq())).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut input = damage::Input(data);
    let disk = FaultyDisk::new(1);
    let journal = damage::start(&disk);
    while !input.0.is_empty() {
        let kind = input.byte() % 10;
        let payload = input.bytes();
        journal.append(kind, |out| out.extend_from_slice(&payload));
    }
    journal.close().expect("no fault");
    drop(journal);
    let disk = disk.kill();
    let Some(store) = recover(&disk) else { return };
    let found = all(&store);
    drop(store);
    let disk = disk.kill();
    let again = recover(&disk).expect("it has been read once");
    assert_eq!(found, all(&again));
    again.checkpoint().expect("no fault");
    drop(again);
    let from_checkpoint = recover(&disk.kill()).expect("it was written just now");
    assert_eq!(found, all(&from_checkpoint));
});
