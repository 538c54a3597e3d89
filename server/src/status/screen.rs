//! From replies to the screen.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::client::Reply;

/// How many nodes, and how many functions, are listed at most.
const LISTED: usize = 20;

/// The fields of INFO by name.
struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    fn of(reply: &'a Reply) -> Info<'a> {
        let Reply::Text(text) = reply else { return Info(HashMap::new()) };
        Info(text.lines().filter_map(|line| line.split_once(':')).collect())
    }

    /// A field; empty if the node does not have it.
    fn text(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// The value of a name in a reply of names and values in turn.
fn field<'a>(of: &'a Reply, name: &str) -> Option<&'a Reply> {
    let Reply::List(items) = of else { return None };
    let is_named = |item: &Reply| matches!(item, Reply::Text(text) if text == name);
    items.chunks_exact(2).find(|pair| is_named(&pair[0])).map(|pair| &pair[1])
}

/// The same as text; of a list, its items with blanks between them.
fn shown(of: &Reply, name: &str) -> String {
    match field(of, name) {
        Some(Reply::Text(text)) => text.clone(),
        Some(Reply::Number(number)) => number.to_string(),
        Some(Reply::List(items)) => {
            let texts = items.iter().map(|item| match item {
                Reply::Text(text) => text.clone(),
                Reply::Number(number) => number.to_string(),
                Reply::List(_) => "..".to_owned(),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
        None => String::new(),
    }
}

/// Bytes in the unit that fits.
fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TB")
}

/// A span in its two greatest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// The rows with their columns under each other, the first row the head. At most [`LISTED`].
fn table(rows: Vec<Vec<String>>, what: &str) -> String {
    let (all, columns) = (rows.len() - 1, rows[0].len());
    let shown = &rows[..rows.len().min(LISTED + 1)];
    let widths: Vec<usize> = (0..columns)
        .map(|at| shown.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in shown {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    if all > LISTED {
        let _ = writeln!(text, "and {} more {what}", all - LISTED);
    }
    text
}

/// How the disk is.
fn disk(info: &Info<'_>) -> String {
    if info.number("aof_enabled") == 0 {
        return "none: data is kept in memory only".to_owned();
    }
    let is_ok = |name: &str| info.text(name) == "ok";
    let writes = if is_ok("aof_last_write_status") { "takes writes" } else { "REFUSES WRITES" };
    let saved = if is_ok("rdb_last_bgsave_status") { "" } else { ", THE LAST CHECKPOINT FAILED" };
    let log = bytes(info.number("aof_current_size"));
    let changes = info.number("rdb_changes_since_last_save");
    format!("{writes}, {log}, {changes} changes since the last checkpoint{saved}")
}

/// All of the screen.
pub(super) fn text(info: &Reply, nodes: &Reply, functions: &Reply) -> String {
    let info = &Info::of(info);
    let limit = |of: u64, shown: &dyn Fn(u64) -> String| match of {
        0 => String::new(),
        of => format!(" of {}", shown(of)),
    };
    let mut text = format!(
        "{} of cluster {}, MISO {}, up {}, pid {}\n\n",
        info.text("miso_node"),
        info.text("miso_cluster"),
        info.text("miso_version"),
        span(info.number("uptime_in_seconds")),
        info.text("process_id"),
    );
    let lines = [
        ("memory", {
            let (used, max) = (info.number("used_memory"), info.number("maxmemory"));
            let resident = bytes(info.number("used_memory_rss"));
            format!("{}{}, {resident} resident", bytes(used), limit(max, &bytes))
        }),
        ("clients", {
            let max = limit(info.number("maxclients"), &|count| count.to_string());
            let blocked = info.text("blocked_clients");
            let http = info.text("http_connections");
            format!("{}{max}, {blocked} blocked; {http} by HTTP", info.text("connected_clients"))
        }),
        ("commands", {
            let (rate, errors) =
                (info.text("instantaneous_ops_per_sec"), info.text("total_error_replies"));
            format!(
                "{rate} a second, {} in all, {errors} errors",
                info.text("total_commands_processed")
            )
        }),
        ("disk", disk(info)),
        ("peers", {
            let (peers, alive) = (info.text("miso_peers"), info.text("miso_peers_alive"));
            let (lag, ms) = (info.text("miso_lag_events"), info.text("miso_lag_ms"));
            format!("{alive} of {peers} alive; at most {lag} writes and {ms} ms not acknowledged")
        }),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:9} {value}");
    }
    let list = |reply: &Reply| match reply {
        Reply::List(items) => items.clone(),
        _ => Vec::new(),
    };
    let head = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![head(&["NODE", "STATE", "LINKED", "HEARD", "LAG", "DRIFT", "ADDRESS"])];
    for (at, node) in list(nodes).iter().enumerate() {
        let ms = |name: &str| format!("{} ms", shown(node, name));
        let linked = if shown(node, "linked") == "1" { "yes" } else { "no" };
        let lag = format!("{} writes, {}", shown(node, "lag-events"), ms("lag-ms"));
        let addresses = shown(node, "addresses");
        let (name, state) = (shown(node, "name"), shown(node, "state"));
        rows.push(match at {
            0 => vec![
                name,
                "this node".into(),
                "".into(),
                "".into(),
                "".into(),
                "".into(),
                addresses,
            ],
            _ => vec![name, state, linked.into(), ms("heard-ms"), lag, ms("drift-ms"), addresses],
        });
    }
    text += &format!("\n{}", table(rows, "nodes"));
    let mut rows =
        vec![head(&["FUNCTION", "ROLE", "COPIES", "OBJECTS", "CONNECTIONS", "RUNS ON", "HELD BY"])];
    if let Reply::List(items) = functions {
        for pair in items.chunks_exact(2) {
            let Reply::Text(name) = &pair[0] else { continue };
            let of = |name: &str| shown(&pair[1], name);
            let role = if of("restoring") == "1" { "restores".into() } else { of("role") };
            let (copies, objects) = (of("copies"), of("objects"));
            rows.push(vec![
                name.clone(),
                role,
                copies,
                objects,
                of("connections"),
                of("nodes"),
                of("holders"),
            ]);
        }
    }
    text += &format!("\n{}", table(rows, "functions"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units_that_fit() {
        for (count, expected) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1 << 20, "1.0 MB"), (3 << 40, "3.0 TB")]
        {
            assert_eq!(bytes(count), expected);
        }
        for (seconds, expected) in
            [(59, "59 s"), (61, "1 min 1 s"), (3720, "1 h 2 min"), (100_000, "1 d 3 h")]
        {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn a_table_ends_at_the_screen() {
        let row = |n: usize| vec![format!("node-{n}"), String::new()];
        let rows: Vec<_> = (0..=LISTED + 5).map(row).collect();
        let text = table(rows, "nodes");
        assert_eq!(text.lines().count(), LISTED + 2);
        assert!(text.ends_with("node-20\nand 5 more nodes\n"), "{text}");
    }

    #[test]
    fn a_node_without_figures_is_no_fault() {
        let nothing = Reply::List(Vec::new());
        let text = text(&Reply::Text(String::new()), &nothing, &nothing);
        assert!(text.contains("\nNODE ") && text.contains("\nFUNCTION "), "{text}");
    }
}
