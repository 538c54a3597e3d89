//! What the journal's write path costs beside redb and fjall. Each keeps a record under its number.

#[path = "../../benches/journal.rs"]
mod bench;

use std::path::Path;

use fjall::{KeyspaceCreateOptions, PersistMode};
use redb::{Durability, TableDefinition};

const RECORD: [u8; 100] = [b'x'; 100];

fn main() {
    bench::compare(&[("fjall", fjall), ("redb", redb)]);
}

fn fjall(path: &Path) -> bench::Write {
    let db = fjall::Database::builder(path).open().expect("room");
    let records = db.keyspace("records", KeyspaceCreateOptions::default).expect("room");
    let mut next = 0u64;
    Box::new(move |group, sync| {
        let mut batch = db.batch();
        for _ in 0..group {
            batch.insert(&records, next.to_be_bytes(), RECORD);
            next += 1;
        }
        batch.commit().expect("room");
        // Without sync: written to the file, as the journal's commit does.
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        db.persist(mode).expect("a sound disk");
    })
}

fn redb(path: &Path) -> bench::Write {
    const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
    let db = redb::Database::create(path.join("redb")).expect("room");
    let mut next = 0u64;
    Box::new(move |group, sync| {
        let mut write = db.begin_write().expect("the only writer");
        // Without durability it may keep all in its own memory: less than the others do.
        let durability = if sync { Durability::Immediate } else { Durability::None };
        write.set_durability(durability).expect("no savepoints");
        {
            let mut records = write.open_table(RECORDS).expect("our own table");
            for _ in 0..group {
                records.insert(next, &RECORD[..]).expect("room");
                next += 1;
            }
        }
        write.commit().expect("a sound disk");
    })
}
