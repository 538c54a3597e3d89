//! One reply of either protocol, and how a test writes it down.

use redis::Value;
use std::fmt;

/// One RESP2 or RESP3 reply.
///
/// Its `Display` is the notation of the tests' scripts: `OK` (simple), `"a\r\n"` (bulk), `-ERR text` (error), `5`,
/// `nil`, `["a", 5]`, `{"a": 5}`, `~["a"]` (set, sorted), `>["a"]` (push), `true`, `,1.5` (double), `txt:"a"`.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// `+text`
    Simple(String),
    /// `-text`
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$1`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*`
    Array(Vec<Frame>),
    /// `%`
    Map(Vec<(Frame, Frame)>),
    /// `~`
    Set(Vec<Frame>),
    /// `>`
    Push(Vec<Frame>),
    /// `#`
    Boolean(bool),
    /// `,`
    Double(f64),
    /// `(`
    BigNumber(String),
    /// `=txt:`
    Verbatim(String),
}

impl Frame {
    /// The members of an array, set or push, or the flattened pairs of a map; empty for anything else.
    pub fn items(&self) -> Vec<Frame> {
        match self {
            Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => items.clone(),
            Frame::Map(pairs) => {
                pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What stands under `key` in a map, or in an array that is a flat list of pairs.
    pub fn field(&self, key: &str) -> Option<Frame> {
        let items = self.items();
        items.chunks_exact(2).find(|pair| pair[0].text() == key).map(|pair| pair[1].clone())
    }

    /// The bare text of a simple string, error, bulk string, verbatim string or number.
    pub fn text(&self) -> String {
        match self {
            Frame::Simple(text)
            | Frame::Error(text)
            | Frame::Verbatim(text)
            | Frame::BigNumber(text) => text.clone(),
            Frame::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Frame::Integer(n) => n.to_string(),
            other => other.to_string(),
        }
    }

    /// The integer, or a failed test.
    pub fn integer(&self) -> i64 {
        match self {
            Frame::Integer(n) => *n,
            other => panic!("expected an integer, got {other}"),
        }
    }

    /// The texts of the members, sorted: what an unordered reply holds.
    pub fn sorted(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.items().iter().map(Frame::text).collect();
        texts.sort();
        texts
    }

    /// The same reply seen as an unordered collection.
    pub(crate) fn unordered(self) -> Frame {
        match self {
            Frame::Array(items) => Frame::Set(items),
            other => other,
        }
    }

    /// True if this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Frame::Error(_))
    }
}

impl From<Value> for Frame {
    fn from(value: Value) -> Frame {
        let all = |items: Vec<Value>| items.into_iter().map(Frame::from).collect();
        match value {
            Value::Nil => Frame::Null,
            Value::Int(n) => Frame::Integer(n),
            Value::BulkString(bytes) => Frame::Bulk(bytes),
            Value::Array(items) => Frame::Array(all(items)),
            Value::SimpleString(text) => Frame::Simple(text),
            Value::Okay => Frame::Simple("OK".to_owned()),
            Value::Map(pairs) => Frame::Map(
                pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            ),
            Value::Set(items) => Frame::Set(all(items)),
            Value::Double(number) => Frame::Double(number),
            Value::Boolean(on) => Frame::Boolean(on),
            Value::VerbatimString { text, .. } => Frame::Verbatim(text),
            Value::BigNumber(number) => Frame::BigNumber(number.to_string()),
            Value::Push { kind, data } => {
                let kind = Frame::Bulk(kind.to_string().into_bytes());
                Frame::Push(
                    std::iter::once(kind).chain(data.into_iter().map(Frame::from)).collect(),
                )
            }
            Value::ServerError(error) => {
                let details = error.details().unwrap_or_default();
                Frame::Error(format!("{} {details}", error.code()).trim_end().to_owned())
            }
            other => panic!("a reply that this harness does not know: {other:?}"),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, items: &[Frame]) -> fmt::Result {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{item}")?;
            }
            f.write_str("]")
        }
        match self {
            Frame::Simple(text) => f.write_str(text),
            Frame::Error(text) => write!(f, "-{text}"),
            Frame::Integer(n) => write!(f, "{n}"),
            Frame::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Frame::Null => f.write_str("nil"),
            Frame::Array(items) => list(f, items),
            Frame::Set(items) => {
                let mut sorted = items.clone();
                sorted.sort_by_key(Frame::to_string);
                f.write_str("~")?;
                list(f, &sorted)
            }
            Frame::Push(items) => {
                f.write_str(">")?;
                list(f, items)
            }
            Frame::Map(pairs) => {
                f.write_str("{")?;
                for (i, (key, value)) in pairs.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
            Frame::Boolean(on) => write!(f, "{on}"),
            Frame::Double(number) => write!(f, ",{number}"),
            Frame::BigNumber(number) => write!(f, "({number}"),
            Frame::Verbatim(text) => write!(f, "txt:\"{}\"", text.escape_debug()),
        }
    }
}
