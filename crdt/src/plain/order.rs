//! The members of a sorted set in the order of their scores: a B-tree that counts, so that a rank, the
//! member of a rank and the begin of a range are O(log n), and so are insert and remove.
//!
//! Own code because what there is does not fit: `indexset` is a B-tree of two levels, a list of nodes
//! with a Fenwick tree over their sizes, so a split touches all nodes, and it needs `std`; `wabi_tree`
//! is without `std`, but looks up by a borrowed key, which a score with a member in place is not, and
//! has no search by a predicate, which `BYSCORE` and `BYLEX` are; std's `BTreeMap` has no ranks.
//!
//! ```text
//! inner: up to 32 x | least score | how many below | child |     leaf: up to 32 x | score | member |
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use crate::thin::Thin;

/// Entries of a leaf, and children of an inner node, at most.
const MOST: usize = 32;
/// A node with fewer is joined to a neighbour, if both fit into one.
const FEW: usize = 8;

#[derive(Clone, Debug)]
struct Entry {
    score: f64,
    member: Member,
}

/// A member of up to 14 bytes in place, a longer one on the heap.
#[derive(Clone, Debug)]
enum Member {
    /// Its length and its bytes.
    Short(u8, [u8; 14]),
    Long(Thin<()>),
}

impl Member {
    fn new(member: &[u8]) -> Member {
        let mut short = [0; 14];
        match short.get_mut(..member.len()) {
            Some(room) => {
                room.copy_from_slice(member);
                Member::Short(member.len() as u8, short)
            }
            None => Member::Long(Thin::new((), member)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Member::Short(len, bytes) => &bytes[..usize::from(*len)],
            Member::Long(thin) => thin.bytes(),
        }
    }

    fn heap_bytes(&self) -> usize {
        if let Member::Long(thin) = self { thin.heap_bytes() } else { 0 }
    }
}

const _: () = assert!(size_of::<Entry>() == 24);

#[derive(Clone, Debug)]
struct Child {
    /// No score below it is smaller, and one is equal, or was.
    least: f64,
    len: usize,
    node: Box<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Child>),
}

/// Members with their scores, in the order of scores and then of bytes.
#[derive(Clone, Debug)]
pub struct Order {
    root: Node,
    len: usize,
}

impl Default for Order {
    fn default() -> Order {
        Order { root: Node::Leaf(Vec::new()), len: 0 }
    }
}

fn cmp((score, member): (f64, &[u8]), (other, than): (f64, &[u8])) -> Ordering {
    // No score is NaN; the two zeros are one.
    score.partial_cmp(&other).unwrap_or(Ordering::Equal).then_with(|| member.cmp(than))
}

impl Entry {
    fn key(&self) -> (f64, &[u8]) {
        (self.score, self.member.bytes())
    }
}

impl Child {
    fn new(node: Node) -> Child {
        Child {
            least: node.first().map_or(0.0, |entry| entry.score),
            len: node.len(),
            node: Box::new(node),
        }
    }

    fn refresh(&mut self) {
        (self.len, self.least) =
            (self.node.len(), self.node.first().map_or(self.least, |entry| entry.score));
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    /// How many entries or children it has.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn first(&self) -> Option<&Entry> {
        match self {
            Node::Leaf(entries) => entries.first(),
            Node::Inner(children) => children.first().and_then(|child| child.node.first()),
        }
    }

    /// Which child holds `key`, or would.
    fn child_of(children: &[Child], key: (f64, &[u8])) -> usize {
        let after = children.partition_point(|child| {
            child.least < key.0
                || (child.least == key.0
                    && child.node.first().is_some_and(|e| cmp(e.key(), key) != Ordering::Greater))
        });
        after.saturating_sub(1)
    }

    /// Inserts an entry that is not there; the right half if it had to be split.
    fn insert(&mut self, entry: Entry) -> Option<Node> {
        match self {
            Node::Leaf(entries) => {
                let at = entries.partition_point(|e| cmp(e.key(), entry.key()) == Ordering::Less);
                let last = at == entries.len();
                entries.insert(at, entry);
                (entries.len() > MOST).then(|| {
                    // In order, as scores by time come: then leaves stay full.
                    let half = if last { MOST } else { MOST / 2 };
                    let right = entries.split_off(half);
                    entries.shrink_to_fit();
                    Node::Leaf(right)
                })
            }
            Node::Inner(children) => {
                let at = Node::child_of(children, entry.key());
                let split = children[at].node.insert(entry);
                children[at].refresh();
                if let Some(right) = split {
                    children.insert(at + 1, Child::new(right));
                }
                (children.len() > MOST).then(|| Node::Inner(children.split_off(MOST / 2)))
            }
        }
    }

    /// Removes an entry; whether it was there.
    fn remove(&mut self, key: (f64, &[u8])) -> bool {
        match self {
            Node::Leaf(entries) => {
                let found = entries.binary_search_by(|entry| cmp(entry.key(), key));
                found.map(|at| entries.remove(at)).is_ok()
            }
            Node::Inner(children) => {
                let at = Node::child_of(children, key);
                if !children[at].node.remove(key) {
                    return false;
                }
                children[at].refresh();
                Node::balance(children, at);
                true
            }
        }
    }

    /// Joins a child that has become small to a neighbour.
    fn balance(children: &mut Vec<Child>, at: usize) {
        if children[at].node.width() >= FEW || children.len() < 2 {
            return;
        }
        let left = if at + 1 < children.len() { at } else { at - 1 };
        if children[left].node.width() + children[left + 1].node.width() > MOST {
            return;
        }
        let right = children.remove(left + 1);
        match (&mut *children[left].node, *right.node) {
            (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
            (Node::Inner(nodes), Node::Inner(more)) => nodes.extend(more),
            _ => unreachable!("neighbours are equally high"),
        }
        children[left].refresh();
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Node::Leaf(entries) => {
                let members: usize = entries.iter().map(|entry| entry.member.heap_bytes()).sum();
                entries.capacity() * size_of::<Entry>() + members
            }
            Node::Inner(children) => {
                let below = |child: &Child| size_of::<Node>() + child.node.heap_bytes();
                children.capacity() * size_of::<Child>() + children.iter().map(below).sum::<usize>()
            }
        }
    }
}

impl Order {
    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts in a member that is not there.
    pub fn insert(&mut self, score: f64, member: &[u8]) {
        self.len += 1;
        if let Some(right) = self.root.insert(Entry { score, member: Member::new(member) }) {
            let left = core::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            self.root = Node::Inner(Vec::from([Child::new(left), Child::new(right)]));
        }
    }

    /// Takes out a member with its score; whether it was there.
    pub fn remove(&mut self, score: f64, member: &[u8]) -> bool {
        let removed = self.root.remove((score, member));
        if removed {
            self.len -= 1;
            while let Node::Inner(children) = &mut self.root
                && children.len() == 1
                && let Some(child) = children.pop()
            {
                self.root = *child.node;
            }
        }
        removed
    }

    /// How many members are before the first of which `before` says no; it must say yes of a first
    /// part and no of the rest.
    #[must_use]
    pub fn partition_point(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(entries) => {
                    return rank + entries.partition_point(|e| before(e.score, e.member.bytes()));
                }
                Node::Inner(children) => {
                    let first = |child: &Child| {
                        child.node.first().is_some_and(|e| before(e.score, e.member.bytes()))
                    };
                    let at = children.partition_point(first).saturating_sub(1);
                    rank += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// How many members are before this one, which need not be there.
    #[must_use]
    pub fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.partition_point(|other, than| cmp((other, than), (score, member)) == Ordering::Less)
    }

    /// The members of these ranks, in order; from both ends.
    #[must_use]
    pub fn range(&self, ranks: Range<usize>) -> Ranks<'_> {
        let end = ranks.end.min(self.len);
        Ranks { order: self, ranks: ranks.start.min(end)..end, front: &[], back: &[] }
    }

    /// The entries of the leaf of a rank, from that rank on or up to it.
    fn leaf(&self, mut rank: usize) -> (&[Entry], usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(entries) => return (entries, rank),
                Node::Inner(children) => {
                    let mut at = 0;
                    while at + 1 < children.len() && rank >= children[at].len {
                        rank -= children[at].len;
                        at += 1;
                    }
                    node = &children[at].node;
                }
            }
        }
    }

    /// How many bytes it takes on the heap. Linear.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.root.heap_bytes()
    }
}

/// Members in order; see [`Order::range`].
#[derive(Clone, Debug)]
pub struct Ranks<'a> {
    order: &'a Order,
    ranks: Range<usize>,
    /// What is left of the leaves at both ends, which may be beyond the range.
    front: &'a [Entry],
    back: &'a [Entry],
}

impl<'a> Iterator for Ranks<'a> {
    type Item = (f64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rank = self.ranks.next()?;
        if self.front.is_empty() {
            let (entries, at) = self.order.leaf(rank);
            self.front = &entries[at..];
        }
        let (first, rest) = self.front.split_first()?;
        self.front = rest;
        Some(first.key())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranks.size_hint()
    }
}

impl DoubleEndedIterator for Ranks<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let rank = self.ranks.next_back()?;
        if self.back.is_empty() {
            let (entries, at) = self.order.leaf(rank);
            self.back = &entries[..=at];
        }
        let (last, rest) = self.back.split_last()?;
        self.back = rest;
        Some(last.key())
    }
}

impl ExactSizeIterator for Ranks<'_> {}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn all(order: &Order) -> Vec<(i64, Vec<u8>)> {
        order.range(0..order.len()).map(|(score, member)| (score as i64, member.to_vec())).collect()
    }

    fn height(node: &Node) -> usize {
        match node {
            Node::Leaf(entries) => {
                assert!(entries.len() <= MOST);
                1
            }
            Node::Inner(children) => {
                assert!((1..=MOST).contains(&children.len()));
                let heights: Vec<usize> = children.iter().map(|c| height(&c.node)).collect();
                assert!(heights.iter().all(|h| *h == heights[0]), "equally high");
                assert!(
                    children.iter().all(|child| child.len == child.node.len() && child.len > 0)
                );
                heights[0] + 1
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn behaves_as_a_sorted_list(ops in prop::collection::vec((0u16..900, -3i64..4, any::<bool>()), 0..3_000)) {
            let (mut order, mut model) = (Order::default(), vec![]);
            for (member, score, insert) in ops {
                let bytes = member.to_be_bytes().to_vec();
                let key = (score, bytes.clone());
                match (model.binary_search(&key), insert) {
                    (Err(at), true) => {
                        model.insert(at, key);
                        order.insert(score as f64, &bytes);
                    }
                    (found, false) => {
                        prop_assert_eq!(order.remove(score as f64, &bytes), found.is_ok());
                        found.into_iter().for_each(|at| _ = model.remove(at));
                    }
                    _ => {}
                }
                prop_assert_eq!(order.rank(score as f64, &bytes), model.binary_search(&(score, bytes)).unwrap_or_else(|at| at));
            }
            height(&order.root);
            prop_assert_eq!(all(&order), model.clone());
            let back: Vec<_> = order.range(0..order.len()).rev().map(|(s, m)| (s as i64, m.to_vec())).collect();
            prop_assert_eq!(back, model.iter().rev().cloned().collect::<Vec<_>>());
            for at in 0..model.len().min(40) {
                let some: Vec<_> = order.range(at..at + 3).map(|(s, m)| (s as i64, m.to_vec())).collect();
                prop_assert_eq!(&some, &model[at..(at + 3).min(model.len())]);
            }
        }
    }

    #[test]
    fn a_hundred_thousand_in_order_are_four_levels_and_all_go_again() {
        let mut order = Order::default();
        let member = |n: u32| n.to_be_bytes();
        (0..100_000u32).for_each(|n| order.insert(f64::from(n / 7), &member(n)));
        assert!(height(&order.root) <= 5, "{}", height(&order.root));
        assert_eq!(order.rank(f64::from(70_000 / 7), &member(70_000)), 70_000);
        assert_eq!(order.partition_point(|score, _| score < 5_000.0), 35_000);
        (0..100_000u32).for_each(|n| assert!(order.remove(f64::from(n / 7), &member(n))));
        assert!(order.is_empty() && order.heap_bytes() <= 48 * MOST);
    }

    #[test]
    fn the_zeros_are_one_score_and_infinities_are_at_the_ends() {
        let mut order = Order::default();
        for (score, member) in
            [(0.0, b"b"), (-0.0, b"a"), (f64::INFINITY, b"z"), (f64::NEG_INFINITY, b"y")]
        {
            order.insert(score, member);
        }
        let members: Vec<u8> = order.range(0..4).map(|(_, member)| member[0]).collect();
        assert_eq!(members, b"yabz");
        assert!(order.remove(-0.0, b"b"));
    }
}
