//! What a setting's text may be, and the value that code reads instead of the text.
//!
//! A kind is a type. It says which texts are valid, how a valid text is written (its normal form, as
//! `CONFIG GET` prints it) and which Rust value it stands for. A setting's row and the field that
//! holds its value are made from the same kind, so neither the name nor the type of a setting can be
//! mistaken in code.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use miso_protocol::names;
use miso_replication::copies::Hold;
use miso_store::journal::SyncPolicy;
use parking_lot::RwLock;

/// The longest time that a setting can say.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The parts of a kind that the table needs, whatever the type of the value.
pub(crate) trait Rule: Debug + Sync {
    /// The text in its normal form; none if it is not valid.
    fn normal(&self, text: &str) -> Option<String>;

    /// What is allowed, for people: "an integer from 0 to 65535".
    fn expected(&self) -> String;

    /// Why `CONFIG SET` does not take `text`, in Redis's words where Redis has words.
    fn refusal(&self, _text: &str) -> String {
        format!("argument must be {}", self.expected())
    }

    /// The normal form after a change from `old` to `new`, both normal. They differ from `new` only
    /// for a kind that keeps the parts that a change does not name.
    fn merged(&self, _old: &str, new: &str) -> String {
        new.to_owned()
    }

    /// Whether a flag may be repeated on the command line: its values are joined with commas.
    fn repeats(&self) -> bool {
        false
    }

    /// Whether the configuration file holds it as a number.
    fn is_number(&self) -> bool {
        false
    }
}

/// A [`Rule`] with the type of its value.
pub(crate) trait Kind: Rule {
    /// What code reads.
    type Value;
    /// What holds the value while other threads read it.
    type Cell: Cell<Self::Value>;

    /// The value of a text in normal form.
    fn value(&self, normal: &str) -> Option<Self::Value>;
}

/// Holds a value that one thread changes and others read.
pub(crate) trait Cell<T>: Debug {
    /// One that holds `value`.
    fn new(value: T) -> Self;
    /// The value.
    fn get(&self) -> T;
    /// Changes the value.
    fn set(&self, value: T);
}

/// A value of at most 64 bits: reading it costs one relaxed load.
pub(crate) trait Packed: Copy {
    /// The bits.
    fn pack(self) -> u64;
    /// The value of bits that [`Packed::pack`] made.
    fn unpack(bits: u64) -> Self;
}

impl<T: Packed> Cell<T> for AtomicU64 {
    fn new(value: T) -> AtomicU64 {
        AtomicU64::new(value.pack())
    }

    fn get(&self) -> T {
        T::unpack(self.load(Ordering::Relaxed))
    }

    fn set(&self, value: T) {
        self.store(value.pack(), Ordering::Relaxed);
    }
}

impl<T: Clone + Debug> Cell<T> for RwLock<T> {
    fn new(value: T) -> RwLock<T> {
        RwLock::new(value)
    }

    fn get(&self) -> T {
        self.read().clone()
    }

    fn set(&self, value: T) {
        *self.write() = value;
    }
}

macro_rules! packed_integers {
    ($($type:ty)*) => {
        $(impl Packed for $type {
            fn pack(self) -> u64 {
                self as u64
            }

            fn unpack(bits: u64) -> $type {
                bits as $type
            }
        })*
    };
}

packed_integers!(u16 u32 i32 i64 u64 usize);

impl Packed for bool {
    fn pack(self) -> u64 {
        self.into()
    }

    fn unpack(bits: u64) -> bool {
        bits != 0
    }
}

impl Packed for Duration {
    /// Microseconds: a setting has no finer unit.
    fn pack(self) -> u64 {
        u64::try_from(self.as_micros()).unwrap_or(u64::MAX)
    }

    fn unpack(bits: u64) -> Duration {
        Duration::from_micros(bits)
    }
}

impl Packed for Option<Duration> {
    /// 0 is none.
    fn pack(self) -> u64 {
        self.map_or(0, Packed::pack)
    }

    fn unpack(bits: u64) -> Option<Duration> {
        (bits > 0).then(|| Duration::unpack(bits))
    }
}

impl Packed for Option<u64> {
    /// The largest number is none.
    fn pack(self) -> u64 {
        self.unwrap_or(u64::MAX)
    }

    fn unpack(bits: u64) -> Option<u64> {
        (bits < u64::MAX).then_some(bits)
    }
}

/// Any text.
#[derive(Debug)]
pub(crate) struct Text;

impl Rule for Text {
    fn normal(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn expected(&self) -> String {
        "text".into()
    }
}

impl Kind for Text {
    type Value = String;
    type Cell = RwLock<String>;

    fn value(&self, normal: &str) -> Option<String> {
        Some(normal.to_owned())
    }
}

/// The name of a function or a node, as [`names`] allows it.
#[derive(Debug)]
pub(crate) struct Name {
    /// Whether it may be empty, which stands for a default.
    pub(crate) optional: bool,
}

impl Rule for Name {
    fn normal(&self, text: &str) -> Option<String> {
        let is_valid = names::is_name(text.as_bytes()) || (self.optional && text.is_empty());
        // No client may speak for the function of the tokens.
        (is_valid && text.as_bytes() != names::RESERVED).then(|| text.to_owned())
    }

    fn expected(&self) -> String {
        let max = names::NAME_MAX;
        format!("a name of 1 to {max} bytes of printable ASCII, without blanks and '#'")
    }
}

impl Kind for Name {
    type Value = String;
    type Cell = RwLock<String>;

    fn value(&self, normal: &str) -> Option<String> {
        Some(normal.to_owned())
    }
}

/// A path, or no path: the word stands for none, as does an empty text.
#[derive(Debug)]
pub(crate) struct Path {
    /// The word for none, if there is one.
    pub(crate) none: &'static str,
}

impl Rule for Path {
    fn normal(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn expected(&self) -> String {
        match self.none {
            "" => "a path".into(),
            none => format!("a path, or {none}"),
        }
    }
}

impl Kind for Path {
    type Value = Option<String>;
    type Cell = RwLock<Option<String>>;

    fn value(&self, normal: &str) -> Option<Option<String>> {
        let is_none = normal.is_empty() || normal == self.none;
        Some((!is_none).then(|| normal.to_owned()))
    }
}

/// An integer within bounds, both included.
#[derive(Debug)]
pub(crate) struct Integer<T> {
    low: i64,
    high: i64,
    unit: &'static str,
    convert: fn(i64) -> T,
}

impl<T> Integer<T> {
    /// From `low` to `high`; `unit` is what is counted, in the plural, or empty. `convert` is applied
    /// to numbers within the bounds only.
    pub(crate) const fn new(
        low: i64,
        high: i64,
        unit: &'static str,
        convert: fn(i64) -> T,
    ) -> Integer<T> {
        Integer { low, high, unit, convert }
    }
}

impl<T: Debug> Rule for Integer<T> {
    fn normal(&self, text: &str) -> Option<String> {
        let n = text.parse::<i64>().ok()?;
        (self.low..=self.high).contains(&n).then(|| n.to_string())
    }

    fn expected(&self) -> String {
        let (low, high) = (self.low, self.high);
        let bounds = match high {
            i64::MAX => format!("an integer from {low} up"),
            _ => format!("an integer from {low} to {high}"),
        };
        match self.unit {
            "" => bounds,
            unit => format!("{bounds} ({unit})"),
        }
    }

    fn refusal(&self, text: &str) -> String {
        if text.parse::<i64>().is_err() {
            return "argument couldn't be parsed into an integer".into();
        }
        format!("argument must be between {} and {} inclusive", self.low, self.high)
    }

    fn is_number(&self) -> bool {
        true
    }
}

impl<T: Packed + Debug> Kind for Integer<T> {
    type Value = T;
    type Cell = AtomicU64;

    fn value(&self, normal: &str) -> Option<T> {
        normal.parse().ok().map(self.convert)
    }
}

/// A number of bytes, with Redis's units: `100mb`. The function makes it the type that code reads.
#[derive(Debug)]
pub(crate) struct Bytes<T>(pub(crate) fn(u64) -> T);

impl<T: Debug> Rule for Bytes<T> {
    fn normal(&self, text: &str) -> Option<String> {
        parse_bytes(text).map(|bytes| bytes.to_string())
    }

    fn expected(&self) -> String {
        "a number of bytes, as 1048576, 100mb or 1gb".into()
    }

    fn refusal(&self, _: &str) -> String {
        "argument must be a memory value".into()
    }

    fn is_number(&self) -> bool {
        true
    }
}

impl<T: Packed + Debug> Kind for Bytes<T> {
    type Value = T;
    type Cell = AtomicU64;

    fn value(&self, normal: &str) -> Option<T> {
        normal.parse().ok().map(self.0)
    }
}

/// `yes` or `no`.
#[derive(Debug)]
pub(crate) struct YesNo;

impl Rule for YesNo {
    fn normal(&self, text: &str) -> Option<String> {
        match text {
            "yes" | "true" => Some("yes".into()),
            "no" | "false" => Some("no".into()),
            _ => None,
        }
    }

    fn expected(&self) -> String {
        "yes or no".into()
    }

    fn refusal(&self, _: &str) -> String {
        "argument must be 'yes' or 'no'".into()
    }
}

impl Kind for YesNo {
    type Value = bool;
    type Cell = AtomicU64;

    fn value(&self, normal: &str) -> Option<bool> {
        Some(normal == "yes")
    }
}

/// One of several words, each of which stands for a value.
#[derive(Debug)]
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Debug + Sync> Choice<T> {
    fn words(&self) -> String {
        self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
    }
}

impl<T: Debug + Sync> Rule for Choice<T> {
    fn normal(&self, text: &str) -> Option<String> {
        self.0.iter().find(|(word, _)| *word == text).map(|(word, _)| (*word).to_owned())
    }

    fn expected(&self) -> String {
        match self.0 {
            [(only, _)] => format!("{only}, the only choice"),
            _ => format!("one of {}", self.words()),
        }
    }

    fn refusal(&self, _: &str) -> String {
        format!("argument(s) must be one of the following: {}", self.words())
    }
}

impl<T: Copy + Debug + Sync> Kind for Choice<T> {
    type Value = T;
    type Cell = RwLock<T>;

    fn value(&self, normal: &str) -> Option<T> {
        self.0.iter().find(|(word, _)| *word == normal).map(|(_, value)| *value)
    }
}

/// When the journal is forced to disk, by the words of Redis's `appendfsync`.
pub(crate) const SYNC_POLICIES: Choice<SyncPolicy> = Choice(&[
    ("everysec", SyncPolicy::EverySecond),
    ("always", SyncPolicy::Always),
    ("no", SyncPolicy::No),
]);

/// The levels of log lines.
pub(crate) const LOG_LEVELS: Choice<tracing::Level> = Choice(&[
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
]);

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The formats of log lines.
pub(crate) const LOG_FORMATS: Choice<LogFormat> =
    Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

/// Whether nodes find each other by mDNS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mdns {
    /// If the cluster has a secret or a name of its own: two strangers on one network stay apart.
    Auto,
    /// In any case.
    Yes,
    /// Never.
    No,
}

/// The words of `mdns`.
pub(crate) const MDNS: Choice<Mdns> =
    Choice(&[("auto", Mdns::Auto), ("yes", Mdns::Yes), ("no", Mdns::No)]);

/// What is done when memory is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Eviction {
    /// Writes that need memory are refused.
    None,
}

/// The policies of `maxmemory-policy`.
pub(crate) const EVICTIONS: Choice<Eviction> = Choice(&[("noeviction", Eviction::None)]);

/// IP addresses, separated by blanks or commas; at least one.
#[derive(Debug)]
pub(crate) struct Addresses;

impl Rule for Addresses {
    fn normal(&self, text: &str) -> Option<String> {
        let address = |word| match word {
            "*" => Ok(IpAddr::from([0; 4])),
            "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
            word => word.parse(),
        };
        let all: Vec<IpAddr> = words(text).map(address).collect::<Result<_, _>>().ok()?;
        let all: Vec<String> = all.iter().map(IpAddr::to_string).collect();
        Some(all.join(" ")).filter(|all| !all.is_empty())
    }

    fn expected(&self) -> String {
        "IP addresses, or * for all of IPv4".into()
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl Kind for Addresses {
    type Value = Vec<IpAddr>;
    type Cell = RwLock<Vec<IpAddr>>;

    fn value(&self, normal: &str) -> Option<Vec<IpAddr>> {
        words(normal).map(|word| word.parse().ok()).collect()
    }
}

/// A length of time with its unit: `5ms`.
#[derive(Debug)]
pub(crate) struct Time;

impl Rule for Time {
    fn normal(&self, text: &str) -> Option<String> {
        parse_duration(text).map(|_| text.to_owned())
    }

    fn expected(&self) -> String {
        "a length of time, as 5ms, 2s or 0".into()
    }
}

impl Kind for Time {
    type Value = Duration;
    type Cell = AtomicU64;

    fn value(&self, normal: &str) -> Option<Duration> {
        parse_duration(normal)
    }
}

/// A [`Time`], then `function=time` for functions that differ.
#[derive(Debug)]
pub(crate) struct IntervalsByFunction;

/// How long changes are gathered before they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// For functions that have no interval of their own.
    pub(crate) default: Duration,
    /// By function.
    pub(crate) named: BTreeMap<String, Duration>,
}

impl Rule for IntervalsByFunction {
    fn normal(&self, text: &str) -> Option<String> {
        self.value(text)?;
        Some(words(text).collect::<Vec<_>>().join(" "))
    }

    fn expected(&self) -> String {
        "a length of time, as 5ms, 2s or 0; then function=time for functions that differ".into()
    }
}

impl Kind for IntervalsByFunction {
    type Value = Intervals;
    type Cell = RwLock<Intervals>;

    fn value(&self, normal: &str) -> Option<Intervals> {
        let mut all = words(normal);
        let default = parse_duration(all.next()?)?;
        let named = all.map(|word| {
            let (function, interval) = word.rsplit_once('=')?;
            let interval = parse_duration(interval)?;
            (!function.is_empty()).then(|| (function.to_owned(), interval))
        });
        Some(Intervals { default, named: named.collect::<Option<_>>()? })
    }
}

/// `host:port`, separated by blanks or commas.
#[derive(Debug)]
pub(crate) struct Peers;

impl Rule for Peers {
    fn normal(&self, text: &str) -> Option<String> {
        let all: Vec<&str> = words(text).collect();
        all.iter().all(|word| is_peer(word)).then(|| all.join(" "))
    }

    fn expected(&self) -> String {
        "host:port, several separated by commas".into()
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl Kind for Peers {
    type Value = Vec<String>;
    type Cell = RwLock<Vec<String>>;

    fn value(&self, normal: &str) -> Option<Vec<String>> {
        Some(words(normal).map(str::to_owned).collect())
    }
}

/// Whether this is `host:port`.
pub(crate) fn is_peer(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.starts_with('[') && host.ends_with(']') || !host.contains(':');
        !host.is_empty() && bare && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Names of functions, separated by blanks or commas; `*` is every function, empty is none.
#[derive(Debug)]
pub(crate) struct HoldNames;

impl Rule for HoldNames {
    fn normal(&self, text: &str) -> Option<String> {
        let all: Vec<&str> = words(text).collect();
        match all[..] {
            ["*"] => Some("*".into()),
            _ => all.iter().all(|name| names::is_name(name.as_bytes())).then(|| all.join(" ")),
        }
    }

    fn expected(&self) -> String {
        "names of functions, several separated by commas, or *".into()
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl Kind for HoldNames {
    type Value = Hold;
    type Cell = RwLock<Hold>;

    fn value(&self, normal: &str) -> Option<Hold> {
        Some(match normal {
            "" => Hold::Nothing,
            "*" => Hold::Everything,
            names => Hold::Named(words(names).map(|name| name.to_owned().into()).collect()),
        })
    }
}

/// A port, `none`, or empty for the default.
#[derive(Debug)]
pub(crate) struct PeerPortRule;

/// Where a node listens for other nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerPort {
    /// At the port for clients + 1000.
    Derived,
    /// Nowhere: the node does not replicate.
    None,
    /// At this port; 0 is any free one.
    At(u16),
}

impl Rule for PeerPortRule {
    fn normal(&self, text: &str) -> Option<String> {
        match text {
            "" => Some(String::new()),
            "none" | "no" => Some("none".into()),
            port => Some(port.parse::<u16>().ok()?.to_string()),
        }
    }

    fn expected(&self) -> String {
        "a port from 0 to 65535, or none".into()
    }
}

impl Kind for PeerPortRule {
    type Value = PeerPort;
    type Cell = RwLock<PeerPort>;

    fn value(&self, normal: &str) -> Option<PeerPort> {
        match normal {
            "" => Some(PeerPort::Derived),
            "none" => Some(PeerPort::None),
            port => port.parse().ok().map(PeerPort::At),
        }
    }
}

/// `class hard soft seconds` in fours, as Redis's client-output-buffer-limit. A change keeps the
/// limits of classes that it does not name.
#[derive(Debug)]
pub(crate) struct LimitsByClass;

/// Bounds on the bytes that a client has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    /// Beyond this many bytes the client is closed at once; 0 is no limit.
    pub(crate) hard: usize,
    /// Beyond this many bytes the client is closed after [`OutputLimit::soft_for`]; 0 is no limit.
    pub(crate) soft: usize,
    /// How long a client may stay beyond the soft limit.
    pub(crate) soft_for: Duration,
}

/// The limits of each class of clients that this server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputLimits {
    /// Clients that take replies only.
    pub(crate) normal: OutputLimit,
    /// Clients that take messages.
    pub(crate) pubsub: OutputLimit,
}

/// The class and the limits of one four of words.
fn parse_limit(four: &[&str]) -> Option<(&'static str, OutputLimit)> {
    let [class, hard, soft, seconds] = four else { return None };
    let class = match *class {
        "normal" => "normal",
        "slave" | "replica" => "slave",
        "pubsub" => "pubsub",
        _ => return None,
    };
    let bytes = |text| usize::try_from(parse_bytes(text)?).ok();
    let soft_for = Duration::from_secs(seconds.parse().ok()?);
    Some((class, OutputLimit { hard: bytes(hard)?, soft: bytes(soft)?, soft_for }))
}

fn parse_limits(text: &str) -> Option<BTreeMap<&'static str, OutputLimit>> {
    let parts: Vec<&str> = words(text).collect();
    let limits: BTreeMap<_, _> = parts.chunks(4).map(parse_limit).collect::<Option<_>>()?;
    (!limits.is_empty()).then_some(limits)
}

fn print_limits(limits: &BTreeMap<&'static str, OutputLimit>) -> String {
    let mut text = String::new();
    for class in ["normal", "slave", "pubsub"] {
        if let Some(limit) = limits.get(class) {
            let blank = if text.is_empty() { "" } else { " " };
            let seconds = limit.soft_for.as_secs();
            let _ = write!(text, "{blank}{class} {} {} {seconds}", limit.hard, limit.soft);
        }
    }
    text
}

impl Rule for LimitsByClass {
    fn normal(&self, text: &str) -> Option<String> {
        parse_limits(text).map(|limits| print_limits(&limits))
    }

    fn expected(&self) -> String {
        "class hard soft seconds, for normal, slave or pubsub".into()
    }

    fn merged(&self, old: &str, new: &str) -> String {
        let mut limits = parse_limits(old).unwrap_or_default();
        limits.extend(parse_limits(new).unwrap_or_default());
        print_limits(&limits)
    }
}

impl Kind for LimitsByClass {
    type Value = OutputLimits;
    type Cell = RwLock<OutputLimits>;

    fn value(&self, normal: &str) -> Option<OutputLimits> {
        let limits = parse_limits(normal)?;
        let of = |class| limits.get(class).copied().unwrap_or_default();
        Some(OutputLimits { normal: of("normal"), pubsub: of("pubsub") })
    }
}

/// Reads bytes with Redis's units: `1kb` is 1024, `1k` is 1000.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Reads a length of time: `5ms`, `2s`; 0 needs no unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits.parse().ok()?;
    let micros = match &text[digits.len()..] {
        "" if n == 0 => 1,
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    n.checked_mul(micros).map(Duration::from_micros).filter(|time| *time <= LONGEST)
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_redis_units() {
        assert_eq!(parse_bytes("100mb"), Some(100 << 20));
        assert_eq!(parse_bytes("1K"), Some(1_000));
        assert_eq!(parse_bytes("7"), Some(7));
        for bad in ["", "mb", "1tb", "-1", "1.5mb", "99999999999gb", "1\u{e9}"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for bad in ["", "5", "ms", "-1ms", "1.5s", "5 ms", "99999h", "1d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn peers_are_hosts_and_ports() {
        for good in ["a:1", "10.0.0.1:7379", "[::1]:7379", "nodes.example:65535"] {
            assert!(is_peer(good), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:7379", "a:b"] {
            assert!(!is_peer(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_may_be_words() {
        let normal = |text| Addresses.normal(text);
        assert_eq!(normal("*").as_deref(), Some("0.0.0.0"));
        assert_eq!(normal("localhost,::1").as_deref(), Some("127.0.0.1 ::1"));
        assert_eq!(normal("nowhere"), None);
        assert_eq!(normal(""), None);
    }

    #[test]
    fn intervals_are_kept_by_function() {
        let named = [("a", Duration::ZERO), ("b=c", Duration::from_secs(2))];
        let named = named.map(|(name, interval)| (name.to_owned(), interval)).into();
        let expected = Intervals { default: Duration::from_millis(5), named };
        assert_eq!(IntervalsByFunction.value("5ms,a=0 b=c=2s"), Some(expected));
        for bad in ["", "a=0", "5ms a", "5ms =1s", "5"] {
            assert_eq!(IntervalsByFunction.normal(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_of_classes_that_are_not_named_stay() {
        let old = "normal 0 0 0 slave 1 2 3 pubsub 32 8 60";
        let merged = LimitsByClass.merged(old, "pubsub 5 4 1 replica 9 9 9");
        assert_eq!(merged, "normal 0 0 0 slave 9 9 9 pubsub 5 4 1");
        for bad in ["", "normal", "normal 1 2", "other 0 0 0", "normal 1 2 x", "normal 1 2 3 4"] {
            assert_eq!(LimitsByClass.normal(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_integer_says_its_bounds_and_its_unit() {
        let seconds = Integer::new(0, 9, "seconds", |n| n);
        assert_eq!(seconds.expected(), "an integer from 0 to 9 (seconds)");
        assert_eq!(seconds.refusal("10"), "argument must be between 0 and 9 inclusive");
        assert_eq!(seconds.refusal("x"), "argument couldn't be parsed into an integer");
        assert_eq!((seconds.normal("10"), seconds.normal("09")), (None, Some("9".into())));
    }
}
