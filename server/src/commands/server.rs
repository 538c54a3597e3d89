//! The server: INFO, MEMORY, SLOWLOG, LATENCY, MONITOR, DEBUG, SHUTDOWN …

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use miso_protocol::command::{Access, Arg, Categories, Flags, Group, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;
use miso_replication::{Answer, Ask};

use super::connection::help;
use super::{Command, ROW, keyspace};
use crate::context::{After, Context, Wait, encoded};
use crate::durability;
use crate::error::CommandError;
use crate::peers;
use crate::shared::unix_micros;

/// How long INFO waits to hear of the nodes.
const PATIENCE: Duration = Duration::from_millis(500);

const ADMIN: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
const PLAIN: Flags = Flags::LOADING.with(Flags::STALE);

const fn row(
    name: &'static str,
    args: &'static [Arg],
    flags: Flags,
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { name, args, group: Group::Server, flags, summary, reply, ..ROW }
}

const fn sub(
    name: &'static str,
    args: &'static [Arg],
    flags: Flags,
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { is_subcommand: true, ..row(name, args, flags, summary, reply) }
}

/// A subcommand that reads the key it names, so that ACL rules about keys and `@read` hold for it.
const fn reads(categories: Categories, row: Row) -> Row {
    Row { access: Access::Read, categories, ..row }
}

const HELP: Row = sub("HELP", &[], PLAIN, "What the subcommands are", "Array of lines");
const KEY: Arg = Arg::key("key");

pub(super) const SERVER: &[Command] = &[
    Command::new(
        Row {
            categories: Categories::DANGEROUS,
            ..row(
                "INFO",
                &[Arg::string("section").optional().multiple()],
                PLAIN,
                "What the server is and does",
                "Bulk string of lines",
            )
        },
        info,
    ),
    Command::new(
        row(
            "TIME",
            &[],
            PLAIN.with(Flags::FAST),
            "Seconds and microseconds since 1970",
            "Array of two bulk strings",
        ),
        time,
    ),
    Command::new(
        Row {
            categories: Categories::DANGEROUS,
            ..row(
                "ROLE",
                &[],
                PLAIN.with(Flags::FAST),
                "The role that Redis's tools expect",
                "Array: master, 0, no replicas",
            )
        },
        role,
    ),
    Command::new(
        row(
            "LASTSAVE",
            &[],
            ADMIN.with(Flags::FAST),
            "When a checkpoint was last written",
            "Integer: seconds since 1970",
        ),
        last_save,
    ),
    Command::new(
        row("SAVE", &[], ADMIN.with(Flags::NO_MULTI), "Writes a checkpoint of everything", "OK"),
        save,
    ),
    Command::new(
        row(
            "BGSAVE",
            &[Arg::token("SCHEDULE").optional()],
            ADMIN,
            "Writes a checkpoint of everything in the background",
            "Simple string",
        ),
        bg_save,
    ),
    Command::new(
        row(
            "BGREWRITEAOF",
            &[],
            ADMIN,
            "Writes a checkpoint in the background, after which older journals go",
            "Simple string",
        ),
        bg_rewrite,
    ),
    Command::new(
        row(
            "SHUTDOWN",
            &[Arg::string("option").optional().multiple()],
            ADMIN.with(Flags::NO_MULTI),
            "Ends the server",
            "Nothing, or an error",
        ),
        shutdown,
    ),
    Command::new(
        row(
            "MONITOR",
            &[],
            ADMIN.with(Flags::NO_MULTI),
            "Shows every command that runs",
            "OK, then a line per command",
        ),
        monitor,
    ),
    Command::parent(
        Row {
            subcommands: &[
                reads(
                    Categories::NONE,
                    sub(
                        "USAGE",
                        &[KEY, Arg::integer("count").with_token("SAMPLES").optional()],
                        Flags::NONE,
                        "Bytes that an object takes",
                        "Integer, or nil if it is absent",
                    ),
                ),
                sub("DOCTOR", &[], PLAIN, "Whether memory is in order", "Bulk string"),
                sub(
                    "STATS",
                    &[],
                    PLAIN,
                    "Where memory goes",
                    "Array of names and values in turn (RESP3: map)",
                ),
                sub("PURGE", &[], PLAIN, "Accepted; the allocator returns memory by itself", "OK"),
                sub("MALLOC-STATS", &[], PLAIN, "The allocator", "Bulk string"),
                HELP,
            ],
            ..row("MEMORY", &[], Flags::NONE, "About memory", "")
        },
        &[keyspace::memory_usage, memory_doctor, memory_stats, memory_purge, memory_malloc, help],
    ),
    Command::parent(
        Row {
            subcommands: &[
                reads(
                    Categories::KEYSPACE,
                    sub(
                        "ENCODING",
                        &[KEY],
                        Flags::NONE,
                        "How Redis would store what an object shows itself as",
                        "Bulk string",
                    ),
                ),
                reads(
                    Categories::KEYSPACE,
                    sub("FREQ", &[KEY], Flags::NONE, "Refused: there is no access count", "Error"),
                ),
                reads(
                    Categories::KEYSPACE,
                    sub("IDLETIME", &[KEY], Flags::NONE, "There is no access time", "Integer: 0"),
                ),
                reads(
                    Categories::KEYSPACE,
                    sub("REFCOUNT", &[KEY], Flags::NONE, "How many refer to it", "Integer: 1"),
                ),
                HELP,
            ],
            ..row("OBJECT", &[], Flags::NONE, "About objects as keys", "")
        },
        &[object_encoding, object_freq, object_idle, object_refs, help],
    ),
    Command::parent(
        Row {
            subcommands: &[
                sub(
                    "GET",
                    &[Arg::integer("count").optional()],
                    ADMIN,
                    "The slow commands of late",
                    "Array",
                ),
                sub("LEN", &[], ADMIN, "How many there are", "Integer"),
                sub("RESET", &[], ADMIN, "Forgets them", "OK"),
                HELP,
            ],
            ..row("SLOWLOG", &[], Flags::NONE, "About slow commands", "")
        },
        &[slowlog_get, slowlog_len, slowlog_reset, help],
    ),
    Command::parent(
        Row {
            subcommands: &[
                sub("LATEST", &[], ADMIN, "The latest delay of each event", "Array"),
                sub(
                    "HISTORY",
                    &[Arg::string("event")],
                    ADMIN,
                    "The delays of an event",
                    "Array of times and milliseconds",
                ),
                sub(
                    "RESET",
                    &[Arg::string("event").optional().multiple()],
                    ADMIN,
                    "Forgets events",
                    "Integer: how many",
                ),
                sub("DOCTOR", &[], ADMIN, "Whether delays are in order", "Bulk string"),
                sub(
                    "GRAPH",
                    &[Arg::string("event")],
                    ADMIN,
                    "The delays of an event, in a line each",
                    "Bulk string",
                ),
                sub(
                    "HISTOGRAM",
                    &[Arg::string("command").optional().multiple()],
                    ADMIN,
                    "How long commands take",
                    "Array (RESP3: map)",
                ),
                HELP,
            ],
            ..row("LATENCY", &[], Flags::NONE, "About delays", "")
        },
        &[
            latency_latest,
            latency_history,
            latency_reset,
            latency_doctor,
            latency_graph,
            latency_histogram,
            help,
        ],
    ),
    Command::parent(
        Row {
            subcommands: &[
                sub(
                    "SLEEP",
                    &[Arg::double("seconds")],
                    ADMIN,
                    "Keeps this connection waiting",
                    "OK",
                ),
                HELP,
            ],
            ..row("DEBUG", &[], ADMIN, "For tests", "")
        },
        &[debug_sleep, help],
    ),
];

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let sections: Vec<Vec<u8>> = args.tail(1).iter().map(<[u8]>::to_ascii_lowercase).collect();
    if !crate::info::tells_of_nodes(&sections) {
        cx.reply.verbatim_txt(crate::info::render(cx.shared, &[], &sections).as_bytes());
        return Ok(());
    }
    let (shared, resp) = (Arc::clone(cx.shared), cx.reply.resp);
    cx.after = After::Wait(Wait::soon(async move {
        let nodes = tokio::time::timeout(PATIENCE, peers::ask(&shared, Ask::Nodes)).await;
        // Whoever looks after a node must see the rest all the more if replication is stuck.
        let nodes = match nodes {
            Ok(Answer::Nodes(nodes)) => nodes,
            _ => Vec::new(),
        };
        let text = crate::info::render(&shared, &nodes, &sections);
        encoded(&shared, resp, |reply| {
            reply.verbatim_txt(text.as_bytes());
            Ok(())
        })
    }));
    Ok(())
}

fn time(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let now = unix_micros();
    cx.reply.array(2);
    cx.reply.bulk_display(now / 1_000_000);
    cx.reply.bulk_display(now % 1_000_000);
    Ok(())
}

fn role(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.integer(0);
    cx.reply.array(0);
    Ok(())
}

fn last_save(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.shared.saving.last.load(Ordering::Relaxed) as i64);
    Ok(())
}

/// Refuses to save where nothing is kept: OK would say that it is.
fn check_disk(cx: &Context<'_>) -> Result<(), CommandError> {
    match cx.shared.store.journal() {
        Some(_) => Ok(()),
        None => Err(CommandError::text(
            "ERR this node keeps nothing on disk; start it with --data-dir DIRECTORY to save",
        )),
    }
}

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    check_disk(cx)?;
    let (shared, resp) = (Arc::clone(cx.shared), cx.reply.resp);
    cx.after = After::Wait(Wait::soon(async move {
        // Writing it blocks, and other connections of this worker go on.
        let saving = Arc::clone(&shared);
        let saved = tokio::task::spawn_blocking(move || durability::save(&saving)).await;
        encoded(&shared, resp, |reply| match saved {
            Ok(Ok(())) => {
                reply.ok();
                Ok(())
            }
            Ok(Err(failed)) => Err(CommandError::text(format!("ERR {failed}"))),
            Err(_) => Err(CommandError::text("ERR the checkpoint did not end")),
        })
    }));
    Ok(())
}

fn bg_save(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 2 || args.get(1).is_some_and(|word| !word.eq_ignore_ascii_case(b"SCHEDULE")) {
        return Err(CommandError::Syntax);
    }
    check_disk(cx)?;
    if cx.shared.saving.running.load(Ordering::Relaxed) {
        return Err(CommandError::text("ERR Background save already in progress"));
    }
    durability::save_soon(cx.shared);
    cx.reply.simple("Background saving started");
    Ok(())
}

fn bg_rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    check_disk(cx)?;
    durability::save_soon(cx.shared);
    cx.reply.simple("Background append only file rewriting started");
    Ok(())
}

fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut saves = None;
    for word in args.tail(1).iter() {
        match word.to_ascii_uppercase().as_slice() {
            b"NOW" | b"FORCE" => {}
            word @ (b"NOSAVE" | b"SAVE") if saves.is_none_or(|save| save == (word == b"SAVE")) => {
                saves = Some(word == b"SAVE");
            }
            b"ABORT" if args.len() == 2 => {
                return Err(CommandError::text("ERR No shutdown in progress."));
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    cx.shared.shut_down();
    cx.after = After::Close;
    Ok(())
}

fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    if !cx.session.monitors {
        cx.session.monitors = true;
        cx.shared.monitors.add(&cx.session.client);
        cx.session.describe();
    }
    cx.reply.ok();
    Ok(())
}

fn debug_sleep(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let text = std::str::from_utf8(&args[2]).ok();
    let seconds = text.and_then(|text| text.parse::<f64>().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or_else(|| CommandError::text("ERR value is not a valid float"))?;
    cx.after = After::Sleep(duration, b"+OK\r\n");
    Ok(())
}

fn memory_doctor(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.bulk(b"Memory is in order; INFO memory has the figures.");
    Ok(())
}

fn memory_stats(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let used = crate::allocator::used_bytes();
    let peak = cx.shared.stats.peak_memory.load(Ordering::Relaxed).max(used);
    let objects: usize = cx.shared.store.functions().iter().map(|f| f.object_count()).sum();
    let figures = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", 0),
        ("clients.normal", cx.shared.clients.count()),
        ("keys.count", objects as u64),
        ("keys.bytes-per-key", used / (objects as u64).max(1)),
    ];
    cx.reply.map(figures.len());
    for (name, figure) in figures {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(figure as i64);
    }
    Ok(())
}

fn memory_purge(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.ok();
    Ok(())
}

fn memory_malloc(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let text = format!("mimalloc, {} bytes in use", crate::allocator::used_bytes());
    cx.reply.bulk(text.as_bytes());
    Ok(())
}

/// Whether the object that `args[2]` says is there; replies nil if not.
fn is_there(cx: &mut Context<'_>, args: Args<'_>) -> bool {
    let there = cx.with_shard(&args[2], |shard, hash, _| shard.object(hash, &args[2]).is_some());
    if !there {
        cx.reply.null();
    }
    there
}

fn object_encoding(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args) {
        cx.reply.bulk(b"hashtable");
    }
    Ok(())
}

fn object_freq(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !is_there(cx, args) {
        return Ok(());
    }
    Err(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

fn object_idle(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args) {
        cx.reply.integer(0);
    }
    Ok(())
}

fn object_refs(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args) {
        cx.reply.integer(1);
    }
    Ok(())
}

fn slowlog_get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let count = args.get(2).map_or(Some(10), integer::parse_i64).unwrap_or(i64::MIN);
    if count < -1 {
        return Err(CommandError::text("ERR count should be greater than or equal to -1"));
    }
    let entries = cx.shared.slowlog.latest(usize::try_from(count).unwrap_or(usize::MAX));
    cx.reply.array(entries.len());
    for entry in entries {
        cx.reply.array(6);
        cx.reply.integer(entry.id as i64);
        cx.reply.integer(entry.at as i64);
        cx.reply.integer(entry.micros as i64);
        cx.reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| cx.reply.bulk(arg));
        cx.reply.bulk(entry.address.as_bytes());
        cx.reply.bulk(&entry.name);
    }
    Ok(())
}

fn slowlog_len(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.shared.slowlog.len() as i64);
    Ok(())
}

fn slowlog_reset(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.shared.slowlog.reset();
    cx.reply.ok();
    Ok(())
}

fn latency_latest(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let all = cx.shared.latency.all();
    cx.reply.array(all.len());
    for (name, series) in all {
        let (at, millis) = series.samples.back().copied().unwrap_or_default();
        cx.reply.array(4);
        cx.reply.bulk(name.as_bytes());
        for n in [at, millis, series.worst] {
            cx.reply.integer(n as i64);
        }
    }
    Ok(())
}

fn latency_history(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = cx.shared.latency.all();
    let samples = all.iter().find(|(name, _)| name.as_bytes() == &args[2]);
    let samples = samples.map_or_else(Default::default, |(_, series)| series.samples.clone());
    cx.reply.array(samples.len());
    for (at, millis) in samples {
        cx.reply.array(2);
        cx.reply.integer(at as i64);
        cx.reply.integer(millis as i64);
    }
    Ok(())
}

fn latency_reset(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let names: Vec<&[u8]> = args.tail(2).iter().collect();
    let reset = cx.shared.latency.reset(&names);
    cx.reply.integer(reset as i64);
    Ok(())
}

fn latency_doctor(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let all = cx.shared.latency.all();
    let text = if cx.shared.settings.number("latency-monitor-threshold") == 0 {
        "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.".to_owned()
    } else if all.is_empty() {
        "No delay beyond the threshold was seen.".to_owned()
    } else {
        let line = |(name, series): (&&str, &crate::latency::Series)| {
            format!("{name}: {} delays, the worst {} ms\n", series.samples.len(), series.worst)
        };
        all.iter().map(line).collect()
    };
    cx.reply.verbatim_txt(text.as_bytes());
    Ok(())
}

fn latency_graph(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = cx.shared.latency.all();
    let Some((name, series)) = all.iter().find(|(name, _)| name.as_bytes() == &args[2]) else {
        return Err(CommandError::text(format!(
            "ERR No samples available for event '{}'",
            String::from_utf8_lossy(&args[2])
        )));
    };
    let lines: String = series.samples.iter().map(|(at, ms)| format!("{at} {ms} ms\n")).collect();
    cx.reply.verbatim_txt(format!("{name}\n{lines}").as_bytes());
    Ok(())
}

fn latency_histogram(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let sums = cx.shared.stats.sums();
    let wanted = |row: &Row| {
        args.len() == 2
            || args.tail(2).iter().any(|name| row.name.as_bytes().eq_ignore_ascii_case(name))
    };
    let shown: Vec<_> = cx
        .shared
        .table
        .iter()
        .zip(&sums.commands)
        .filter(|(row, sums)| wanted(row) && sums.calls > 0)
        .collect();
    cx.reply.map(shown.len());
    for (row, sums) in shown {
        cx.reply.bulk(row.name.to_ascii_lowercase().as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply.integer(sums.calls as i64);
        cx.reply.bulk(b"histogram_usec");
        let buckets = sums.cumulative();
        cx.reply.map(buckets.len());
        for (upto, calls) in buckets {
            cx.reply.integer(upto as i64);
            cx.reply.integer(calls as i64);
        }
    }
    Ok(())
}
