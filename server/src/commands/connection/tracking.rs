//! CLIENT TRACKING and what belongs to it.

use miso_protocol::integer;
use miso_protocol::request::Args;

use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::node::tracking::Options;

/// Reads the options after ON.
fn options(cx: &Context<'_>, args: Args<'_>) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let (mut is_broadcast, mut prefixes) = (false, Vec::new());
    let mut words = args.tail(3).iter();
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"REDIRECT" => {
                let id = words.next().ok_or(CommandError::Syntax)?;
                if options.redirect.is_some() {
                    return Err(CommandError::RedirectTwice);
                }
                let id = integer::parse_u64(id).ok_or(CommandError::ClientIds)?;
                let bound = cx.bound_function();
                let target = cx.node.clients.get(id);
                if target.is_none_or(|target| !target.is_known_to(bound.as_deref())) {
                    return Err(CommandError::RedirectNobody);
                }
                options.redirect = Some(id);
            }
            b"BCAST" => is_broadcast = true,
            b"OPTIN" => options.opt_in = true,
            b"OPTOUT" => options.opt_out = true,
            b"NOLOOP" => options.no_loop = true,
            b"PREFIX" => prefixes.push(Box::from(words.next().ok_or(CommandError::Syntax)?)),
            _ => return Err(CommandError::Syntax),
        }
    }
    if !is_broadcast && !prefixes.is_empty() {
        return Err(CommandError::PrefixWithoutBroadcast);
    }
    if options.opt_in && options.opt_out {
        return Err(CommandError::OptInAndOut);
    }
    if is_broadcast && (options.opt_in || options.opt_out) {
        return Err(CommandError::OptInBroadcast);
    }
    options.broadcast = is_broadcast.then_some(prefixes);
    Ok(options)
}

/// Adds the prefixes that were asked for before, and checks that none begins with another.
fn add_prefixes(new: &mut Vec<Box<[u8]>>, before: &[Box<[u8]>]) -> Result<(), CommandError> {
    let overlap = |a: &[u8], b: &[u8]| a != b && (a.starts_with(b) || b.starts_with(a));
    for (at, prefix) in new.iter().enumerate() {
        if let Some(other) = before.iter().find(|other| overlap(prefix, other)) {
            return Err(CommandError::PrefixOverlaps((&**prefix).into(), (&**other).into()));
        }
        if let Some(other) = new[at + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(CommandError::PrefixesOverlap((&**prefix).into(), (&**other).into()));
        }
    }
    new.extend_from_slice(before);
    new.sort_unstable();
    new.dedup();
    Ok(())
}

pub(super) fn client_tracking(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let wanted = match args[2].to_ascii_uppercase().as_slice() {
        b"ON" => {
            let mut wanted = options(cx, args)?;
            if let Some((old, ..)) = cx.node.tracking.options(cx.session.client.id) {
                if old.broadcast.is_some() != wanted.broadcast.is_some() {
                    return Err(CommandError::SwitchBroadcast);
                }
                if (old.opt_in, old.opt_out) != (wanted.opt_in, wanted.opt_out) {
                    return Err(CommandError::SwitchOpt);
                }
                if let (Some(new), Some(before)) = (&mut wanted.broadcast, &old.broadcast) {
                    add_prefixes(new, before)?;
                }
            } else if let Some(new) = &mut wanted.broadcast {
                add_prefixes(new, &[])?;
            }
            Some(wanted)
        }
        b"OFF" => {
            options(cx, args)?;
            None
        }
        _ => return Err(CommandError::Syntax),
    };
    cx.node.track(&cx.session.client, wanted);
    cx.reply.ok();
    Ok(())
}

pub(super) fn client_caching(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let id = cx.session.client.id;
    let (options, ..) = cx.node.tracking.options(id).ok_or(CommandError::CachingOff)?;
    if !options.opt_in && !options.opt_out {
        return Err(CommandError::CachingOff);
    }
    let caching = match args[2].to_ascii_uppercase().as_slice() {
        b"YES" if options.opt_in => true,
        b"YES" => return Err(CommandError::CachingYes),
        b"NO" if options.opt_out => false,
        b"NO" => return Err(CommandError::CachingNo),
        _ => return Err(CommandError::Syntax),
    };
    cx.node.tracking.set_caching(id, caching);
    cx.reply.ok();
    Ok(())
}

pub(super) fn client_trackinginfo(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let tracked = cx.node.tracking.options(cx.session.client.id);
    let mut flags: Vec<&[u8]> = Vec::new();
    let (mut redirect, mut prefixes) = (-1, Vec::new());
    match tracked {
        None => flags.push(b"off"),
        Some((options, caching, is_broken)) => {
            flags.push(b"on");
            let all: [(bool, &[u8]); 7] = [
                (options.broadcast.is_some(), b"bcast"),
                (options.opt_in, b"optin"),
                (options.opt_in && caching == Some(true), b"caching-yes"),
                (options.opt_out, b"optout"),
                (options.opt_out && caching == Some(false), b"caching-no"),
                (options.no_loop, b"noloop"),
                (is_broken, b"broken_redirect"),
            ];
            flags.extend(all.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag));
            redirect = options.redirect.unwrap_or(0) as i64;
            prefixes = options.broadcast.unwrap_or_default();
        }
    }
    cx.reply.map(3);
    cx.reply.bulk(b"flags");
    cx.reply.set(flags.len());
    flags.iter().for_each(|flag| cx.reply.bulk(flag));
    cx.reply.bulk(b"redirect");
    cx.reply.integer(redirect);
    cx.reply.bulk(b"prefixes");
    cx.reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| cx.reply.bulk(prefix));
    Ok(())
}

pub(super) fn client_getredir(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let tracked = cx.node.tracking.options(cx.session.client.id);
    cx.reply.integer(tracked.map_or(-1, |(options, ..)| options.redirect.unwrap_or(0) as i64));
    Ok(())
}
