//! The proxies of counters, sets, registers and flags. None holds any state of the value; each call asks the server.

use std::collections::{HashSet, VecDeque};
use std::marker::PhantomData;

use crate::call::{Call, Command, Path};
use crate::codec::{Codec, Json};
use crate::error::{Error, Result};
use crate::reply::{self, Read};

const PAGE: &str = "1000";

/// One name of an object, as a type.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    path: Path,
    object: String,
    name: String,
    prefix: &'static str,
}

impl Name {
    pub(crate) fn new(path: &Path, object: &str, name: &str, prefix: &'static str) -> Name {
        Name { path: path.clone(), object: object.to_owned(), name: name.to_owned(), prefix }
    }

    fn command(&self, verb: &str, words: Vec<Vec<u8>>, write: bool) -> Result<Command> {
        if self.name.is_empty() {
            return Err(Error::Argument("a name is a text that is not empty".to_owned()));
        }
        let verb = format!("{}.{verb}", self.prefix);
        let command = if write { Command::write(verb) } else { Command::read(verb) };
        let mut command = command.arg(self.object.as_str()).arg(self.name.as_str());
        command.words.extend(words);
        Ok(command)
    }

    pub(crate) fn read<T: Send + 'static>(&self, verb: &str, read: Read<T>) -> Call<T> {
        self.read_of(verb, Ok(Vec::new()), read)
    }

    pub(crate) fn read_of<T: Send + 'static>(
        &self,
        verb: &str,
        words: Result<Vec<Vec<u8>>>,
        read: Read<T>,
    ) -> Call<T> {
        let command = words.and_then(|words| self.command(verb, words, false));
        Call::new(&self.path, command, read)
    }

    pub(crate) fn write<T: Send + 'static>(
        &self,
        verb: &str,
        words: Result<Vec<Vec<u8>>>,
        read: Read<T>,
    ) -> Call<T> {
        let command = words.and_then(|words| self.command(verb, words, true));
        Call::new(&self.path, command, read)
    }
}

pub(crate) fn encoded<C: Codec, V: Into<C::Value>>(
    values: impl IntoIterator<Item = V>,
) -> Result<Vec<Vec<u8>>> {
    let words: Vec<_> = values.into_iter().map(|v| C::encode(&v.into())).collect::<Result<_>>()?;
    if words.is_empty() {
        return Err(Error::Argument("no value is given".to_owned()));
    }
    Ok(words)
}

fn amount(by: i64) -> Result<Vec<Vec<u8>>> {
    Ok(vec![by.to_string().into_bytes()])
}

/// A counter that only grows.
#[derive(Clone, Debug)]
pub struct GCounter(pub(crate) Name);

impl GCounter {
    /// Adds; answers the new value on this node.
    pub fn add(&self, by: i64) -> Call<i64> {
        self.0.write("ADD", amount(by), reply::integer)
    }

    /// The value on this node.
    pub fn get_value(&self) -> Call<i64> {
        self.0.read("GET", reply::integer)
    }
}

/// A counter that grows and shrinks.
#[derive(Clone, Debug)]
pub struct PNCounter(pub(crate) Name);

impl PNCounter {
    /// Adds; answers the new value on this node.
    pub fn add(&self, by: i64) -> Call<i64> {
        self.0.write("ADD", amount(by), reply::integer)
    }

    /// Subtracts; answers the new value on this node.
    pub fn sub(&self, by: i64) -> Call<i64> {
        self.0.write("SUB", amount(by), reply::integer)
    }

    /// The value on this node.
    pub fn get_value(&self) -> Call<i64> {
        self.0.read("GET", reply::integer)
    }
}

/// The methods that both kinds of sets have.
macro_rules! set {
    ($(#[$about:meta])* $set:ident) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        pub struct $set<C: Codec = Json>(pub(crate) Name, pub(crate) PhantomData<C>);

        impl<C: Codec> $set<C> {
            /// Adds a value; answers whether it was new here.
            pub fn add(&self, value: impl Into<C::Value>) -> Call<bool> {
                self.0.write("ADD", encoded::<C, _>([value]), reply::truth)
            }

            /// Adds values; answers how many were new here.
            pub fn add_all<V: Into<C::Value>>(&self, values: impl IntoIterator<Item = V>) -> Call<u64> {
                self.0.write("ADD", encoded::<C, _>(values), reply::count)
            }

            /// Whether a value is in the set, without fetching the set.
            pub fn has(&self, value: impl Into<C::Value>) -> Call<bool> {
                self.0.read_of("ISMEMBER", encoded::<C, _>([value]), reply::truth)
            }

            /// How many values it has.
            pub fn size(&self) -> Call<u64> {
                self.0.read("CARD", reply::count)
            }

            /// All values.
            pub fn get_value(&self) -> Call<Vec<C::Value>> {
                self.0.read("MEMBERS", reply::values::<C>)
            }

            /// All values, page by page; each once.
            #[must_use]
            pub fn iter(&self) -> Pages<C::Value> {
                Pages::new(&self.0, 1, |words| C::decode(&words[0]))
            }
        }
    };
}

set! {
    /// A set that only grows.
    GSet
}

set! {
    /// A set. An add wins over a remove on another node that has not seen it.
    ORSet
}

impl<C: Codec> ORSet<C> {
    /// Removes a value; answers whether it was there.
    pub fn remove(&self, value: impl Into<C::Value>) -> Call<bool> {
        self.0.write("REM", encoded::<C, _>([value]), reply::truth)
    }

    /// Removes values; answers how many were there.
    pub fn remove_all<V: Into<C::Value>>(&self, values: impl IntoIterator<Item = V>) -> Call<u64> {
        self.0.write("REM", encoded::<C, _>(values), reply::count)
    }

    /// Removes all values that this node has seen; answers how many.
    pub fn clear(&self) -> Call<u64> {
        self.0.write("CLEAR", Ok(Vec::new()), reply::count)
    }
}

/// A value, or all those that were assigned concurrently.
#[derive(Clone, Debug)]
pub struct MVRegister<C: Codec = Json>(pub(crate) Name, pub(crate) PhantomData<C>);

impl<C: Codec> MVRegister<C> {
    /// Replaces every value that this node has seen.
    pub fn assign(&self, value: impl Into<C::Value>) -> Call<()> {
        self.0.write("SET", encoded::<C, _>([value]), reply::nothing)
    }

    /// The value, of concurrent ones the same on every node; none if none was assigned.
    pub fn get_value(&self) -> Call<Option<C::Value>> {
        self.0.read("VALUE", reply::optional::<C>)
    }

    /// All concurrent values: more than one until somebody assigns again.
    pub fn get_values(&self) -> Call<Vec<C::Value>> {
        self.0.read("GET", reply::values::<C>)
    }
}

/// A flag. An enable wins over a disable on another node that has not seen it.
#[derive(Clone, Debug)]
pub struct EWFlag(pub(crate) Name);

impl EWFlag {
    /// Enables it; answers whether it changed here.
    pub fn enable(&self) -> Call<bool> {
        self.0.write("ENABLE", Ok(Vec::new()), reply::truth)
    }

    /// Disables it; answers whether it changed here.
    pub fn disable(&self) -> Call<bool> {
        self.0.write("DISABLE", Ok(Vec::new()), reply::truth)
    }

    /// Enables or disables it; answers whether it changed here.
    pub fn assign(&self, value: bool) -> Call<bool> {
        self.0.write("SET", amount(value.into()), reply::truth)
    }

    /// Whether it is enabled.
    pub fn get_value(&self) -> Call<bool> {
        self.0.read("GET", reply::truth)
    }
}

/// The elements of a set or a map, page by page; each once. What is added meanwhile may or may not be among them.
#[derive(Debug)]
pub struct Pages<T> {
    name: Name,
    cursor: Option<String>,
    /// How many words make an element.
    width: usize,
    make: fn(&[Vec<u8>]) -> Result<T>,
    page: VecDeque<Vec<Vec<u8>>>,
    seen: HashSet<Vec<u8>>,
}

impl<T> Pages<T> {
    pub(crate) fn new(name: &Name, width: usize, make: fn(&[Vec<u8>]) -> Result<T>) -> Pages<T> {
        let cursor = Some("0".to_owned());
        Pages {
            name: name.clone(),
            cursor,
            width,
            make,
            page: VecDeque::new(),
            seen: HashSet::new(),
        }
    }

    /// The next element; none at the end.
    pub async fn next(&mut self) -> Option<Result<T>> {
        loop {
            while let Some(words) = self.page.pop_front() {
                if self.seen.insert(words[0].clone()) {
                    return Some((self.make)(&words));
                }
            }
            let cursor = self.cursor.clone()?;
            let words = [cursor.as_str(), "COUNT", PAGE].map(|word| word.as_bytes().to_vec());
            let page = self.name.read_of("SCAN", Ok(words.to_vec()), reply::page).await;
            let page = page.and_then(|(next, items)| {
                let items: Vec<_> = items.into_iter().map(reply::bytes).collect::<Result<_>>()?;
                Ok((next, items))
            });
            match page {
                Ok((next, items)) => {
                    self.cursor = Some(next).filter(|next| next != "0");
                    self.page = items.chunks_exact(self.width).map(<[_]>::to_vec).collect();
                }
                Err(error) => {
                    self.cursor = None;
                    return Some(Err(error));
                }
            }
        }
    }
}
