//! Rules about commands, keys and channels that are looked at together: a user's own, and each selector
//! beside them.
//!
//! The rules about commands are compiled into a bit for each command, so a look at them is a bit test,
//! plus a look at the keys unless all are allowed.

use std::borrow::Cow;
use std::collections::HashMap;

use miso_protocol::command::{ArgKind, Categories, Flags, KeyFlags, Row, Table};
use miso_protocol::glob;
use miso_protocol::request::Args;

use crate::node::subscriptions::ChannelKind;

/// What a rule that is none is answered with.
pub(super) const SYNTAX: &str = "Syntax error";

/// What a user is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Denied {
    Command,
    /// The command reaches beyond the function that the user is bound to.
    Bound,
    /// The key that is this word of the command.
    Key(usize),
    /// The channel that is this word of the command.
    Channel(usize),
}

impl Denied {
    /// Its name in ACL LOG.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Denied::Command | Denied::Bound => "command",
            Denied::Key(_) => "key",
            Denied::Channel(_) => "channel",
        }
    }

    /// Redis's error line for a command called `name`.
    pub(crate) fn line(self, name: &str) -> String {
        match self {
            Denied::Command => {
                format!("NOPERM this user has no permissions to run the '{name}' command")
            }
            Denied::Bound => format!(
                "NOPERM this user has no permissions to run the '{name}' command: it acts on the whole node, and \
                 the user is bound to a function"
            ),
            Denied::Key(_) => "NOPERM this user has no permissions to access one of the keys used as arguments".into(),
            Denied::Channel(_) => "NOPERM this user has no permissions to access one of the channels used as arguments".into(),
        }
    }
}

/// A key pattern and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    read: bool,
    write: bool,
    pattern: Box<[u8]>,
}

/// What may be run, touched and listened to.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
    /// The rules about commands, as they were given since the latest of all or none.
    rules: Vec<String>,
    allowed: Box<[bool]>,
    /// Subcommands that differ from their command.
    subcommands: HashMap<(u16, usize), bool>,
}

/// The words of a command that are channels, from its first argument on.
struct Channels {
    kind: ChannelKind,
    /// Whether all words are channels, which the command listens to; otherwise the first is one, to
    /// which it publishes.
    all: bool,
}

impl Channels {
    /// Those of a command; none if it has none that a rule must allow: leaving a channel needs no right.
    fn of(row: &Row) -> Option<Channels> {
        let uses = row.flags.has(Flags::PUBSUB) && !row.is_subcommand;
        let arg = row.args.first().filter(|arg| uses && !arg.optional)?;
        let kind = match arg.kind {
            ArgKind::ShardChannel => ChannelKind::Shard,
            ArgKind::Pattern => ChannelKind::Pattern,
            _ => ChannelKind::Channel,
        };
        Some(Channels { kind, all: arg.multiple })
    }
}

/// Rules given as words, with those from one that begins with a parenthesis to one that ends with it as one.
///
/// # Errors
/// The place of the first parenthesis that nothing closes.
pub(crate) fn merged<'a>(
    words: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Cow<'a, [u8]>>, usize> {
    let mut rules: Vec<Cow<'_, [u8]>> = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, word) in words.enumerate() {
        match &mut open {
            Some((_, rule)) => {
                rule.push(b' ');
                rule.extend(word);
                if word.ends_with(b")") {
                    rules.extend(open.take().map(|(_, rule)| Cow::Owned(rule)));
                }
            }
            None if word.starts_with(b"(") && !word.ends_with(b")") => {
                open = Some((at, word.to_vec()));
            }
            None => rules.push(Cow::Borrowed(word)),
        }
    }
    match open {
        Some((at, _)) => Err(at),
        None => Ok(rules),
    }
}

impl Selector {
    /// Rules that allow nothing.
    pub(super) fn new(commands: usize) -> Selector {
        Selector {
            all_keys: false,
            keys: Vec::new(),
            all_channels: false,
            channels: Vec::new(),
            rules: vec!["-@all".into()],
            allowed: vec![false; commands].into(),
            subcommands: HashMap::new(),
        }
    }

    /// Rules that stand between parentheses.
    ///
    /// # Errors
    /// If one is none; why, in Redis's words.
    pub(super) fn of(rules: &[u8], table: &Table) -> Result<Selector, &'static str> {
        let mut new = Selector::new(table.len());
        let words = rules.split(|byte| byte.is_ascii_whitespace() || *byte == 0);
        for rule in words.filter(|word| !word.is_empty()) {
            // It would end the selector where the line is read again.
            if rule.ends_with(b")") {
                return Err(SYNTAX);
            }
            new.apply(rule, table)?;
        }
        Ok(new)
    }

    /// Applies one rule.
    ///
    /// # Errors
    /// If it is none; why, in Redis's words.
    pub(super) fn apply(&mut self, rule: &[u8], table: &Table) -> Result<(), &'static str> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" => return self.apply(b"+@all", table),
            b"nocommands" => return self.apply(b"-@all", table),
            _ => match rule {
                [b'~', pattern @ ..] => self.add_key(true, true, pattern)?,
                [b'%', rest @ ..] => {
                    let at = rest.iter().position(|b| *b == b'~').ok_or(SYNTAX)?;
                    let (kinds, pattern) = (rest[..at].to_ascii_uppercase(), &rest[at + 1..]);
                    if kinds.is_empty() || kinds.iter().any(|kind| !b"RW".contains(kind)) {
                        return Err(SYNTAX);
                    }
                    self.add_key(kinds.contains(&b'R'), kinds.contains(&b'W'), pattern)?;
                }
                [b'&', pattern @ ..] => self.add_channel(pattern)?,
                [sign @ (b'+' | b'-'), rest @ ..] => {
                    self.apply_command(*sign == b'+', rest, table)?;
                    self.note(&lower);
                }
                _ => return Err(SYNTAX),
            },
        }
        Ok(())
    }

    /// Whether they allow everything.
    pub(super) fn allows_all(&self) -> bool {
        self.all_keys
            && self.all_channels
            && self.allowed.iter().all(|allowed| *allowed)
            && self.subcommands.values().all(|allowed| *allowed)
    }

    /// Whether they allow a command, or its subcommand at this place.
    pub(super) fn may_run(&self, (number, sub): (u16, Option<usize>)) -> bool {
        let special = sub.and_then(|at| self.subcommands.get(&(number, at)));
        special.copied().unwrap_or(self.allowed[usize::from(number)])
    }

    /// Whether they allow a command with these arguments. `row` is that of the subcommand, if there is one;
    /// `may` says of a channel whether it may be used, given its kind and whether all words are channels.
    pub(super) fn check(
        &self,
        command: (u16, Option<usize>),
        row: &Row,
        args: Args<'_>,
        may: impl Fn(ChannelKind, bool, &[u8]) -> bool,
    ) -> Result<(), Denied> {
        if !self.may_run(command) {
            return Err(Denied::Command);
        }
        if !self.all_keys
            && let Some(key) = row.keys(args).find(|key| !self.may_use(key.word, key.flags))
        {
            return Err(Denied::Key(key.at));
        }
        let Some(used) = Channels::of(row) else { return Ok(()) };
        let last = if used.all { args.len() } else { 2 };
        let allowed =
            |at: &usize| args.get(*at).is_none_or(|channel| may(used.kind, used.all, channel));
        match (1..last).find(|at| !allowed(at)) {
            Some(at) => Err(Denied::Channel(at)),
            None => Ok(()),
        }
    }

    /// Whether they allow an object.
    pub(super) fn may_use(&self, key: &[u8], flags: KeyFlags) -> bool {
        self.all_keys
            || self.keys.iter().any(|allowed| {
                let fits = (allowed.read || !flags.reads()) && (allowed.write || !flags.writes());
                fits && glob::matches(&allowed.pattern, key, false)
            })
    }

    /// Whether they allow any object to be read.
    pub(super) fn may_read_all_keys(&self) -> bool {
        self.all_keys || self.keys.iter().any(|allowed| allowed.read && &*allowed.pattern == b"*")
    }

    /// Whether the rules about channels allow one.
    pub(super) fn has_channel(&self, kind: ChannelKind, channel: &[u8]) -> bool {
        let fits = |allowed: &[u8]| match kind {
            // A pattern is allowed if it is one of the patterns, to the letter.
            ChannelKind::Pattern => allowed == channel,
            ChannelKind::Channel | ChannelKind::Shard => glob::matches(allowed, channel, false),
        };
        self.all_channels || self.channels.iter().any(|allowed| fits(allowed))
    }

    /// Applies `+rest` or `-rest`: a category, a command or a subcommand.
    fn apply_command(
        &mut self,
        allow: bool,
        rest: &[u8],
        table: &Table,
    ) -> Result<(), &'static str> {
        const UNKNOWN: &str = "Unknown command or category name in ACL";
        if let [b'@', category @ ..] = rest {
            if category.eq_ignore_ascii_case(b"all") {
                self.rules = Vec::new();
                self.allowed.fill(allow);
                self.subcommands.clear();
            } else {
                let category = Categories::named(category).ok_or(UNKNOWN)?;
                self.set_category(category, allow, table);
            }
            return Ok(());
        }
        let (name, sub) = match rest.iter().position(|b| *b == b'|') {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let number = table.find(name).ok_or(UNKNOWN)?;
        match sub {
            None => {
                self.allowed[usize::from(number)] = allow;
                self.subcommands.retain(|(command, _), _| *command != number);
            }
            Some(sub) => {
                let at = table.subcommand(number, sub).ok_or(UNKNOWN)?;
                self.subcommands.insert((number, at), allow);
            }
        }
        Ok(())
    }

    /// Keeps a rule about commands for the user's line, unless the others say it already.
    fn note(&mut self, rule: &[u8]) {
        let rule = String::from_utf8_lossy(rule).into_owned();
        let (sign, rest) = rule.split_at(1);
        // A rule about a command covers what was said about its subcommands before.
        self.rules.retain(|known| {
            known[1..].strip_prefix(rest).is_none_or(|sub| !sub.is_empty() && !sub.starts_with('|'))
        });
        let base =
            self.rules.first().is_some_and(|base| base.ends_with("@all") && base.starts_with(sign));
        let opposed = self.rules.iter().skip(1).any(|known| {
            !known.starts_with(sign)
                && (rest.starts_with('@')
                    || known[1..].starts_with('@')
                    || rest.starts_with(&known[1..]))
        });
        if !base || opposed || rest == "@all" {
            self.rules.push(rule);
        }
    }

    fn set_category(&mut self, category: Categories, allow: bool, table: &Table) {
        for (number, (row, subcommands)) in (0u16..).zip(table.all()) {
            if row.acl_categories().has(category) {
                self.allowed[usize::from(number)] = allow;
                self.subcommands.retain(|(command, _), _| *command != number);
            }
            for (at, sub) in subcommands.iter().enumerate() {
                if sub.acl_categories().has(category) && !row.acl_categories().has(category) {
                    self.subcommands.insert((number, at), allow);
                }
            }
        }
    }

    fn add_key(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), &'static str> {
        if read && write && pattern == b"*" {
            (self.all_keys, self.keys) = (true, Vec::new());
        } else if self.all_keys {
            return Err(
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns",
            );
        } else {
            self.keys.push(KeyPattern { read, write, pattern: Box::from(pattern) });
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), &'static str> {
        if pattern == b"*" {
            (self.all_channels, self.channels) = (true, Vec::new());
        } else if self.all_channels {
            return Err(
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels",
            );
        } else {
            self.channels.push(Box::from(pattern));
        }
        Ok(())
    }

    /// The rules about what may be run.
    pub(crate) fn commands(&self) -> String {
        self.rules.join(" ")
    }

    /// The rules about which objects may be used.
    pub(crate) fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".into();
        }
        let rule = |key: &KeyPattern| {
            let sign: &[u8] = match (key.read, key.write) {
                (true, true) => b"~",
                (true, false) => b"%R~",
                _ => b"%W~",
            };
            [sign, &key.pattern].concat()
        };
        self.keys.iter().map(rule).collect::<Vec<_>>().join(&b' ')
    }

    /// The rules about which channels may be listened to.
    pub(crate) fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".into();
        }
        let rules = self.channels.iter().map(|channel| [b"&", &**channel].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// All of them, as they stand in a user's line.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        words.extend(Some(self.key_rules()).filter(|keys| !keys.is_empty()));
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.extend(Some(self.channel_rules()).filter(|channels| !channels.is_empty()));
        words.push(self.commands().into_bytes());
        words.join(&b' ')
    }
}
