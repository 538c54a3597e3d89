//! What a request asks for: its commands, from the body or from the path.
//!
//! Source: <https://upstash.com/docs/redis/features/restapi>.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use percent_encoding::percent_decode;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::request::{Args, Words};

/// The parameter of a query that holds the token.
const TOKEN: &str = "_token";

/// The commands of a request.
#[derive(Debug, Default)]
pub struct Commands {
    words: Words,
    /// After each command, how many words there are.
    ends: Vec<usize>,
}

impl Commands {
    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn range(&self, at: usize) -> Range<usize> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[at]
    }

    /// A command's words; it may have none.
    ///
    /// # Panics
    /// If there are fewer commands.
    #[must_use]
    pub fn args(&self, at: usize) -> Args<'_> {
        self.words.args(self.range(at))
    }

    /// Ends the command that is being put together.
    fn end(&mut self) {
        self.ends.push(self.words.len());
    }

    /// One command of these words.
    #[must_use]
    pub fn of(words: &[&[u8]]) -> Commands {
        let mut commands = Commands::default();
        words.iter().for_each(|word| commands.words.push(word));
        commands.end();
        commands
    }
}

/// Why a request holds no commands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRequest {
    /// Its body is not the JSON that its path takes, or its path is badly encoded; says why.
    #[error("{0}")]
    Unreadable(String),
    /// There is no command in it; what is empty.
    #[error("empty {0}")]
    Empty(&'static str),
}

fn unreadable(error: &serde_json::Error) -> BadRequest {
    BadRequest::Unreadable(error.to_string())
}

/// The command in a body: a JSON array of strings, numbers and booleans.
///
/// # Errors
/// If it is not that; says what is wrong, and where.
pub fn command(body: &[u8]) -> Result<Commands, BadRequest> {
    let mut commands = Commands::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Command(&mut commands).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| unreadable(&error))?;
    Ok(commands)
}

/// The commands in a body: a JSON array of arrays.
///
/// # Errors
/// If it is not that; says what is wrong, and where.
pub fn pipeline(body: &[u8]) -> Result<Commands, BadRequest> {
    let mut commands = Commands::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Pipeline(&mut commands).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| unreadable(&error))?;
    if commands.is_empty() {
        return Err(BadRequest::Empty("pipeline request"));
    }
    Ok(commands)
}

/// Reads one command.
struct Command<'a>(&'a mut Commands);

impl<'de> DeserializeSeed<'de> for Command<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Command<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings, numbers and booleans")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<(), A::Error> {
        while let Some(word) = words.next_element::<&RawValue>()? {
            let text = word.get();
            match text.as_bytes() {
                // A string without escapes stands for itself.
                [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => self.0.words.push(inner),
                [b'"', ..] => {
                    let string: String = serde_json::from_str(text).map_err(A::Error::custom)?;
                    self.0.words.push(string.as_bytes());
                }
                // Numbers keep the text in which they came.
                [b'-' | b'0'..=b'9' | b't' | b'f', ..] => self.0.words.push(text.as_bytes()),
                [b'n', ..] => return Err(A::Error::custom("null is not an argument")),
                _ => return Err(A::Error::custom("an argument is an array or an object")),
            }
        }
        self.0.end();
        Ok(())
    }
}

/// Reads several commands.
struct Pipeline<'a>(&'a mut Commands);

impl<'de> DeserializeSeed<'de> for Pipeline<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pipeline<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of commands")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut commands: A) -> Result<(), A::Error> {
        while commands.next_element_seed(Command(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// The command in a path: `/set/key/value`, each part decoded. The body, unless it is empty, is the
/// argument after those of the path, and the words of the query follow.
///
/// # Errors
/// If the path holds no command.
pub fn path(path: &str, query: Option<&str>, body: &[u8]) -> Result<Commands, BadRequest> {
    let mut commands = Commands::default();
    let parts = path.strip_prefix('/').unwrap_or(path);
    if parts.is_empty() {
        return Err(BadRequest::Empty("command"));
    }
    for part in parts.split('/') {
        commands.words.push(&decode(part)?);
    }
    if !body.is_empty() {
        commands.words.push(body);
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
        if word == TOKEN {
            continue;
        }
        commands.words.push(&decode_form(word)?);
        // `NX=` is how forms write an option without a value.
        if !value.is_empty() {
            commands.words.push(&decode_form(value)?);
        }
    }
    commands.end();
    Ok(commands)
}

/// The token in a query.
///
/// # Errors
/// If it is badly encoded.
pub fn query_token(query: Option<&str>) -> Result<Option<Cow<'_, [u8]>>, BadRequest> {
    query_word(query, TOKEN)
}

/// What a query says of a name; none if it does not.
///
/// # Errors
/// If it is badly encoded.
pub fn query_word<'a>(
    query: Option<&'a str>,
    wanted: &str,
) -> Result<Option<Cow<'a, [u8]>>, BadRequest> {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs
        .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted))
        .map(|(_, value)| decode_form(value))
        .transpose()
}

/// A part of a path, its `%41` decoded.
fn decode(text: &str) -> Result<Cow<'_, [u8]>, BadRequest> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest[at + 1..] {
            [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest = &rest[at + 3..],
            _ => {
                let why = format!("'%' without two hexadecimal digits in '{text}'");
                return Err(BadRequest::Unreadable(why));
            }
        }
    }
    Ok(percent_decode(text.as_bytes()).into())
}

/// A part of a query: as [`decode`], and `+` is a blank.
fn decode_form(text: &str) -> Result<Cow<'_, [u8]>, BadRequest> {
    if !text.contains('+') {
        return decode(text);
    }
    let blanks = text.replace('+', " ");
    decode(&blanks).map(|bytes| Cow::Owned(bytes.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(commands: &Commands) -> Vec<Vec<String>> {
        let text = |word: &[u8]| word.escape_ascii().to_string();
        (0..commands.len()).map(|at| commands.args(at).iter().map(text).collect()).collect()
    }

    #[test]
    fn a_body_is_an_array_of_words() {
        let read = |body: &str| command(body.as_bytes()).map(|commands| words(&commands).remove(0));
        let body = r#" ["SET", "k\n\"\u00e9", 1.50, -7e3, true, false, "", 9007199254740993] "#;
        let expected =
            ["SET", r#"k\n\"\xc3\xa9"#, "1.50", "-7e3", "true", "false", "", "9007199254740993"];
        assert_eq!(read(body).expect("a command"), expected);
        assert_eq!(read("[]").expect("an empty command"), [""; 0]);
        for bad in [
            "",
            "{}",
            "\"PING\"",
            "[\"PING\"",
            "[[\"PING\"]]",
            "[null]",
            "[{}]",
            "[\"PING\"]x",
            "[1,]",
            "[\"\\ud800\"]",
            "[\"a\nb\"]",
            "[01]",
            "[nul]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(command(b"[\"\xff\"]").is_err());
    }

    #[test]
    fn a_pipeline_is_an_array_of_commands() {
        let read = |body: &str| pipeline(body.as_bytes()).map(|commands| words(&commands));
        let expected =
            vec![vec!["SET".to_owned(), "k".into(), "1".into()], vec![], vec!["GET".into()]];
        assert_eq!(read(r#"[["SET","k",1],[],["GET"]]"#).expect("commands"), expected);
        for bad in ["[]", "[\"PING\"]", "[[\"PING\"]", "[[[\"PING\"]]]", "[[],3]", "{}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = "[".repeat(1 << 20);
        assert!(command(deep.as_bytes()).is_err() && pipeline(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_path_is_a_command() {
        let read = |at: &str, query: &str, body: &[u8]| {
            path(at, Some(query), body).map(|commands| words(&commands).remove(0).join("|"))
        };
        let check = |at: &str, query: &str, body: &[u8], expected: &str| {
            assert_eq!(read(at, query, body).expect("a command"), expected);
        };
        check("/set/k/v/EX/100", "", b"", "set|k|v|EX|100");
        check("/set/a%2Fb/%ff+", "", b"", r"set|a/b|\xff+");
        check("/set/k", "EX=100&_token=t&NX", b"body\x00", r"set|k|body\x00|EX|100|NX");
        check("/set/k", "a+b=%2b&NX=&&_token", b"v", "set|k|v|a b|+|NX");
        check("/get/", "", b"", "get|");
        for bad in ["/", "", "/get/%", "/get/%4", "/get/%zz", "/get/a%"] {
            assert!(read(bad, "", b"").is_err(), "{bad}");
        }
        let token = |query| query_token(query).expect("well encoded").map(Cow::into_owned);
        assert_eq!(token(Some("EX=1&_token=a%3Ab+c")), Some(b"a:b c".to_vec()));
        assert_eq!((token(Some("x_token=1")), token(None)), (None, None));
        assert!(query_token(Some("_token=%")).is_err());
    }
}
