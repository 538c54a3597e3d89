//! Metrics: the rows of the table as OpenMetrics text, as the older Prometheus text, and as
//! docs/metrics.md.
//!
//! Names follow Prometheus: a prefix `miso_`, base units (seconds, bytes, ratio) at the end of the
//! name, `_total` after counters, which the printer adds. Source:
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::Write as _;

use super::reading::Reading;
use super::row::{Family, Field, Kind, Metric, Row, Times, Unit, Value};
use super::table::SECTIONS;
use crate::node::stats::BUCKETS;

/// The two text formats that Prometheus reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// OpenMetrics 1.0: `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    OpenMetrics,
    /// The format before it: `text/plain; version=0.0.4; charset=utf-8`.
    Prometheus,
}

/// All metrics of a node in a format.
pub(crate) fn print(reading: &Reading<'_>, format: Format) -> String {
    let mut page = Page { text: String::new(), format };
    page.labels(reading);
    for row in SECTIONS.iter().flat_map(|section| section.rows) {
        match row {
            Row::Field(field) => page.field(field, reading),
            Row::Family(family) => page.family(family, reading),
            Row::Times(times) => page.times(times, reading),
        }
    }
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

/// A page of metrics that grows.
struct Page {
    text: String,
    format: Format,
}

impl Page {
    /// The lines that stand before a metric's samples.
    fn head(&mut self, metric: &Metric) {
        let (kind, suffix) = match (metric.kind, self.format) {
            (Kind::Counter, Format::OpenMetrics) => ("counter", ""),
            (Kind::Counter, Format::Prometheus) => ("counter", "_total"),
            (Kind::Histogram, _) => ("histogram", ""),
            (Kind::Label, Format::OpenMetrics) => ("info", ""),
            (Kind::Label, Format::Prometheus) => ("gauge", "_info"),
            (Kind::Gauge | Kind::None, _) => ("gauge", ""),
        };
        let (name, unit) = (metric.name, metric.unit.base());
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}");
        if !unit.is_empty() && self.format == Format::OpenMetrics {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name}{suffix} {}.", escape(metric.help));
    }

    /// `miso_info`: what the node is, as labels.
    fn labels(&mut self, reading: &Reading<'_>) {
        let rows = SECTIONS.iter().flat_map(|section| section.rows);
        let labels = rows.filter_map(|row| match row {
            Row::Field(field) if field.metric.kind == Kind::Label => match (field.read)(reading) {
                Value::Text(text) => Some(label(field.metric.name, text.as_bytes())),
                other => Some(label(field.metric.name, other.number(Unit::None)?.as_bytes())),
            },
            _ => None,
        });
        let labels: Vec<String> = labels.collect();
        self.head(&Metric {
            kind: Kind::Label,
            name: "miso",
            unit: Unit::None,
            help: "What the node is",
        });
        let _ = writeln!(self.text, "miso_info{{{}}} 1", labels.join(","));
    }

    fn field(&mut self, field: &Field, reading: &Reading<'_>) {
        let metric = &field.metric;
        if !matches!(metric.kind, Kind::Counter | Kind::Gauge) {
            return;
        }
        if let Some(number) = (field.read)(reading).number(metric.unit) {
            self.head(metric);
            self.sample(metric, "", &number);
        }
    }

    fn family(&mut self, family: &Family, reading: &Reading<'_>) {
        let things = (family.read)(reading);
        if things.is_empty() {
            return;
        }
        // The samples of one metric stand together.
        for (at, column) in family.columns.iter().enumerate() {
            let metric = &column.metric;
            if metric.kind == Kind::None {
                continue;
            }
            self.head(metric);
            for (key, values) in &things {
                if let Some(number) = values.get(at).and_then(|value| value.number(metric.unit)) {
                    self.sample(metric, &format!("{{{}}}", label(family.label, key)), &number);
                }
            }
        }
    }

    fn sample(&mut self, metric: &Metric, labels: &str, number: &str) {
        let suffix = if metric.kind == Kind::Counter { "_total" } else { "" };
        let _ = writeln!(self.text, "{}{suffix}{labels} {number}", metric.name);
    }

    fn times(&mut self, times: &Times, reading: &Reading<'_>) {
        let things = (times.read)(reading);
        if things.is_empty() {
            return;
        }
        self.head(&times.metric);
        let name = times.metric.name;
        for (thing, sums) in things {
            let thing = label(times.label, thing.as_bytes());
            let mut seen = 0;
            for (power, count) in sums.buckets.iter().enumerate() {
                seen += count;
                // Every other power of two up to a quarter of a minute; the rest is +Inf.
                if power % 2 == 0 && power <= BOUND_MAX {
                    let bound = f64::from(1u32 << power) / 1e6;
                    let _ = writeln!(self.text, "{name}_bucket{{{thing},le=\"{bound}\"}} {seen}");
                }
            }
            let _ = writeln!(self.text, "{name}_bucket{{{thing},le=\"+Inf\"}} {seen}");
            let sum = sums.micros as f64 / 1e6;
            let _ = writeln!(self.text, "{name}_sum{{{thing}}} {sum}");
            let _ = writeln!(self.text, "{name}_count{{{thing}}} {seen}");
        }
    }
}

/// The power of two, in microseconds, of the longest bucket of a histogram.
const BOUND_MAX: usize = 24;
const _: () = assert!(BOUND_MAX < BUCKETS - 1, "the last bucket has no upper bound");

/// A label with its value. Different bytes give different values, whatever they are.
fn label(name: &str, value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for part in value.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() || c == '\\' { text.extend(c.escape_default()) } else { text.push(c) }
        }
        let _ = write!(text, "{}", part.invalid().escape_ascii());
    }
    format!("{name}=\"{}\"", escape(&text))
}

/// A text within a line of metrics.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// docs/metrics.md.
pub(crate) fn markdown() -> String {
    let mut page = String::from(
        "# INFO and metrics\n\nGenerated from the server's own table by `cargo xtask docs`.\n\n\
         `INFO` has Redis's fields in Redis's order, and sections of its own. A field without a \
         metric is there for tools that ask for it. Metrics have base units: a value that `INFO` \
         shows in milliseconds is in seconds. A field of a family stands in the line of each thing, \
         as `cmdstat_get:calls=1`; its metric has the thing as a label.\n",
    );
    for section in SECTIONS {
        let _ = write!(page, "\n## {}\n\n", section.name);
        page.push_str("| `INFO` | metric | type | meaning |\n|---|---|---|---|\n");
        for row in section.rows {
            match row {
                Row::Field(field) => entry(&mut page, field.field, "", &field.metric),
                Row::Family(family) => {
                    for column in family.columns {
                        let shown = match (family.prefix, column.field) {
                            ("", _) | (_, "") => String::new(),
                            (prefix, field) => format!("{prefix}…:{field}"),
                        };
                        entry(&mut page, &shown, family.label, &column.metric);
                    }
                }
                Row::Times(times) => {
                    entry(&mut page, &format!("{}…", times.prefix), times.label, &times.metric);
                }
            }
        }
    }
    page
}

fn entry(page: &mut String, field: &str, label: &str, metric: &Metric) {
    let code = |text: &str| match text {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    let labels = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    let (name, kind) = match metric.kind {
        Kind::None => (String::new(), ""),
        Kind::Label => (format!("miso_info{{{}}}", metric.name), "info"),
        Kind::Counter => (format!("{}_total{labels}", metric.name), "counter"),
        Kind::Gauge => (format!("{}{labels}", metric.name), "gauge"),
        Kind::Histogram => (format!("{}{labels}", metric.name), "histogram"),
    };
    let _ = writeln!(page, "| {} | {} | {kind} | {} |", code(field), code(&name), metric.help);
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use miso_replication::{Liveness, NodeView};
    use miso_store::crdt::ReplicaId;
    use miso_store::{Config, Store};

    use super::*;
    use crate::node::Node;
    use crate::settings::for_test;

    /// A node without a disk and without peers.
    pub(crate) fn node() -> Node {
        let settings = for_test(&[("data-dir", "none"), ("node-name", "a\"node\"\\")]);
        let store = Store::new(Config::new(ReplicaId(1), 1, Arc::new(|| 0)));
        Node::new(settings, store, crate::commands::table().0)
    }

    fn view(name: &str) -> NodeView {
        NodeView {
            name: name.to_owned(),
            replica: ReplicaId(2),
            addresses: Vec::new(),
            liveness: Liveness::Alive,
            linked: true,
            functions: Vec::new(),
            holds: Vec::new(),
            under_copied: 0,
            heard_ms: 0,
            lag_events: 3,
            lag_ms: 1500,
            lag_bytes: 70,
            acknowledged: Vec::new(),
            drift_ms: None,
            faults: 0,
            seeds: Vec::new(),
        }
    }

    fn metrics() -> Vec<Metric> {
        let rows = SECTIONS.iter().flat_map(|section| section.rows);
        let all = rows.flat_map(|row| match row {
            Row::Field(field) => vec![field.metric],
            Row::Family(family) => family.columns.iter().map(|column| column.metric).collect(),
            Row::Times(times) => vec![times.metric],
        });
        all.collect()
    }

    #[test]
    fn every_row_is_complete_and_every_name_is_sound() {
        let mut names = BTreeSet::new();
        for Metric { kind, name, unit, help } in metrics() {
            assert!(
                !help.is_empty() && !help.ends_with('.') && !help.contains('|'),
                "{name}: {help}"
            );
            if kind == Kind::None {
                assert_eq!((name, unit), ("", Unit::None), "{help}");
                continue;
            }
            assert!(names.insert(name), "{name} twice");
            let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(sound), "{name}");
            if kind == Kind::Label {
                continue;
            }
            assert!(name.starts_with("miso_"), "{name}");
            for suffix in ["_total", "_count", "_sum", "_bucket", "_info", "_created"] {
                assert!(!name.ends_with(suffix), "{name}");
            }
            let base = unit.base();
            assert!(name.ends_with(base), "{name} is in {base}");
            for other in ["seconds", "bytes", "ratio"] {
                assert!(other == base || !name.ends_with(other), "{name} is not in {other}");
            }
        }
        let mut fields = BTreeSet::new();
        for row in SECTIONS.iter().flat_map(|section| section.rows) {
            if let Row::Field(field) = row {
                assert!(field.field.is_empty() || fields.insert(field.field), "{}", field.field);
            }
        }
    }

    /// Reads a page as a scraper does: each sample belongs to the metric whose head stands before it,
    /// and stands there once.
    fn check(page: &str, format: Format) {
        let (mut family, mut kind) = ("", "");
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        for line in page.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                (family, kind) = head.split_once(' ').expect("a name and a type");
                assert!(families.insert(family), "{family} twice");
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').expect("a name and a unit");
                assert!(name == family && name.ends_with(unit), "{line}");
            } else if let Some(help) = line.strip_prefix("# HELP ") {
                assert_eq!(help.split(' ').next(), Some(family), "{line}");
            } else if line != "# EOF" {
                let (series, number) = line.rsplit_once(' ').expect("a series and its value");
                assert!(number.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
                assert!(samples.insert(series), "{series} twice");
                let name = series.split('{').next().unwrap_or(series);
                let suffix = name.strip_prefix(family).expect("it follows its head");
                let suffixes: &[&str] = match (kind, format) {
                    ("counter", Format::OpenMetrics) => &["_total"],
                    ("info", _) => &["_info"],
                    ("histogram", _) => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(suffixes.contains(&suffix), "{line} of {family}, a {kind}");
                assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            }
        }
    }

    #[test]
    fn a_page_is_sound_in_both_formats() {
        let node = node();
        let worker = node.stats.worker();
        let slot = node.stats.slot(0, None);
        worker.command(slot).calls.add(1);
        worker.command(slot).took(1, Duration::from_micros(900));
        node.stats.error("WRONGTYPE");
        node.store.function(b"f\xff\n\"");
        let nodes = [view("a"), view("b")];
        let reading = Reading::new(&node, &nodes);
        let text = print(&reading, Format::OpenMetrics);
        check(&text, Format::OpenMetrics);
        assert!(text.ends_with("\n# EOF\n"));
        let name = node.table.row(0).name.to_ascii_lowercase();
        for line in [
            "# TYPE miso_commands_processed counter".to_owned(),
            "miso_commands_processed_total 0".to_owned(),
            "# UNIT miso_memory_used_bytes bytes".to_owned(),
            "miso_error_replies_by_code_total{code=\"WRONGTYPE\"} 1".to_owned(),
            "miso_function_objects{function=\"f\\\\xff\\\\n\\\"\"} 0".to_owned(),
            "miso_peer_lag_seconds{peer=\"b\"} 1.5".to_owned(),
            format!("miso_command_duration_seconds_bucket{{command=\"{name}\",le=\"0.000256\"}} 0"),
            format!("miso_command_duration_seconds_bucket{{command=\"{name}\",le=\"0.001024\"}} 1"),
            format!("miso_command_duration_seconds_bucket{{command=\"{name}\",le=\"+Inf\"}} 1"),
            format!("miso_command_duration_seconds_sum{{command=\"{name}\"}} 0.0009"),
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in:\n{text}");
        }
        assert!(text.contains(r#"node="a\"node\"\\\\""#), "{text}");
        let text = print(&reading, Format::Prometheus);
        check(&text, Format::Prometheus);
        assert!(text.contains("# TYPE miso_commands_processed_total counter\n"), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    }

    #[test]
    fn different_names_give_different_labels() {
        let labels = [&b"\xff"[..], b"\\xff", b"\n", b"\\n", b"\"", b"\x00"].map(|b| label("l", b));
        let different: BTreeSet<&String> = labels.iter().collect();
        assert_eq!(different.len(), labels.len());
        assert!(labels.iter().all(|label| !label.contains('\n')));
    }

    #[test]
    fn values_are_scaled_to_base_units() {
        assert_eq!(Value::Count(1500).number(Unit::Millis).as_deref(), Some("1.5"));
        assert_eq!(Value::Count(u64::MAX).number(Unit::None), Some(u64::MAX.to_string()));
        assert_eq!(Value::Percent(12.5).number(Unit::Ratio).as_deref(), Some("0.125"));
        assert_eq!(Value::Status(false).number(Unit::None).as_deref(), Some("0"));
        assert_eq!(Value::Absent.number(Unit::None), None);
    }
}
