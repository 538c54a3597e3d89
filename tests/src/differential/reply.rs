//! Replies as they come over the wire, in either protocol, kept to the byte.

use std::fmt;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reply {
    /// The byte that names its type: `+`, `-`, `:`, `$` and so on.
    pub(super) kind: u8,
    /// What stands on its line or in its bulk; of an aggregate, of nil: nothing.
    pub(super) text: Vec<u8>,
    /// What an aggregate holds; a map's keys and values by turns.
    pub(super) items: Vec<Reply>,
    /// Whether it is nil.
    pub(super) nil: bool,
}

/// Where the reply that begins at `at` ends; none if it has not all arrived.
pub(super) fn end(bytes: &[u8], at: usize) -> Option<usize> {
    let (_, _, mut next, count) = line(bytes, at)?;
    match count {
        Inside::Nothing => {}
        Inside::Bytes(len) => next += len + 2,
        Inside::Items(count) => {
            for _ in 0..count {
                next = end(bytes, next)?;
            }
        }
    }
    (next <= bytes.len()).then_some(next)
}

/// Reads the reply that begins at `at`, of which [`end`] says that it is whole; answers what comes after it, too.
pub(super) fn read(bytes: &[u8], at: usize) -> (Reply, usize) {
    let (kind, text, next, inside) = line(bytes, at).expect("the reply is whole");
    let nil = kind == b'_' || text == b"-1" && matches!(kind, b'$' | b'*');
    let mut reply = Reply { kind, text: Vec::new(), items: Vec::new(), nil };
    match inside {
        Inside::Nothing => {
            if !nil {
                reply.text = text.to_vec();
            }
            (reply, next)
        }
        Inside::Bytes(len) => {
            reply.text = bytes[next..next + len].to_vec();
            (reply, next + len + 2)
        }
        Inside::Items(count) => {
            let mut next = next;
            for _ in 0..count {
                let (item, after) = read(bytes, next);
                reply.items.push(item);
                next = after;
            }
            (reply, next)
        }
    }
}

/// What follows a reply's first line.
enum Inside {
    Nothing,
    Bytes(usize),
    Items(usize),
}

/// A reply's first line: its type, the rest of the line, where the next begins, and what belongs to it there.
fn line(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize, Inside)> {
    let rest = bytes.get(at..)?;
    let len = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, text) = rest[..len].split_first().expect("a line of a reply has a type");
    let number = || -> Option<usize> {
        let text = str::from_utf8(text).ok()?;
        text.parse::<i64>().ok().and_then(|number| usize::try_from(number).ok())
    };
    let inside = match kind {
        b'$' | b'=' => number().map_or(Inside::Nothing, Inside::Bytes),
        b'*' | b'~' | b'>' => number().map_or(Inside::Nothing, Inside::Items),
        b'%' => number().map_or(Inside::Nothing, |pairs| Inside::Items(2 * pairs)),
        _ => Inside::Nothing,
    };
    Some((*kind, text, at + len + 2, inside))
}

impl Reply {
    /// Whether it is an error.
    pub(super) fn is_error(&self) -> bool {
        self.kind == b'-'
    }

    /// The integer that it is.
    pub(super) fn integer(&self) -> Option<i64> {
        (self.kind == b':').then(|| str::from_utf8(&self.text).ok()?.parse().ok())?
    }

    /// What it holds, pair by pair: of a map, of an array of pairs, of a flat array.
    pub(super) fn pairs(&self) -> Vec<Vec<Reply>> {
        match self.items.first() {
            Some(first) if first.kind == b'*' && !first.nil => {
                self.items.iter().map(|pair| pair.items.clone()).collect()
            }
            _ => self.items.chunks(2).map(<[Reply]>::to_vec).collect(),
        }
    }
}

impl fmt::Display for Reply {
    /// Its type, and what it holds: `$"a"`, `:1`, `*["a", :1]`, `_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = char::from(self.kind);
        match self.kind {
            _ if self.nil => write!(f, "{kind}nil"),
            b'*' | b'~' | b'>' | b'%' => {
                let items: Vec<String> = self.items.iter().map(Reply::to_string).collect();
                write!(f, "{kind}[{}]", items.join(", "))
            }
            b'$' | b'=' => write!(f, "{kind}\"{}\"", self.text.escape_ascii()),
            _ => write!(f, "{kind}{}", self.text.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_replies_are_read_and_parts_wait() {
        let bytes = b"*3\r\n$3\r\na\r\n\r\n%1\r\n+x\r\n:1\r\n*-1\r\n$-1\r\n_\r\n,1.5\r\n";
        let mut at = 0;
        let mut shown = Vec::new();
        while let Some(next) = end(bytes, at) {
            let (reply, after) = read(bytes, at);
            assert_eq!(after, next);
            shown.push(reply.to_string());
            at = next;
        }
        assert_eq!(shown, ["*[$\"a\\r\\n\", %[+x, :1], *nil]", "$nil", "_nil", ",1.5"]);
        assert!((0..30).all(|len| end(&bytes[..len], 0).is_none()));
    }
}
