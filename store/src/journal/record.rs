//! Records and the heads of files, as bytes.
//!
//! ```text
//! file:   | magic 8 | version u32 | first u64 | sound u64 | salt u64 | crc32c u32 |  record*
//! record: | crc32c u32 | length u32 | seq u64 | kind u8 | payload, length bytes |
//! ```
//!
//! Integers are little endian. `first` is the sequence number that the file begins with: of a
//! segment, its first record; of a checkpoint, the first record of the log that it does not hold.
//! `sound`: all records up to this number were durable when the file was begun. The crc of a record
//! covers all that follows it, and begins with the directory's secret salt: a client may well write
//! a value that looks like a record of ours, but not one that checks.
//!
//! A record of 16 KiB or less is in one piece in the reader's window; a longer one makes the window
//! grow, at most to what is left of the file.

use std::io;
use std::sync::Arc;

use super::disk::DiskFile;
use super::error::OpenError;

/// Kinds from here on are the journal's own.
pub(super) const OWN_KINDS: u8 = 0xf0;
/// In the log: all records up to the number in the payload are durable.
pub(super) const MARK: u8 = 0xf0;
/// The end of a checkpoint: how many records, and the crc32c of all their bytes.
pub(super) const FOOTER: u8 = 0xf1;

pub(super) const LOG_MAGIC: [u8; 8] = *b"MISOLOG\n";
pub(super) const CHECKPOINT_MAGIC: [u8; 8] = *b"MISOCKP\n";
/// The format of segments and checkpoints, as `docs/format.md` describes it. Raised with each change of
/// it: a kind of records, a type's tag, an encoding. All versions from 1 on are read.
pub(super) const VERSION: u32 = 4;

/// Why the head of a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    /// A newer version of MISO wrote the file, in this format.
    Newer(u32),
    /// It is damaged: what is wrong with it.
    Damaged(String),
}

impl BadHead {
    /// The error of a file with such a head.
    pub(super) fn of(self, file: &str) -> OpenError {
        match self {
            BadHead::Newer(version) => {
                OpenError::Newer { file: file.to_owned(), version, known: VERSION }
            }
            BadHead::Damaged(what) => OpenError::damaged(file, 0, &what),
        }
    }
}

/// Bytes of a record beside its payload.
pub(super) const RECORD_HEAD: usize = 17;
/// Bytes of a file's head.
pub(super) const FILE_HEAD: usize = 40;
/// How much of a file is read at once.
const WINDOW: usize = 256 * 1024;

/// A crc that has seen the salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(salt: u64) -> Seed {
        Seed(crc32c::crc32c(&salt.to_le_bytes()))
    }
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) first: u64,
    pub(super) sound: u64,
    pub(super) salt: u64,
}

impl FileHead {
    pub(super) fn encode(&self, magic: [u8; 8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEAD);
        out.extend_from_slice(&magic);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.sound.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads the head of a file, or says what is wrong with it. All versions have a head of this length
    /// with its version and its checksum in these places, so a newer one is told from damage.
    pub(super) fn read(
        file: &dyn DiskFile,
        magic: [u8; 8],
    ) -> io::Result<Result<FileHead, BadHead>> {
        let mut bytes = [0; FILE_HEAD];
        if file.size()? < FILE_HEAD as u64 {
            let short = "it is shorter than the head of a file";
            return Ok(Err(BadHead::Damaged(short.to_owned())));
        }
        file.read_at(&mut bytes, 0)?;
        let (rest, crc) = bytes.split_at(FILE_HEAD - 4);
        let found = if rest[..8] != magic {
            Err(BadHead::Damaged("it does not begin as such a file does".to_owned()))
        } else if u32_at(crc, 0) != crc32c::crc32c(rest) {
            Err(BadHead::Damaged("the checksum of its head is wrong".to_owned()))
        } else if u32_at(rest, 8) > VERSION {
            Err(BadHead::Newer(u32_at(rest, 8)))
        } else {
            Ok(FileHead {
                first: u64_at(rest, 12),
                sound: u64_at(rest, 20),
                salt: u64_at(rest, 28),
            })
        };
        Ok(found)
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// Appends a record.
///
/// # Panics
/// The payload is 4 GiB or longer.
pub(super) fn encode(out: &mut Vec<u8>, seed: Seed, seq: u64, kind: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a record is shorter than 4 GiB");
    let start = out.len();
    out.reserve(RECORD_HEAD + payload.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c_append(seed.0, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Where a caller's payload is made: apart from all else, so that it may do there as it likes.
#[derive(Debug, Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// One that has grown beyond this is given back.
    const KEPT: usize = 256 * 1024;

    pub(super) fn fill(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.0.clear();
        self.0.shrink_to(Scratch::KEPT);
        fill(&mut self.0);
        &self.0
    }
}

/// A record as it lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) seq: u64,
    pub(super) kind: u8,
    pub(super) payload: &'a [u8],
    /// All of it, as it lies in the file.
    pub(super) bytes: &'a [u8],
}

/// What a reader finds next.
#[derive(Debug)]
pub(super) enum Next<'a> {
    Record(Record<'a>),
    /// The file ends here, or has only zeros from here on, which were written ahead.
    End,
    /// No record can be read here.
    Bad(&'static str),
}

/// A part of a file in memory, which moves and grows as asked; never beyond the file.
#[derive(Debug)]
struct Window {
    file: Arc<dyn DiskFile>,
    len: u64,
    bytes: Vec<u8>,
    at: u64,
}

impl Window {
    fn new(file: Arc<dyn DiskFile>) -> io::Result<Window> {
        let len = file.size()?;
        Ok(Window { file, len, bytes: Vec::new(), at: 0 })
    }

    fn left(&self, at: u64) -> u64 {
        self.len.saturating_sub(at)
    }

    /// The `count` bytes from `at` on; the caller knows that the file has them.
    fn get(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let from = at.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        let inside = from.filter(|from| self.bytes.len().saturating_sub(*from) >= count);
        let from = match inside {
            Some(from) => from,
            None => {
                let left = usize::try_from(self.left(at)).unwrap_or(usize::MAX);
                self.bytes.resize(count.max(WINDOW).min(left), 0);
                self.at = at;
                self.file.read_at(&mut self.bytes, at)?;
                0
            }
        };
        self.bytes.get(from..from + count).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads records one after another.
#[derive(Debug)]
pub(super) struct Reader {
    window: Window,
    seed: Seed,
    /// Of the next record.
    at: u64,
}

impl Reader {
    /// A reader that begins after the file's head.
    pub(super) fn new(file: Arc<dyn DiskFile>, seed: Seed) -> io::Result<Reader> {
        Ok(Reader { window: Window::new(file)?, seed, at: FILE_HEAD as u64 })
    }

    /// Where the next record begins, or where the bad one does.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Reads on. After `Bad` it stays where it is.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        let left = self.window.left(self.at);
        if left < RECORD_HEAD as u64 {
            let zeros = self.only_zeros()?;
            return Ok(if zeros { Next::End } else { Next::Bad("the file ends within a record") });
        }
        let head = self.window.get(self.at, RECORD_HEAD)?;
        let (crc, length) = (u32_at(head, 0), u32_at(head, 4));
        if crc == 0 && length == 0 && self.only_zeros()? {
            return Ok(Next::End);
        }
        let whole = u64::from(length) + RECORD_HEAD as u64;
        if whole > left {
            return Ok(Next::Bad("a record is longer than the rest of the file"));
        }
        let count = usize::try_from(whole).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let bytes = self.window.get(self.at, count)?;
        if crc32c::crc32c_append(self.seed.0, &bytes[4..]) != crc {
            return Ok(Next::Bad("the checksum of a record is wrong"));
        }
        self.at += whole;
        Ok(Next::Record(Record::of(bytes)))
    }

    fn only_zeros(&self) -> io::Result<bool> {
        Ok(zeros_from(&*self.window.file, self.at, self.window.len)? == self.at)
    }
}

impl<'a> Record<'a> {
    /// `bytes` are a whole record, head and all.
    fn of(bytes: &'a [u8]) -> Record<'a> {
        Record { seq: u64_at(bytes, 8), kind: bytes[16], payload: &bytes[RECORD_HEAD..], bytes }
    }

    /// The number that a mark tells.
    pub(super) fn mark(&self) -> Option<u64> {
        (self.kind == MARK && self.payload.len() == 8).then(|| u64_at(self.payload, 0))
    }
}

/// Where the zeros begin that the file ends with.
pub(super) fn zeros_from(file: &dyn DiskFile, from: u64, len: u64) -> io::Result<u64> {
    let (mut window, mut at, mut zeros) = (vec![0; WINDOW], from, from);
    while at < len {
        let count = WINDOW.min(usize::try_from(len - at).unwrap_or(usize::MAX));
        file.read_at(&mut window[..count], at)?;
        if let Some(last) = window[..count].iter().rposition(|byte| *byte != 0) {
            zeros = at + last as u64 + 1;
        }
        at += count as u64;
    }
    Ok(zeros)
}

/// What may be spent on checksums in one search: some seconds.
const SEARCH_BYTES: u64 = 8 << 30;

/// Finds readable records anywhere from `from` on: at each offset whose number and length could be a
/// record's, the checksum decides. `numbers` are those that count. Calls `found` with offset and
/// record; the search goes on after it.
///
/// False if it was given up: bytes made to look like heads of long records would otherwise take
/// for ever.
pub(super) fn search(
    file: &Arc<dyn DiskFile>,
    seed: Seed,
    from: u64,
    numbers: std::ops::Range<u64>,
    found: &mut dyn FnMut(u64, Record<'_>) -> io::Result<()>,
) -> io::Result<bool> {
    let mut window = Window::new(Arc::clone(file))?;
    let (mut at, mut spent) = (from, 0);
    while window.left(at) >= RECORD_HEAD as u64 {
        let left = window.left(at);
        let head = window.get(at, RECORD_HEAD)?;
        let (crc, seq) = (u32_at(head, 0), u64_at(head, 8));
        let whole = u64::from(u32_at(head, 4)) + RECORD_HEAD as u64;
        if whole > left || !numbers.contains(&seq) {
            at += 1;
            continue;
        }
        let count = usize::try_from(whole).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let bytes = window.get(at, count)?;
        if crc32c::crc32c_append(seed.0, &bytes[4..]) == crc {
            found(at, Record::of(bytes))?;
            at += whole;
            continue;
        }
        at += 1;
        spent += whole;
        if spent > SEARCH_BYTES {
            return Ok(false);
        }
    }
    Ok(true)
}
