//! The laws of all types, for the plain ones.

use proptest::prelude::*;

use super::play::Played;
use super::spec::Act;
use super::{FOREVER, Hll, Moment, PlainHash, PlainSet, PlainString, PlainZSet};
use crate::laws::Site;
use crate::{Crdt, ReplicaId, Writers};

/// What is done, and when.
type Op = (Act, u64);

fn ops<T: Played>() -> impl Strategy<Value = Op> {
    let field = || 0u8..3;
    let deadline = || prop_oneof![1 => Just(FOREVER), 3 => 1u64..9];
    let until = prop_oneof![2 => Just(FOREVER), 1 => 1u64..9];
    let act = prop_oneof![
        6 => (field(), 0u8..4, until).prop_map(|(f, text, until)| Act::Set(f, text, until)),
        4 => (field(), 0u8..1).prop_map(|(f, _)| Act::Set(f, 0, FOREVER)),
        5 => (field(), -2i64..5).prop_map(|(f, n)| Act::Count(f, n)),
        2 => (field(), deadline()).prop_map(|(f, at)| Act::ExpireField(f, at)),
        2 => field().prop_map(Act::Remove),
        2 => deadline().prop_map(Act::Expire),
        1 => Just(Act::Delete),
        1 => Just(Act::Reclaim),
    ];
    (act, 0u64..9).prop_filter("not of this type", |(act, _)| T::can(*act))
}

fn known() -> Writers {
    let mut writers = Writers::new();
    [12, 10, 11].into_iter().for_each(|id| _ = writers.intern(ReplicaId(id)));
    writers
}

fn edit<T: Played>(site: &mut Site<T>, (act, now): Op) {
    let (context, writers) = (site.context.clone(), known());
    site.edit(|state, events, change| {
        let moment = Moment { now, writers: &writers, context: &|| context.clone() };
        state.act(act, &moment, events, Some(change))
    });
    // What a replica takes away it knows, also of what it has not seen: see `store`'s `pending_removals`.
    let gone = T::removals(&site.change);
    T::learn(&gone, &mut site.context);
}

fn read<T: Played>(state: &T) -> impl Eq + core::fmt::Debug + use<T> {
    [0, 3, 9].map(|now| state.told(now, &known()))
}

macro_rules! laws_of {
    ($($name:ident: $state:ty,)*) => {
        $(crate::laws! {
            $name: $state, Op = ops::<$state>(),
            |site, op| edit(site, *op),
            |state| read(state),
            settle |state| Crdt::collect(state, &|_, _| true)
        })*
    };
}

laws_of! {
    string: PlainString,
    hash: PlainHash,
    set: PlainSet,
    zset: PlainZSet,
    hll: Hll,
}
