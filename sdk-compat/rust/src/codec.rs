//! How values become bytes: the canonical JSON of RFC 8785, so that equal values are equal bytes in every language, or
//! bytes as they are.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result};
use crate::value::Value;

/// Doubles hold all integers up to here.
const SAFE: i128 = (1 << 53) - 1;
const TAG: &str = "$int:";
/// As deep as the reader of the JSON library goes.
const DEEPEST: usize = 127;

/// A way to write values: [`Json`] or [`Raw`].
pub trait Codec: Send + Sync + 'static {
    /// What it writes and reads.
    type Value: Send + 'static;

    /// The bytes that are stored.
    ///
    /// # Errors
    /// [`Error::Unencodable`] if there are none for this value.
    fn encode(value: &Self::Value) -> Result<Vec<u8>>;

    /// The value that these bytes are.
    ///
    /// # Errors
    /// [`Error::Undecodable`] if they are none.
    fn decode(stored: &[u8]) -> Result<Self::Value>;
}

/// The canonical JSON of RFC 8785. Integers beyond 2^53 are texts with a tag.
#[derive(Clone, Copy, Debug)]
pub struct Json;

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
pub struct Raw;

impl Codec for Raw {
    type Value = Vec<u8>;

    fn encode(value: &Vec<u8>) -> Result<Vec<u8>> {
        Ok(value.clone())
    }

    fn decode(stored: &[u8]) -> Result<Vec<u8>> {
        Ok(stored.to_vec())
    }
}

impl Codec for Json {
    type Value = Value;

    fn encode(value: &Value) -> Result<Vec<u8>> {
        let mut out = String::new();
        write(&mut out, value, 0)?;
        Ok(out.into_bytes())
    }

    fn decode(stored: &[u8]) -> Result<Value> {
        let text = std::str::from_utf8(stored).map_err(|_| undecodable("no UTF-8"))?;
        check_integers(text)?;
        let Read(value) =
            serde_json::from_str(text).map_err(|error| undecodable(&error.to_string()))?;
        Ok(value)
    }
}

fn undecodable(what: &str) -> Error {
    Error::Undecodable(what.to_owned())
}

fn write(out: &mut String, value: &Value, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::Unencodable(format!("more than {DEEPEST} levels")));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Value::Integer(integer) if (-SAFE..=SAFE).contains(integer) => {
            let _ = write!(out, "{integer}"); // A string takes everything.
        }
        Value::Integer(integer) => {
            let _ = write!(out, "\"{TAG}{integer}\"");
        }
        Value::Double(double) if double.is_finite() => {
            out.push_str(ryu_js::Buffer::new().format_finite(*double));
        }
        Value::Double(double) => {
            return Err(Error::Unencodable(format!("{double}; store null or a text instead")));
        }
        Value::Text(text) if looks_tagged(text) => write_text(out, &format!("${text}")),
        Value::Text(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, item, depth + 1)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (name, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(out, name);
                out.push(':');
                write(out, member, depth + 1)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a text looks like a tagged integer, or like such a text with more signs in front.
fn looks_tagged(text: &str) -> bool {
    let rest = text.trim_start_matches('$');
    rest.len() < text.len() && rest.starts_with(&TAG[1..])
}

/// Refuses a literal that is an integer which no double holds: it would be rounded in silence. The JSON library shows
/// numbers only after that.
fn check_integers(text: &str) -> Result<()> {
    let is_number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
    let mut inside = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '"' => inside = !inside,
            '\\' if inside => length += rest[1..].chars().next().map_or(0, char::len_utf8),
            '-' | '0'..='9' if !inside => {
                length = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
                check_integer(&rest[..length])?;
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

fn check_integer(literal: &str) -> Result<()> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let safe = literal.parse::<i128>().is_ok_and(|integer| (-SAFE..=SAFE).contains(&integer));
    let double: f64 = literal.parse().unwrap_or(f64::INFINITY);
    if safe || (double.is_finite() && ryu_js::Buffer::new().format_finite(double) == literal) {
        return Ok(());
    }
    let shown = literal.get(..40).unwrap_or(literal);
    Err(undecodable(&format!("the integer {shown} is beyond 2^53 and has no tag")))
}

/// A value as it is read.
struct Read(Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Read, D::Error> {
        from.deserialize_any(Reader).map(Read)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bit: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(bit))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<Value, E> {
        self.visit_i128(number.into())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> std::result::Result<Value, E> {
        self.visit_i128(number.into())
    }

    /// An integer beyond 2^53 without a tag is a double that somebody wrote.
    #[expect(
        clippy::cast_precision_loss,
        reason = "literals that a double does not hold are refused before"
    )]
    fn visit_i128<E: serde::de::Error>(self, number: i128) -> std::result::Result<Value, E> {
        let safe = (-SAFE..=SAFE).contains(&number);
        Ok(if safe { Value::Integer(number) } else { Value::Double(number as f64) })
    }

    #[expect(clippy::cast_possible_truncation, reason = "only within 2^53")]
    fn visit_f64<E>(self, double: f64) -> std::result::Result<Value, E> {
        let integer = double as i128;
        let whole = double.fract() == 0.0 && (-SAFE..=SAFE).contains(&integer);
        Ok(if whole { Value::Integer(integer) } else { Value::Double(double) })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Value, E> {
        if !looks_tagged(text) {
            return Ok(Value::Text(text.to_owned()));
        }
        if text.starts_with("$$") {
            return Ok(Value::Text(text[1..].to_owned()));
        }
        let integer = text[TAG.len()..].parse::<i128>().ok();
        let canonical = integer.filter(|integer| format!("{TAG}{integer}") == text);
        canonical
            .map(Value::Integer)
            .ok_or_else(|| E::custom("a tag without an integer of 128 bits"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Read(item)) = items.next_element()? {
            values.push(item);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut values = std::collections::BTreeMap::new();
        while let Some((name, Read(member))) = members.next_entry::<String, Read>()? {
            values.insert(name, member);
        }
        Ok(Value::Object(values))
    }
}
