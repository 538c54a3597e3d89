//! Values: what JSON can hold, with integers that are exact.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Number;

use crate::error::{Error, Result};

/// A value of a set, a register or a map.
///
/// There is one kind of number, as in JSON: a double that is an integer within 2^53 comes back as an integer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer, exact.
    Integer(i128),
    /// A double; neither NaN nor infinite.
    Double(f64),
    /// A text.
    Text(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Values by name.
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// The value as a type of the program's own.
    ///
    /// # Errors
    /// [`Error::Undecodable`] if the type is another one.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        let wrong = |error| Error::Undecodable(format!("another type than expected: {error}"));
        serde_json::from_value(self.json()?).map_err(wrong)
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_integer(&self) -> Option<i128> {
        if let Value::Integer(number) = self { Some(*number) } else { None }
    }

    fn json(&self) -> Result<serde_json::Value> {
        let number = |number: Option<Number>| {
            let beyond =
                || Error::Undecodable("a number beyond 64 bits; match on Value".to_owned());
            number.map(serde_json::Value::Number).ok_or_else(beyond)
        };
        Ok(match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bit) => serde_json::Value::Bool(*bit),
            Value::Integer(integer) => number(Number::from_i128(*integer))?,
            Value::Double(double) => number(Number::from_f64(*double))?,
            Value::Text(text) => serde_json::Value::String(text.clone()),
            Value::Array(items) => items.iter().map(Value::json).collect::<Result<_>>()?,
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| Ok((name.clone(), value.json()?));
                serde_json::Value::Object(members.iter().map(member).collect::<Result<_>>()?)
            }
        })
    }
}

/// `serde_json::json!` has turned NaN and the infinities into null before they come here.
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(bit) => Value::Bool(bit),
            serde_json::Value::Number(number) => match number.as_i128() {
                Some(integer) => Value::Integer(integer),
                None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(items) => items.into_iter().collect(),
            serde_json::Value::Object(members) => members.into_iter().collect(),
        }
    }
}

macro_rules! from {
    ($($kind:ty => $value:ident => $make:expr;)*) => {
        $(impl From<$kind> for Value {
            fn from($value: $kind) -> Value {
                $make
            }
        })*
    };
}

from! {
    bool => bit => Value::Bool(bit);
    i8 => number => Value::Integer(number.into());
    i16 => number => Value::Integer(number.into());
    i32 => number => Value::Integer(number.into());
    i64 => number => Value::Integer(number.into());
    i128 => number => Value::Integer(number);
    u8 => number => Value::Integer(number.into());
    u16 => number => Value::Integer(number.into());
    u32 => number => Value::Integer(number.into());
    u64 => number => Value::Integer(number.into());
    f32 => number => Value::Double(number.into());
    f64 => number => Value::Double(number);
    &str => text => Value::Text(text.to_owned());
    String => text => Value::Text(text);
    BTreeMap<String, Value> => members => Value::Object(members);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        items.into_iter().collect()
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Value {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, T: Into<Value>> FromIterator<(K, T)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(members: I) -> Value {
        Value::Object(members.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}
