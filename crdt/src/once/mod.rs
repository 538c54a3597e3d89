//! Ids of writes that are to run once, with what each run of such a write says of itself: its *claim*.
//!
//! An id is a field of an observed-remove map, a claim a value of the register in it. So claims of one id
//! that nodes made while they could not hear each other stand side by side, and one can be taken away
//! without the others. What a claim means is the business of the store; here it is bytes. The type
//! is hidden: it reads as absent, so no command sees it, and no command deletes it.
//!
//! Nearly every id has one claim. Such an id takes one allocation, which its claim is in, too; all others are
//! in a map as any other. An id is in one of the two, by its claims alone, so equal states are equal.

mod change;
mod fields;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::slice;

use self::change::ID_MAX;
pub use self::change::OnceDelta;
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::{Crdt, Shown};
use crate::dot::Dot;
use crate::mv_register::{Stamp, Stamped, stamped_digest};
use crate::or_map::{Field, MapDelta, OrMap, field_digest};
use crate::table::{Header, Table, hash};
use crate::thin::Thin;

/// Ids and their claims.
#[derive(Clone, Default, Debug)]
pub struct OnceIds {
    /// Ids that have one claim.
    single: Table<Single>,
    /// Those with several, and what else peers say of ids.
    others: OrMap,
}

/// When and by whom the only claim of an id was made. Beside it stand the length of the id in one byte, the id, and the
/// claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Single(Stamp);

impl Header for Single {
    fn key(bytes: &[u8]) -> &[u8] {
        split(bytes).0
    }
}

/// The id and the claim of what stands beside a [`Single`].
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return (bytes, bytes) };
    rest.split_at_checked(usize::from(*len)).unwrap_or((rest, &[]))
}

fn single(stamp: Stamp, id: &[u8], claim: &[u8]) -> Thin<Single> {
    Thin::of_parts(Single(stamp), [&[id.len() as u8], id, claim])
}

fn parts(single: &Thin<Single>) -> (Stamp, &[u8], &[u8]) {
    let (id, claim) = split(single.bytes());
    (single.header().0, id, claim)
}

/// A claim of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimed<'a> {
    /// When and by whom it was made.
    pub stamp: Stamp,
    /// What it says.
    pub bytes: &'a [u8],
}

/// The claims of an id, in the order of their events on this node.
#[derive(Clone, Debug)]
pub struct Claims<'a>(Which<'a>);

#[derive(Clone, Debug)]
enum Which<'a> {
    Single(Option<Claimed<'a>>),
    Many(slice::Iter<'a, Stamped>),
}

impl<'a> Claims<'a> {
    /// No claims.
    pub const NONE: Claims<'static> = Claims(Which::Single(None));

    fn single(thin: &'a Thin<Single>) -> Claims<'a> {
        let (stamp, _, bytes) = parts(thin);
        Claims(Which::Single(Some(Claimed { stamp, bytes })))
    }

    fn many(field: &'a Field) -> Claims<'a> {
        Claims(Which::Many(field.register.stamped().iter()))
    }
}

impl<'a> Iterator for Claims<'a> {
    type Item = Claimed<'a>;

    fn next(&mut self) -> Option<Claimed<'a>> {
        match &mut self.0 {
            Which::Single(claim) => claim.take(),
            Which::Many(claims) => {
                claims.next().map(|c| Claimed { stamp: *c.header(), bytes: c.bytes() })
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Which::Single(claim) => usize::from(claim.is_some()),
            Which::Many(claims) => claims.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Claims<'_> {}

impl OnceIds {
    /// The claims of `id`.
    #[must_use]
    pub fn claims(&self, id: &[u8]) -> Claims<'_> {
        if let Some(single) = self.single.get_thin(hash(id), id) {
            return Claims::single(single);
        }
        // Hardly ever is there another.
        let other = if self.others.is_blank() { None } else { self.others.fields().get(id) };
        other.map_or(Claims::NONE, Claims::many)
    }

    /// Notes a claim of `id`, beside those that are there; whether there were any.
    pub fn claim<E: Events>(
        &mut self,
        id: &[u8],
        claim: &[u8],
        events: &mut E,
        change: Option<&mut OnceDelta>,
    ) -> bool {
        let hashed = hash(id);
        let beside = self.single.get_thin(hashed, id).is_some() || self.has_other(id);
        if beside || id.len() > ID_MAX {
            self.open(id);
            self.others.put(id, claim, events, change.map(OnceDelta::map));
            self.close(id);
            return beside;
        }
        let stamp = Stamp { dot: events.next(), time: events.time() };
        self.single.insert_thin(hashed, single(stamp, id, claim));
        if let Some(change) = change {
            change.add(stamp, id, claim);
        }
        false
    }

    /// Takes the claim away that was made by `old`, and puts `new` in its place, if there is one; whether
    /// it was there. Other claims of the id stay.
    pub fn swap<E: Events>(
        &mut self,
        id: &[u8],
        (old, new): (Dot, Option<&[u8]>),
        events: &mut E,
        change: Option<&mut OnceDelta>,
    ) -> bool {
        if !self.claims(id).any(|claim| claim.stamp.dot == old) {
            return false;
        }
        self.open(id);
        let swapped = self.others.swap(id, (old, new), events, change.map(OnceDelta::map));
        self.close(id);
        swapped
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.single.len() + self.others.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids and their claims, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Claims<'_>)> {
        let single = self.single.thins().map(|thin| (parts(thin).1, Claims::single(thin)));
        let others = self.others.fields().iter();
        single.chain(others.map(|(id, field)| (id, Claims::many(field))))
    }

    fn has_other(&self, id: &[u8]) -> bool {
        !self.others.is_blank() && self.others.fields().contains(id)
    }

    /// Moves an id to those that may have several claims.
    fn open(&mut self, id: &[u8]) {
        if let Some(single) = self.single.take_thin(hash(id), id) {
            let (stamp, _, claim) = parts(&single);
            self.others.put_only(id, Thin::new(stamp, claim));
        }
    }

    /// Moves an id back if it has one claim.
    fn close(&mut self, id: &[u8]) {
        if id.len() <= ID_MAX
            && let Some(claim) = self.others.take_only(id)
        {
            self.single.insert_thin(hash(id), single(*claim.header(), id, claim.bytes()));
        }
    }

    /// Joins a claim that a change adds.
    fn join_claim(&mut self, seen: &impl Seen, (stamp, id, claim): (Stamp, &[u8], &[u8])) -> bool {
        let hashed = hash(id);
        let held = self.single.get_thin(hashed, id);
        if held.is_some_and(|held| held.header().0.dot == stamp.dot) || seen.seen(stamp.dot) {
            return false;
        }
        if held.is_none() && !self.has_other(id) {
            self.single.insert_thin(hashed, single(stamp, id, claim));
            return true;
        }
        let mut one = MapDelta::default();
        one.touch(id).register.add(Thin::new(stamp, claim));
        self.join_map(seen, &one)
    }

    fn join_map(&mut self, seen: &impl Seen, delta: &MapDelta) -> bool {
        let mut new = false;
        if let Some(cleared) = delta.cleared() {
            let before = self.single.len();
            self.single.retain(|id, single| delta.names(id) || !cleared.seen(single.0.dot));
            new = self.single.len() < before;
        }
        delta.fields().for_each(|id| self.open(id));
        new |= self.others.apply(seen, delta);
        delta.fields().for_each(|id| self.close(id));
        if delta.cleared().is_some() {
            let others = self.others.fields().iter().map(|(id, _)| id.into());
            let others: Vec<Box<[u8]>> = others.collect();
            others.iter().for_each(|id| self.close(id));
        }
        new
    }
}

impl PartialEq for OnceIds {
    fn eq(&self, other: &OnceIds) -> bool {
        let held = |single: &Thin<Single>| {
            let id = parts(single).1;
            other.single.get_thin(hash(id), id) == Some(single)
        };
        self.single.len() == other.single.len()
            && self.single.thins().all(held)
            && self.others == other.others
    }
}

impl Eq for OnceIds {}

impl Crdt for OnceIds {
    type Delta = OnceDelta;

    fn is_absent(&self) -> bool {
        true
    }

    fn is_blank(&self) -> bool {
        self.single.is_empty() && self.others.is_blank()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &OnceDelta) -> bool {
        match delta {
            OnceDelta::Claims(claims) => {
                claims.iter().fold(false, |new, claim| self.join_claim(seen, claim) | new)
            }
            OnceDelta::Map(delta) => self.join_map(seen, delta),
        }
    }

    fn whole(&self, context: &Context) -> OnceDelta {
        let mut delta = self.since(&());
        delta.map().set_cleared(context.clone());
        delta
    }

    fn parts(&self) -> usize {
        self.single.len() + self.others.parts()
    }

    // Ids with several claims are in every piece: one may move between the two while others are saved.
    fn piece(&self, cursor: u64, most: usize) -> (OnceDelta, u64) {
        let mut delta = OnceDelta::of(self.others.since(&()));
        let next = self.single.scan_thins(cursor, most, |single| {
            let (stamp, id, claim) = parts(single);
            delta.add(stamp, id, claim);
        });
        (delta, next)
    }

    fn since(&self, known: &impl Seen) -> OnceDelta {
        let mut delta = OnceDelta::of(self.others.since(known));
        let single = self.single.thins().map(parts);
        for (stamp, id, claim) in single.filter(|(stamp, ..)| !known.seen(stamp.dot)) {
            delta.add(stamp, id, claim);
        }
        delta
    }

    fn join_delta(delta: &mut OnceDelta, other: &OnceDelta) {
        delta.join(other);
    }

    fn complete(delta: &mut OnceDelta, context: &Context) -> bool {
        OrMap::complete(delta.map(), context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        let single =
            self.single.thins().map(parts).map(|(stamp, id, claim)| {
                field_digest(id, stamped_digest(writers, stamp, claim), 0)
            });
        single.fold(Crdt::digest(&self.others, writers), u64::wrapping_add)
    }

    fn removals(delta: &OnceDelta) -> OnceDelta {
        match delta {
            OnceDelta::Claims(_) => OnceDelta::default(),
            OnceDelta::Map(map) => OnceDelta::of(OrMap::removals(map)),
        }
    }

    fn learn(delta: &OnceDelta, context: &mut Context) {
        match delta {
            OnceDelta::Claims(claims) => {
                claims.iter().for_each(|(stamp, ..)| context.insert(stamp.dot));
            }
            OnceDelta::Map(map) => OrMap::learn(map, context),
        }
    }

    /// Ids outlive what their writes did: deleting does nothing.
    fn reset<E: Events>(&mut self, _: &Context, _: &mut E, _: Option<&mut OnceDelta>) -> bool {
        false
    }

    fn size(&self) -> i64 {
        self.len() as i64
    }

    fn each_dot(&self, mut each: impl FnMut(Dot)) {
        self.single.iter().for_each(|(_, single)| each(single.0.dot));
        self.others.each_dot(each);
    }

    fn show(&self, writers: &Writers) -> Shown {
        let Shown::Fields(mut fields) = self.others.show(writers) else { unreachable!("a map") };
        let single = self.single.thins().map(parts);
        fields.extend(single.map(|(_, id, claim)| (id.to_vec(), claim.to_vec())));
        fields.sort_unstable();
        Shown::Fields(fields)
    }

    fn heap_bytes(&self) -> usize {
        let own = size_of::<OnceIds>() - size_of::<OrMap>();
        own + self.single.heap_bytes() + self.others.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::laws::{Site, exchange};

    #[derive(Clone, Debug)]
    enum Edit {
        Claim(u8, u8),
        Replace(u8, u8),
        Drop(u8),
    }

    fn edit(site: &mut Site<OnceIds>, edit: &Edit) {
        let first = |site: &Site<OnceIds>, id: u8| {
            site.state.claims(&[id]).next().map(|claim| claim.stamp.dot)
        };
        match *edit {
            Edit::Claim(id, n) => {
                site.edit(|ids, events, change| ids.claim(&[id], &[n], events, Some(change)));
            }
            Edit::Replace(id, n) => {
                if let Some(old) = first(site, id) {
                    let swap = (old, Some(&[n][..]));
                    site.edit(|ids, events, change| ids.swap(&[id], swap, events, Some(change)));
                }
            }
            Edit::Drop(id) => {
                if let Some(old) = first(site, id) {
                    site.edit(|ids, events, change| {
                        ids.swap(&[id], (old, None), events, Some(change))
                    });
                }
            }
        }
    }

    /// The claims of each id, bytewise in order.
    fn read(ids: &OnceIds) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
        let read = |claims: Claims<'_>| {
            let mut all: Vec<Vec<u8>> = claims.map(|claim| claim.bytes.to_vec()).collect();
            all.sort_unstable();
            all
        };
        let all: BTreeMap<_, _> =
            ids.iter().map(|(id, claims)| (id.to_vec(), read(claims))).collect();
        assert_eq!(all.len(), ids.len());
        all
    }

    crate::laws! {
        once: OnceIds, Edit = prop_oneof![
            6 => (0u8..3, 0u8..9).prop_map(|(id, n)| Edit::Claim(id, n)),
            2 => (0u8..3, 0u8..9).prop_map(|(id, n)| Edit::Replace(id, n)),
            2 => (0u8..3).prop_map(Edit::Drop),
        ],
        |site, op| edit(site, op),
        |ids| read(ids),
        settle |_ids| {}
    }

    #[test]
    fn claims_made_apart_stand_side_by_side_and_go_one_by_one() {
        let [mut a, mut b, mut c] = [0, 1, 2].map(Site::<OnceIds>::new);
        edit(&mut a, &Edit::Claim(7, 1));
        edit(&mut b, &Edit::Claim(7, 2));
        let mut sites = [a, b, c];
        exchange(&mut sites);
        assert!(sites.iter().all(|site| read(&site.state)[&[7][..]] == [[1], [2]]));
        [a, b, c] = sites;
        edit(&mut b, &Edit::Drop(7));
        let mut sites = [a, b, c];
        exchange(&mut sites);
        assert!(sites.iter().all(|site| read(&site.state)[&[7][..]].len() == 1));
        assert!(sites.iter().all(|site| site.state.is_absent() && !site.state.is_blank()));
    }
}
