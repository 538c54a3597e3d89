//! Users and what they may do, in Redis 7's language, with one word more: `function:NAME` binds a
//! user to a function.

pub(crate) mod log;
mod selector;
pub(crate) mod token;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use miso_protocol::command::Table;
use parking_lot::RwLock;

use log::Log;
pub(crate) use selector::{Selector, merged};
use user::{DEFAULT, User};

/// All users.
#[derive(Debug)]
pub(crate) struct Acl {
    users: RwLock<BTreeMap<Box<[u8]>, Arc<User>>>,
    /// Changes with every change of a user: then sessions look theirs up again.
    generation: AtomicU64,
    /// What users were refused.
    pub(crate) log: Log,
}

impl Acl {
    /// The default user alone, with `password` unless that is empty.
    pub(crate) fn new(table: &Table, password: &[u8]) -> Acl {
        let acl =
            Acl { users: RwLock::default(), generation: AtomicU64::new(0), log: Log::default() };
        acl.users.write().insert(Box::from(DEFAULT), Arc::new(User::default_user(table)));
        acl.require(password);
        acl
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes sessions look their users up again.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// The user that a new connection speaks as: the default user, if that needs no password.
    pub(crate) fn anonymous(&self) -> Option<Arc<User>> {
        self.get(DEFAULT).filter(|user| user.is_open())
    }

    /// Whether there is the default user alone, without a password and unrestricted. AUTH then takes a
    /// function's name in place of a user's.
    pub(crate) fn open_mode(&self) -> bool {
        let users = self.users.read();
        users.len() == 1 && users.values().all(|user| user.is_open() && user.is_unrestricted())
    }

    /// The user of this name and password.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.accepts(password))
    }

    /// The REST token of this user and password; none if they do not fit together, or if the user needs
    /// no password.
    pub(crate) fn rest_token(&self, name: &[u8], password: &[u8]) -> Option<String> {
        let mut users = self.users.write();
        let user = users.get_mut(name).filter(|user| user.accepts(password))?;
        // Its rights are the same, so no session has to look it up again.
        Arc::make_mut(user).rest_token(password)
    }

    /// Sets the default user's password, or none if it is empty (`requirepass`).
    pub(crate) fn require(&self, password: &[u8]) {
        let mut users = self.users.write();
        let Some(user) = users.get_mut(DEFAULT) else { return };
        Arc::make_mut(user).set_password(password);
        drop(users);
        self.changed();
    }

    /// Applies rules to a user, made if it is new: all or none.
    ///
    /// # Errors
    /// The first rule that is not valid, and why.
    pub(crate) fn set<'a>(
        &self,
        name: &[u8],
        rules: impl Iterator<Item = &'a [u8]>,
        table: &Table,
    ) -> Result<(), (&'a [u8], String)> {
        // Held throughout, so that two changes of one user both count.
        let mut users = self.users.write();
        let mut user = match users.get(name) {
            Some(user) => (**user).clone(),
            None => User::new(name, table.len()),
        };
        for rule in rules {
            user.apply(rule, table).map_err(|why| (rule, why.to_string()))?;
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

    /// Replaces all users by those of a file's text: all or none. If the file has no default user, that
    /// one has `password` (`requirepass`), or none if that is empty.
    ///
    /// # Errors
    /// Which line is not valid, and why.
    pub(crate) fn load(&self, text: &[u8], table: &Table, password: &[u8]) -> Result<(), String> {
        let mut fresh: BTreeMap<Box<[u8]>, Arc<User>> = BTreeMap::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let Some(first) = words.next().filter(|first| !first.starts_with(b"#")) else {
                continue;
            };
            let (b"user", Some(name)) = (first, words.next()) else {
                return Err(format!("line {number}: should start with user keyword"));
            };
            let mut user = User::new(name, table.len());
            let rules = merged(words).map_err(|_| {
                format!("line {number}: Unmatched parenthesis in selector definition")
            })?;
            for word in &rules {
                user.apply(word, table).map_err(|why| {
                    // A password is not repeated in an error, only its sign.
                    let is_password = matches!(**word, [b'>' | b'<' | b'#' | b'!', ..]);
                    let shown = if is_password { &word[..1] } else { word };
                    format!("line {number}: '{}': {why}", shown.escape_ascii())
                })?;
            }
            if fresh.insert(Box::from(name), Arc::new(user)).is_some() {
                return Err(format!(
                    "line {number}: duplicate user '{}' found",
                    name.escape_ascii()
                ));
            }
        }
        fresh.entry(Box::from(DEFAULT)).or_insert_with(|| {
            let mut user = User::default_user(table);
            user.set_password(password);
            Arc::new(user)
        });
        *self.users.write() = fresh;
        self.changed();
        Ok(())
    }

    /// The users' lines, as the file holds them.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.all().iter().flat_map(|user| [user.line(), b"\n".to_vec()].concat()).collect()
    }
}

#[cfg(test)]
mod tests {
    use miso_protocol::command::{Arg, Flags, Row};
    use miso_protocol::request::OwnedArgs;

    use super::user::Denied;
    use super::*;
    use crate::mutated::{Draw, rounds};

    const KEY: Arg = Arg::key("key");
    const CHANNEL: Arg = Arg::string("channel");
    const MESSAGE: Arg = Arg::string("message");
    static ROWS: [Row; 3] = [
        Row::command("GET").args(&[KEY]).reads(),
        Row::command("SET").args(&[KEY]).writes(),
        Row::command("CLIENT").parent(),
    ];
    static SUBS: [Row; 2] = [Row::subcommand("ID"), Row::subcommand("KILL")];

    fn table() -> Table {
        let subs = |row: &'static Row| SUBS.iter().filter(|_| row.is_parent());
        Table::with_subcommands(ROWS.iter().map(|row| (row, subs(row))))
    }

    fn set(acl: &Acl, table: &Table, rules: &str) -> Result<(), String> {
        acl.set(b"u", rules.split(' ').map(str::as_bytes), table).map_err(|(_, why)| why)
    }

    /// What the user may run, before and after its line went through a file.
    fn rights(rules: &str) -> (Vec<bool>, Vec<bool>) {
        let table = table();
        let acl = Acl::new(&table, b"");
        set(&acl, &table, rules).expect("valid rules");
        let rights = |acl: &Acl| {
            let user = acl.get(b"u").expect("a user");
            let words = OwnedArgs::from_parts(&[b"command", b"key"]);
            let may = |number: u16, sub: Option<usize>| {
                let row = table.row(number);
                let sub = sub.map(|at| (at, table.subcommands(number)[at]));
                user.check((number, row), sub, words.as_args()) != Err(Denied::Command)
            };
            let client = table.find(b"CLIENT").expect("a command");
            let subs = (0..2).map(|sub| may(client, Some(sub)));
            (0..3).map(|number| may(number, None)).chain(subs).collect::<Vec<bool>>()
        };
        let before = rights(&acl);
        acl.load(&acl.text(), &table, b"").expect("a line that was written can be read");
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
    fn a_file_without_a_default_user_leaves_it_its_password() {
        let table = table();
        let acl = Acl::new(&table, b"secret");
        acl.load(b"user u on nopass ~* +@all\n", &table, b"secret").expect("a valid file");
        assert!(acl.anonymous().is_none() && acl.authenticate(DEFAULT, b"secret").is_some());
        acl.load(b"user default on nopass ~* &* +@all\n", &table, b"secret").expect("a valid file");
        assert!(acl.anonymous().is_some(), "the file says so");
    }

    #[test]
    fn bytes_that_are_no_text_come_back_from_the_file() {
        let table = table();
        let acl = Acl::new(&table, b"");
        let rules = [&b"~k\xff*"[..], b"&c\xfe", b"%R~\xc3\x28"];
        acl.set(b"u\xfd", rules.into_iter(), &table).expect("valid rules");
        let line = |acl: &Acl| acl.get(b"u\xfd").expect("a user").line();
        let before = line(&acl);
        assert!(before.windows(3).any(|bytes| bytes == b"~k\xff"));
        acl.load(&acl.text(), &table, b"").expect("a line that was written can be read");
        assert_eq!(line(&acl), before);
    }

    #[test]
    fn a_bound_user_neither_hears_nor_forges_changes_of_other_functions() {
        let table = table();
        let acl = Acl::new(&table, b"");
        set(&acl, &table, "on nopass ~* &* +@all function:A").expect("valid rules");
        let user = acl.get(b"u").expect("a user");
        static SUBSCRIBE: Row =
            Row::command("SUBSCRIBE").args(&[CHANNEL.multiple()]).flags(Flags::PUBSUB);
        static PUBLISH: Row =
            Row::command("PUBLISH").args(&[CHANNEL, MESSAGE]).flags(Flags::PUBSUB);
        let may = |row: &Row, channel: &str| {
            let words = OwnedArgs::from_parts(&[b"command", b"news", channel.as_bytes()]);
            user.check((0, row), None, words.as_args().tail(usize::from(!row.args[0].multiple)))
        };
        assert_eq!(may(&SUBSCRIBE, "__miso__:A:cart"), Ok(()));
        assert_eq!(may(&SUBSCRIBE, "__miso__:B:cart"), Err(Denied::Channel(2)));
        assert_eq!(may(&SUBSCRIBE, "__miso__:AB:cart"), Err(Denied::Channel(2)));
        assert_eq!(may(&PUBLISH, "chat"), Ok(()));
        for channel in ["__miso__:A:cart", "__miso__:B:cart"] {
            assert_eq!(may(&PUBLISH, channel), Err(Denied::Channel(1)), "{channel}");
        }
    }

    /// Rules that are broken in some bytes are refused, or come back the same from the file. A million:
    /// `MISO_MUTATED=1000000`.
    #[test]
    fn broken_rules_are_refused_or_come_back_from_the_file() {
        let table = table();
        let rules = "on off nopass >a <a #00 ~a:* %R~b %RW~c resetkeys &news allchannels +get -set \
                     +client|id -@read +@all (+get ~a) ( ) (%W~b -@all ) clearselectors reset \
                     function:A function=* resettoken: resttoken:12";
        let rules: Vec<&[u8]> = rules.split_ascii_whitespace().map(str::as_bytes).collect();
        let mut draw = Draw::new(3);
        for _ in 0..rounds() {
            let acl = Acl::new(&table, b"");
            let count = 1 + draw.below(6);
            let words: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let at = draw.below(rules.len());
                    draw.broken(rules[at])
                })
                .collect();
            let Ok(given) = merged(words.iter().map(Vec::as_slice)) else { continue };
            if acl.set(b"u", given.iter().map(|rule| &**rule), &table).is_err() {
                assert!(acl.get(b"u").is_none());
                continue;
            }
            let line = acl.get(b"u").expect("a user").line();
            let shown = line.escape_ascii();
            acl.load(&acl.text(), &table, b"").unwrap_or_else(|why| panic!("{shown}: {why}"));
            assert_eq!(acl.get(b"u").expect("a user").line(), line, "{shown}");
        }
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
}
