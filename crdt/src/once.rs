//! Ids of writes that are to run once, with what each run of such a write says of itself: its *claim*.
//!
//! An id is a field of an observed-remove map, a claim a value of the register in it. So claims of one id
//! that nodes made while they could not hear each other stand side by side, and one can be taken away
//! without the others. What a claim means is the business of the store; here it is bytes. The type
//! is hidden: it reads as absent, so no command sees it, and no command deletes it.

use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::{Crdt, Shown};
use crate::dot::Dot;
use crate::mv_register::Stamped;
use crate::or_map::{MapDelta, OrMap};

/// Ids and their claims.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct OnceIds(OrMap);

/// A change of ids: as that of a map.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct OnceDelta(MapDelta);

impl OnceIds {
    /// The claims of `id`, in the order of their events on this node.
    #[must_use]
    pub fn claims(&self, id: &[u8]) -> &[Stamped] {
        self.0.fields().get(id).map_or(&[], |field| field.register.stamped())
    }

    /// Notes a claim of `id`, beside those that are there.
    pub fn claim<E: Events>(
        &mut self,
        id: &[u8],
        claim: &[u8],
        events: &mut E,
        change: Option<&mut OnceDelta>,
    ) {
        self.0.put(id, claim, events, change.map(|change| &mut change.0));
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
        self.0.swap(id, (old, new), events, change.map(|change| &mut change.0))
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids and their claims, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[Stamped])> {
        self.0.fields().iter().map(|(id, field)| (id, field.register.stamped()))
    }
}

impl OnceDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids that it speaks of by name.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.0.fields()
    }
}

impl Crdt for OnceIds {
    type Delta = OnceDelta;

    fn is_absent(&self) -> bool {
        true
    }

    fn is_blank(&self) -> bool {
        self.0.is_blank()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &OnceDelta) -> bool {
        self.0.apply(seen, &delta.0)
    }

    fn whole(&self, context: &Context) -> OnceDelta {
        OnceDelta(self.0.whole(context))
    }

    fn parts(&self) -> usize {
        self.0.parts()
    }

    fn piece(&self, cursor: u64, most: usize) -> (OnceDelta, u64) {
        let (delta, cursor) = self.0.piece(cursor, most);
        (OnceDelta(delta), cursor)
    }

    fn since(&self, known: &impl Seen) -> OnceDelta {
        OnceDelta(self.0.since(known))
    }

    fn join_delta(delta: &mut OnceDelta, other: &OnceDelta) {
        OrMap::join_delta(&mut delta.0, &other.0);
    }

    fn complete(delta: &mut OnceDelta, context: &Context) -> bool {
        OrMap::complete(&mut delta.0, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        Crdt::digest(&self.0, writers)
    }

    fn removals(delta: &OnceDelta) -> OnceDelta {
        OnceDelta(OrMap::removals(&delta.0))
    }

    fn learn(delta: &OnceDelta, context: &mut Context) {
        OrMap::learn(&delta.0, context);
    }

    /// Ids outlive what their writes did: deleting does nothing.
    fn reset<E: Events>(&mut self, _: &Context, _: &mut E, _: Option<&mut OnceDelta>) -> bool {
        false
    }

    fn size(&self) -> i64 {
        self.0.size()
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.0.each_dot(each);
    }

    fn show(&self, writers: &Writers) -> Shown {
        self.0.show(writers)
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl Encode for OnceDelta {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<OnceDelta, DecodeError> {
        MapDelta::decode(from).map(OnceDelta)
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
            site.state.claims(&[id]).first().map(|claim| claim.header().dot)
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
        let read = |claims: &[Stamped]| {
            let mut all: Vec<Vec<u8>> = claims.iter().map(|claim| claim.bytes().to_vec()).collect();
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

    #[test]
    fn ids_are_counted() {
        let mut site = Site::<OnceIds>::new(0);
        assert!(site.state.is_empty());
        edit(&mut site, &Edit::Claim(1, 1));
        assert_eq!((site.state.is_empty(), site.state.len()), (false, 1));
    }
}
