//! A register has each value that no later write and no reset has seen. The one value for a reader that
//! wants one is the latest by time, writer and bytes.

use std::collections::BTreeSet;

use miso_crdt::{Context, MvRegister as Register, RegisterDelta, Writers, kind};

use super::harness::{History, Mint, Random, Specification};

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Set(u8),
    Reset,
}

pub(crate) struct MvRegister;

impl Specification for MvRegister {
    type Kind = kind::MvRegister;
    type Edit = Edit;
    /// All values, and the one.
    type Read = (BTreeSet<u8>, Option<u8>);

    fn draw(random: &mut Random) -> Edit {
        if random.percent(20) { Edit::Reset } else { Edit::Set(random.small(9)) }
    }

    fn value(history: &History<'_, Edit>) -> Self::Read {
        let written = history.unless(|_, _| true).filter_map(|event| match event.edit {
            Edit::Set(value) => Some((event.time, event.by, value)),
            Edit::Reset => None,
        });
        let written: BTreeSet<_> = written.collect();
        let values = written.iter().map(|(_, _, value)| *value).collect();
        (values, written.last().map(|(_, _, value)| *value))
    }

    fn edit(
        register: &mut Register,
        edit: &Edit,
        (_, _, mint): (&Context, &Writers, &mut Mint),
        change: &mut RegisterDelta,
    ) {
        match edit {
            Edit::Set(value) => register.set(&[*value], mint, Some(change)),
            Edit::Reset => _ = register.reset(mint, Some(change)),
        }
    }

    fn read(register: &Register, writers: &Writers) -> Self::Read {
        let values = register.values().iter().map(|value| value[0]).collect();
        (values, register.winner(writers).map(|value| value[0]))
    }
}
