//! One user: its passwords, and what it may run, touch and listen to.
//!
//! An unrestricted user costs one branch; of any other the rules of its own are tried, and then the
//! selectors that stand beside them.

use std::fmt::Write as _;

use miso_protocol::command::{Bound, KeyFlags, Row, Table};
use miso_protocol::names;
use miso_protocol::request::Args;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(crate) use super::selector::Denied;
use super::selector::{SYNTAX, Selector};
use super::token;
use crate::node::subscriptions::{CHANGES, ChannelKind};

/// The user that connections speak as unless they say otherwise.
pub(crate) const DEFAULT: &[u8] = b"default";

/// What the name of a function that cannot be one is answered with.
const BAD_FUNCTION: &str =
    "A function's name is 1 to 256 bytes of printable ASCII without blanks and '#'";

/// A REST token, by the hashes of the password that it was made from and of itself. It ends with the
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RestToken {
    password: [u8; 32],
    token: [u8; 32],
}

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Box<[u8]>,
    enabled: bool,
    nopass: bool,
    passwords: Vec<[u8; 32]>,
    /// REST tokens that were given out; one for each password at most.
    tokens: Vec<RestToken>,
    /// What it may run, touch and listen to.
    root: Selector,
    /// The same, each beside the others: what one of them allows is allowed.
    selectors: Vec<Selector>,
    function: Option<Box<[u8]>>,
    /// The SHA-256 of the function's token that it stands for.
    granted: Option<[u8; 32]>,
    /// Whether it may do everything, for every function.
    unrestricted: bool,
}

/// Whether `word` would not come back as one word from a line of the file.
pub(crate) fn splits(word: &[u8]) -> bool {
    word.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

/// The SHA-256 of a password or a token.
pub(crate) fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
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
    /// A new user, which may do nothing.
    pub(super) fn new(name: &[u8], commands: usize) -> User {
        User {
            name: Box::from(name),
            enabled: false,
            nopass: false,
            passwords: Vec::new(),
            tokens: Vec::new(),
            root: Selector::new(commands),
            selectors: Vec::new(),
            function: None,
            granted: None,
            unrestricted: false,
        }
    }

    /// The default user of a fresh start: it needs no password and may do everything.
    pub(super) fn default_user(table: &Table) -> User {
        let mut user = User::new(DEFAULT, table.len());
        for rule in [&b"on"[..], b"nopass", b"~*", b"&*", b"+@all"] {
            user.apply(rule, table).expect("the default user's rules are valid");
        }
        user
    }

    /// The user that a token of a function stands for: it may do everything within the function, or read alone.
    /// `hash` is the token's SHA-256.
    pub(crate) fn of_token(
        function: &[u8],
        (hash, read_only): (&[u8; 32], bool),
        table: &Table,
    ) -> User {
        const ALL: &[&[u8]] = &[b"on", b"~*", b"&*", b"+@all", b"-@admin"];
        const READ: &[&[u8]] =
            &[b"on", b"%R~*", b"&*", b"+@all", b"-@admin", b"-@write", b"-publish", b"-spublish"];
        let mut user = User::new(function, table.len());
        for rule in if read_only { READ } else { ALL } {
            user.apply(rule, table).expect("the rules of a token are valid");
        }
        user.function = Some(Box::from(function));
        user.granted = Some(*hash);
        user
    }

    /// The SHA-256 of the function's token that it stands for.
    pub(crate) fn granted(&self) -> Option<&[u8; 32]> {
        self.granted.as_ref()
    }

    /// Whether a connection may speak as this user without a password.
    pub(super) fn is_open(&self) -> bool {
        self.enabled && self.nopass
    }

    /// Whether it may do everything.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Replaces all its passwords by `password`; it needs none if that is empty.
    pub(super) fn set_password(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(digest(password));
        }
        self.end_tokens();
    }

    /// Ends the REST tokens whose password is gone.
    fn end_tokens(&mut self) {
        let passwords = &self.passwords;
        self.tokens.retain(|token| passwords.contains(&token.password));
    }

    /// The REST token for `password`, which authenticates as this user from now on; none if that is not
    /// one of its passwords, or if it needs none.
    pub(super) fn rest_token(&mut self, password: &[u8]) -> Option<String> {
        if self.nopass || !self.accepts_password(&digest(password)) {
            return None;
        }
        let text = token::make(&self.name, password);
        self.keep_token(RestToken { password: digest(password), token: digest(text.as_bytes()) });
        Some(text)
    }

    fn keep_token(&mut self, new: RestToken) {
        self.tokens.retain(|known| known.password != new.password);
        self.tokens.push(new);
    }

    /// Applies `resttoken:PASSWORDHASH:TOKENHASH`, as a line of the file has it.
    fn apply_token(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        let (password, token) = rest.split_at_checked(64).ok_or(SYNTAX)?;
        let token = token.strip_prefix(b":").and_then(unhex).ok_or(SYNTAX)?;
        let password = unhex(password).ok_or(SYNTAX)?;
        if !self.passwords.contains(&password) {
            return Err("The REST token belongs to a password that the user does not have");
        }
        self.keep_token(RestToken { password, token });
        Ok(())
    }

    /// The function that it is bound to.
    pub(crate) fn function(&self) -> Option<&[u8]> {
        self.function.as_deref()
    }

    /// Whether `password` is one of its passwords or REST tokens. Takes the same time whichever it is.
    pub(super) fn accepts(&self, password: &[u8]) -> bool {
        let given = digest(password);
        let fits = |known: &RestToken| bool::from(known.token.ct_eq(&given));
        let is_token = self.tokens.iter().fold(false, |ok, known| ok | fits(known));
        self.accepts_password(&given) || (self.enabled && is_token)
    }

    /// Whether the password of this hash is one of its passwords.
    fn accepts_password(&self, given: &[u8; 32]) -> bool {
        let fits = |known: &[u8; 32]| bool::from(known.ct_eq(given));
        self.enabled
            && (self.nopass || self.passwords.iter().fold(false, |ok, known| ok | fits(known)))
    }

    /// Whether it may run a command with these arguments.
    #[inline]
    pub(crate) fn check(
        &self,
        row: (u16, &Row),
        subcommand: Option<(usize, &Row)>,
        args: Args<'_>,
    ) -> Result<(), Denied> {
        if self.unrestricted { Ok(()) } else { self.check_rules(row, subcommand, args) }
    }

    fn check_rules(
        &self,
        (number, row): (u16, &Row),
        subcommand: Option<(usize, &Row)>,
        args: Args<'_>,
    ) -> Result<(), Denied> {
        let used = subcommand.map_or(row, |(_, row)| row);
        let sub = subcommand.map(|(at, _)| at);
        let check = |by: &Selector| {
            by.check((number, sub), used, args, |kind, all, channel| match all {
                true => self.may_listen_by(by, kind, channel),
                false => self.may_publish_by(by, kind, channel),
            })
        };
        if self.function.is_some() && used.bound() == Bound::Refused {
            let may_run = self.each().any(|by| by.may_run((number, sub)));
            return Err(if may_run { Denied::Bound } else { Denied::Command });
        }
        let Err(mut denied) = check(&self.root) else { return Ok(()) };
        for by in &self.selectors {
            // What came closest is said, as in Redis.
            match check(by) {
                Ok(()) => return Ok(()),
                Err(other) => denied = denied.max(other),
            }
        }
        Err(denied)
    }

    /// What it may do, as rules that each are enough.
    fn each(&self) -> impl Iterator<Item = &Selector> {
        [&self.root].into_iter().chain(&self.selectors)
    }

    /// Whether it may use an object.
    pub(crate) fn may_use(&self, key: &[u8], flags: KeyFlags) -> bool {
        self.each().any(|by| by.may_use(key, flags))
    }

    /// Whether it may run this command and read any object by the same rules.
    pub(crate) fn may_read_all_keys(&self, command: u16) -> bool {
        self.each().any(|by| by.may_run((command, None)) && by.may_read_all_keys())
    }

    /// Whether it may listen to a channel, or to a pattern of channels. What a pattern brings of other
    /// functions is left out when it is published.
    pub(crate) fn may_listen(&self, kind: ChannelKind, channel: &[u8]) -> bool {
        self.each().any(|by| self.may_listen_by(by, kind, channel))
    }

    fn may_listen_by(&self, by: &Selector, kind: ChannelKind, channel: &[u8]) -> bool {
        let is_foreign = kind == ChannelKind::Channel
            && channel.strip_prefix(CHANGES).is_some_and(|rest| !self.is_of_its_function(rest));
        !is_foreign && by.has_channel(kind, channel)
    }

    /// Whether it may publish to a channel. What is told of changes is told by the server, so a user who
    /// is bound to a function cannot forge it.
    fn may_publish_by(&self, by: &Selector, kind: ChannelKind, channel: &[u8]) -> bool {
        let is_forged =
            self.function.is_some() && kind == ChannelKind::Channel && channel.starts_with(CHANGES);
        !is_forged && by.has_channel(kind, channel)
    }

    /// Whether a channel of changes, without its prefix, may be one of the user's function.
    fn is_of_its_function(&self, rest: &[u8]) -> bool {
        let Some(function) = &self.function else { return true };
        let Some(rest) = rest.strip_prefix(&**function) else { return false };
        let at = rest.iter().position(|byte| *byte == b':');
        at.is_some_and(|at| at == 0 || names::split_database(&rest[..at]).1 > 0)
    }

    /// Applies one rule.
    ///
    /// # Errors
    /// If it is none; why, in Redis's words. Some of a rule may have been applied by then.
    pub(super) fn apply(&mut self, rule: &[u8], table: &Table) -> Result<(), &'static str> {
        // A password is kept as its hash; anything else must stay one word of the file.
        let is_long = matches!(rule, [b'>' | b'<', ..] | [b'(', .., b')']);
        if !is_long && splits(rule) {
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
            b"reset" => *self = User::new(&self.name, table.len()),
            b"clearselectors" => self.selectors.clear(),
            b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"function:*" | b"function=*" => self.function = None,
            _ => match rule {
                [sign @ (b'>' | b'<' | b'#' | b'!'), rest @ ..] => {
                    self.apply_password(*sign, rest)?;
                }
                [b'(', rules @ .., b')'] => self.selectors.push(Selector::of(rules, table)?),
                [_, ..] if lower.starts_with(b"function:") || lower.starts_with(b"function=") => {
                    let name = &rule[9..];
                    if !names::is_name(name) || name == names::RESERVED {
                        return Err(BAD_FUNCTION);
                    }
                    self.function = Some(Box::from(name));
                }
                [_, ..] if lower.starts_with(b"resttoken:") => self.apply_token(&rule[10..])?,
                _ => self.root.apply(rule, table)?,
            },
        }
        self.end_tokens();
        self.unrestricted = self.function.is_none() && self.each().any(Selector::allows_all);
        Ok(())
    }

    /// Applies `>password`, `<password`, `#hash` or `!hash`.
    fn apply_password(&mut self, sign: u8, rest: &[u8]) -> Result<(), &'static str> {
        let hash = match sign {
            b'>' | b'<' => digest(rest),
            _ => unhex(rest).ok_or("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")?,
        };
        let known = self.passwords.iter().position(|known| *known == hash);
        if matches!(sign, b'>' | b'#') {
            self.nopass = false;
            if known.is_none() {
                self.passwords.push(hash);
            }
        } else {
            let known = known
                .ok_or("The password you are trying to remove from the user does not exist")?;
            self.passwords.remove(known);
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

    /// What it may do: the rules of its own, and those that stand beside them.
    pub(crate) fn rules(&self) -> (&Selector, &[Selector]) {
        (&self.root, &self.selectors)
    }

    /// Its line in ACL LIST and in the file, byte for byte as its rules were given.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut words = vec![b"user".to_vec(), self.name.to_vec()];
        words.extend(self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()));
        words.extend(self.hashes().into_iter().map(|hash| format!("#{hash}").into_bytes()));
        words.extend(self.tokens.iter().map(|known| {
            format!("resttoken:{}:{}", hex(&known.password), hex(&known.token)).into_bytes()
        }));
        words.push(self.root.line());
        words.extend(self.selectors.iter().map(|by| [b"(", &*by.line(), b")"].concat()));
        if let Some(function) = &self.function {
            words.push([b"function:", &**function].concat());
        }
        words.join(&b' ')
    }
}

#[cfg(test)]
mod tests {
    use miso_protocol::command::Arg;

    use super::*;

    static ROWS: [Row; 1] = [Row::command("GET").args(&[Arg::key("key")]).reads()];

    #[test]
    fn a_token_ends_with_its_password() {
        let table = Table::new(&ROWS);
        let mut user = User::new(b"u", table.len());
        let apply = |user: &mut User, rule: &str| {
            user.apply(rule.as_bytes(), &table).expect("a valid rule");
        };
        apply(&mut user, "on");
        apply(&mut user, ">a");
        apply(&mut user, ">b");
        assert_eq!(user.rest_token(b"c"), None, "not a password");
        let (a, b) = (user.rest_token(b"a"), user.rest_token(b"b"));
        let (a, b) = (a.expect("a token"), b.expect("a token"));
        assert_eq!(user.rest_token(b"a").as_ref(), Some(&a), "the same again");
        assert!(a != b && user.tokens.len() == 2);
        assert!(user.accepts(a.as_bytes()) && user.accepts(b.as_bytes()) && user.accepts(b"a"));
        let mut read = User::new(b"u", table.len());
        let line = String::from_utf8(user.line()).expect("text");
        line.split(' ').skip(2).for_each(|word| apply(&mut read, word));
        assert!(read.accepts(a.as_bytes()), "{line}");
        assert_eq!(user.rest_token(a.as_bytes()), None, "a token makes no token");
        apply(&mut user, "<a");
        assert!(!user.accepts(a.as_bytes()) && user.accepts(b.as_bytes()));
        apply(&mut user, "off");
        assert!(!user.accepts(b.as_bytes()));
        apply(&mut user, "on");
        apply(&mut user, "nopass");
        assert_eq!((user.rest_token(b"x"), user.tokens.len()), (None, 0));
        let foreign = format!("resttoken:{}:{}", hex(&digest(b"z")), hex(&[0; 32]));
        assert!(user.apply(foreign.as_bytes(), &table).is_err());
        assert!(user.apply(b"resttoken:12", &table).is_err());
    }

    #[test]
    fn keys_by_access() {
        let table = Table::new(&ROWS);
        let mut user = User::new(b"u", table.len());
        for rule in [&b"%R~r:*"[..], b"%W~w:*", b"~b:*"] {
            user.apply(rule, &table).expect("a valid rule");
        }
        for (key, read, write) in
            [("r:1", true, false), ("w:1", false, true), ("b:1", true, true), ("x", false, false)]
        {
            assert_eq!(user.may_use(key.as_bytes(), KeyFlags::READ), read, "{key}");
            assert_eq!(user.may_use(key.as_bytes(), KeyFlags::WRITTEN), write, "{key}");
        }
    }
}
