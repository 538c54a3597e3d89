//! What looks at commands: `notify-keyspace-events`, in Redis's letters, and `local-decisions`.

use std::sync::atomic::AtomicU64;

use super::kind::{Choice, Kind, Packed, Rule};

/// Classes of keyspace events, and the channels that they are published to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Events(u32);

/// The letters of all classes that `A` stands for, in Redis's order.
const ALL: &[u8] = b"g$lshzxetd";
/// All letters but `A`, in the order in which Redis prints them.
const LETTERS: &[u8] = b"g$lshzxetdnKEm";

impl Events {
    /// Events of a class, by its letter; `K` and `E` are the channels.
    pub(crate) const fn of(letter: u8) -> Events {
        let mut at = 0;
        while at < LETTERS.len() {
            if LETTERS[at] == letter {
                return Events(1 << at);
            }
            at += 1;
        }
        Events(0)
    }

    /// About keys of any type: DEL, EXPIRE, RENAME.
    pub(crate) const GENERIC: Events = Events::of(b'g');
    /// About strings.
    pub(crate) const STRING: Events = Events::of(b'$');
    /// About sets.
    pub(crate) const SET: Events = Events::of(b's');
    /// About hashes.
    pub(crate) const HASH: Events = Events::of(b'h');
    /// About sorted sets.
    pub(crate) const ZSET: Events = Events::of(b'z');
    /// A key has expired.
    pub(crate) const EXPIRED: Events = Events::of(b'x');
    /// A key is there that was not.
    pub(crate) const NEW: Events = Events::of(b'n');
    /// A key that was read is absent.
    pub(crate) const MISS: Events = Events::of(b'm');
    /// Channels named by the key.
    pub(crate) const BY_KEY: Events = Events::of(b'K');
    /// Channels named by the event.
    pub(crate) const BY_EVENT: Events = Events::of(b'E');

    /// Whether all of `other` are among these.
    pub(crate) const fn has(self, other: Events) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether anything is published.
    pub(crate) fn any(self) -> bool {
        let channels = Events::BY_KEY.0 | Events::BY_EVENT.0;
        self.0 & channels != 0 && self.0 & !channels != 0
    }

    fn parse(text: &str) -> Option<Events> {
        let mut all = Events::default();
        for letter in text.bytes() {
            let known = if letter == b'A' { ALL } else { std::slice::from_ref(&letter) };
            for letter in known {
                let bit = Events::of(*letter);
                if bit == Events::default() {
                    return None;
                }
                all.0 |= bit.0;
            }
        }
        Some(all)
    }

    fn text(self) -> String {
        let is_all = ALL.iter().all(|letter| self.has(Events::of(*letter)));
        let named = LETTERS
            .iter()
            .filter(|letter| self.has(Events::of(**letter)) && !(is_all && ALL.contains(letter)));
        let first = is_all.then_some('A').into_iter();
        first.chain(named.map(|letter| char::from(*letter))).collect()
    }
}

impl Packed for Events {
    fn pack(self) -> u64 {
        self.0.into()
    }

    fn unpack(bits: u64) -> Events {
        Events(bits as u32)
    }
}

/// Letters of classes and channels.
#[derive(Debug)]
pub(crate) struct EventClasses;

impl Rule for EventClasses {
    fn normal(&self, text: &str) -> Option<String> {
        Events::parse(text).map(Events::text)
    }

    fn expected(&self) -> String {
        "letters of Ag$lshzxeKEtmdn".into()
    }

    fn refusal(&self, _: &str) -> String {
        "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()
    }
}

impl Kind for EventClasses {
    type Value = Events;
    type Cell = AtomicU64;

    fn value(&self, normal: &str) -> Option<Events> {
        Events::parse(normal)
    }
}

/// What `local-decisions` may say: whether commands that decide here are refused.
pub(crate) const DECISIONS: Choice<bool> = Choice(&[("allow", false), ("refuse", true)]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_printed_as_redis_prints_them() {
        for (text, printed) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kgx", "gxK"),
            ("E$lshztdxeg", "AE"),
            ("KEn", "nKE"),
            ("Km", "Km"),
            ("AKEmn", "AnKEm"),
        ] {
            assert_eq!(EventClasses.normal(text).as_deref(), Some(printed), "{text}");
            assert_eq!(EventClasses.normal(printed).as_deref(), Some(printed));
        }
        assert_eq!(EventClasses.normal("Kq"), None);
        let events = |text| EventClasses.value(text).unwrap_or_default();
        assert!(events("Kx").any() && events("AE").has(Events::HASH));
        assert!(!events("KE").any() && !events("A").any() && !events("").any());
    }
}
