//! Sets: observed-remove, and grow-only as the same without a remove.
//!
//! State: per element the dots of the adds that stand, nearly always one. A remove covers the adds
//! it has seen, so a concurrent add wins; a clear covers a whole context in one number a writer,
//! whatever the size of the set. Nothing is kept of a removed element. A grow-only set is
//! deleted the same way, by observation.
//! Source: Bieniusa et al. 2012, an optimised conflict-free replicated set.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::cleared::{complete, join_cleared};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::{Crdt, Shown};
use crate::digest::{digest_of, fact};
use crate::dot::Dot;
use crate::dots::{Dots, Touch};
use crate::parts::Parts;
use crate::table::{self, Header, Table};

impl Header for Dots {}

/// How many elements of a change are looked up ahead.
const AHEAD: usize = 16;

/// A set of byte strings.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Set {
    elements: Table<Dots>,
}

/// A change of a set: `| touched: varint n, n x (element, touch) | cleared |`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SetDelta {
    touched: Parts<Touch>,
    cleared: Option<Context>,
}

impl Set {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Whether `element` is in it.
    #[must_use]
    pub fn contains(&self, element: &[u8]) -> bool {
        self.elements.contains(element)
    }

    /// The elements with their dots: iteration, scan and random choice.
    #[must_use]
    pub fn elements(&self) -> &Table<Dots> {
        &self.elements
    }

    /// Adds `element`; whether it was new here. Adding what is there still counts against a
    /// concurrent remove.
    pub fn add<E: Events>(
        &mut self,
        element: &[u8],
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> bool {
        let (dots, new) = self.elements.get_or_insert_with(element, Dots::default);
        let touch = change.map(|change| change.touch(element));
        dots.replace(true, events, touch);
        new
    }

    /// Removes `element` as far as it is seen here; whether it was there.
    pub fn remove<E: Events>(
        &mut self,
        element: &[u8],
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> bool {
        let Some(old) = self.elements.remove(element) else {
            return false;
        };
        events.next();
        if let Some(change) = change {
            change.touch(element).supersede(old.iter(), events);
            change.forget_if_empty(element);
        }
        true
    }

    /// Removes all that is seen here, which is what `context` covers; how many elements there were.
    pub fn clear<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> usize {
        let gone = self.len();
        if gone > 0 {
            events.next();
            if let Some(change) = change {
                change.touched.retain(|_, touch| {
                    touch.added.retain(|dot| !context.seen(dot));
                    touch.removed.retain(|dot| !context.seen(dot));
                    !touch.is_empty()
                });
                // What was fetched ahead of the vector is seen, too.
                let mut cleared = context.clone();
                let dots = self.elements.iter().flat_map(|(_, dots)| dots.iter());
                dots.for_each(|dot| cleared.insert(dot));
                join_cleared(&mut change.cleared, &Some(cleared));
            }
            self.elements = Table::new();
        }
        gone
    }

    /// Joins what a change says of one element; whether it was new.
    fn apply_touch(
        &mut self,
        (hash, element): (u64, &[u8]),
        seen: &impl Seen,
        cleared: &Option<Context>,
        touch: &Touch,
    ) -> bool {
        if let Some(dots) = self.elements.get_mut_hashed(hash, element) {
            let new = dots.apply(seen, cleared, touch);
            if dots.is_empty() {
                self.elements.remove(element);
            }
            return new;
        }
        let mut dots = Dots::None;
        dots.apply(seen, cleared, touch);
        let new = !dots.is_empty();
        if new {
            self.elements.get_or_insert_hashed(hash, element, || dots);
        }
        new
    }
}

impl SetDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.cleared.is_none()
    }

    /// A change that adds `element` under `dot`, and nothing else.
    #[must_use]
    pub fn addition(element: &[u8], dot: Dot) -> SetDelta {
        let touch = Touch { added: Dots::One(dot), removed: Dots::None };
        SetDelta { touched: Parts::One(Box::from(element), touch), cleared: None }
    }

    /// The element and its dot, if that is all that it says.
    #[must_use]
    pub fn as_addition(&self) -> Option<(&[u8], Dot)> {
        match self {
            SetDelta {
                touched: Parts::One(element, Touch { added: Dots::One(dot), removed: Dots::None }),
                cleared: None,
            } => Some((element, *dot)),
            _ => None,
        }
    }

    fn touch(&mut self, element: &[u8]) -> &mut Touch {
        self.touched.touch(element)
    }

    fn forget_if_empty(&mut self, element: &[u8]) {
        if self.touched.get(element).is_some_and(Touch::is_empty) {
            self.touched.remove(element);
        }
    }
}

impl Crdt for Set {
    type Delta = SetDelta;

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn is_blank(&self) -> bool {
        self.is_empty()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &SetDelta) -> bool {
        let mut new = false;
        if let Some(cleared) = &delta.cleared {
            self.elements.retain(|element, dots| {
                if !delta.touched.contains(element) {
                    new |= dots.retain(|dot| !cleared.seen(dot));
                }
                !dots.is_empty()
            });
        }
        let mut touched = delta.touched.iter();
        let mut hashes = [0; AHEAD];
        while touched.len() > 0 {
            let next = hashes.iter_mut().zip(touched.clone());
            let count = next.map(|(hash, (element, _))| *hash = table::hash(element)).count();
            if count > 1 {
                self.elements.prefetch(&hashes[..count]);
            }
            for (hash, (element, touch)) in hashes[..count].iter().zip(touched.by_ref()) {
                new |= self.apply_touch((*hash, element), seen, &delta.cleared, touch);
            }
        }
        new
    }

    fn whole(&self, context: &Context) -> SetDelta {
        SetDelta { cleared: Some(context.clone()), ..self.since(&()) }
    }

    fn since(&self, known: &impl Seen) -> SetDelta {
        let new = |dots: &Dots| Touch::adding(dots.iter().filter(|dot| !known.seen(*dot)));
        let touched = self.elements.iter().map(|(e, dots)| (e, new(dots)));
        let touched = touched.filter(|(_, touch)| !touch.is_empty());
        SetDelta {
            touched: touched.map(|(e, touch)| (Box::from(e), touch)).collect(),
            cleared: None,
        }
    }

    fn parts(&self) -> usize {
        self.len()
    }

    fn piece(&self, cursor: u64, most: usize) -> (SetDelta, u64) {
        let mut touched = Vec::new();
        let next = self.elements.scan(cursor, most, |element, dots| {
            touched.push((Box::from(element), Touch::adding(dots.iter())));
        });
        (SetDelta { touched: Parts::list(touched), cleared: None }, next)
    }

    fn join_delta(delta: &mut SetDelta, other: &SetDelta) {
        delta.touched.join(
            (&other.touched, &delta.cleared, &other.cleared),
            |touch, mine, theirs, other| {
                touch.join(mine, theirs, other);
                !touch.is_empty()
            },
        );
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut SetDelta, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        self.elements.iter().fold(0, |sum, (element, dots)| {
            let element = digest_of(element, 0);
            let facts = dots.iter().map(|dot| fact(writers, dot, &[element]));
            facts.fold(sum, u64::wrapping_add)
        })
    }

    fn removals(delta: &SetDelta) -> SetDelta {
        let gone = delta.touched.iter().filter(|(_, touch)| !touch.removed.is_empty());
        SetDelta {
            touched: gone.map(|(e, touch)| (Box::from(e), touch.removals())).collect(),
            cleared: delta.cleared.clone(),
        }
    }

    fn each_added(delta: &SetDelta, each: &mut impl FnMut(Dot)) {
        delta.touched.iter().flat_map(|(_, touch)| touch.added.iter()).for_each(each);
    }

    fn learn(delta: &SetDelta, context: &mut Context) {
        delta.touched.iter().for_each(|(_, touch)| touch.learn(context));
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn prefetch(&self, delta: &SetDelta) {
        if let (1, Some((element, _))) = (delta.touched.len(), delta.touched.iter().next()) {
            self.elements.prefetch_bucket(table::hash(element));
        }
    }

    fn reset<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> bool {
        self.clear(context, events, change) > 0
    }

    fn size(&self) -> i64 {
        self.len() as i64
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.elements.iter().flat_map(|(_, dots)| dots.iter()).for_each(each);
    }

    fn show(&self, _: &Writers) -> Shown {
        let mut members: Vec<Vec<u8>> = self.elements.iter().map(|(e, _)| e.to_vec()).collect();
        members.sort_unstable();
        Shown::List(members)
    }

    fn heap_bytes(&self) -> usize {
        let dots: usize = self.elements.iter().map(|(_, dots)| dots.heap_bytes()).sum();
        size_of::<Set>() + self.elements.heap_bytes() + dots
    }
}

impl Encode for SetDelta {
    fn encode(&self, to: &mut Encoder) {
        to.count(self.touched.len());
        for (element, touch) in self.touched.iter() {
            to.bytes(element);
            touch.encode(to);
        }
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let touched = from.map(5, |from| {
            let (element, touch) = (from.boxed()?, Touch::decode(from)?);
            if touch.is_empty() { Err(DecodeError::Invalid("touch")) } else { Ok((element, touch)) }
        })?;
        Ok(SetDelta { touched, cleared: Option::decode(from)? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::laws::{Site, exchange};

    #[derive(Clone, Debug)]
    enum Edit {
        Add(u8),
        Remove(u8),
        Clear,
    }

    fn edit(site: &mut Site<Set>, edit: &Edit) {
        match edit {
            Edit::Add(element) => add(site, &[*element]),
            Edit::Remove(element) => remove(site, &[*element]),
            Edit::Clear => clear(site),
        }
    }

    fn add(site: &mut Site<Set>, element: &[u8]) {
        site.edit(|set, events, change| set.add(element, events, Some(change)));
    }

    fn remove(site: &mut Site<Set>, element: &[u8]) {
        site.edit(|set, events, change| set.remove(element, events, Some(change)));
    }

    fn clear(site: &mut Site<Set>) {
        let context = site.context.clone();
        site.edit(|set, events, change| set.clear(&context, events, Some(change)));
    }

    fn read(set: &Set) -> Vec<Vec<u8>> {
        let elements: BTreeSet<_> = set.elements().iter().map(|(e, _)| e.to_vec()).collect();
        assert_eq!(elements.len(), set.len());
        elements.into_iter().collect()
    }

    crate::laws! {
        grow_only: Set, Edit = prop_oneof![
            6 => (0u8..5).prop_map(Edit::Add),
            1 => Just(Edit::Clear),
        ],
        |site, op| edit(site, op),
        |set| read(set)
    }

    crate::laws! {
        observed_remove: Set, Edit = prop_oneof![
            6 => (0u8..4).prop_map(Edit::Add),
            3 => (0u8..4).prop_map(Edit::Remove),
            1 => Just(Edit::Clear),
        ],
        |site, op| edit(site, op),
        |set| read(set)
    }

    fn sites() -> [Site<Set>; 3] {
        [0, 1, 2].map(Site::new)
    }

    fn agree(sites: &mut [Site<Set>]) -> Vec<Vec<u8>> {
        exchange(sites);
        assert!(sites.iter().all(|site| site.state == sites[0].state));
        read(&sites[0].state)
    }

    /// Defect 5 of the original: the removal of a replica's newest element did not propagate, and
    /// the element came back.
    #[test]
    fn d5_the_newest_element_can_be_removed() {
        let [mut a, mut b, _] = sites();
        add(&mut a, b"old");
        add(&mut a, b"new");
        b.receive(&a.send());
        remove(&mut a, b"new");
        b.receive(&a.send());
        assert_eq!(read(&b.state), [b"old"]);
        assert_eq!(agree(&mut [a, b]), [b"old"]);
    }

    /// Defect 7 of the original: equal objects were two elements, and a number was another element
    /// at its receiver. Here elements are bytes, and equal bytes are one element.
    #[test]
    fn d7_elements_are_the_same_bytewise() {
        let mut all = sites();
        add(&mut all[0], br#"{"a":1}"#);
        add(&mut all[1], br#"{"a":1}"#);
        add(&mut all[1], b"1");
        add(&mut all[2], b"1");
        add(&mut all[2], b"1\0");
        assert_eq!(agree(&mut all), [&b"1"[..], b"1\0", br#"{"a":1}"#]);
        assert_eq!(all[0].state.len(), 3);
    }

    #[test]
    fn add_wins_over_a_concurrent_remove() {
        let mut all = sites();
        add(&mut all[0], b"x");
        exchange(&mut all);
        add(&mut all[0], b"x"); // there already, and yet it counts
        remove(&mut all[1], b"x");
        assert_eq!(agree(&mut all), [b"x"]);
    }

    #[test]
    fn concurrent_removes_remove() {
        let mut all = sites();
        add(&mut all[0], b"x");
        exchange(&mut all);
        remove(&mut all[1], b"x");
        remove(&mut all[2], b"x");
        assert!(agree(&mut all).is_empty());
        assert!(all[0].state.is_blank() && all[0].state.elements().heap_bytes() == 0);
    }

    #[test]
    fn an_add_survives_a_concurrent_clear() {
        let mut all = sites();
        add(&mut all[0], b"seen");
        exchange(&mut all);
        add(&mut all[0], b"unseen");
        clear(&mut all[1]);
        assert_eq!(agree(&mut all), [b"unseen"]);
    }

    #[test]
    fn pieces_say_what_the_whole_says() {
        let [mut site, ..] = sites();
        // More than are looked up ahead, and a last piece that is not full.
        for element in 0..3 * AHEAD as u8 + 1 {
            add(&mut site, &[element]);
        }
        let (mut joined, mut pieces, mut cursor) = (Set::default(), 0, 0);
        loop {
            let (piece, next) = site.state.piece(cursor, AHEAD + 1);
            assert!(joined.apply(&(), &piece));
            (pieces, cursor) = (pieces + 1, next);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!((joined, pieces), (site.state, 3));
    }

    /// A part that came twice would say two things of one element.
    #[test]
    fn parts_out_of_order_are_refused() {
        let writers = Writers::of(crate::ReplicaId(1));
        let part = |element: &[u8], seq| {
            let dot = Dot::new(crate::Writer(0), seq).expect("small");
            (Box::from(element), Touch::adding([dot].into_iter()))
        };
        for (keys, right) in [([b"a", b"b"], true), ([b"b", b"a"], false), ([b"a", b"a"], false)] {
            let touched = Parts::List(vec![part(keys[0], 1), part(keys[1], 2)]);
            let delta = crate::Delta::OrSet(SetDelta { touched, cleared: None });
            let read = crate::Delta::decode(&delta.encode(&writers), &mut writers.clone());
            let refused = Err(DecodeError::Invalid("order of parts"));
            assert_eq!(read, if right { Ok(delta) } else { refused });
        }
    }

    /// Defect 9 of the original: deletes were local, and the next touch brought the value back.
    #[test]
    fn d9_deletes_stay() {
        let [mut a, mut b, mut c] = sites();
        add(&mut a, b"x");
        let added = a.send();
        b.receive(&added);
        clear(&mut b);
        let deleted = b.send();
        c.receive(&deleted); // before it has heard of the add
        c.receive(&added);
        a.receive(&deleted);
        a.receive(&added); // an old copy
        assert!(a.state.is_empty() && c.state.is_empty());
        assert!(agree(&mut [a, b, c]).is_empty());
    }

    /// A remove that overtook an add of another replica, which a third then passes on as state.
    #[test]
    fn a_removal_ahead_of_its_add_is_passed_on() {
        let [mut a, mut b, mut c] = sites();
        add(&mut a, b"x");
        let added = a.send();
        b.receive(&added);
        remove(&mut b, b"x");
        c.receive(&b.send());
        let mut d = Site::new(3);
        d.receive(&added);
        d.join(&c);
        assert!(d.state.is_empty());
    }

    #[test]
    fn a_clear_costs_no_more_for_a_million_elements() {
        let [mut a, _, _] = sites();
        (0..1_000u32).for_each(|n| add(&mut a, &n.to_be_bytes()));
        a.send();
        clear(&mut a);
        add(&mut a, b"next");
        let change = a.send().delta;
        assert_eq!((change.touched.len(), change.cleared.is_some()), (1, true));
    }

    #[test]
    fn what_changes_nothing_makes_no_event() {
        let [mut a, _, _] = sites();
        remove(&mut a, b"x");
        clear(&mut a);
        assert!(a.context.is_empty());
        add(&mut a, b"x");
        add(&mut a, b"x"); // nobody has seen the first
        assert_eq!(a.context.upto(crate::Writer(0)), 1);
        remove(&mut a, b"x");
        assert!(a.send().delta.is_empty(), "nobody has heard of it");
    }

    proptest! {
        /// Pitfall 4.8: a delta that claims to know more than it says removes what nobody removed.
        #[test]
        fn no_element_goes_that_nobody_removed(
            edits in prop::collection::vec((0usize..3, 0u8..8, any::<bool>(), any::<bool>()), 1..60),
            subset in prop::collection::vec(any::<Index>(), 1..20),
        ) {
            let mut all = sites();
            let mut messages = vec![];
            for (at, element, remove_it, send) in edits {
                if remove_it && element >= 4 {
                    remove(&mut all[at], &[element]);
                } else {
                    add(&mut all[at], &[element]);
                }
                if send {
                    messages.push(all[at].send());
                    let other = (at + 1) % 3;
                    all[other].receive(messages.last().expect("just sent"));
                }
            }
            messages.push(all[0].send());
            let mut reader: Site<Set> = Site::new(9);
            let mut added = BTreeSet::new();
            for message in subset.iter().map(|which| which.get(&messages)) {
                let touched = message.delta.touched.iter();
                added.extend(touched.filter(|(e, t)| e[0] < 4 && !t.added.is_empty()).map(|(e, _)| e.to_vec()));
                reader.receive(message);
                for element in &added {
                    prop_assert!(reader.state.contains(element));
                }
            }
        }
    }
}
