//! What all SCAN-like commands share: `cursor [MATCH pattern] [COUNT n] [TYPE t]`.

use miso_protocol::command::Arg;
use miso_protocol::glob;
use miso_protocol::integer;
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;

use crate::commands::args::Words;
use crate::engine::error::CommandError;

pub(super) const CURSOR: Arg = Arg::integer("cursor");
pub(super) const MATCH: Arg = Arg::pattern("pattern").with_token("MATCH").optional();
pub(super) const COUNT: Arg = Arg::integer("count").with_token("COUNT").optional();

/// How many keys a call visits by default, as in Redis.
const COUNT_DEFAULT: usize = 10;

/// The options of one call.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) cursor: u64,
    pub(super) count: usize,
    pattern: Option<&'a [u8]>,
    /// The argument of TYPE, if that is allowed and given.
    pub(super) kind: Option<&'a [u8]>,
    /// Whether NOVALUES is allowed and given.
    pub(super) no_values: bool,
}

/// What options one command has beside those of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extra {
    /// None.
    None,
    /// `TYPE t`.
    Type,
    /// NOVALUES.
    NoValues,
}

impl<'a> Scan<'a> {
    /// Reads the options from `args[from]` on, with TYPE if that is allowed.
    pub(super) fn parse(
        args: Args<'a>,
        from: usize,
        allow_type: bool,
    ) -> Result<Scan<'a>, CommandError> {
        Scan::parse_with(args, from, if allow_type { Extra::Type } else { Extra::None })
    }

    /// Reads the options from `args[from]` on.
    pub(super) fn parse_with(
        args: Args<'a>,
        from: usize,
        extra: Extra,
    ) -> Result<Scan<'a>, CommandError> {
        let mut words = Words::from(args, from);
        let cursor = integer::parse_u64(words.word()?).ok_or(CommandError::InvalidCursor)?;
        let (count, no_values) = (COUNT_DEFAULT, false);
        let mut scan = Scan { cursor, count, pattern: None, kind: None, no_values };
        while !words.is_empty() {
            if let Some(pattern) = words.option("MATCH")? {
                scan.pattern = Some(pattern).filter(|pattern| *pattern != b"*");
            } else if words.token("COUNT") {
                let count = usize::try_from(words.integer()?).ok().filter(|count| *count > 0);
                scan.count = count.ok_or(CommandError::Syntax)?;
            } else if extra == Extra::Type
                && let Some(kind) = words.option("TYPE")?
            {
                scan.kind = Some(kind);
            } else if words.token("NOVALUES") {
                if extra != Extra::NoValues {
                    return Err(CommandError::NoValues);
                }
                scan.no_values = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(scan)
    }

    /// A scan of what is absent.
    pub(super) const fn of_nothing() -> Scan<'static> {
        Scan { cursor: 0, count: COUNT_DEFAULT, pattern: None, kind: None, no_values: false }
    }

    /// Whether MATCH lets `key` through.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, key, false))
    }
}

/// The reply of a scan: the elements are written while they are visited, before their number and
/// the cursor to go on from are known.
#[derive(Debug)]
pub(super) struct ScanReply {
    body: Vec<u8>,
    elements: usize,
    is_over: bool,
}

impl ScanReply {
    pub(super) fn new() -> ScanReply {
        ScanReply { body: Vec::new(), elements: 0, is_over: false }
    }

    /// One more element.
    pub(super) fn push(&mut self, element: &[u8], reply: &Reply<'_>) {
        let mut body = Reply::new(&mut self.body, reply.resp).limited(reply.limit());
        body.bulk(element);
        self.is_over |= body.is_over();
        self.elements += 1;
    }

    /// One more element, a number: a bulk string whatever the protocol, as in Redis.
    pub(super) fn push_number(&mut self, number: f64, reply: &Reply<'_>) {
        Reply::new(&mut self.body, Resp::V2).limited(reply.limit()).double(number);
        self.elements += 1;
    }

    /// Replies with the cursor and the elements.
    pub(super) fn reply(self, cursor: u64, reply: &mut Reply<'_>) {
        reply.array(2);
        reply.bulk_display(cursor);
        self.reply_list(reply);
    }

    /// Replies with the elements alone.
    pub(super) fn reply_list(self, reply: &mut Reply<'_>) {
        reply.note_over(self.is_over);
        reply.array(self.elements);
        reply.out.extend_from_slice(&self.body);
    }
}
