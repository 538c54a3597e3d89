//! Replies, written straight into a connection's output buffer: there is no tree of values between.
//!
//! Each method writes one element, or the head of an aggregate whose elements the caller writes next.
//! What RESP2 does not know becomes what Redis sends in its place:
//!
//! | | RESP2 | RESP3 |
//! |---|---|---|
//! | nil | `$-1`, or `*-1` in place of an array | `_` |
//! | map of n pairs | array of 2n | `%n` |
//! | set, push | array | `~n`, `>n` |
//! | boolean | `:1`, `:0` | `#t`, `#f` |
//! | double, text | bulk string | `,3.5`, `=9` with `txt:` |

use std::fmt::{self, Display, Formatter};
use std::io::Write;

/// The protocol version of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resp {
    /// RESP2.
    #[default]
    V2,
    /// RESP3.
    V3,
}

/// Writes one reply after another.
#[derive(Debug)]
pub struct Reply<'a> {
    /// Where they go.
    pub out: &'a mut Vec<u8>,
    /// How they are written.
    pub resp: Resp,
    /// How many bytes `out` may hold; what would go beyond is left out.
    limit: usize,
    /// Whether something was left out: then what stands in `out` is no whole reply.
    is_over: bool,
}

impl<'a> Reply<'a> {
    /// Writes replies into `out`, however long they are.
    pub fn new(out: &'a mut Vec<u8>, resp: Resp) -> Reply<'a> {
        Reply { out, resp, limit: usize::MAX, is_over: false }
    }

    /// The same, until `out` holds `limit` bytes. So one reply cannot fill the memory before its client
    /// is found to read too little.
    #[must_use]
    pub fn limited(self, limit: usize) -> Reply<'a> {
        Reply { limit, ..self }
    }

    /// How many bytes `out` may hold.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether something was left out, since `out` holds as much as it may.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Notes that something was left out of a part of this reply that was written apart.
    pub fn note_over(&mut self, is_over: bool) {
        self.is_over |= is_over;
    }
}

impl Reply<'_> {
    fn v3(&self) -> bool {
        self.resp == Resp::V3
    }

    fn header(&mut self, kind: u8, n: usize) {
        self.out.push(kind);
        self.out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `+PONG`.
    pub fn pong(&mut self) {
        self.out.extend_from_slice(b"+PONG\r\n");
    }

    /// A simple string; must hold no line break.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error; `line` begins with its prefix. Line breaks become spaces.
    pub fn error(&mut self, line: impl AsRef<[u8]>) {
        self.out.push(b'-');
        let bytes = line.as_ref().iter();
        let clean = bytes.map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b });
        self.out.extend(clean);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) {
        // Most integers are flags and small counts.
        let digit = |n: u64| b'0' + n as u8;
        match (n, n.unsigned_abs()) {
            (0.., one @ 0..10) => self.out.extend_from_slice(&[b':', digit(one), b'\r', b'\n']),
            (_, one @ 0..10) => {
                self.out.extend_from_slice(&[b':', b'-', digit(one), b'\r', b'\n']);
            }
            (0.., two @ 10..100) => {
                let (tens, ones) = (digit(two / 10), digit(two % 10));
                self.out.extend_from_slice(&[b':', tens, ones, b'\r', b'\n']);
            }
            (_, two @ 10..100) => {
                let (tens, ones) = (digit(two / 10), digit(two % 10));
                self.out.extend_from_slice(&[b':', b'-', tens, ones, b'\r', b'\n']);
            }
            _ => {
                self.out.push(b':');
                self.out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.out.len() + bytes.len() > self.limit {
            self.is_over = true;
            return;
        }
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string of what `value` prints.
    pub fn bulk_display(&mut self, value: impl Display) {
        let start = self.out.len();
        write!(self.out, "{value}").expect("writing to memory does not fail");
        // How long it is, is known only now: the head goes in before it.
        let mut digits = itoa::Buffer::new();
        let length = digits.format(self.out.len() - start).as_bytes();
        let head = [b"$", length, b"\r\n"].into_iter().flatten().copied();
        self.out.splice(start..start, head);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Nil.
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.v3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Nil where an array was asked for.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.v3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The head of an array of `n`.
    pub fn array(&mut self, n: usize) {
        self.header(b'*', n);
    }

    /// The head of a map of `n` pairs.
    pub fn map(&mut self, n: usize) {
        if self.v3() { self.header(b'%', n) } else { self.header(b'*', n * 2) }
    }

    /// The head of a set of `n`.
    pub fn set(&mut self, n: usize) {
        self.header(if self.v3() { b'~' } else { b'*' }, n);
    }

    /// The head of a push of `n`.
    pub fn push(&mut self, n: usize) {
        self.header(if self.v3() { b'>' } else { b'*' }, n);
    }

    /// A boolean.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.v3(), value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// A floating-point number, in as few digits as give it back.
    pub fn double(&mut self, n: f64) {
        if self.v3() {
            self.out.push(b',');
            write!(self.out, "{}", Double(n)).expect("writing to memory does not fail");
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk_display(Double(n));
        }
    }

    /// A floating-point number whose text is made elsewhere, in other digits than [`Reply::double`]'s.
    pub fn double_text(&mut self, text: &str) {
        if self.v3() {
            self.out.push(b',');
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }

    /// Text for people: a verbatim string, or a bulk string in RESP2.
    pub fn verbatim_txt(&mut self, text: &[u8]) {
        if self.v3() {
            self.header(b'=', text.len() + 4);
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }
}

/// A floating-point number as Redis prints it: the shortest digits that give it back, with an exponent
/// where that is shorter.
struct Double(f64);

impl Display for Double {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Redis prints whole numbers up to here as integers.
        const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;
        let Double(n) = *self;
        if !n.is_finite() {
            return f.write_str(if n.is_nan() {
                "nan"
            } else if n > 0.0 {
                "inf"
            } else {
                "-inf"
            });
        }
        if n.abs() < WHOLE_MAX && n.fract() == 0.0 {
            return write!(f, "{}", n as i64);
        }
        let scientific = format!("{n:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let count = digits.bytes().filter(u8::is_ascii_digit).count() as i32;
        let exponent: i32 = exponent.parse().unwrap_or(0);
        // The number is its digits, as an integer, times ten to this.
        let power = exponent - count + 1;
        let plain =
            if power >= 0 { exponent < count + 7 } else { power > -7 || exponent.abs() < 4 };
        if plain {
            write!(f, "{n}")
        } else {
            // `{:e}` leaves out the plus.
            let sign = if exponent < 0 { "" } else { "+" };
            write!(f, "{digits}e{sign}{exponent}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Reply<'_>), v2: &str, v3: &str) {
        for (resp, expected) in [(Resp::V2, v2), (Resp::V3, v3)] {
            // What was there before stays.
            let mut out = b"+before\r\n".to_vec();
            write(&mut Reply::new(&mut out, resp));
            let written = String::from_utf8(out).expect("text");
            assert_eq!(written, format!("+before\r\n{expected}"), "{resp:?}");
        }
    }

    fn same(write: impl Fn(&mut Reply<'_>), expected: &str) {
        check(write, expected, expected);
    }

    #[test]
    fn the_same_in_both() {
        same(|r| r.ok(), "+OK\r\n");
        same(|r| r.pong(), "+PONG\r\n");
        same(|r| r.simple("none"), "+none\r\n");
        same(|r| r.error("ERR no"), "-ERR no\r\n");
        same(|r| r.integer(i64::MIN), ":-9223372036854775808\r\n");
        (-1_000..1_000).for_each(|n| same(|r| r.integer(n), &format!(":{n}\r\n")));
        same(|r| r.bulk(b""), "$0\r\n\r\n");
        same(|r| r.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
        same(|r| r.bulk_display(""), "$0\r\n\r\n");
        same(|r| r.bulk_display(1234567890123u64), "$13\r\n1234567890123\r\n");
        same(|r| r.array(2), "*2\r\n");
    }

    #[test]
    fn an_error_is_one_line() {
        same(|r| r.error("ERR no 'a\r\nb'"), "-ERR no 'a  b'\r\n");
    }

    #[test]
    fn different_in_each() {
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.map(3), "*6\r\n", "%3\r\n");
        check(|r| r.set(3), "*3\r\n", "~3\r\n");
        check(|r| r.push(3), "*3\r\n", ">3\r\n");
        check(|r| r.boolean(true), ":1\r\n", "#t\r\n");
        check(|r| r.boolean(false), ":0\r\n", "#f\r\n");
        check(|r| r.verbatim_txt(b"some"), "$4\r\nsome\r\n", "=8\r\ntxt:some\r\n");
    }

    #[test]
    fn doubles() {
        let cases = [
            (0.0, "0"),
            (3.5, "3.5"),
            (-0.0, "0"),
            (1e18, "1000000000000000000"),
            (-1e20, "-1e+20"),
            (123456789012345678.0, "123456789012345680"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (1.234e-5, "1.234e-5"),
            (0.001234567, "0.001234567"),
            (0.0001234567, "1.234567e-4"),
            (1e300, "1e+300"),
            (1.5e-9, "1.5e-9"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (n, text) in cases {
            let v2 = format!("${}\r\n{text}\r\n", text.len());
            check(|r| r.double(n), &v2, &format!(",{text}\r\n"));
        }
    }

    #[test]
    fn a_number_keeps_the_digits_of_its_text() {
        check(|r| r.double_text("1.50"), "$4\r\n1.50\r\n", ",1.50\r\n");
    }

    #[test]
    fn a_reply_that_is_too_long_is_cut_and_said_to_be() {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Resp::V2).limited(100);
        for _ in 0..1000 {
            reply.bulk(b"0123456789");
        }
        assert!(reply.is_over() && reply.out.len() <= 120, "{}", reply.out.len());
        assert!(!Reply::new(&mut out, Resp::V2).is_over());
    }
}
