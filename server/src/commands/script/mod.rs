//! EVAL and EVALSHA: scripts are not run. Some published ones are known by their SHA-1 and answered by
//! native code with the same results ([`ratelimit`]).
//!
//! A known script runs as in Redis: with nothing in between, on the keys that it is given, each of its
//! commands with the rights of the user. An error of one of them ends it; what it has written stays.

mod caller;
mod ratelimit;

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::integer;
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::{Args, OwnedArgs};
use miso_store::Held;
use sha1::{Digest, Sha1};

use caller::{Answer, Caller, Script, Words};

use crate::engine::command::Command;
use crate::engine::context::{Context, Holds};
use crate::engine::error::CommandError;
use crate::engine::wait::After;

const NUMKEYS: Arg = Arg::integer("numkeys");
const KEYS: Arg =
    Arg::key("key").with_key_flags(KeyFlags::WRITTEN).counted_by("numkeys").optional();
const ARGS: Arg = Arg::string("arg").optional().multiple();
const FLAGS: Flags = Flags::NOSCRIPT.with(Flags::RESETS).with(Flags::MAY_REPLICATE);

pub(crate) const SCRIPTS: &[Command] = &[
    Command::new(
        Row::command("EVAL")
            .flags(Flags::NOT_ONCE)
            .args(&[Arg::string("script"), NUMKEYS, KEYS, ARGS])
            .group(Group::Scripting)
            .writes()
            .flags(FLAGS)
            .decides_here("limits are those of this node's view")
            .complexity("As its commands")
            .summary(
                "Answers one of the published scripts that docs/http.md names; others are refused",
            )
            .reply("What the script returns"),
        |cx, args| run(cx, args, known(&sha1(&args[1])).ok_or(CommandError::ScriptsOff)?),
    ),
    Command::new(
        Row::command("EVALSHA")
            .flags(Flags::NOT_ONCE)
            .args(&[Arg::string("sha1"), NUMKEYS, KEYS, ARGS])
            .group(Group::Scripting)
            .writes()
            .flags(FLAGS)
            .decides_here("limits are those of this node's view")
            .complexity("As its commands")
            .summary("As EVAL, by the script's SHA-1")
            .reply("What the script returns"),
        |cx, args| {
            let sha1 = String::from_utf8_lossy(&args[1]).to_ascii_lowercase();
            run(cx, args, known(&sha1).ok_or(CommandError::NoScript)?)
        },
    ),
];

fn sha1(script: &[u8]) -> String {
    Sha1::digest(script).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn known(sha1: &str) -> Option<&'static Script> {
    ratelimit::SCRIPTS.iter().find(|script| script.sha1 == sha1)
}

fn run(cx: &mut Context<'_>, args: Args<'_>, script: &Script) -> Result<(), CommandError> {
    let count = integer::parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    let count = usize::try_from(count).map_err(|_| CommandError::ScriptNegativeKeys)?;
    if count > args.len() - 3 {
        return Err(CommandError::KeysBeyondArgs);
    }
    let keys = OwnedArgs::from_parts(&args.iter().skip(3).take(count).collect::<Vec<_>>());
    let words = Words { keys: keys.as_args(), args: args.tail(3 + count) };
    if words.keys.len() < script.needs.0 || words.args.len() < script.needs.1 {
        return Err(CommandError::ScriptWords);
    }
    let answer = if cx.held.is_some() {
        (script.run)(&mut Caller { cx }, words)?
    } else {
        run_held(cx, words, script)?
    };
    match answer {
        Answer::Nil => cx.reply.null(),
        Answer::Integer(n) => cx.reply.integer(n),
        Answer::Text(text) => cx.reply.bulk(&text),
        Answer::Integers(all) => {
            cx.reply.array(all.len());
            all.into_iter().for_each(|n| cx.reply.integer(n));
        }
    }
    Ok(())
}

/// Runs a script with the shards of its keys held, so that nothing comes in between.
fn run_held(
    cx: &mut Context<'_>,
    words: Words<'_>,
    script: &Script,
) -> Result<Answer, CommandError> {
    let function = cx.function();
    let shards = match script.walks {
        true => (0..function.shards()).collect(),
        false => words.keys.iter().map(|key| function.shard_index(key)).collect(),
    };
    let held = Held::shards(&function, shards);
    let limit = cx.reply.limit();
    let mut inner = Context {
        node: cx.node,
        session: cx.session,
        reply: Reply::new(cx.reply.out, Resp::V2).limited(limit),
        after: After::Continue,
        worker: cx.worker,
        held: Some(Box::new(Holds { own: held, beside: None })),
    };
    (script.run)(&mut Caller { cx: &mut inner }, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_differ_and_are_found_by_their_hash() {
        let mut hashes: Vec<&str> = ratelimit::SCRIPTS.iter().map(|script| script.sha1).collect();
        assert!(hashes.iter().all(|hash| hash.len() == 40 && known(hash).is_some()));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), ratelimit::SCRIPTS.len());
        assert_eq!(sha1(b"return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert!(known(&sha1(b"return 1")).is_none());
    }
}
