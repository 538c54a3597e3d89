//! A set has each element that was added, unless a remove of it or a clear has seen the add.

use std::collections::BTreeSet;

use miso_crdt::{Context, Set, SetDelta, Writers, kind};

use super::harness::{History, Mint, Random, Specification};

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Add(u8),
    Remove(u8),
    Clear,
}

fn value(history: &History<'_, Edit>) -> BTreeSet<u8> {
    let ends = |later: &Edit, earlier: &Edit| match (later, earlier) {
        (Edit::Remove(gone), Edit::Add(element)) => gone == element,
        (Edit::Clear, _) => true,
        _ => false,
    };
    let added = |edit: &Edit| if let Edit::Add(element) = edit { Some(*element) } else { None };
    history.unless(ends).filter_map(|event| added(&event.edit)).collect()
}

macro_rules! specifications {
    ($($name:ident: |$random:ident| $draw:expr;)*) => { $(
        pub(crate) struct $name;

        impl Specification for $name {
            type Kind = kind::$name;
            type Edit = Edit;
            type Read = BTreeSet<u8>;

            fn draw($random: &mut Random) -> Edit {
                $draw
            }

            fn value(history: &History<'_, Edit>) -> BTreeSet<u8> {
                value(history)
            }

            fn edit(
                set: &mut Box<Set>,
                edit: &Edit,
                (context, _, mint): (&Context, &Writers, &mut Mint),
                change: &mut SetDelta,
            ) {
                match edit {
                    Edit::Add(element) => _ = set.add(&[*element], mint, Some(change)),
                    Edit::Remove(element) => _ = set.remove(&[*element], mint, Some(change)),
                    Edit::Clear => _ = set.clear(context, mint, Some(change)),
                }
            }

            fn read(set: &Box<Set>, _: &Writers) -> BTreeSet<u8> {
                set.elements().iter().map(|(element, _)| element[0]).collect()
            }
        }
    )* };
}

specifications! {
    GSet: |random| if random.percent(90) { Edit::Add(random.small(3)) } else { Edit::Clear };
    OrSet: |random| match random.below(10) {
        0..5 => Edit::Add(random.small(3)),
        5..9 => Edit::Remove(random.small(3)),
        _ => Edit::Clear,
    };
}
