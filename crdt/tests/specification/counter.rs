//! A counter is the sum of what no reset has seen.

use miso_crdt::{Context, Counter, CounterDelta, Crdt, Events, Writers, kind};

use super::harness::{History, Mint, Random, Specification};

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Add(u64, u64),
    Reset,
}

/// Total, and whether it exists.
type Read = (i128, bool);

fn value(history: &History<'_, Edit>) -> Read {
    let amounts = history.unless(|later, _| matches!(later, Edit::Reset)).filter_map(|event| {
        match event.edit {
            Edit::Add(p, n) => Some(i128::from(p) - i128::from(n)),
            Edit::Reset => None,
        }
    });
    let amounts: Vec<i128> = amounts.collect();
    (amounts.iter().sum(), !amounts.is_empty())
}

fn edit(counter: &mut Counter, edit: &Edit, mint: &mut Mint, change: &mut CounterDelta) {
    match *edit {
        Edit::Add(p, n) => {
            counter.add(p, n, mint).expect("small numbers");
            change.note(counter.entry(mint.writer()).expect("just counted"));
        }
        Edit::Reset => _ = counter.reset(mint, Some(change)),
    }
}

macro_rules! specifications {
    ($($name:ident: |$random:ident| $draw:expr;)*) => { $(
        pub(crate) struct $name;

        impl Specification for $name {
            type Kind = kind::$name;
            type Edit = Edit;
            type Read = Read;

            fn draw($random: &mut Random) -> Edit {
                if $random.percent(20) { Edit::Reset } else { $draw }
            }

            fn value(history: &History<'_, Edit>) -> Read {
                value(history)
            }

            fn edit(
                counter: &mut Counter,
                what: &Edit,
                (_, _, mint): (&Context, &Writers, &mut Mint),
                change: &mut CounterDelta,
            ) {
                edit(counter, what, mint, change);
            }

            fn read(counter: &Counter, _: &Writers) -> Read {
                (counter.total(), !counter.is_absent())
            }
        }
    )* };
}

specifications! {
    GCounter: |random| Edit::Add(random.below(100) as u64, 0);
    PnCounter: |random| Edit::Add(random.below(100) as u64, random.below(100) as u64);
}
