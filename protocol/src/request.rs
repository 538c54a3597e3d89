//! Requests: RESP arrays of bulk strings, and inline commands.
//!
//! ```text
//! *4\r\n $12\r\n GCOUNTER.ADD\r\n $1\r\n o\r\n $1\r\n n\r\n $1\r\n 5\r\n     (without the blanks)
//!              └── span 0 ──┘         └1┘        └2┘        └3┘
//! ```
//!
//! A slice parser: arguments are spans of the buffer that the bytes were read into, eight bytes each,
//! kept in a vector that is used again for the next command. It resumes where it stopped, so a frame
//! that arrives byte by byte costs no more than one that comes whole, and it reserves nothing on a
//! peer's word: a header that announces a million elements costs nothing until they arrive.
//!
//! What Redis lets pass passes here too: `*0` and `*-1` and empty lines are commands without
//! arguments, to be skipped; an inline command may end in LF alone. Numbers are as strict as Redis's:
//! no plus, no leading zeros. Two things are stricter, and no client sends either: a header's CR must
//! be followed by LF and a bulk string by CR LF, where Redis skips these bytes unread.
//!
//! Method: Redis's `processMultibulkBuffer`, `processInlineBuffer` and `sdssplitargs`, whose results
//! and error texts the tests hold it to.

use std::ops::Index;

use crate::integer;

/// What a client may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest bulk string, in bytes (`proto-max-bulk-len`).
    pub bulk_bytes: usize,
    /// The longest inline command and the longest header line, in bytes.
    pub inline_bytes: usize,
    /// The most arguments of one command.
    pub args: usize,
    /// Whether the client has yet to authenticate: then Redis's tighter limits hold.
    pub unauthenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk_bytes: 512 << 20,
            inline_bytes: 64 << 10,
            args: 1 << 20,
            unauthenticated: false,
        }
    }
}

const UNAUTHENTICATED_ARGS: usize = 10;
const UNAUTHENTICATED_BULK: usize = 16_384;
/// Room for arguments that a parser keeps between commands.
const KEEP_SPANS: usize = 1024;
/// Room for inline arguments that a parser keeps between commands, in bytes.
const KEEP_INLINE: usize = 1024;

/// Why a connection's bytes are no commands. The connection is told and closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A header line without an end.
    #[error("ERR Protocol error: too big mbulk count string")]
    BigCount,
    /// A bulk header line without an end.
    #[error("ERR Protocol error: too big bulk count string")]
    BigBulkCount,
    /// An inline command without an end.
    #[error("ERR Protocol error: too big inline request")]
    BigInline,
    /// An element count that is no number, or too large.
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// A bulk length that is no number, negative, or too large.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// As [`ProtocolError::MultibulkLength`], before authentication.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    /// As [`ProtocolError::BulkLength`], before authentication.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
    /// An element that is no bulk string.
    #[error("ERR Protocol error: expected '$', got '{}'", shown(*.0))]
    ExpectedBulk(u8),
    /// A bulk string that does not end where it said.
    #[error("ERR Protocol error: expected CRLF after bulk string")]
    ExpectedEnd,
    /// Quotes that do not close.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    Quotes,
}

/// A byte in an error line, where a line break would end the line.
fn shown(byte: u8) -> char {
    if byte == b'\r' || byte == b'\n' { ' ' } else { char::from(byte) }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

/// Reads the commands of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    spans: Vec<Span>,
    /// Where to go on in the buffer.
    at: usize,
    /// How many bytes from `at` on are known not to end the line that stands there.
    seen: usize,
    /// Elements still to come; 0 between commands.
    left: usize,
    /// The length of the bulk string that stands at `at`, once its header was read.
    bulk: Option<usize>,
    /// The arguments of an inline command, unquoted.
    inline: Vec<u8>,
    /// Whether spans point into `inline` instead of into the buffer.
    is_inline: bool,
    /// Whether the last command is complete.
    done: bool,
}

/// A header of one to three digits, as nearly all are: its number, and how long it is with its CR LF.
#[inline]
fn short_header(line: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *line {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a), 3)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a) * 10 + digit(b), 4)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), 5))
        }
        _ => None,
    }
}

impl Parser {
    /// A parser between two commands.
    #[must_use]
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Reads the command that starts at `buf[0]`. `Some(n)`: it is complete and takes `n` bytes;
    /// [`Parser::args`] gives it, and there may be none (an empty line, `*0`). None: it is not; call
    /// again with the same bytes and more, wherever they are then.
    ///
    /// # Errors
    /// If the bytes are no command; the connection cannot go on.
    pub fn next(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if self.done {
            self.spans.clear();
            (self.at, self.seen, self.left, self.bulk) = (0, 0, 0, None);
            (self.is_inline, self.done) = (false, false);
        }
        if self.left == 0 {
            match buf.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.inline(buf, limits),
            }
            let Some(count) = self.array_header(buf, limits)? else { return Ok(None) };
            if count == 0 {
                self.done = true;
                return Ok(Some(self.at));
            }
            self.left = count;
        }
        while self.left > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_header(buf, limits)? {
                    Some(length) => length,
                    None => return Ok(None),
                },
            };
            let end = self.at + length;
            match buf.get(end..end + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ProtocolError::ExpectedEnd),
                None => {
                    self.bulk = Some(length);
                    return Ok(None);
                }
            }
            self.bulk = None;
            self.spans.push(Span { start: self.at as u32, end: end as u32 });
            self.at = end + 2;
            self.left -= 1;
        }
        self.done = true;
        Ok(Some(self.at))
    }

    /// Reads the header of the array at the buffer's start; how many elements it has.
    fn array_header(
        &mut self,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let invalid = ProtocolError::MultibulkLength;
        let count = match short_header(&buf[1..]) {
            Some((count, taken)) => {
                (self.at, self.seen) = (1 + taken, 0);
                count
            }
            None => match self.header(buf, limits, invalid, ProtocolError::BigCount)? {
                Some(count) => usize::try_from(count).unwrap_or(0),
                None => return Ok(None),
            },
        };
        if count > limits.args {
            return Err(invalid);
        }
        if limits.unauthenticated && count > UNAUTHENTICATED_ARGS {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        Ok(Some(count))
    }

    /// Reads the header of a bulk string at `self.at`; its length.
    #[inline]
    fn bulk_header(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let invalid = ProtocolError::BulkLength;
        let length = match &buf[self.at..] {
            [] => return Ok(None),
            [b'$', rest @ ..] => match short_header(rest) {
                Some((length, taken)) => {
                    (self.at, self.seen) = (self.at + 1 + taken, 0);
                    length
                }
                None => match self.header(buf, limits, invalid, ProtocolError::BigBulkCount)? {
                    Some(length) => usize::try_from(length).map_err(|_| invalid)?,
                    None => return Ok(None),
                },
            },
            [other, ..] => return Err(ProtocolError::ExpectedBulk(*other)),
        };
        if length > limits.bulk_bytes {
            return Err(invalid);
        }
        if limits.unauthenticated && length > UNAUTHENTICATED_BULK {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        // Spans are 32 bits wide; the query buffer's limit is far below.
        if self.at + length > u32::MAX as usize - 2 {
            return Err(invalid);
        }
        Ok(Some(length))
    }

    /// Any header: the number behind the byte at `self.at`, which moves on to the next line. None if
    /// the line is not complete.
    #[cold]
    fn header(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        invalid: ProtocolError,
        endless: ProtocolError,
    ) -> Result<Option<i64>, ProtocolError> {
        let line = &buf[self.at + 1..];
        let Some(end) = memchr::memchr(b'\r', &line[self.seen..]).map(|end| self.seen + end) else {
            self.seen = line.len();
            return if line.len() > limits.inline_bytes { Err(endless) } else { Ok(None) };
        };
        match line.get(end + 1) {
            None => {
                self.seen = end;
                Ok(None)
            }
            Some(b'\n') => {
                self.seen = 0;
                self.at += end + 3;
                integer::parse_i64(&line[..end]).ok_or(invalid).map(Some)
            }
            Some(_) => Err(invalid),
        }
    }

    fn inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let found = memchr::memchr(b'\n', &buf[self.seen..]).map(|end| self.seen + end);
        if found.unwrap_or(buf.len()) > limits.inline_bytes {
            return Err(ProtocolError::BigInline);
        }
        let Some(end) = found else {
            self.seen = buf.len();
            return Ok(None);
        };
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        self.inline.clear();
        split_line(line, &mut self.inline, &mut self.spans)?;
        (self.is_inline, self.done) = (true, true);
        Ok(Some(end + 1))
    }

    /// The arguments of the command that [`Parser::next`] completed in `buf`.
    #[must_use]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        Args { bytes: if self.is_inline { &self.inline } else { buf }, spans: &self.spans }
    }

    /// How many bytes are missing at least, as far as the bytes so far say: a hint for the buffer.
    #[must_use]
    pub fn wanted(&self, buffered: usize) -> usize {
        match self.bulk {
            Some(length) => (self.at + length + 2).saturating_sub(buffered),
            None => 1,
        }
    }

    /// Lets go of room that an unusually large command took; between commands only.
    pub fn trim(&mut self) {
        if !self.done && self.left > 0 {
            return;
        }
        if self.spans.capacity() > KEEP_SPANS {
            self.spans = Vec::new();
        }
        if self.inline.capacity() > KEEP_INLINE {
            self.inline = Vec::new();
        }
    }
}

/// The value of `\xHH` in double quotes, and what follows it.
fn hex_escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [b'\\', b'x', high, low, rest @ ..] = text else { return None };
    let value = digit(*high)? << 4 | digit(*low)?;
    Some((value as u8, rest))
}

/// C's `isspace`, which takes VT for a blank where [`u8::is_ascii_whitespace`] does not.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Splits an inline command as Redis's `sdssplitargs`: blanks between arguments; "…" with escapes;
/// '…' with \' alone; a closing quote ends its argument and is followed by a blank or the end. A NUL,
/// at which Redis would never end the line, is a byte like others.
fn split_line(line: &[u8], args: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        while let [byte, tail @ ..] = rest
            && is_blank(*byte)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = args.len() as u32;
        rest = split_argument(rest, args)?;
        spans.push(Span { start, end: args.len() as u32 });
    }
}

/// Appends the argument at the start of `rest` to `args`; what follows it.
fn split_argument<'a>(mut rest: &'a [u8], args: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    let mut quote = None;
    loop {
        if quote == Some(b'"')
            && let Some((byte, tail)) = hex_escape(rest)
        {
            args.push(byte);
            rest = tail;
            continue;
        }
        let byte = match (quote, rest) {
            (None, [] | [b' ' | b'\n' | b'\r' | b'\t', ..]) => return Ok(rest),
            (Some(_), []) => return Err(ProtocolError::Quotes),
            (None, [opening @ (b'"' | b'\''), tail @ ..]) => {
                quote = Some(*opening);
                rest = tail;
                continue;
            }
            (Some(b'"'), [b'\\', escaped, tail @ ..]) => {
                rest = tail;
                match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                }
            }
            (Some(b'\''), [b'\\', b'\'', tail @ ..]) => {
                rest = tail;
                b'\''
            }
            (Some(open), [byte, tail @ ..]) if *byte == open => {
                return match tail.first() {
                    Some(next) if !is_blank(*next) => Err(ProtocolError::Quotes),
                    _ => Ok(tail),
                };
            }
            (_, [byte, tail @ ..]) => {
                rest = tail;
                *byte
            }
        };
        args.push(byte);
    }
}

/// The arguments of a command; the first is its name.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// How many there are, the name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none, not even a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| &self.bytes[span.start as usize..span.end as usize])
    }

    /// All arguments, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| &bytes[span.start as usize..span.end as usize])
    }

    /// The arguments from `from` on; none if there are fewer.
    #[must_use]
    pub fn tail(&self, from: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(from..).unwrap_or_default() }
    }

    /// A copy to keep.
    #[must_use]
    pub fn to_owned(&self) -> OwnedArgs {
        let mut bytes = Vec::with_capacity(self.iter().map(<[u8]>::len).sum());
        let mut spans = Vec::with_capacity(self.len());
        for arg in self.iter() {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(arg);
            spans.push(Span { start, end: bytes.len() as u32 });
        }
        OwnedArgs { bytes: bytes.into(), spans: spans.into() }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        &self.bytes[span.start as usize..span.end as usize]
    }
}

/// Arguments kept beyond their buffer, as MULTI keeps them.
#[derive(Clone, Debug)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
}

impl OwnedArgs {
    /// Makes arguments of parts.
    #[must_use]
    pub fn from_parts(parts: &[&[u8]]) -> OwnedArgs {
        let mut bytes = Vec::new();
        let span = |part: &&[u8]| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(part);
            Span { start, end: bytes.len() as u32 }
        };
        let spans = parts.iter().map(span).collect();
        OwnedArgs { bytes: bytes.into(), spans }
    }

    /// The arguments.
    #[must_use]
    pub fn as_args(&self) -> Args<'_> {
        Args { bytes: &self.bytes, spans: &self.spans }
    }
}
