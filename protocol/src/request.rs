//! Requests: RESP arrays of bulk strings, and inline commands.
//!
//! A slice parser: arguments are spans of the buffer that the bytes were read into. It resumes where
//! it stopped, so a frame that arrives byte by byte costs no more than one that comes whole, and it
//! reserves nothing on a peer's word: a header that announces a million elements costs nothing until
//! they arrive.
//!
//! Stricter than Redis in one place: the two bytes behind a bulk string must be CR LF. Redis skips
//! them unread; no client sends anything else.

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
    /// Elements still to come; 0 between commands.
    left: usize,
    /// The length of the bulk string that stands at `at`, once its header was read.
    bulk: Option<usize>,
    /// The arguments of an inline command, unquoted; spans point here instead of into the buffer.
    inline: Option<Vec<u8>>,
    /// Whether the last command is complete.
    done: bool,
}

/// The number of a header line that starts at `from`, and where the next line starts; none if the
/// line is not complete. Redis looks for CR and takes the byte behind it for LF.
fn header(
    buf: &[u8],
    from: usize,
    longest: usize,
    invalid: ProtocolError,
    endless: ProtocolError,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    let rest = &buf[from..];
    // Nearly all headers are one to three digits.
    let mut n = 0i64;
    for (at, byte) in rest.iter().take(10).enumerate() {
        match byte {
            b'0'..=b'9' if at < 9 && !(at == 1 && n == 0) => n = n * 10 + i64::from(byte - b'0'),
            b'\r' if at > 0 => {
                return match rest.get(at + 1) {
                    Some(b'\n') => Ok(Some((n, from + at + 2))),
                    Some(_) => Err(invalid),
                    None => Ok(None),
                };
            }
            _ => break,
        }
    }
    let Some(end) = memchr::memchr(b'\r', rest) else {
        return if rest.len() > longest { Err(endless) } else { Ok(None) };
    };
    let n = integer::parse_i64(&rest[..end]).ok_or(invalid)?;
    match rest.get(end + 1) {
        Some(b'\n') => Ok(Some((n, from + end + 2))),
        Some(_) => Err(invalid),
        None => Ok(None),
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
            (self.at, self.left, self.bulk, self.inline) = (0, 0, None, None);
            self.done = false;
        }
        if self.left == 0 {
            match buf.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.inline(buf, limits),
            }
            let (invalid, endless) = (ProtocolError::MultibulkLength, ProtocolError::BigCount);
            let Some((n, at)) = header(buf, 1, limits.inline_bytes, invalid, endless)? else {
                return Ok(None);
            };
            if n > limits.args as i64 {
                return Err(invalid);
            }
            if limits.unauthenticated && n > UNAUTHENTICATED_ARGS as i64 {
                return Err(ProtocolError::UnauthenticatedMultibulk);
            }
            self.at = at;
            if n <= 0 {
                self.done = true;
                return Ok(Some(at));
            }
            self.left = n as usize;
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

    /// Reads the header of a bulk string at `self.at`; its length.
    fn bulk_header(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        match buf.get(self.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedBulk(*other)),
        }
        let (invalid, endless) = (ProtocolError::BulkLength, ProtocolError::BigBulkCount);
        let Some((n, at)) = header(buf, self.at + 1, limits.inline_bytes, invalid, endless)? else {
            return Ok(None);
        };
        let length = usize::try_from(n).ok().filter(|n| *n <= limits.bulk_bytes);
        let length = length.ok_or(ProtocolError::BulkLength)?;
        if limits.unauthenticated && length > UNAUTHENTICATED_BULK {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        // Spans are 32 bits wide; the query buffer's limit is far below.
        if at + length > u32::MAX as usize - 2 {
            return Err(ProtocolError::BulkLength);
        }
        self.at = at;
        Ok(Some(length))
    }

    fn inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        // `at` remembers how far was searched in vain.
        let Some(end) = memchr::memchr(b'\n', &buf[self.at..]).map(|end| self.at + end) else {
            self.at = buf.len();
            return if buf.len() >= limits.inline_bytes {
                Err(ProtocolError::BigInline)
            } else {
                Ok(None)
            };
        };
        if end > limits.inline_bytes {
            return Err(ProtocolError::BigInline);
        }
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        let mut args = Vec::with_capacity(line.len());
        split_line(line, &mut args, &mut self.spans)?;
        self.inline = Some(args);
        self.done = true;
        Ok(Some(end + 1))
    }

    /// The arguments of the command that [`Parser::next`] completed in `buf`.
    #[must_use]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        Args { bytes: self.inline.as_deref().unwrap_or(buf), spans: &self.spans }
    }

    /// How many bytes are missing at least, as far as the bytes so far say: a hint for the buffer.
    #[must_use]
    pub fn wanted(&self, buffered: usize) -> usize {
        match self.bulk {
            Some(length) => (self.at + length + 2).saturating_sub(buffered),
            None => 1,
        }
    }

    /// Lets go of room that an unusually large command took.
    pub fn trim(&mut self) {
        if self.spans.capacity() > 1024 && self.done {
            self.spans = Vec::new();
            self.inline = None;
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

/// Splits an inline command as Redis's `sdssplitargs`: blanks between arguments; "…" with escapes;
/// '…' with \' alone; a closing quote is followed by a blank or the end.
fn split_line(line: &[u8], args: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let Some(first) = rest.first() else { return Ok(()) };
        let start = args.len() as u32;
        let _ = first;
        let mut quote = None;
        loop {
            match (quote, rest) {
                (None, []) => break,
                (None, [byte, ..]) if byte.is_ascii_whitespace() || *byte == 0 => break,
                (None, [byte @ (b'"' | b'\''), tail @ ..]) => {
                    quote = Some(*byte);
                    rest = tail;
                }
                (Some(_), []) => return Err(ProtocolError::Quotes),
                (Some(b'"'), [b'\\', b'x', a, b, tail @ ..])
                    if hex(*a).is_some() && hex(*b).is_some() =>
                {
                    args.push(hex(*a).unwrap_or(0) << 4 | hex(*b).unwrap_or(0));
                    rest = tail;
                }
                (Some(b'"'), [b'\\', escaped, tail @ ..]) => {
                    args.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => *other,
                    });
                    rest = tail;
                }
                (Some(b'\''), [b'\\', b'\'', tail @ ..]) => {
                    args.push(b'\'');
                    rest = tail;
                }
                (Some(open), [byte, tail @ ..]) if *byte == open => {
                    if tail.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                        return Err(ProtocolError::Quotes);
                    }
                    rest = tail;
                    break;
                }
                (_, [byte, tail @ ..]) => {
                    args.push(*byte);
                    rest = tail;
                }
            }
        }
        if let ([0, tail @ ..], None) = (rest, quote) {
            rest = tail;
        }
        spans.push(Span { start, end: args.len() as u32 });
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
