//! Whether two replies say the same.

use super::reply::Reply;

/// What of a reply is defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Every byte.
    Exact,
    /// What it holds, in any order.
    Unordered,
    /// The pairs that it holds, in any order.
    Pairs,
    /// A cursor, and what a scan has found, in any order. A scan that goes on may have found anything.
    Scan,
    /// The same for pairs.
    ScanPairs,
    /// Numbers no farther apart than this: times that pass while the test runs.
    Near(i64),
    /// As many as on the other server, each from the reply before this one.
    Drawn,
    /// The same for pairs.
    DrawnPairs,
    /// Its type.
    Kind,
}

/// Whether `ours` says what `theirs` says. `before` is what the reply before it was on our server, and on
/// theirs.
pub(super) fn same(
    order: Order,
    ours: &Reply,
    theirs: &Reply,
    before: Option<[&Reply; 2]>,
) -> bool {
    if ours == theirs && !matches!(order, Order::Drawn | Order::DrawnPairs) {
        return true;
    }
    if ours.kind != theirs.kind || ours.nil != theirs.nil || ours.is_error() {
        return ours == theirs;
    }
    match order {
        Order::Exact => false,
        Order::Unordered => sorted(&ours.items) == sorted(&theirs.items),
        Order::Pairs => alike(ours, theirs) && sorted(&ours.pairs()) == sorted(&theirs.pairs()),
        Order::Scan | Order::ScanPairs => {
            let [our_cursor, our_found] = &ours.items[..] else { return false };
            let [their_cursor, their_found] = &theirs.items[..] else { return false };
            if our_cursor.text != b"0" || their_cursor.text != b"0" {
                return our_found.kind == their_found.kind;
            }
            let inner = if order == Order::Scan { Order::Unordered } else { Order::Pairs };
            same(inner, our_found, their_found, None)
        }
        Order::Near(distance) => near(ours, theirs, distance),
        Order::Drawn | Order::DrawnPairs => {
            let Some([our_source, their_source]) = before else { return false };
            let pairs = order == Order::DrawnPairs;
            ours.items.len() == theirs.items.len()
                && alike(ours, theirs)
                && drawn_from(ours, our_source, pairs)
                && drawn_from(theirs, their_source, pairs)
        }
        Order::Kind => true,
    }
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}

/// Whether what they hold is of the same types: flat, or in pairs.
fn alike(ours: &Reply, theirs: &Reply) -> bool {
    ours.items.first().map(|item| item.kind) == theirs.items.first().map(|item| item.kind)
}

fn near(ours: &Reply, theirs: &Reply, distance: i64) -> bool {
    match (ours.integer(), theirs.integer()) {
        // Below zero it says that there is no time.
        (Some(ours), Some(theirs)) if ours >= 0 && theirs >= 0 => {
            ours.abs_diff(theirs) <= distance as u64
        }
        (None, None) if ours.items.len() == theirs.items.len() => {
            let mut pairs = ours.items.iter().zip(&theirs.items);
            !ours.items.is_empty() && pairs.all(|(a, b)| a == b || near(a, b, distance))
        }
        _ => false,
    }
}

/// Whether a random answer is from `source`. One that is not a list is one member.
fn drawn_from(reply: &Reply, source: &Reply, pairs: bool) -> bool {
    // A set's member is a bulk string in every reply; a score may be a number in one and a text in another.
    let texts = |pair: &Vec<Reply>| pair.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    if pairs {
        let source: Vec<_> = source.pairs().iter().map(texts).collect();
        reply.pairs().iter().all(|pair| source.contains(&texts(pair)))
    } else if reply.items.is_empty() {
        reply.nil || reply.kind != b'$' || source.items.iter().any(|item| item.text == reply.text)
    } else {
        reply.items.iter().all(|item| source.items.iter().any(|one| one.text == item.text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::read;
    use super::*;

    fn reply(text: &str) -> Reply {
        read(text.as_bytes(), 0).0
    }

    #[test]
    fn order_counts_where_it_is_defined() {
        let (one, two) =
            (reply("*2\r\n$1\r\na\r\n$1\r\nb\r\n"), reply("*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
        assert!(!same(Order::Exact, &one, &two, None));
        assert!(same(Order::Unordered, &one, &two, None));
        assert!(!same(Order::Pairs, &one, &two, None));
        assert!(same(Order::Kind, &one, &two, None));
        assert!(!same(Order::Kind, &one, &reply(":1\r\n"), None));
        let set = reply("~2\r\n$1\r\na\r\n$1\r\nb\r\n");
        assert!(!same(Order::Unordered, &one, &set, None));
    }

    #[test]
    fn times_are_near_and_signs_are_exact() {
        let near = |a: &str, b: &str| same(Order::Near(5), &reply(a), &reply(b), None);
        assert!(near(":100\r\n", ":103\r\n") && near("*2\r\n:1\r\n:-2\r\n", "*2\r\n:3\r\n:-2\r\n"));
        assert!(
            !near(":100\r\n", ":106\r\n")
                && !near(":-1\r\n", ":-2\r\n")
                && !near(":0\r\n", ":-2\r\n")
        );
    }

    #[test]
    fn random_answers_come_from_what_is_there() {
        let source = reply("*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        let drawn =
            |a: &str, b: &str| same(Order::Drawn, &reply(a), &reply(b), Some([&source, &source]));
        assert!(drawn("$1\r\na\r\n", "$1\r\nb\r\n"));
        assert!(!drawn("$1\r\nx\r\n", "$1\r\nx\r\n"), "of both the same, and of neither");
        assert!(!drawn("*1\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
        assert!(drawn("*0\r\n", "*0\r\n") && drawn("-ERR x\r\n", "-ERR x\r\n"));
    }
}
