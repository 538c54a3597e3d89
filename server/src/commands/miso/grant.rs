//! MISO.GRANT, MISO.REVOKE and MISO.GRANTS: tokens of functions.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::names;
use miso_protocol::request::Args;

use crate::clock::unix_ms;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::{Context, check_name};
use crate::engine::error::CommandError;
use crate::node::acl::token;
use crate::node::acl::user::digest;
use crate::node::grants::{self, Grant};
use crate::random::fill_with_random;

/// The longest TTL of a token, in seconds: ten years.
const TTL_MAX: u64 = 10 * 365 * 24 * 3600;

const FUNCTION: Arg = Arg::string("function");
const FLAGS: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE).with(Flags::NO_MULTI);

pub(crate) const GRANTS: &[Command] = &[
    Command::new(
        Row::command("MISO.GRANT")
            .args(&[
                FUNCTION,
                Arg::integer("seconds").with_token("TTL").optional(),
                Arg::token("READONLY").optional(),
            ])
            .group(Group::Miso)
            .writes()
            .flags(FLAGS)
            .summary(
                "Makes a token of a function: a password for the user that is called like the function, and a token \
                 for HTTP, on all nodes of the cluster. It is bound to the function, and may do there what \
                 +@all -@admin allows; with READONLY it only reads. TTL is how long it is good. Only its SHA-256 \
                 is kept",
            )
            .reply("Bulk string: the token, which is told this once")
            .example(&[("MISO.GRANT checkout TTL 86400", "\"misot_…")]),
        grant,
    ),
    Command::new(
        Row::command("MISO.REVOKE")
            .args(&[FUNCTION, Arg::string("token-or-id").secret().optional().multiple()])
            .group(Group::Miso)
            .deletes()
            .flags(FLAGS)
            .complexity("O(N) with N connections")
            .summary(
                "Takes tokens of a function back, by what MISO.GRANTS calls them or by themselves; without one, all \
                 that this node knows. Connections that logged in with them are closed: here at once, on other nodes \
                 within about a second of their hearing of it",
            )
            .reply("Integer: how many")
            .example(&[("MISO.REVOKE checkout", "(integer) 1")]),
        revoke,
    ),
    Command::new(
        Row::command("MISO.GRANTS")
            .args(&[FUNCTION])
            .group(Group::Miso)
            .flags(FLAGS)
            .summary(
                "The tokens of a function that are good: what each is called, when it was made and when it is over, in \
                 seconds since 1970 (0: never), and whether it only reads",
            )
            .reply("Array of arrays (RESP3: maps)")
            .example(&[("MISO.GRANTS checkout", "(empty array)")]),
        list,
    ),
];

/// Checks the name of a function that a token is of.
fn check(cx: &Context<'_>, function: &[u8]) -> Result<(), CommandError> {
    check_name("function", function)?;
    cx.check_function(function)
}

fn grant(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let function = &args[1];
    check(cx, function)?;
    let (mut ttl, mut read_only) = (None, false);
    let mut words = Words::from(args, 2);
    while !words.is_empty() {
        if words.token("READONLY") {
            read_only = true;
        } else if words.token("TTL") {
            let seconds = u64::try_from(words.integer()?).ok();
            let seconds = seconds.filter(|seconds| (1..=TTL_MAX).contains(seconds));
            let seconds =
                seconds.ok_or_else(|| CommandError::InvalidExpire("miso.grant".into()))?;
            ttl = Some(seconds);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let kept = cx.run_function(names::RESERVED)?;
    let mut random = [0; 32];
    fill_with_random(&mut random);
    let text = token::of_function(function, &random);
    let made_ms = unix_ms();
    let over_ms = ttl.map_or(0, |seconds| made_ms + seconds * 1000);
    let grant = Grant { hash: digest(text.as_bytes()), read_only, made_ms, over_ms };
    if !grants::add(&kept, function, &grant) {
        return Err(CommandError::TooManyTokens(grants::MOST.to_string().into()));
    }
    cx.reply.bulk(text.as_bytes());
    Ok(())
}

fn revoke(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let function = &args[1];
    check(cx, function)?;
    let id = |word: &[u8]| match token::function(word) {
        Some(_) => grants::id(&digest(word)),
        None => String::from_utf8_lossy(word).to_ascii_lowercase(),
    };
    let ids: Vec<String> = args.tail(2).iter().map(id).collect();
    let mut revoked = 0;
    if cx.node.store.find(names::RESERVED).is_some() {
        let kept = cx.run_function(names::RESERVED)?;
        revoked =
            grants::remove(&kept, function, |known| ids.is_empty() || ids.contains(&known.id()));
    }
    cx.node.close_without_token();
    cx.reply.integer(revoked as i64);
    Ok(())
}

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check(cx, &args[1])?;
    let mut all = grants::all(&cx.node.store, &args[1], unix_ms());
    all.sort_unstable_by_key(|grant| (grant.made_ms, grant.hash));
    cx.reply.array(all.len());
    for grant in all {
        cx.reply.map(4);
        cx.reply.bulk(b"id");
        cx.reply.bulk(grant.id().as_bytes());
        for (name, n) in [
            ("made", grant.made_ms / 1000),
            ("over", grant.over_ms.div_ceil(1000)),
            ("readonly", u64::from(grant.read_only)),
        ] {
            cx.reply.bulk(name.as_bytes());
            cx.reply.integer(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
    Ok(())
}
