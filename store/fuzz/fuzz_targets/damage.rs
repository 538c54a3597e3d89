// Shared by the targets: what to write, and how to damage it. Checksums would stop a fuzzer at the
// first byte, so the input is a list of operations; some of them write bytes with a right checksum.

use std::sync::Arc;

use miso_store::journal::{
    Disk, FaultyDisk, Identity, Journal, Options, Recovered, SyncPolicy, check, repair,
};

const SALT: u64 = 7;

/// The kind of the records that a repair puts around what it has saved; the targets write none of it.
pub const LOST: u8 = 0xef;

/// Takes bytes from the front; zeros when there are no more.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn short(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }
}

pub type Found = Vec<(u8, Vec<u8>)>;

pub fn recover(disk: &FaultyDisk) -> Option<(Found, Recovered)> {
    let mut found = Vec::new();
    let recovery = Journal::open(Arc::new(disk.clone())).ok()?;
    let recovered = recovery.replay(|kind, payload| {
        found.push((kind, payload.to_vec()));
        Ok(())
    });
    Some((found, recovered.ok()?))
}

pub fn start(disk: &FaultyDisk) -> Journal {
    let (_, recovered) = recover(disk).expect("an empty disk");
    let options = Options {
        sync: SyncPolicy::Always,
        segment_bytes: 300,
        ahead_bytes: 32,
        background: false,
        ..Options::default()
    };
    recovered.start(Identity::new(1, SALT), options).expect("an empty disk")
}

/// Damages files whose names begin with `prefix` as the input says, and looks at what comes of it:
/// never a record that was not written, never others than those from the beginning on.
pub fn damage_and_check(disk: FaultyDisk, prefix: &str, input: &mut Input<'_>) {
    let (whole, recovered) = recover(&disk).expect("nothing is damaged yet");
    drop(recovered);
    let names = disk.list().expect("no fault");
    let names: Vec<String> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
    while !input.0.is_empty() {
        let name = &names[usize::from(input.byte()) % names.len()];
        let mut bytes = disk.contents(name).expect("a file");
        let at = input.short() % (bytes.len() + 1);
        match input.byte() % 4 {
            0 => bytes.truncate(at),
            1 => {
                let put = input.bytes();
                bytes.splice(at..at, put);
            }
            2 => {
                let to = (at + input.short()).min(bytes.len());
                bytes.drain(at..to);
            }
            _ => {
                let put = input.bytes();
                let to = (at + put.len()).min(bytes.len());
                bytes.splice(at..to, put);
            }
        }
        disk.put(name, &bytes);
    }
    let disk = if whole.len() % 2 == 0 { disk.kill() } else { disk.power_cut() };
    if let Some((found, _recovered)) = recover(&disk) {
        assert!(found.len() <= whole.len() && found == whole[..found.len()]);
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.kill());
    let sound = check(&shared, &mut |_, _| Ok(())).expect("it can be read").is_sound();
    let report = repair(&shared, LOST).expect("it can be written");
    assert_eq!(sound, report.is_sound());
    let kept = Journal::open(shared).expect("repaired").replay(|kind, payload| {
        assert!(kind == LOST || whole.iter().any(|(k, p)| (*k, &p[..]) == (kind, payload)));
        Ok(())
    });
    assert!(kept.is_ok(), "{kept:?}\n{report:?}");
}
