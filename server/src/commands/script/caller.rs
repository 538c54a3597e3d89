//! What a known script is made of: its words, the commands that it runs, and what it returns.

use miso_protocol::integer;
use miso_protocol::reply::Resp;
use miso_protocol::request::{Args, OwnedArgs};

use crate::commands::{plain, redis};
use crate::engine::admit::check;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::find;

/// A script that is known.
pub(super) struct Script {
    /// The SHA-1 of its text, in lower case.
    pub(super) sha1: &'static str,
    /// The keys and arguments that it reads at least.
    pub(super) needs: (usize, usize),
    /// Whether it walks all keys.
    pub(super) walks: bool,
    pub(super) run: fn(&mut Caller<'_, '_>, Words<'_>) -> Result<Answer, CommandError>,
}

/// The keys and the arguments of a script.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) keys: Args<'a>,
    pub(super) args: Args<'a>,
}

/// What a script returns.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Nil,
    Integer(i64),
    Text(Vec<u8>),
    Integers(Vec<i64>),
}

/// What a command of a script replied.
#[derive(Debug, PartialEq)]
pub(super) enum Got {
    Nil,
    Integer(i64),
    Text(Vec<u8>),
    Array(Vec<Got>),
}

/// Runs the commands of a script.
pub(super) struct Caller<'c, 'a> {
    pub(super) cx: &'c mut Context<'a>,
}

impl Caller<'_, '_> {
    /// Runs a command of the script, and takes its reply.
    ///
    /// # Errors
    /// If the command answers an error, or the user may not run it.
    pub(super) fn call(&mut self, words: &[&[u8]]) -> Result<Got, CommandError> {
        let owned = OwnedArgs::from_parts(words);
        let args = owned.as_args();
        let found = find::resolve(self.cx.node, args)?;
        check(self.cx.node, self.cx.session, &found, args)?;
        let groups = plain::GROUPS.iter().chain([&redis::hash::HASH]);
        let mut commands = groups.flat_map(|group| group.iter());
        let command = commands.find(|command| command.row.name == found.row.name);
        let command = command.ok_or(CommandError::Internal)?;
        let (start, resp) = (self.cx.reply.out.len(), self.cx.reply.resp);
        self.cx.reply.resp = Resp::V2;
        let ran = (command.run)(self.cx, args);
        self.cx.reply.resp = resp;
        let got = got(&mut &self.cx.reply.out[start..]);
        self.cx.reply.out.truncate(start);
        ran?;
        self.cx.worker.command(found.slot).calls.add(1);
        got.ok_or(CommandError::Internal)
    }
}

/// Takes a reply in RESP2 off the start of `bytes`.
fn got(bytes: &mut &[u8]) -> Option<Got> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    let (mark, head) = bytes[..end].split_first()?;
    *bytes = bytes.get(end + 2..)?;
    let number = || integer::parse_i64(head);
    match mark {
        b':' => number().map(Got::Integer),
        b'+' => Some(Got::Text(head.to_vec())),
        b'$' => {
            let Ok(length) = usize::try_from(number()?) else { return Some(Got::Nil) };
            let text = bytes.get(..length)?.to_vec();
            *bytes = bytes.get(length + 2..)?;
            Some(Got::Text(text))
        }
        b'*' => {
            let Ok(count) = usize::try_from(number()?) else { return Some(Got::Nil) };
            (0..count).map(|_| got(bytes)).collect::<Option<_>>().map(Got::Array)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken() {
        let text = |text: &str| Got::Text(text.as_bytes().to_vec());
        let all = Got::Array(vec![Got::Nil, text("a"), Got::Integer(-1), Got::Array(vec![])]);
        let mut bytes = &b"*4\r\n$-1\r\n$1\r\na\r\n:-1\r\n*0\r\n+OK\r\n"[..];
        assert_eq!(got(&mut bytes), Some(all));
        assert_eq!((got(&mut bytes), got(&mut bytes)), (Some(text("OK")), None));
    }
}
