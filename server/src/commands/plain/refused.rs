//! Commands of Redis that are not served: each with its reason.

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::request::Args;

use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const LISTS: &str = "lists are not served yet: what is pushed on two nodes has no one order";
const STREAMS: &str = "streams are not served yet: ids of two nodes have no one order";
const SCRIPTS: &str = "scripts do not merge";
const DUMPS: &str = "a dump is in Redis's own format";
const MOVES: &str =
    "databases are replicated apart, so no key moves between two as one: COPY it, and DEL it";
const SWAPS: &str = "databases are replicated apart, so two do not trade places as one";

/// Whatever its words.
const ARGS: &[Arg] = &[Arg::string("arg").optional().multiple()];

/// A row that is refused.
const fn refused(
    name: &'static str,
    group: Group,
    summary: &'static str,
    reason: &'static str,
) -> Command {
    Command::new(
        Row::command(name).args(ARGS).group(group).refused(reason).summary(summary).reply("Error"),
        never,
    )
}

/// A list's command.
const fn list(name: &'static str) -> Command {
    refused(name, Group::List, "About lists", LISTS)
}

/// A stream's command.
const fn stream(name: &'static str) -> Command {
    refused(name, Group::Stream, "About streams", STREAMS)
}

/// A script's command.
const fn script(name: &'static str) -> Command {
    refused(name, Group::Scripting, "About scripts", SCRIPTS)
}

pub(crate) const REFUSED: &[Command] = &[
    list("LPUSH"),
    list("LPUSHX"),
    list("RPUSH"),
    list("RPUSHX"),
    list("LPOP"),
    list("RPOP"),
    list("LLEN"),
    list("LRANGE"),
    list("LINDEX"),
    list("LSET"),
    list("LINSERT"),
    list("LREM"),
    list("LTRIM"),
    list("LPOS"),
    list("LMOVE"),
    list("LMPOP"),
    list("RPOPLPUSH"),
    list("BLPOP"),
    list("BRPOP"),
    list("BLMOVE"),
    list("BLMPOP"),
    list("BRPOPLPUSH"),
    stream("XADD"),
    stream("XACK"),
    stream("XAUTOCLAIM"),
    stream("XCLAIM"),
    stream("XDEL"),
    stream("XGROUP"),
    stream("XINFO"),
    stream("XLEN"),
    stream("XPENDING"),
    stream("XRANGE"),
    stream("XREAD"),
    stream("XREADGROUP"),
    stream("XREVRANGE"),
    stream("XSETID"),
    stream("XTRIM"),
    script("EVAL_RO"),
    script("EVALSHA_RO"),
    script("SCRIPT"),
    script("FUNCTION"),
    script("FCALL"),
    script("FCALL_RO"),
    refused("DUMP", Group::Keyspace, "A key in Redis's format", DUMPS),
    refused("RESTORE", Group::Keyspace, "A key from Redis's format", DUMPS),
    refused("MIGRATE", Group::Keyspace, "Moves keys to another server", DUMPS),
    refused("MOVE", Group::Keyspace, "Moves a key to another database", MOVES),
    refused("SWAPDB", Group::Connection, "Exchanges two databases", SWAPS),
];

fn never(_: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let is_named = |command: &&Command| command.row.name.as_bytes().eq_ignore_ascii_case(&args[0]);
    let refusal = REFUSED.iter().find(is_named).and_then(|command| command.row.refusal(None));
    Err(refusal.map_or(CommandError::Syntax, CommandError::text))
}
