//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]`, and `\x` for x itself.
//!
//! A star goes back only to the latest one, which is enough for these patterns: time is at most
//! the pattern's length times the text's, where Redis's recursion is exponential in the stars.

/// Whether `text` matches `pattern` as a whole; `nocase` takes ASCII letters as equal.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the match fails: behind the latest star, one byte of text further.
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

/// How many bytes the class behind its `[` takes, and whether it holds `byte`. A class that is not
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
                let (low, high) = (fold(*from).min(fold(*to)), fold(*from).max(fold(*to)));
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
