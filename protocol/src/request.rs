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

use std::ops::{Index, Range};

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

    /// Any header: the number after the byte at `self.at`, which moves on to the next line. None if
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
        let found = memchr::memchr(b'\r', &line[self.seen..]).map(|end| self.seen + end);
        if found.unwrap_or(line.len()) > limits.inline_bytes {
            return Err(endless);
        }
        let Some(end) = found else {
            self.seen = line.len();
            return Ok(None);
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

/// Arguments that are put together word by word, for one command or for several one after another. The
/// words of all of them together are at most 4 GiB.
#[derive(Clone, Debug, Default)]
pub struct Words {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Words {
    /// Adds a word.
    pub fn push(&mut self, word: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(word);
        self.spans.push(Span { start, end: self.bytes.len() as u32 });
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The words of a range as a command's arguments; none if there are fewer words.
    #[must_use]
    pub fn args(&self, range: Range<usize>) -> Args<'_> {
        Args { bytes: &self.bytes, spans: self.spans.get(range).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_make_several_commands() {
        let mut words = Words::default();
        assert!(words.is_empty() && words.args(0..1).is_empty());
        for word in [&b"GET"[..], b"", b"PING"] {
            words.push(word);
        }
        let list = |range| words.args(range).iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(list(0..2), [b"GET".to_vec(), b"".to_vec()]);
        assert_eq!(list(2..3), [b"PING".to_vec()]);
        assert_eq!((words.len(), list(2..4)), (3, Vec::new()));
    }

    /// What a parser makes of `bytes` when they come one by one: commands until an error or the end.
    fn read(bytes: &[u8], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut parser, mut commands, mut from) = (Parser::new(), Vec::new(), 0);
        for to in 0..=bytes.len() {
            while let Some(length) = match parser.next(&bytes[from..to], limits) {
                Ok(found) => found,
                Err(error) => return (commands, Some(error)),
            } {
                let args = parser.args(&bytes[from..to]);
                commands.push(args.iter().map(<[u8]>::to_vec).collect());
                from += length;
            }
        }
        (commands, None)
    }

    /// The first command in `bytes`, its arguments joined by `|`, or the error line.
    fn check_with(limits: Limits, bytes: &[u8], expected: &str) {
        let whole = Parser::new().next(bytes, &limits);
        let shown = match read(bytes, &limits) {
            (commands, error) if commands.is_empty() => {
                assert_eq!(whole.err(), error, "{bytes:?}");
                error.map_or("incomplete".into(), |error| error.to_string())
            }
            (commands, _) => String::from_utf8_lossy(&commands[0].join(&b'|')).into_owned(),
        };
        assert_eq!(shown, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    fn check(bytes: &[u8], expected: &str) {
        check_with(Limits::default(), bytes, expected);
    }

    const COUNT: &str = "ERR Protocol error: invalid multibulk length";
    const LENGTH: &str = "ERR Protocol error: invalid bulk length";
    const QUOTES: &str = "ERR Protocol error: unbalanced quotes in request";

    #[test]
    fn arrays() {
        check(b"*1\r\n$4\r\nPING\r\n", "PING");
        check(b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "ECHO|");
        check(b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n$1\r\n", "ECHO|\r\n$1");
        check(b"*1\r\n$12\r\nGCOUNTER.ADD\r\n", "GCOUNTER.ADD");
        let long = [b"*1\r\n$1234\r\n", &[b'x'; 1234][..], b"\r\n"].concat();
        check(&long, &"x".repeat(1234));
    }

    #[test]
    fn nothing_to_do() {
        for bytes in [&b"*0\r\n"[..], b"*-1\r\n", b"*-9999\r\n", b"\r\n", b"\n", b"  \t \r\n"] {
            check(bytes, "");
        }
    }

    #[test]
    fn several_in_a_row() {
        let bytes = b"*1\r\n$1\r\na\r\n*0\r\nb c\r\n*2\r\n$1\r\nd\r\n$1\r\ne\r\n\nf";
        let (commands, error) = read(bytes, &Limits::default());
        let lines: Vec<Vec<u8>> = commands.iter().map(|args| args.join(&b'|')).collect();
        assert_eq!(lines, [&b"a"[..], b"", b"b|c", b"d|e", b""]);
        assert_eq!(error, None);
    }

    #[test]
    fn numbers_are_strict() {
        for number in ["+1", "01", "", " 1", "1 ", "a", "-", "-0", "1a", "99999999999999999999"] {
            check(format!("*{number}\r\n").as_bytes(), COUNT);
            check(format!("*1\r\n${number}\r\n").as_bytes(), LENGTH);
        }
        check(b"*1048577\r\n", COUNT);
        check(b"*1048576\r\n", "incomplete");
        check(b"*1\r\n$-1\r\n", LENGTH);
        check(b"*1\r\n$536870913\r\n", LENGTH);
        check(b"*1\r\n$536870912\r\n", "incomplete");
        check(b"*1\r\n$9223372036854775807\r\n", LENGTH);
        check(b"*1\rx", COUNT);
    }

    #[test]
    fn elements_are_bulk_strings() {
        check(b"*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'");
        check(b"*2\r\n$1\r\na\r\n*1\r\n", "ERR Protocol error: expected '$', got '*'");
        check(b"*1\r\n\r\n", "ERR Protocol error: expected '$', got ' '");
        check(b"*1\r\n$1\r\nab\r\n", "ERR Protocol error: expected CRLF after bulk string");
    }

    #[test]
    fn a_bulk_limit_of_ones_own() {
        let limits = Limits { bulk_bytes: 3, ..Limits::default() };
        check_with(limits, b"*1\r\n$3\r\nabc\r\n", "abc");
        check_with(limits, b"*1\r\n$4\r\nabcd\r\n", LENGTH);
    }

    #[test]
    fn endless_lines() {
        let line = |head: &[u8], n: usize| [head, &vec![b'1'; n]].concat();
        let limits = Limits { inline_bytes: 100, ..Limits::default() };
        check_with(limits, &line(b"*", 100), "incomplete");
        check_with(limits, &line(b"*", 101), "ERR Protocol error: too big mbulk count string");
        check_with(limits, &line(b"*1\r\n$", 101), "ERR Protocol error: too big bulk count string");
        check_with(limits, &line(b"P", 99), "incomplete");
        check_with(limits, &line(b"P", 100), "ERR Protocol error: too big inline request");
    }

    #[test]
    fn before_authentication() {
        let limits = Limits { unauthenticated: true, ..Limits::default() };
        let header = |n: usize| format!("*1\r\n${n}\r\n").into_bytes();
        check_with(limits, b"*10\r\n", "incomplete");
        check_with(limits, b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length");
        check_with(limits, &header(16_384), "incomplete");
        check_with(limits, &header(16_385), "ERR Protocol error: unauthenticated bulk length");
        // What nobody may send is refused as that.
        check_with(limits, b"*1048577\r\n", COUNT);
        check_with(limits, &header(1 << 30), LENGTH);
    }

    #[test]
    fn inline() {
        check(b"PING\r\n", "PING");
        check(b"PING\n", "PING");
        check(b"  SET\t a\x0bb  c \r\n", "SET|a\x0bb|c");
        check(b"set a\0b\r\n", "set|a\0b");
        check(br#"a "b c" 'd "e' "" ''"#, "incomplete");
        check(b"a \"b c\" 'd \"e' \"\" ''\r\n", "a|b c|d \"e||");
        check(b"a \"\\x41\\x6a\\xZZ\\n\\r\\t\\b\\a\\\"\\q\"\n", "a|AjxZZ\n\r\t\u{8}\u{7}\"q");
        check(b"a 'it\\'s \\n'\n", "a|it's \\n");
        check(b"a b\"c d\"\n", "a|bc d");
    }

    #[test]
    fn quotes_close_and_end_their_argument() {
        for line in
            [&b"a \"b\n"[..], b"a 'b\n", b"a \"b\"c\n", b"a 'b'c\n", b"a \"b\\\"\n", b"\"\\\n"]
        {
            check(line, QUOTES);
        }
    }

    #[test]
    fn a_header_reserves_nothing() {
        let mut parser = Parser::new();
        assert_eq!(parser.next(b"*1048576\r\n", &Limits::default()), Ok(None));
        assert_eq!(parser.spans.capacity(), 0);
        let some = b"*1048576\r\n$1\r\na\r\n$536870912\r\n";
        assert_eq!(parser.next(some, &Limits::default()), Ok(None));
        assert!(parser.spans.capacity() < 16);
        assert_eq!(parser.wanted(some.len()), 536_870_914);
    }

    /// In one-byte steps a parser that starts over would take 10^12 of them.
    #[test]
    fn byte_by_byte_is_as_good_as_whole() {
        let mut bytes = b"*200000\r\n".to_vec();
        bytes.extend_from_slice(&b"$1\r\nx\r\n".repeat(200_000));
        let (commands, error) = read(&bytes, &Limits::default());
        assert_eq!((commands.len(), commands[0].len(), error), (1, 200_000, None));
    }

    #[test]
    fn room_is_let_go_of() {
        let mut parser = Parser::new();
        let bytes = [&b"*5000\r\n"[..], &b"$1\r\nx\r\n".repeat(5000)].concat();
        assert_eq!(parser.next(&bytes, &Limits::default()), Ok(Some(bytes.len())));
        parser.trim();
        assert_eq!(parser.spans.capacity(), 0);
        // Half a command is kept.
        let half = &bytes[..bytes.len() - 10];
        assert_eq!(parser.next(half, &Limits::default()), Ok(None));
        parser.trim();
        assert_eq!(parser.next(&bytes, &Limits::default()), Ok(Some(bytes.len())));
        assert_eq!(parser.args(&bytes).len(), 5000);
    }

    #[test]
    fn arguments() {
        let owned = OwnedArgs::from_parts(&[b"SET", b"", b"value"]);
        let args = owned.as_args();
        assert_eq!((args.len(), &args[2], args.get(3)), (3, &b"value"[..], None));
        assert_eq!(args.tail(1).iter().collect::<Vec<_>>(), [&b""[..], b"value"]);
        assert!(args.tail(4).is_empty());
        let again = args.tail(1).to_owned();
        assert_eq!(again.as_args().iter().collect::<Vec<_>>(), [&b""[..], b"value"]);
    }
}
