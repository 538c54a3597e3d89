//! The keys that a thread has changed since it began to listen, for callers that tell of what they did themselves.

use std::cell::RefCell;

/// A key, and the name of the function that it is in.
pub type HeardKey = (Box<[u8]>, Box<[u8]>);

thread_local! {
    static HEARD: RefCell<Option<Vec<HeardKey>>> = const { RefCell::new(None) };
}

/// Listens to this thread's own changes of plain keys until it is dropped. Changes are heard only while the store is
/// listened to ([`Store::listen`](crate::Store::listen)).
#[derive(Debug)]
#[must_use]
pub struct Hearing(());

impl Hearing {
    /// Begins to listen.
    pub fn begin() -> Hearing {
        HEARD.set(Some(Vec::new()));
        Hearing(())
    }

    /// The keys that have changed, each once, in the order of their first changes.
    #[must_use]
    pub fn end(self) -> Vec<HeardKey> {
        HEARD.take().unwrap_or_default()
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        HEARD.set(None);
    }
}

/// Notes that this thread has changed a key.
pub(crate) fn note(function: &[u8], key: &[u8]) {
    HEARD.with_borrow_mut(|heard| {
        let Some(heard) = heard else { return };
        let is_same = |(f, k): &HeardKey| **f == *function && **k == *key;
        if !heard.iter().rev().take(LOOKED_BACK).any(is_same) {
            heard.push((function.into(), key.into()));
        }
    });
}

/// How many of the latest keys are looked through for one that has changed again: a command changes a key several
/// times in a row, or two keys in turn.
const LOOKED_BACK: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_heard_once_in_order_while_a_thread_listens() {
        note(b"f", b"before");
        let hearing = Hearing::begin();
        for (function, key) in [(b"f", b"a"), (b"f", b"b"), (b"f", b"a"), (b"g", b"a")] {
            note(function, key);
        }
        let heard = hearing.end();
        let heard: Vec<(&[u8], &[u8])> = heard.iter().map(|(f, k)| (&**f, &**k)).collect();
        assert_eq!(heard, [(&b"f"[..], &b"a"[..]), (b"f", b"b"), (b"g", b"a")]);
        note(b"f", b"after");
        assert!(Hearing::begin().end().is_empty());
    }
}
