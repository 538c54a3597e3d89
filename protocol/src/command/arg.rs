//! What an argument of a command is: its kind, the word before it, whether it may be left out or
//! repeated, what the command does to it if it is a key, and whether it is a secret.

use super::flags::KeyFlags;

/// Which words of an argument are secrets, so that MONITOR, SLOWLOG, logs and errors withhold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secret {
    /// None.
    No,
    /// All.
    Yes,
    /// Those that follow the name of a setting whose value is secret, as of CONFIG SET: the caller of
    /// [`Row::secrets`](super::Row::secrets) says of which settings that holds.
    BySetting,
}

/// How a command treats objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reads objects.
    Read,
    /// Changes objects.
    Write,
    /// Touches none.
    None,
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgKind {
    /// An object id, a key to Redis.
    Key,
    /// A channel that a cluster's client sends where the key of that name would be; it is no key.
    ShardChannel,
    /// Any bytes.
    String,
    /// An integer.
    Integer,
    /// A floating-point number.
    Double,
    /// A pattern.
    Pattern,
    /// A word that stands for itself.
    Token,
    /// One of several.
    OneOf(&'static [Arg]),
    /// Several together.
    Block(&'static [Arg]),
}

/// An argument, or a group of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// The word before it.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Whether the word before it is repeated with it, as `GET` of SORT.
    pub token_repeats: bool,
    /// The argument before it that says how often it is repeated, as `numkeys`.
    pub counted_by: Option<&'static str>,
    /// What the command does to this key; none: what follows from the row's access.
    pub key_flags: Option<KeyFlags>,
    /// Which of its words are secrets.
    pub secret: Secret,
}

impl Arg {
    const fn of(name: &'static str, kind: ArgKind) -> Arg {
        Arg {
            name,
            kind,
            token: None,
            optional: false,
            multiple: false,
            token_repeats: false,
            counted_by: None,
            key_flags: None,
            secret: Secret::No,
        }
    }

    /// An object id.
    #[must_use]
    pub const fn key(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Key)
    }

    /// A shard channel.
    #[must_use]
    pub const fn shard_channel(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::ShardChannel)
    }

    /// Any bytes.
    #[must_use]
    pub const fn string(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::String)
    }

    /// An integer.
    #[must_use]
    pub const fn integer(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Integer)
    }

    /// A floating-point number.
    #[must_use]
    pub const fn double(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Double)
    }

    /// A pattern.
    #[must_use]
    pub const fn pattern(name: &'static str) -> Arg {
        Arg::of(name, ArgKind::Pattern)
    }

    /// A word that stands for itself.
    #[must_use]
    pub const fn token(word: &'static str) -> Arg {
        Arg { token: Some(word), ..Arg::of(word, ArgKind::Token) }
    }

    /// One of several.
    #[must_use]
    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg::of(name, ArgKind::OneOf(args))
    }

    /// Several together.
    #[must_use]
    pub const fn block(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg::of(name, ArgKind::Block(args))
    }

    /// The same, and it may be left out.
    #[must_use]
    pub const fn optional(self) -> Arg {
        Arg { optional: true, ..self }
    }

    /// The same, and it may be repeated.
    #[must_use]
    pub const fn multiple(self) -> Arg {
        Arg { multiple: true, ..self }
    }

    /// The same after a word: `with_token("COUNT")`.
    #[must_use]
    pub const fn with_token(self, word: &'static str) -> Arg {
        Arg { token: Some(word), ..self }
    }

    /// The same, and it may be repeated together with its token: `[GET pattern [GET pattern ...]]`.
    #[must_use]
    pub const fn multiple_token(self) -> Arg {
        Arg { multiple: true, token_repeats: true, ..self }
    }

    /// The same, repeated as often as the integer argument `name` right before it says: `numkeys`.
    #[must_use]
    pub const fn counted_by(self, name: &'static str) -> Arg {
        Arg { multiple: true, counted_by: Some(name), ..self }
    }

    /// The same, and the command only reads this key, whatever the row's access.
    #[must_use]
    pub const fn read(self) -> Arg {
        self.with_key_flags(KeyFlags::READ)
    }

    /// The same, and the command overwrites this key: what it held does not matter.
    #[must_use]
    pub const fn written(self) -> Arg {
        self.with_key_flags(KeyFlags::WRITTEN)
    }

    /// The same, and the command reads this key and changes it.
    #[must_use]
    pub const fn read_written(self) -> Arg {
        self.with_key_flags(KeyFlags::READ_WRITTEN)
    }

    /// The same, and the command does to this key what `flags` say.
    #[must_use]
    pub const fn with_key_flags(self, flags: KeyFlags) -> Arg {
        Arg { key_flags: Some(flags), ..self }
    }

    /// The same, and its words are secrets.
    #[must_use]
    pub const fn secret(self) -> Arg {
        Arg { secret: Secret::Yes, ..self }
    }

    /// The same, and its word is a secret if the word before it names a secret setting.
    #[must_use]
    pub const fn secret_by_setting(self) -> Arg {
        Arg { secret: Secret::BySetting, ..self }
    }

    /// The arguments in it, if it is a group.
    #[must_use]
    pub const fn inner(&self) -> &'static [Arg] {
        match self.kind {
            ArgKind::OneOf(args) | ArgKind::Block(args) => args,
            _ => &[],
        }
    }

    /// Whether it is exactly one word, which is always there.
    #[must_use]
    pub const fn is_one_word(&self) -> bool {
        self.is_plain() && !self.optional && !self.multiple
    }

    /// Whether it is a word without a token before it.
    pub(super) const fn is_plain(&self) -> bool {
        let simple = !matches!(self.kind, ArgKind::Token | ArgKind::OneOf(_) | ArgKind::Block(_));
        simple && self.token.is_none()
    }

    /// Whether a token tells that it is there; such arguments may come in any order.
    pub(super) fn is_option(&self) -> bool {
        self.token.is_some()
            || match self.kind {
                ArgKind::OneOf(args) => args.iter().all(Arg::is_option),
                ArgKind::Block(args) => args.first().is_some_and(Arg::is_option),
                _ => false,
            }
    }

    /// Whether it is, or has in it, an argument that `is` says so of.
    pub(super) fn any(&self, is: fn(&Arg) -> bool) -> bool {
        is(self) || self.inner().iter().any(|arg| arg.any(is))
    }

    /// The fewest words it takes, and whether it may take more.
    pub(super) const fn words(&self) -> (i32, bool) {
        if self.optional {
            return (0, true);
        }
        let (mut least, mut more) = match self.kind {
            ArgKind::Token => (0, false),
            ArgKind::Block(args) => {
                let (mut least, mut more, mut at) = (0, false, 0);
                while at < args.len() {
                    let (n, m) = args[at].words();
                    least += n;
                    more = more || m;
                    at += 1;
                }
                (least, more)
            }
            ArgKind::OneOf(args) => {
                let (mut least, mut more, mut at) = (i32::MAX, false, 0);
                while at < args.len() {
                    let (n, m) = args[at].words();
                    more = more || m || (at > 0 && n != least);
                    least = if n < least { n } else { least };
                    at += 1;
                }
                (least, more)
            }
            _ => (1, false),
        };
        if self.token.is_some() {
            least += 1;
        }
        if self.multiple {
            more = true;
        }
        (least, more)
    }
}

/// The fewest words that these arguments take.
pub(super) fn least(args: &[Arg]) -> usize {
    args.iter().map(|arg| arg.words().0.unsigned_abs() as usize).sum()
}

/// The object that a command is about: its first argument.
pub const OBJECT: Arg = Arg::key("object");
/// The name of a CRDT in an object.
pub const NAME: Arg = Arg::string("name");
