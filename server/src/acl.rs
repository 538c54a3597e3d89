//! Users and what they may do, in Redis 7's language, with one word more: `function:NAME` binds a
//! user to a function.
//!
//! What a rule says is compiled into a bit per command, so an unrestricted user costs one branch and
//! any other a bit test, plus a look at the keys unless all are allowed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use miso_protocol::command::{Access, Categories, Row, Table};
use miso_protocol::glob;
use miso_protocol::request::Args;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::pubsub::Kind;
use crate::shared::unix_micros;

/// The user that connections speak as unless they say otherwise.
pub(crate) const DEFAULT: &[u8] = b"default";

/// A key pattern and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    read: bool,
    write: bool,
    pattern: Box<[u8]>,
}

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Box<[u8]>,
    enabled: bool,
    nopass: bool,
    passwords: Vec<[u8; 32]>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
    /// The rules about commands, as they were given since the latest of all or none.
    rules: Vec<String>,
    allowed: Box<[bool]>,
    /// Subcommands that differ from their command.
    subcommands: HashMap<(u16, usize), bool>,
    function: Option<Box<[u8]>>,
    /// Whether it may do everything.
    unrestricted: bool,
}

/// Why a user may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Command,
    Key,
    Channel,
}

impl Denied {
    /// As ACL LOG names it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Denied::Command => "command",
            Denied::Key => "key",
            Denied::Channel => "channel",
        }
    }

    /// Redis's error line for a command called `name`.
    pub(crate) fn line(self, name: &str) -> String {
        match self {
            Denied::Command => {
                format!("NOPERM this user has no permissions to run the '{name}' command")
            }
            Denied::Key => "NOPERM this user has no permissions to access one of the keys used as arguments".into(),
            Denied::Channel => "NOPERM this user has no permissions to access one of the channels used as arguments".into(),
        }
    }
}

/// Whether a line of words would not give this word back.
pub(crate) fn splits(word: &[u8]) -> bool {
    String::from_utf8_lossy(word).chars().any(|c| c.is_whitespace() || c == '\0')
}

fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl User {
    /// A new user, who may do nothing.
    fn new(name: &[u8], commands: usize) -> User {
        User {
            name: Box::from(name),
            enabled: false,
            nopass: false,
            passwords: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: false,
            channels: Vec::new(),
            rules: vec!["-@all".into()],
            allowed: vec![false; commands].into(),
            subcommands: HashMap::new(),
            function: None,
            unrestricted: false,
        }
    }

    /// The function that it is bound to.
    pub(crate) fn function(&self) -> Option<&[u8]> {
        self.function.as_deref()
    }

    /// Whether `password` is one of its own. Takes the same time whichever it is.
    fn accepts(&self, password: &[u8]) -> bool {
        let given = digest(password);
        let fits = |known: &[u8; 32]| bool::from(known.ct_eq(&given));
        self.enabled
            && (self.nopass || self.passwords.iter().fold(false, |ok, known| ok | fits(known)))
    }

    /// Whether it may run a command with these arguments.
    pub(crate) fn check(
        &self,
        (number, row): (u16, &Row),
        subcommand: Option<(usize, &Row)>,
        args: Args<'_>,
    ) -> Result<(), Denied> {
        if self.unrestricted {
            return Ok(());
        }
        let special = subcommand.and_then(|(at, _)| self.subcommands.get(&(number, at)));
        if !special.copied().unwrap_or(self.allowed[usize::from(number)]) {
            return Err(Denied::Command);
        }
        if !self.all_keys {
            let row = subcommand.map_or(row, |(_, row)| row);
            if !row.keys(args).all(|key| self.may_use(key.word, row.access)) {
                return Err(Denied::Key);
            }
        }
        Ok(())
    }

    /// Whether it may use an object.
    pub(crate) fn may_use(&self, key: &[u8], access: Access) -> bool {
        self.keys.iter().any(|allowed| {
            let fits = match access {
                Access::Read => allowed.read,
                Access::Write => allowed.write,
                Access::None => true,
            };
            fits && glob::matches(&allowed.pattern, key, false)
        })
    }

    /// Whether it may use a channel, or a pattern of channels.
    pub(crate) fn may_listen(&self, kind: Kind, channel: &[u8]) -> Result<(), Denied> {
        let fits = |allowed: &[u8]| match kind {
            // A pattern is allowed if it is one of the patterns, to the letter.
            Kind::Pattern => allowed == channel,
            Kind::Channel | Kind::Shard => glob::matches(allowed, channel, false),
        };
        if self.all_channels || self.channels.iter().any(|allowed| fits(allowed)) {
            Ok(())
        } else {
            Err(Denied::Channel)
        }
    }

    /// Applies one rule.
    fn apply(&mut self, rule: &[u8], table: &Table) -> Result<(), &'static str> {
        const SYNTAX: &str = "Syntax error";
        const UNKNOWN: &str = "Unknown command or category name in ACL";
        // A password is kept as its hash; anything else must stay one word of the file.
        if !rule.starts_with(b">") && !rule.starts_with(b"<") && splits(rule) {
            return Err(SYNTAX);
        }
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            b"allkeys" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" => return self.apply(b"+@all", table),
            b"nocommands" => return self.apply(b"-@all", table),
            b"reset" => *self = User::new(&self.name, table.len()),
            b"clearselectors" | b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"function:*" => self.function = None,
            _ => match rule {
                [b'>', password @ ..] => {
                    self.nopass = false;
                    let hashed = digest(password);
                    if !self.passwords.contains(&hashed) {
                        self.passwords.push(hashed);
                    }
                }
                [b'<', password @ ..] => {
                    self.forget_password(digest(password))?;
                }
                [b'#', hash @ ..] => {
                    let hash = unhex(hash).ok_or("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")?;
                    self.nopass = false;
                    if !self.passwords.contains(&hash) {
                        self.passwords.push(hash);
                    }
                }
                [b'!', hash @ ..] => {
                    let hash = unhex(hash).ok_or("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")?;
                    self.forget_password(hash)?;
                }
                [b'~', pattern @ ..] => self.add_key(true, true, pattern)?,
                [b'%', rest @ ..] => {
                    let at = rest.iter().position(|b| *b == b'~').ok_or(SYNTAX)?;
                    let (kinds, pattern) = (rest[..at].to_ascii_uppercase(), &rest[at + 1..]);
                    if kinds.is_empty() || kinds.iter().any(|kind| !b"RW".contains(kind)) {
                        return Err(SYNTAX);
                    }
                    self.add_key(kinds.contains(&b'R'), kinds.contains(&b'W'), pattern)?;
                }
                [b'&', pattern @ ..] => match pattern {
                    b"*" => (self.all_channels, self.channels) = (true, Vec::new()),
                    _ if self.all_channels => {
                        return Err(
                            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels",
                        );
                    }
                    _ => self.channels.push(Box::from(pattern)),
                },
                [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                    let allow = *sign == b'+';
                    if category.eq_ignore_ascii_case(b"all") {
                        self.rules = Vec::new();
                        self.allowed.fill(allow);
                        self.subcommands.clear();
                    } else {
                        let category = Categories::named(category).ok_or(UNKNOWN)?;
                        self.set_category(category, allow, table);
                    }
                    self.note(&lower);
                }
                [sign @ (b'+' | b'-'), command @ ..] => {
                    let allow = *sign == b'+';
                    let (name, sub) = match command.iter().position(|b| *b == b'|') {
                        Some(at) => (&command[..at], Some(&command[at + 1..])),
                        None => (command, None),
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
                    self.note(&lower);
                }
                [prefix @ .., _] if lower.starts_with(b"function:") && prefix.len() >= 9 => {
                    self.function = Some(Box::from(&rule[9..]));
                }
                _ => return Err(SYNTAX),
            },
        }
        let all = self.allowed.iter().all(|allowed| *allowed)
            && self.subcommands.values().all(|allowed| *allowed);
        self.unrestricted = all && self.all_keys && self.all_channels;
        Ok(())
    }

    fn forget_password(&mut self, hash: [u8; 32]) -> Result<(), &'static str> {
        let known = self.passwords.iter().position(|known| *known == hash);
        let known =
            known.ok_or("The password you are trying to remove from the user does not exist")?;
        self.passwords.remove(known);
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
        for (number, row) in (0u16..).zip(table.iter()) {
            if row.acl_categories().has(category) {
                self.allowed[usize::from(number)] = allow;
                self.subcommands.retain(|(command, _), _| *command != number);
            }
            for (at, sub) in row.subcommands.iter().enumerate() {
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

    /// The names of its flags.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        flags
    }

    /// Its passwords, hashed.
    pub(crate) fn hashes(&self) -> Vec<String> {
        self.passwords.iter().map(|hash| hex(hash)).collect()
    }

    /// What it may run.
    pub(crate) fn commands(&self) -> String {
        self.rules.join(" ")
    }

    /// What objects it may use.
    pub(crate) fn key_rules(&self) -> String {
        if self.all_keys {
            return "~*".into();
        }
        let rule = |key: &KeyPattern| {
            let pattern = String::from_utf8_lossy(&key.pattern);
            match (key.read, key.write) {
                (true, true) => format!("~{pattern}"),
                (true, false) => format!("%R~{pattern}"),
                _ => format!("%W~{pattern}"),
            }
        };
        self.keys.iter().map(rule).collect::<Vec<_>>().join(" ")
    }

    /// What channels it may listen to.
    pub(crate) fn channel_rules(&self) -> String {
        if self.all_channels {
            return "&*".into();
        }
        let rule = |channel| format!("&{}", String::from_utf8_lossy(channel));
        self.channels.iter().map(|channel| rule(channel)).collect::<Vec<_>>().join(" ")
    }

    /// Its line in ACL LIST and in the file.
    pub(crate) fn line(&self) -> String {
        let mut words = vec!["user".to_owned(), String::from_utf8_lossy(&self.name).into_owned()];
        words.extend(self.flags().into_iter().map(str::to_owned));
        words.extend(self.hashes().into_iter().map(|hash| format!("#{hash}")));
        words.extend(Some(self.key_rules()).filter(|keys| !keys.is_empty()));
        if !self.all_channels {
            words.push("resetchannels".into());
        }
        words.extend(Some(self.channel_rules()).filter(|channels| !channels.is_empty()));
        words.push(self.commands());
        if let Some(function) = &self.function {
            words.push(format!("function:{}", String::from_utf8_lossy(function)));
        }
        words.join(" ")
    }
}

/// One line of ACL LOG.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) count: u64,
    pub(crate) reason: &'static str,
    pub(crate) context: &'static str,
    pub(crate) object: String,
    pub(crate) username: String,
    pub(crate) client: String,
    pub(crate) at_micros: u64,
}

/// All users.
#[derive(Debug)]
pub(crate) struct Acl {
    users: RwLock<BTreeMap<Box<[u8]>, Arc<User>>>,
    /// Changes with every change of a user: then sessions look theirs up again.
    generation: AtomicU64,
    log: Mutex<VecDeque<LogEntry>>,
}

impl Acl {
    /// The default user alone, with `password` unless that is empty.
    pub(crate) fn new(table: &Table, password: &[u8]) -> Acl {
        let acl =
            Acl { users: RwLock::default(), generation: AtomicU64::new(0), log: Mutex::default() };
        acl.users.write().insert(Box::from(DEFAULT), Arc::new(default_user(table)));
        acl.require(password);
        acl
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// Whom a new connection speaks as: the default user, if that needs no password.
    pub(crate) fn anonymous(&self) -> Option<Arc<User>> {
        self.get(DEFAULT).filter(|user| user.enabled && user.nopass)
    }

    /// Whether everyone may do everything: then a user name is a function's.
    pub(crate) fn open_mode(&self) -> bool {
        let users = self.users.read();
        users.len() == 1
            && users.values().all(|user| user.enabled && user.nopass && user.unrestricted)
    }

    /// The user of this name and password.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.accepts(password))
    }

    /// Sets the default user's password, or none if it is empty (`requirepass`).
    pub(crate) fn require(&self, password: &[u8]) {
        let mut users = self.users.write();
        let Some(user) = users.get_mut(DEFAULT) else { return };
        let user = Arc::make_mut(user);
        user.passwords.clear();
        user.nopass = password.is_empty();
        if !password.is_empty() {
            user.passwords.push(digest(password));
        }
        drop(users);
        self.changed();
    }

    /// Applies rules to a user, made if it is new: all or none.
    pub(crate) fn set<'a>(
        &self,
        name: &[u8],
        rules: impl Iterator<Item = &'a [u8]>,
        table: &Table,
    ) -> Result<(), String> {
        // Held throughout, so that two changes of one user both count.
        let mut users = self.users.write();
        let mut user = match users.get(name) {
            Some(user) => (**user).clone(),
            None => User::new(name, table.len()),
        };
        for rule in rules {
            user.apply(rule, table).map_err(|why| {
                format!(
                    "ERR Error in ACL SETUSER modifier '{}': {why}",
                    String::from_utf8_lossy(rule)
                )
            })?;
        }
        users.insert(Box::from(name), Arc::new(user));
        drop(users);
        self.changed();
        Ok(())
    }

    /// Removes a user; whether it was there.
    pub(crate) fn remove(&self, name: &[u8]) -> bool {
        let removed = self.users.write().remove(name).is_some();
        self.changed();
        removed
    }

    /// Replaces all users by those of a file's text: all or none.
    pub(crate) fn load(&self, text: &str, table: &Table) -> Result<(), String> {
        let mut fresh: BTreeMap<Box<[u8]>, Arc<User>> = BTreeMap::new();
        for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some("user"), Some(name)) = (words.next(), words.next()) else {
                return Err(format!("line {number}: should start with user keyword"));
            };
            let mut user = User::new(name.as_bytes(), table.len());
            for word in words {
                user.apply(word.as_bytes(), table).map_err(|why| {
                    // Of a password no more than its kind.
                    let shown =
                        if word.starts_with(['>', '<', '#', '!']) { &word[..1] } else { word };
                    format!("line {number}: '{shown}': {why}")
                })?;
            }
            if fresh.insert(Box::from(name.as_bytes()), Arc::new(user)).is_some() {
                return Err(format!("line {number}: duplicate user '{name}' found"));
            }
        }
        fresh.entry(Box::from(DEFAULT)).or_insert_with(|| Arc::new(default_user(table)));
        *self.users.write() = fresh;
        self.changed();
        Ok(())
    }

    /// Notes that somebody was refused; the same again within a minute counts up.
    pub(crate) fn note(&self, entry: LogEntry, max: usize) {
        let mut log = self.log.lock();
        let same = |known: &&mut LogEntry| {
            known.reason == entry.reason
                && known.context == entry.context
                && known.object == entry.object
                && known.username == entry.username
                && entry.at_micros.saturating_sub(known.at_micros) < 60_000_000
        };
        match log.iter_mut().find(same) {
            Some(known) => {
                known.count += 1;
                known.at_micros = entry.at_micros;
            }
            None => log.push_front(entry),
        }
        log.truncate(max);
    }

    pub(crate) fn log(&self, count: usize) -> Vec<LogEntry> {
        self.log.lock().iter().take(count).cloned().collect()
    }

    pub(crate) fn reset_log(&self) {
        self.log.lock().clear();
    }
}

fn default_user(table: &Table) -> User {
    let mut user = User::new(DEFAULT, table.len());
    for rule in [&b"on"[..], b"nopass", b"~*", b"&*", b"+@all"] {
        user.apply(rule, table).expect("the default user's rules are valid");
    }
    user
}

/// A log entry of now.
pub(crate) fn refused(
    reason: &'static str,
    context: &'static str,
    object: String,
    username: &[u8],
    client: String,
) -> LogEntry {
    LogEntry {
        count: 1,
        reason,
        context,
        object,
        username: String::from_utf8_lossy(username).into_owned(),
        client,
        at_micros: unix_micros(),
    }
}

/// A password of `bits` random bits, in hex.
pub(crate) fn generate(bits: usize) -> String {
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    fill_with_random(&mut bytes);
    let mut text = hex(&bytes);
    text.truncate(digits);
    text
}

/// Fills it with bytes that nobody can guess.
pub(crate) fn fill_with_random(bytes: &mut [u8]) {
    use std::io::Read as _;
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(bytes))
        .expect("the system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROWS: [Row; 3] = [
        Row { name: "GET", access: Access::Read, args: &[GET_KEY], ..Row::EMPTY },
        Row { name: "SET", access: Access::Write, args: &[GET_KEY], ..Row::EMPTY },
        Row {
            name: "CLIENT",
            subcommands: &[
                Row { name: "ID", is_subcommand: true, ..Row::EMPTY },
                Row { name: "KILL", is_subcommand: true, ..Row::EMPTY },
            ],
            ..Row::EMPTY
        },
    ];
    const GET_KEY: miso_protocol::command::Arg = miso_protocol::command::Arg::key("key");

    fn table() -> Table {
        Table::new(&ROWS)
    }

    fn set(acl: &Acl, table: &Table, rules: &str) -> Result<(), String> {
        acl.set(b"u", rules.split(' ').map(str::as_bytes), table)
    }

    /// What the user may run, before and after its line went through a file.
    fn rights(rules: &str) -> (Vec<bool>, Vec<bool>) {
        let table = table();
        let acl = Acl::new(&table, b"");
        set(&acl, &table, rules).expect("valid rules");
        let rights = |acl: &Acl| {
            let user = acl.get(b"u").expect("a user");
            let mut rights = user.allowed.to_vec();
            let client = table.find(b"CLIENT").expect("a command");
            for sub in 0..2 {
                let own = user.subcommands.get(&(client, sub)).copied();
                rights.push(own.unwrap_or(user.allowed[usize::from(client)]));
            }
            rights
        };
        let before = rights(&acl);
        let text: String = acl.all().iter().map(|user| user.line() + "\n").collect();
        acl.load(&text, &table).expect("a line that was written can be read");
        (before, rights(&acl))
    }

    #[test]
    fn a_line_gives_the_same_rights_again() {
        for rules in [
            "+get -@read",
            "+@all -get +@read",
            "+@read -get",
            "+client|id -client",
            "+@all -client|kill +client",
            "+@all -client +client|id",
            "+client -client|kill +@all -set",
            "+@write -set +set -@all +get",
        ] {
            let (before, after) = rights(rules);
            assert_eq!(before, after, "{rules}");
        }
    }

    #[test]
    fn passwords() {
        let table = table();
        let acl = Acl::new(&table, b"secret");
        assert!(acl.anonymous().is_none() && !acl.open_mode());
        assert!(acl.authenticate(DEFAULT, b"secret").is_some());
        assert!(acl.authenticate(DEFAULT, b"wrong").is_none());
        acl.require(b"");
        assert!(acl.anonymous().is_some() && acl.open_mode());
        set(&acl, &table, "on >a >b <a").expect("valid rules");
        assert!(!acl.open_mode(), "the first user ends it");
        assert!(acl.authenticate(b"u", b"a").is_none());
        assert!(acl.authenticate(b"u", b"b").is_some());
        set(&acl, &table, "off").expect("a valid rule");
        assert!(acl.authenticate(b"u", b"b").is_none());
    }

    #[test]
    fn refused_rules_change_nothing() {
        let table = table();
        let acl = Acl::new(&table, b"");
        for rules in ["+nosuch", "on +@nosuch", "~* ~x", "%X~a", "<unknown", "#12", "nonsense"] {
            assert!(set(&acl, &table, rules).is_err(), "{rules}");
            assert!(acl.get(b"u").is_none(), "{rules}");
        }
        let two_lines = [&b"~a\nuser evil on nopass ~* +@all"[..]];
        assert!(acl.set(b"u", two_lines.into_iter(), &table).is_err());
    }

    #[test]
    fn keys_by_access() {
        let table = table();
        let acl = Acl::new(&table, b"");
        set(&acl, &table, "%R~r:* %W~w:* ~b:*").expect("valid rules");
        let user = acl.get(b"u").expect("a user");
        for (key, read, write) in
            [("r:1", true, false), ("w:1", false, true), ("b:1", true, true), ("x", false, false)]
        {
            assert_eq!(user.may_use(key.as_bytes(), Access::Read), read, "{key}");
            assert_eq!(user.may_use(key.as_bytes(), Access::Write), write, "{key}");
        }
    }
}
