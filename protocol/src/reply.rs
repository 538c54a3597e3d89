//! Replies, written straight into a connection's output buffer.

use std::fmt::Display;
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

    /// A simple string; must hold no line break.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error; `line` begins with its prefix. Line breaks become spaces.
    pub fn error(&mut self, line: &str) {
        self.out.push(b'-');
        let clean = line.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b });
        self.out.extend(clean);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) {
        self.out.push(b':');
        self.out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string of what `value` prints.
    pub fn bulk_display(&mut self, value: impl Display) {
        let mut text = Vec::new();
        write!(text, "{value}").expect("writing to memory does not fail");
        self.bulk(&text);
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

    /// A floating-point number.
    pub fn double(&mut self, n: f64) {
        if self.v3() {
            let text = match n {
                _ if n.is_nan() => "nan".to_owned(),
                f64::INFINITY => "inf".to_owned(),
                f64::NEG_INFINITY => "-inf".to_owned(),
                _ => n.to_string(),
            };
            self.out.push(b',');
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk_display(n);
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
