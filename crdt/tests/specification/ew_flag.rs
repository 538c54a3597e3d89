//! A flag is on if some enable was seen by no disable.

use miso_crdt::{Context, EwFlag as Flag, FlagDelta, Writers, kind};

use super::harness::{History, Mint, Random, Specification};

pub(crate) struct EwFlag;

impl Specification for EwFlag {
    type Kind = kind::EwFlag;
    /// Whether to turn it on.
    type Edit = bool;
    type Read = bool;

    fn draw(random: &mut Random) -> bool {
        random.percent(55)
    }

    fn value(history: &History<'_, bool>) -> bool {
        history.unless(|later, _| !*later).any(|event| event.edit)
    }

    fn edit(
        flag: &mut Flag,
        on: &bool,
        (_, _, mint): (&Context, &Writers, &mut Mint),
        change: &mut FlagDelta,
    ) {
        _ = if *on { flag.enable(mint, Some(change)) } else { flag.disable(mint, Some(change)) };
    }

    fn read(flag: &Flag, _: &Writers) -> bool {
        flag.enabled()
    }
}
