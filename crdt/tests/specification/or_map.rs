//! A field of a map reads as the latest value that no later set, remove or clear has seen; to an integer
//! are added the counts that no set, remove or clear has seen. Counts alone count from 0.

use std::collections::BTreeMap;

use miso_crdt::{Context, MapDelta, OrMap as Map, Writers, kind};

use super::harness::{History, Mint, Random, Specification};

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Set(u8, &'static str),
    Count(u8, i64),
    Remove(u8),
    Clear,
}

/// Fields, and what each reads as.
type Read = BTreeMap<u8, String>;

pub(crate) struct OrMap;

fn ends(later: &Edit, earlier: &Edit) -> bool {
    match (later, earlier) {
        (Edit::Clear, _) => true,
        (Edit::Set(f, _) | Edit::Remove(f), Edit::Set(g, _) | Edit::Count(g, _)) => f == g,
        _ => false,
    }
}

impl Specification for OrMap {
    type Kind = kind::OrMap;
    type Edit = Edit;
    type Read = Read;

    fn draw(random: &mut Random) -> Edit {
        let field = random.small(2);
        match random.below(10) {
            0..3 => Edit::Set(field, ["10", "-7", "text", "010"][random.below(4)]),
            3..7 => Edit::Count(field, random.below(100) as i64 - 30),
            7..9 => Edit::Remove(field),
            _ => Edit::Clear,
        }
    }

    fn value(history: &History<'_, Edit>) -> Read {
        let mut values = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for event in history.unless(ends) {
            match event.edit {
                Edit::Set(field, value) => {
                    let latest = values.entry(field).or_insert((event.time, event.by, value));
                    *latest = (*latest).max((event.time, event.by, value));
                }
                Edit::Count(field, by) => *counts.entry(field).or_insert(0) += by,
                Edit::Remove(_) | Edit::Clear => {}
            }
        }
        let counted = counts.iter().map(|(field, sum)| (*field, sum.to_string()));
        let mut read: Read = counted.collect();
        for (field, (_, _, value)) in values {
            let sum = counts.get(&field).unwrap_or(&0);
            let is_integer = ["10", "-7"].contains(&value);
            let value = match value.parse::<i64>() {
                Ok(base) if is_integer => (base + sum).to_string(),
                _ => value.to_owned(),
            };
            read.insert(field, value);
        }
        read
    }

    fn edit(
        map: &mut Box<Map>,
        edit: &Edit,
        (context, writers, mint): (&Context, &Writers, &mut Mint),
        change: &mut MapDelta,
    ) {
        match edit {
            Edit::Set(field, value) => {
                map.set(&[*field], value.as_bytes(), mint, Some(change));
            }
            // A text is not counted on.
            Edit::Count(field, by) => _ = map.add(&[*field], *by, writers, mint, Some(change)),
            Edit::Remove(field) => _ = map.remove(&[*field], mint, Some(change)),
            Edit::Clear => _ = map.clear(context, mint, Some(change)),
        }
    }

    fn read(map: &Box<Map>, writers: &Writers) -> Read {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("a text");
        let fields = map.fields().iter();
        let read = fields.filter_map(|(f, field)| Some((f[0], text(&field.value(writers)?))));
        read.collect()
    }
}
