//! A checkpoint that is damaged in any way gives an error, and what is good in it can be saved. From
//! `store/`:
//!
//! ```text
//! cargo +nightly fuzz run checkpoint fuzz/corpus/checkpoint fuzz/seeds/checkpoint -- -max_len=4096
//! ```
#![no_main]

mod damage;

use libfuzzer_sys::fuzz_target;
use miso_store::journal::FaultyDisk;

fuzz_target!(|data: &[u8]| {
    let mut input = damage::Input(data);
    let disk = FaultyDisk::new(1);
    let journal = damage::start(&disk);
    journal.append(1, |out| out.extend_from_slice(b"before"));
    let mut checkpoint = journal.begin().expect("no fault");
    for _ in 0..input.byte() % 32 {
        let kind = input.byte() % damage::LOST;
        let payload = input.bytes();
        checkpoint.put(kind, |out| out.extend_from_slice(&payload)).expect("no fault");
    }
    checkpoint.finish().expect("no fault");
    journal.append(2, |out| out.extend_from_slice(b"after"));
    journal.close().expect("no fault");
    damage::damage_and_check(disk.kill(), "checkpoint-", &mut input);
});
