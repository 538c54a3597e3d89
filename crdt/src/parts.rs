//! What a change says of the parts of a value, by their keys in order: elements of a set, fields of a
//! map. A single part, the usual change, takes no tree, nor do many to which none is added.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::{mem, slice};

use crate::context::Context;

/// Changes of parts, by key.
#[derive(Clone, Default, Debug)]
pub(crate) enum Parts<T> {
    #[default]
    None,
    One(Box<[u8]>, T),
    /// To which more are added.
    Many(BTreeMap<Box<[u8]>, T>),
    /// In the order of their keys, each once.
    List(Vec<(Box<[u8]>, T)>),
}

impl<T> Parts<T> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Parts::None => 0,
            Parts::One(..) => 1,
            Parts::Many(parts) => parts.len(),
            Parts::List(parts) => parts.len(),
        }
    }

    /// Parts in any order. Of two of one key the first stays.
    pub(crate) fn list(mut parts: Vec<(Box<[u8]>, T)>) -> Parts<T> {
        if !parts.is_sorted_by(|(a, _), (b, _)| a < b) {
            parts.sort_by(|(a, _), (b, _)| a.cmp(b));
            parts.dedup_by(|(later, _), (first, _)| later == first);
        }
        match parts.len() {
            0 => Parts::None,
            1 => parts.pop().map_or(Parts::None, |(key, part)| Parts::One(key, part)),
            _ => Parts::List(parts),
        }
    }

    /// Makes a tree of a list, to change it.
    fn settle(&mut self) {
        if let Parts::List(parts) = self {
            *self = Parts::Many(mem::take(parts).into_iter().collect());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&T> {
        match self {
            Parts::None => None,
            Parts::One(only, part) => (**only == *key).then_some(part),
            Parts::Many(parts) => parts.get(key),
            Parts::List(parts) => {
                let at = parts.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
                Some(&parts[at].1)
            }
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        self.settle();
        match self {
            Parts::None | Parts::List(_) => None,
            Parts::One(only, part) => (**only == *key).then_some(part),
            Parts::Many(parts) => parts.get_mut(key),
        }
    }

    /// The part of `key`, which says nothing if it is new.
    pub(crate) fn touch(&mut self, key: &[u8]) -> &mut T
    where
        T: Default,
    {
        self.settle();
        match self {
            // The usual change, which has just been made.
            Parts::None => *self = Parts::One(Box::from(key), T::default()),
            _ if self.contains(key) => {}
            _ => self.insert(Box::from(key), T::default()),
        }
        match self {
            Parts::One(_, part) => part,
            parts => parts.get_mut(key).expect("known or inserted above"),
        }
    }

    fn insert(&mut self, key: Box<[u8]>, part: T) {
        self.settle();
        match mem::take(self) {
            Parts::None => *self = Parts::One(key, part),
            Parts::One(only, first) => {
                *self = Parts::Many(BTreeMap::from([(only, first), (key, part)]))
            }
            Parts::Many(mut parts) => {
                parts.insert(key, part);
                *self = Parts::Many(parts);
            }
            Parts::List(_) => unreachable!("it has just been settled"),
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.settle();
        match self {
            Parts::One(only, _) if **only == *key => *self = Parts::None,
            Parts::None | Parts::One(..) | Parts::List(_) => {}
            Parts::Many(parts) => _ = parts.remove(key),
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8], &mut T) -> bool) {
        self.settle();
        match self {
            Parts::None | Parts::List(_) => {}
            Parts::One(key, part) => {
                if !keep(key, part) {
                    *self = Parts::None;
                }
            }
            Parts::Many(parts) => parts.retain(|key, part| keep(key, part)),
        }
    }

    pub(crate) fn iter(&self) -> Iter<'_, T> {
        match self {
            Parts::None => Iter::One(None),
            Parts::One(key, part) => Iter::One(Some((key, part))),
            Parts::Many(parts) => Iter::Many(parts.iter()),
            Parts::List(parts) => Iter::List(parts.iter()),
        }
    }

    /// Joins the parts of another change: each key by `join(mine, my cleared, their cleared, theirs)`,
    /// which answers whether the result says anything.
    pub(crate) fn join(
        &mut self,
        (theirs, my_cleared, their_cleared): (&Parts<T>, &Option<Context>, &Option<Context>),
        join: impl Fn(&mut T, &Option<Context>, &Option<Context>, &T) -> bool,
    ) where
        T: Default,
    {
        self.settle();
        // What the others neither name nor clear stays as it is, and need not be looked at.
        if their_cleared.is_some() {
            let silent = T::default();
            self.retain(|key, part| {
                theirs.contains(key) || join(part, my_cleared, their_cleared, &silent)
            });
        }
        for (key, theirs) in theirs.iter() {
            match self.get_mut(key) {
                Some(mine) => {
                    if !join(mine, my_cleared, their_cleared, theirs) {
                        self.remove(key);
                    }
                }
                None => {
                    let mut fresh = T::default();
                    if join(&mut fresh, my_cleared, their_cleared, theirs) {
                        self.insert(Box::from(key), fresh);
                    }
                }
            }
        }
    }
}

// What has become one again is as good as what always was.
impl<T: PartialEq> PartialEq for Parts<T> {
    fn eq(&self, other: &Parts<T>) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Parts<T> {}

impl<T> FromIterator<(Box<[u8]>, T)> for Parts<T> {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, T)>>(parts: I) -> Parts<T> {
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (Some((key, part)), None) => Parts::One(key, part),
            (Some(one), Some(two)) => Parts::list([one, two].into_iter().chain(parts).collect()),
            (None, _) => Parts::None,
        }
    }
}

/// The parts, in the order of their keys.
pub(crate) enum Iter<'a, T> {
    One(Option<(&'a [u8], &'a T)>),
    Many(btree_map::Iter<'a, Box<[u8]>, T>),
    List(slice::Iter<'a, (Box<[u8]>, T)>),
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Iter::One(part) => Iter::One(*part),
            Iter::Many(parts) => Iter::Many(parts.clone()),
            Iter::List(parts) => Iter::List(parts.clone()),
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (&'a [u8], &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::One(part) => part.take(),
            Iter::Many(parts) => parts.next().map(|(key, part)| (&**key, part)),
            Iter::List(parts) => parts.next().map(|(key, part)| (&**key, part)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Iter::One(part) => usize::from(part.is_some()),
            Iter::Many(parts) => parts.len(),
            Iter::List(parts) => parts.len(),
        };
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
