//! INFO: the rows of the table as sections of `field:value` lines.

use std::fmt::Write as _;

use miso_replication::NodeView;

use super::reading::Reading;
use super::row::{Row, Section, Value};
use super::table::SECTIONS;
use crate::node::Node;

/// Whether the sections that are asked for have figures about other nodes in them.
pub(crate) fn tells_of_nodes(wanted: &[Vec<u8>]) -> bool {
    let has = |word: &[u8]| matches!(word, b"all" | b"everything" | b"default" | b"miso");
    wanted.is_empty() || wanted.iter().any(|word| has(word))
}

/// The sections that are asked for, in lower case; those shown by default if none is. `bound` is the function that
/// is told of, if it is one alone.
pub(crate) fn render(
    (shared, bound): (&Node, Option<&[u8]>),
    nodes: &[NodeView],
    wanted: &[Vec<u8>],
) -> String {
    let has = |word: &str| wanted.iter().any(|known| known == word.as_bytes());
    let all = has("all") || has("everything");
    let default = wanted.is_empty() || has("default");
    let reading = Reading::new(shared, nodes).of(bound);
    let mut text = String::new();
    for section in SECTIONS {
        let is_wanted = all || (default && section.by_default);
        if is_wanted || has(&section.name.to_ascii_lowercase()) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            print(section, &reading, &mut text);
        }
    }
    text
}

fn print(section: &Section, reading: &Reading<'_>, text: &mut String) {
    let _ = write!(text, "# {}\r\n", section.name);
    for row in section.rows {
        match row {
            Row::Field(field) if !field.field.is_empty() => {
                if let Some(value) = shown(&(field.read)(reading)) {
                    let _ = write!(text, "{}:{value}\r\n", field.field);
                }
            }
            Row::Family(family) if !family.prefix.is_empty() => {
                for (key, values) in (family.read)(reading) {
                    let columns = family.columns.iter().zip(&values);
                    let columns: Vec<String> = columns
                        .filter(|(column, _)| !column.field.is_empty())
                        .filter_map(|(column, v)| Some(format!("{}={}", column.field, shown(v)?)))
                        .collect();
                    let key = escape(&key);
                    let _ = write!(text, "{}{key}:{}\r\n", family.prefix, columns.join(","));
                }
            }
            Row::Times(times) => {
                for (name, sums) in (times.read)(reading) {
                    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| sums.percentile(share));
                    let _ = write!(
                        text,
                        "{}{}:p50={p50}.000,p99={p99}.000,p99.9={p999}.000\r\n",
                        times.prefix,
                        escape(name.as_bytes())
                    );
                }
            }
            Row::Field(_) | Row::Family(_) => {}
        }
    }
}

/// A value as INFO shows it; none if the field is left out.
fn shown(value: &Value) -> Option<String> {
    Some(match value {
        Value::Absent => return None,
        Value::Count(n) => n.to_string(),
        Value::Level(n) => n.to_string(),
        Value::Decimal(n, digits) => format!("{n:.digits$}"),
        Value::Percent(n) => format!("{n:.2}%"),
        Value::Flag(set) => u8::from(*set).to_string(),
        Value::Status(ok) => (if *ok { "ok" } else { "err" }).to_owned(),
        Value::Text(text) => one_line(text),
    })
}

/// A text that does not end its line.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// A name within a field: what ends a line, a field or a column is written as `\x3a`.
fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' | b'#' | b':' | b',' | b'=' => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            b'!'..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::tests::node;

    #[test]
    fn no_name_breaks_a_line() {
        let node = node();
        node.store.function(b"z\r\nloading:1");
        node.store.function(b"A:prod");
        let text = render((&node, None), &[], &[b"miso".to_vec()]);
        assert!(text.contains("\r\nfunction_z\\x0d\\x0aloading\\x3a1:objects=0,"), "{text}");
        assert!(text.contains("\r\nfunction_A\\x3aprod:objects=0,"), "{text}");
        let parts = |line: &str| line.split_once(':').is_some_and(|(field, _)| !field.is_empty());
        assert!(text.lines().skip(1).all(parts), "{text}");
        assert_eq!(one_line("a\r\nb"), r"a\r\nb");
    }

    #[test]
    fn sections_are_chosen_by_name() {
        let node = node();
        let names = |wanted: &[&str]| {
            let wanted: Vec<Vec<u8>> = wanted.iter().map(|word| word.as_bytes().to_vec()).collect();
            let text = render((&node, None), &[], &wanted);
            text.lines().filter(|line| line.starts_with('#')).count()
        };
        assert_eq!(names(&["everything"]), SECTIONS.len());
        assert_eq!(names(&[]), names(&["default"]));
        assert_eq!(names(&["server", "nosuch"]), 1);
        assert_eq!(names(&["nosuch"]), 0);
    }

    #[test]
    fn values_are_shown_as_redis_shows_them() {
        let check = |value: Value, expected: Option<&str>| {
            assert_eq!(shown(&value).as_deref(), expected);
        };
        check(Value::Decimal(1.0, 2), Some("1.00"));
        check(Value::Percent(87.8349), Some("87.83%"));
        check(Value::Status(false), Some("err"));
        check(Value::Flag(true), Some("1"));
        check(Value::Level(-1), Some("-1"));
        check(Value::Absent, None);
    }
}
