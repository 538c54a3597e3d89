//! What the journal's write path costs: records of 100 bytes, in groups of 1, 100 and 5 000, each
//! group written before the next (and made durable, in the second table), beside a bare write.
//! `cargo bench -p miso-store --bench journal [DIR]`; DIR is on the disk to be measured.
//!
//! `store/rivals` runs the same beside redb and fjall.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use miso_store::journal::{Identity, Journal, Options, RealDisk, SyncPolicy};

/// Writes a group of this many records, and makes them durable if asked.
pub type Write = Box<dyn FnMut(u64, bool)>;

/// Something that writes, by name, and how to make it in an empty directory.
pub type Contender = (&'static str, fn(&Path) -> Write);

const RECORD: [u8; 100] = [b'x'; 100];
const EACH: Duration = Duration::from_millis(1_200);

#[allow(dead_code, reason = "unused where `store/rivals` includes this file")]
fn main() {
    compare(&[]);
}

/// Runs ours, a bare write, and `others`, and prints two tables.
pub fn compare(others: &[Contender]) {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let parent = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let ours: &[Contender] = &[("journal", journal), ("bare write", bare)];
    for sync in [false, true] {
        println!("\n{}", if sync { "each group durable" } else { "each group written" });
        println!(
            "{:12} {:>6} {:>10} {:>10} {:>12} {:>12}",
            "", "group", "p50 us", "p99 us", "records/s", "CPU us/record"
        );
        for group in [1, 100, 5_000] {
            for (name, open) in ours.iter().chain(others) {
                let path = parent.join(format!("miso-bench-{}", std::process::id()));
                std::fs::create_dir_all(&path).expect("a directory to measure in");
                measure(name, group, sync, open(&path));
                std::fs::remove_dir_all(&path).expect("our own directory");
            }
        }
    }
    threads(&parent);
}

fn measure(name: &str, group: u64, sync: bool, mut write: Write) {
    let mut times = Vec::new();
    let (begun, cpu) = (Instant::now(), cpu_time());
    while begun.elapsed() < EACH && times.len() < 200_000 {
        let one = Instant::now();
        write(group, sync);
        times.push(one.elapsed());
    }
    let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
    let records = times.len() as f64 * group as f64;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "{name:12} {group:6} {:10.1} {:10.1} {:12.0} {:12.2}",
        at(0.5),
        at(0.99),
        records / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / records,
    );
}

/// Of this process, in the kernel's steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn open_journal(path: &Path, sync: SyncPolicy) -> Journal {
    let disk = RealDisk::new(path).expect("a directory to measure in");
    let recovered = Journal::open(Arc::new(disk))
        .and_then(|recovery| recovery.replay(|_, _| Ok(())))
        .expect("an empty directory");
    let options = Options { sync, ..Options::default() };
    recovered.start(Identity::new(1, 1), options).expect("room")
}

fn journal(path: &Path) -> Write {
    let journal = open_journal(path, SyncPolicy::Always);
    Box::new(move |group, sync| {
        for _ in 0..group {
            journal.append(0, |out| out.extend_from_slice(&RECORD));
        }
        let last = journal.appended();
        let done = if sync { journal.wait_synced(last) } else { journal.commit(last) };
        done.expect("room");
    })
}

/// What any log must cost: one write of the same bytes, and one fdatasync.
fn bare(path: &Path) -> Write {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(path.join("bare"));
    let (file, mut offset) = (file.expect("room"), 0);
    Box::new(move |group, sync| {
        let bytes = RECORD.repeat(group as usize);
        file.write_all_at(&bytes, offset).expect("room");
        offset += bytes.len() as u64;
        if sync {
            file.sync_data().expect("a sound disk");
        }
    })
}

/// Many writers, each waiting for its own record: what one fsync for all is worth.
fn threads(parent: &Path) {
    println!("\n1 record a group, by many threads, each group durable (or written)");
    println!("{:>8} {:>14} {:>14} {:>16}", "threads", "durable/s", "records/sync", "written/s");
    for count in [1, 4, 16, 64] {
        let mut figures = Vec::new();
        for sync in [true, false] {
            let path = parent.join(format!("miso-bench-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a directory to measure in");
            let journal = open_journal(&path, SyncPolicy::Always);
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..count {
                    scope.spawn(|| {
                        while begun.elapsed() < EACH {
                            let last = journal.append(0, |out| out.extend_from_slice(&RECORD));
                            let done =
                                if sync { journal.wait_synced(last) } else { journal.commit(last) };
                            done.expect("room");
                        }
                    });
                }
            });
            let records = journal.appended().0 as f64;
            figures.push(records / begun.elapsed().as_secs_f64());
            if sync {
                figures.push(records / journal.stats().syncs.max(1) as f64);
            }
            drop(journal);
            std::fs::remove_dir_all(&path).expect("our own directory");
        }
        println!("{count:8} {:14.0} {:14.1} {:16.0}", figures[0], figures[1], figures[2]);
    }
}
