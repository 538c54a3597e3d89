//! Which of the differences that docs/compatibility.md lists a pair of replies shows.

use std::collections::BTreeMap;

use super::grammar::Words;
use super::reply::Reply;

/// What a known difference does to the commands after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing: only the answer is another.
    Passes,
    /// The servers hold other data from then on.
    Stays,
}

/// What is asked of a pair of replies.
struct Met<'a> {
    name: String,
    words: &'a Words,
    ours: &'a Reply,
    theirs: &'a Reply,
}

/// How a known difference is told from others.
struct Known {
    /// Its name in the table of differences.
    name: &'static str,
    effect: Effect,
    met: fn(&Met) -> bool,
}

/// In the order of the table.
const KNOWN: &[Known] = &[
    Known {
        name: "cursor",
        effect: Effect::Passes,
        met: |met| {
            let cursor = if met.name == "SCAN" { 1 } else { 2 };
            met.name.ends_with("SCAN") && met.words.get(cursor).is_some_and(|word| word != b"0")
        },
    },
    Known {
        name: "hexadecimal",
        effect: Effect::Stays,
        met: |met| {
            let sees = |word: &Vec<u8>| word.starts_with(b"0x");
            let refused = [
                &b"a valid float"[..],
                b"not a float",
                b"numeric radius",
                b"numeric width",
                b"numeric height",
            ];
            let number = refused.iter().any(|end| met.ours.text.ends_with(end));
            let place = met.theirs.text.starts_with(b"ERR invalid longitude");
            let other = met.theirs.text.starts_with(b"WRONGTYPE");
            let number = number && (place || other || !met.theirs.is_error());
            number && (met.words.iter().any(sees) || met.name.ends_with("FLOAT"))
        },
    },
    Known {
        name: "fixed-point",
        effect: Effect::Stays,
        met: |met| met.name.ends_with("INCRBYFLOAT") && numbers_alike(met.ours, met.theirs),
    },
    Known {
        name: "hyperloglog",
        effect: Effect::Stays,
        met: |met| {
            let of_sketch = |word: &Vec<u8>| word.len() == 2 && word[0] == b'p';
            let reads = ["LCS", "MGET"].contains(&&*met.name);
            let otherwise = reads || met.ours.text.starts_with(b"WRONGTYPE");
            otherwise && met.words.iter().any(of_sketch)
        },
    },
    Known {
        name: "no places",
        effect: Effect::Stays,
        met: |met| {
            let of_places = |word: &Vec<u8>| matches!(&word[..], b"g1" | b"g2");
            let is_answer = !met.ours.is_error() && !met.theirs.is_error();
            met.name.starts_with("GEO") && is_answer && !met.words.iter().any(of_places)
        },
    },
    Known {
        name: "digits of places",
        effect: Effect::Passes,
        met: |met| met.name.starts_with("GEO") && numbers_alike(met.ours, met.theirs),
    },
    Known {
        name: "digits of ZSCAN",
        effect: Effect::Passes,
        met: |met| met.name == "ZSCAN" && scans_alike(met.ours, met.theirs),
    },
    Known {
        name: "names",
        effect: Effect::Stays,
        met: |met| {
            let by_name = met.words.iter().any(|word| word.eq_ignore_ascii_case(b"BYLEX"));
            let is_lexical = |word: &Vec<u8>| matches!(&word[..], b"l1" | b"l2");
            (by_name || met.name.contains("LEX")) && !met.words.iter().any(is_lexical)
        },
    },
    Known {
        name: "zero",
        effect: Effect::Stays,
        met: |met| met.name.starts_with('Z') && numbers_alike(met.ours, met.theirs),
    },
];

/// What Redis itself has changed since 7.0; no page lists it.
const OLDER: &[Known] = &[
    Known {
        name: "7.0 prints doubles with 17 digits, places with as many after the point",
        effect: Effect::Passes,
        met: |met| numbers_alike(met.ours, met.theirs),
    },
    Known {
        name: "7.0 reads numbers as C does: blanks, hexadecimal digits",
        effect: Effect::Stays,
        met: |met| {
            let odd = |word: &[u8]| word.starts_with(b" ") || word.starts_with(b"0x");
            met.words.iter().any(|word| odd(word)) || met.name.starts_with("SORT")
        },
    },
    Known {
        name: "7.0 takes any cursor",
        effect: Effect::Passes,
        met: |met| met.name.ends_with("SCAN"),
    },
    Known {
        name: "7.0 looks for the key before it reads all words",
        effect: Effect::Passes,
        met: |met| matches!(&*met.name, "BITCOUNT" | "BITPOS") && met.ours.is_error(),
    },
    Known {
        name: "7.0 has no WITHSCORE",
        effect: Effect::Passes,
        met: |met| matches!(&*met.name, "ZRANK" | "ZREVRANK") && met.words.len() > 3,
    },
];

/// Whether two replies of ZSCAN tell the same members, in whatever order, with the same scores but for their digits.
fn scans_alike(ours: &Reply, theirs: &Reply) -> bool {
    let pairs = |reply: &Reply| {
        let all = reply.items.get(1).map_or(&[][..], |all| &all.items);
        let pairs =
            all.chunks(2).filter_map(|pair| Some((pair[0].text.clone(), pair.get(1)?.clone())));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let (ours, theirs) = (pairs(ours), pairs(theirs));
    ours.len() == theirs.len()
        && !ours.is_empty()
        && ours.iter().zip(&theirs).all(|((a, x), (b, y))| a == b && numbers_alike(x, y))
}

/// Whether two replies are the same but for the digits of their numbers.
fn numbers_alike(ours: &Reply, theirs: &Reply) -> bool {
    if ours.kind != theirs.kind || ours.items.len() != theirs.items.len() {
        return false;
    }
    let number = |reply: &Reply| str::from_utf8(&reply.text).ok()?.parse::<f64>().ok();
    let near = |a: f64, b: f64| (a - b).abs() <= b.abs() * 1e-15 + 1e-16;
    let alike = ours.text == theirs.text
        || number(ours).zip(number(theirs)).is_some_and(|(a, b)| near(a, b));
    alike && ours.items.iter().zip(&theirs.items).all(|(a, b)| numbers_alike(a, b))
}

/// The known difference that our reply and theirs show, if theirs is of a Redis of this version.
pub(super) fn find(
    words: &Words,
    [ours, theirs]: [&Reply; 2],
    version: (u8, u8),
) -> Option<(&'static str, Effect)> {
    let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
    let met = Met { name, words, ours, theirs };
    let older = if version < (8, 0) { OLDER } else { &[] };
    let mut all = KNOWN.iter().chain(older);
    all.find(|known| (known.met)(&met)).map(|known| (known.name, known.effect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miso_protocol::differences::DIFFERENCES;

    #[test]
    fn what_the_page_lists_is_what_the_test_lets_pass() {
        let here: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
        let listed: Vec<_> = DIFFERENCES.iter().map(|difference| difference.name).collect();
        assert_eq!(here, listed);
    }
}
