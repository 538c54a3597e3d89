//! How replies are read. RESP3's booleans, sets and maps and RESP2's integers and arrays mean the same here.

use redis::Value;

use crate::codec::Codec;
use crate::error::{Error, Result};

/// Reads a reply.
pub(crate) type Read<T> = fn(Value) -> Result<T>;

fn strange(reply: &Value) -> Error {
    let shown: String = format!("{reply:?}").chars().take(100).collect();
    Error::Undecodable(format!("the reply {shown}"))
}

pub(crate) fn integer(reply: Value) -> Result<i64> {
    match &reply {
        Value::Int(number) => Ok(*number),
        Value::Boolean(bit) => Ok((*bit).into()),
        Value::BulkString(bytes) => {
            let text = std::str::from_utf8(bytes).ok();
            text.and_then(|text| text.parse().ok()).ok_or_else(|| strange(&reply))
        }
        _ => Err(strange(&reply)),
    }
}

pub(crate) fn count(reply: Value) -> Result<u64> {
    integer(reply).map(i64::unsigned_abs)
}

pub(crate) fn truth(reply: Value) -> Result<bool> {
    integer(reply).map(|number| number > 0)
}

#[expect(clippy::unnecessary_wraps, reason = "one of the ways to read a reply")]
pub(crate) fn nothing(_: Value) -> Result<()> {
    Ok(())
}

pub(crate) fn bytes(reply: Value) -> Result<Vec<u8>> {
    match reply {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => Err(strange(&other)),
    }
}

pub(crate) fn text(reply: Value) -> Result<String> {
    String::from_utf8(bytes(reply)?).map_err(|_| Error::Undecodable("no UTF-8".to_owned()))
}

pub(crate) fn items(reply: Value) -> Result<Vec<Value>> {
    match reply {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect()),
        other => Err(strange(&other)),
    }
}

pub(crate) fn texts(reply: Value) -> Result<Vec<String>> {
    items(reply)?.into_iter().map(text).collect()
}

pub(crate) fn value<C: Codec>(reply: Value) -> Result<C::Value> {
    C::decode(&bytes(reply)?)
}

pub(crate) fn optional<C: Codec>(reply: Value) -> Result<Option<C::Value>> {
    if reply == Value::Nil { Ok(None) } else { value::<C>(reply).map(Some) }
}

pub(crate) fn values<C: Codec>(reply: Value) -> Result<Vec<C::Value>> {
    items(reply)?.into_iter().map(value::<C>).collect()
}

/// Fields and values in turn.
pub(crate) fn fields<C: Codec>(reply: Value) -> Result<Vec<(String, C::Value)>> {
    let mut flat = items(reply)?.into_iter();
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    while let (Some(field), Some(found)) = (flat.next(), flat.next()) {
        pairs.push((text(field)?, value::<C>(found)?));
    }
    Ok(pairs)
}

/// A page of a scan: where to go on, and what is on it.
pub(crate) fn page(reply: Value) -> Result<(String, Vec<Value>)> {
    let mut parts = items(reply)?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(cursor), Some(found)) => Ok((text(cursor)?, items(found)?)),
        _ => Err(Error::Undecodable("a page without a cursor".to_owned())),
    }
}

/// The error that a reply is.
pub(crate) fn failed(reply: &Value) -> Option<Error> {
    match reply {
        Value::ServerError(error) => {
            Some(Error::of_reply(error.code(), error.details().unwrap_or_default()))
        }
        _ => None,
    }
}

/// Whether the server has run nothing and will soon.
pub(crate) fn not_yet(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if matches!(error.code(), "LOADING" | "TRYAGAIN"))
}
