//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]`, and `\x` for x itself.
//!
//! A star goes back only to the latest one, which is enough for these patterns, since every other
//! element takes exactly one byte: time is at most the pattern's length times the text's, where plain
//! recursion is exponential in the stars.
//!
//! Results are those of Redis's `stringmatchlen`, oddities included: a class that is not closed ends
//! with the pattern; in a class an escaped letter keeps its case even if case does not matter; and a
//! range is turned around before its ends are made lower case, so `[Z-a]` holds no letter then. Two
//! results differ. Stars match an empty text: Redis says no, and its callers work around it. Bytes from
//! 0x80 on come after the others in a range, as where C's `char` has no sign.

/// Whether `text` matches `pattern` as a whole; `nocase` takes ASCII letters as equal.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the match fails: after the latest star, one byte of text further.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(byte)) => one(&pattern[p..], *byte, nocase),
            (None, Some(_)) | (Some(_), None) => None,
        };
        match (step, star) {
            (Some(taken), _) => {
                p += taken;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                (p, t) = (after, from + 1);
                star = Some((after, from + 1));
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes of `pattern` its first element takes if it matches `byte`; none if it does not.
fn one(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let fold = |b: u8| if nocase { b.to_ascii_lowercase() } else { b };
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (taken, hit) = class(set, byte, nocase);
            hit.then_some(1 + taken)
        }
        [b'\\', literal, ..] => (fold(*literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(*literal) == fold(byte)).then_some(1),
        [] => None,
    }
}

/// How many bytes the class after its `[` takes, and whether it holds `byte`. A class that is not
/// closed ends with the pattern.
fn class(set: &[u8], byte: u8, nocase: bool) -> (usize, bool) {
    let fold = |b: u8| if nocase { b.to_ascii_lowercase() } else { b };
    let not = set.first() == Some(&b'^');
    let mut at = usize::from(not);
    let mut hit = false;
    loop {
        match &set[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                hit |= *literal == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (low, high) = (fold(*from.min(to)), fold(*from.max(to)));
                hit |= (low..=high).contains(&fold(byte));
                at += 3;
            }
            [literal, ..] => {
                hit |= fold(*literal) == fold(byte);
                at += 1;
            }
        }
    }
    (at, hit != not)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by recursion: exponential, and nothing to get wrong.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| naive(rest, &text[skip..], nocase)),
            _ => text.split_first().is_some_and(|(byte, tail)| {
                let taken = one(pattern, *byte, nocase);
                taken.is_some_and(|taken| naive(&pattern[taken..], tail, nocase))
            }),
        }
    }

    /// Tried on a Redis 7.0.15 by way of `SCAN … MATCH`, but for the three with nothing in them.
    #[test]
    fn as_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("*", "anything", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h[a-b]llo", "hcllo", false),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("a\\", "a\\", true),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("[", "a", false),
            ("[^", "a", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[a-]", "_", true),
            ("[\\]]", "]", true),
            ("[\\", "\\", true),
            ("a**", "a", true),
            ("**a", "bca", true),
            ("*a*b*", "xxaxxb", true),
            ("*a*b", "xxaxxbc", false),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
        ];
        for (pattern, text, expected) in cases {
            let found = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert_eq!(found, *expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn case_matters_only_if_asked() {
        assert!(!matches(b"HELLO", b"hello", false));
        assert!(matches(b"HELLO", b"hello", true));
        assert!(matches(b"[A-C]x", b"bX", true));
        assert!(!matches(b"[\\A]", b"a", true));
        assert!(!matches(b"[Z-a]", b"b", true));
    }

    #[test]
    fn stars_match_nothing_too() {
        assert!(matches(b"*", b"", false) && matches(b"***", b"", false));
        assert!(!matches(b"*?", b"", false));
    }

    /// By recursion this takes longer than anybody waits.
    #[test]
    fn many_stars_cost_little() {
        let pattern = b"a*".repeat(200);
        let text = b"a".repeat(20_000);
        assert!(matches(&pattern, &text, false));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text, false));
    }

    fn bytes(alphabet: &'static [u8], longest: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(alphabet), 0..=longest)
    }

    proptest! {
        #[test]
        fn as_defined(
            pattern in bytes(b"*?[]^-\\abAB", 9), text in bytes(b"abAB]-\\*", 7), nocase: bool,
        ) {
            prop_assert_eq!(matches(&pattern, &text, nocase), naive(&pattern, &text, nocase));
        }

        #[test]
        fn never_fails(pattern: Vec<u8>, text: Vec<u8>, nocase: bool) {
            let _ = matches(&pattern, &text, nocase);
        }
    }
}
