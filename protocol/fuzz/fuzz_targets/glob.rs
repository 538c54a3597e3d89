//! A pattern matches what plain recursion says that it matches. From `protocol/`:
//!
//! ```text
//! cargo +nightly fuzz run glob fuzz/corpus/glob fuzz/seeds/glob -- -max_len=24
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use miso_protocol::glob;

/// By recursion, with a star as any number of single bytes: slow, and evidently right.
fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let Some((b'*', rest)) = pattern.split_first() else {
        let Some(byte) = text.get(..1) else { return pattern.is_empty() };
        // The shortest beginning that is one element; none is a part of another.
        let element = (1..=pattern.len()).find(|end| is_element(&pattern[..*end], pattern.len()));
        let Some(end) = element else { return false };
        return glob::matches(&pattern[..end], byte, nocase)
            && matches(&pattern[end..], &text[1..], nocase);
    };
    (0..=text.len()).any(|from| matches(rest, &text[from..], nocase))
}

/// Whether these bytes are one element, of a pattern of `whole` bytes at most.
fn is_element(bytes: &[u8], whole: usize) -> bool {
    match bytes {
        [b'\\'] => whole == 1,
        [b'\\', _] => true,
        [b'[', set @ ..] => class_ends(set) || bytes.len() == whole,
        [_] => true,
        _ => false,
    }
}

/// Whether a class, without what opens it, ends with its last byte.
fn class_ends(mut set: &[u8]) -> bool {
    if let [b'^', rest @ ..] = set {
        set = rest;
    }
    loop {
        set = match set {
            [b']'] => return true,
            [] | [b']', ..] => return false,
            [b'\\', _, rest @ ..] => rest,
            [_, b'-', _, rest @ ..] => rest,
            [_, rest @ ..] => rest,
        };
    }
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (pattern, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for nocase in [false, true] {
        assert_eq!(glob::matches(pattern, text, nocase), matches(pattern, text, nocase));
    }
});
