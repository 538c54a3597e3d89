//! A log that is damaged in any way gives its beginning or an error, and can be repaired. From
//! `store/`:
//!
//! ```text
//! cargo +nightly fuzz run journal fuzz/corpus/journal fuzz/seeds/journal -- -max_len=4096
//! ```
#![no_main]

mod damage;

use libfuzzer_sys::fuzz_target;
use miso_store::journal::FaultyDisk;

fuzz_target!(|data: &[u8]| {
    let mut input = damage::Input(data);
    let disk = FaultyDisk::new(1);
    let journal = damage::start(&disk);
    for n in 0..u64::from(input.byte() % 32) {
        let kind = input.byte();
        let payload = input.bytes();
        let last = if kind < 0x80 {
            journal.append(kind, |out| out.extend_from_slice(&payload))
        } else {
            journal.add(kind % damage::LOST, b"head", n, &payload);
            journal.appended()
        };
        match kind % 4 {
            0 => {}
            1 => journal.commit(last).expect("no fault"),
            2 => journal.sync().expect("no fault"),
            _ => journal.tick().expect("no fault"),
        }
    }
    let last = journal.appended();
    journal.commit(last).expect("no fault");
    if input.byte() % 2 == 0 {
        journal.close().expect("no fault");
    }
    damage::damage_and_check(disk.kill(), "journal-", &mut input);
});
