//! The proxy of maps.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use redis::Value as Reply;

use crate::call::Call;
use crate::codec::{Codec, Json};
use crate::error::{Error, Result};
use crate::reply;
use crate::types::{Name, Pages};
use crate::value::Value;

/// A map of fields to values or counters.
#[derive(Clone, Debug)]
pub struct ORMap<C: Codec = Json>(pub(crate) Name, pub(crate) PhantomData<C>);

#[expect(clippy::unnecessary_wraps, reason = "what calls take")]
fn field(name: &str) -> Result<Vec<Vec<u8>>> {
    Ok(vec![name.as_bytes().to_vec()])
}

impl<C: Codec> ORMap<C> {
    /// Sets a field.
    pub fn set(&self, name: &str, value: impl Into<C::Value>) -> Call<()> {
        let words = C::encode(&value.into()).map(|value| vec![name.as_bytes().to_vec(), value]);
        self.0.write("SET", words, reply::nothing)
    }

    /// A field's value; none if there is none.
    pub fn get(&self, name: &str) -> Call<Option<C::Value>> {
        self.0.read_of("GET", field(name), reply::optional::<C>)
    }

    /// All concurrent values of a field.
    pub fn get_values(&self, name: &str) -> Call<Vec<C::Value>> {
        self.0.read_of("GETMV", field(name), reply::values::<C>)
    }

    /// A field that is a counter; 0 if there is none.
    pub fn get_integer(&self, name: &str) -> Call<i128> {
        self.0.read_of("GET", field(name), counter)
    }

    /// Adds to a field that is a counter; answers the new value.
    pub fn increment(&self, name: &str, by: i64) -> Call<i64> {
        let words = Ok(vec![name.as_bytes().to_vec(), by.to_string().into_bytes()]);
        self.0.write("INCRBY", words, reply::integer)
    }

    /// Whether a field is there.
    pub fn has(&self, name: &str) -> Call<bool> {
        self.0.read_of("EXISTS", field(name), reply::truth)
    }

    /// Removes a field; answers whether it was there.
    pub fn delete(&self, name: &str) -> Call<bool> {
        self.0.write("DEL", field(name), reply::truth)
    }

    /// How many fields it has.
    pub fn size(&self) -> Call<u64> {
        self.0.read("LEN", reply::count)
    }

    /// The names of all fields.
    pub fn keys(&self) -> Call<Vec<String>> {
        self.0.read("KEYS", reply::texts)
    }

    /// All fields.
    pub fn get_value(&self) -> Call<BTreeMap<String, C::Value>> {
        self.0.read("GETALL", |found| Ok(reply::fields::<C>(found)?.into_iter().collect()))
    }

    /// All fields with their values, page by page; each once.
    #[must_use]
    pub fn iter(&self) -> Pages<(String, C::Value)> {
        Pages::new(&self.0, 2, |words| {
            let name = String::from_utf8(words[0].clone());
            let name =
                name.map_err(|_| Error::Undecodable("a field that is no UTF-8".to_owned()))?;
            Ok((name, C::decode(&words[1])?))
        })
    }
}

fn counter(found: Reply) -> Result<i128> {
    if found == Reply::Nil {
        return Ok(0);
    }
    let bytes = reply::bytes(found)?;
    if let Some(number) = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()) {
        return Ok(number);
    }
    match Json::decode(&bytes)? {
        Value::Integer(number) => Ok(number),
        _ => Err(Error::Undecodable("the field holds no integer; read it by get()".to_owned())),
    }
}
