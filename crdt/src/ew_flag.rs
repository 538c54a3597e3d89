//! Enable-wins flag: on while some enable has been seen by no disable.
//!
//! State: the dots of the enables still standing. A disable removes the dots it has seen; a
//! concurrent enable has a dot that it cannot have seen, and survives. One clock for the whole
//! value would not converge: `d6_three_writers_agree` keeps the published counter-example. Off by
//! default. Source: Almeida, Shoker, Baquero 2018, causal delta-CRDTs.

use alloc::vec::Vec;

use crate::cleared::{complete, join_cleared};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::{Crdt, Shown};
use crate::digest::fact;
use crate::dot::Dot;
use crate::dots::{Dots, Touch};

/// An enable-wins flag.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct EwFlag {
    dots: Dots,
}

/// A change of a flag: `| touch | cleared |`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FlagDelta {
    touch: Touch,
    cleared: Option<Context>,
}

impl EwFlag {
    /// Whether it is on.
    #[must_use]
    pub fn enabled(&self) -> bool {
        !self.dots.is_empty()
    }

    /// The dots of the enables that stand.
    #[must_use]
    pub fn dots(&self) -> &Dots {
        &self.dots
    }

    /// Turns it on; whether it was off here. Enabling what is on still counts against a concurrent
    /// disable.
    pub fn enable<E: Events>(&mut self, events: &mut E, change: Option<&mut FlagDelta>) -> bool {
        let was_off = !self.enabled();
        self.dots.replace(true, events, change.map(|change| &mut change.touch));
        was_off
    }

    /// Turns off what is seen here; whether it was on.
    pub fn disable<E: Events>(&mut self, events: &mut E, change: Option<&mut FlagDelta>) -> bool {
        let was_on = self.enabled();
        if was_on {
            events.next();
            self.dots.replace(false, events, change.map(|change| &mut change.touch));
        }
        was_on
    }
}

impl FlagDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touch.is_empty() && self.cleared.is_none()
    }
}

impl Crdt for EwFlag {
    type Delta = FlagDelta;

    fn is_absent(&self) -> bool {
        !self.enabled()
    }

    fn is_blank(&self) -> bool {
        !self.enabled()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &FlagDelta) -> bool {
        self.dots.apply(seen, &delta.cleared, &delta.touch)
    }

    fn whole(&self, context: &Context) -> FlagDelta {
        FlagDelta { cleared: Some(context.clone()), ..self.since(&()) }
    }

    fn since(&self, known: &impl Seen) -> FlagDelta {
        let new = self.dots.iter().filter(|dot| !known.seen(*dot));
        FlagDelta { touch: Touch::adding(new), cleared: None }
    }

    fn join_delta(delta: &mut FlagDelta, other: &FlagDelta) {
        delta.touch.join(&delta.cleared, &other.cleared, &other.touch);
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut FlagDelta, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        self.dots.iter().fold(0, |sum, dot| sum.wrapping_add(fact(writers, dot, &[])))
    }

    fn removals(delta: &FlagDelta) -> FlagDelta {
        FlagDelta { touch: delta.touch.removals(), cleared: delta.cleared.clone() }
    }

    fn each_added(delta: &FlagDelta, each: &mut impl FnMut(Dot)) {
        delta.touch.added.iter().for_each(each);
    }

    fn learn(delta: &FlagDelta, context: &mut Context) {
        delta.touch.learn(context);
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn reset<E: Events>(
        &mut self,
        _: &Context,
        events: &mut E,
        change: Option<&mut FlagDelta>,
    ) -> bool {
        self.disable(events, change)
    }

    fn size(&self) -> i64 {
        i64::from(self.enabled())
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.dots.iter().for_each(each);
    }

    fn show(&self, _: &Writers) -> Shown {
        Shown::Text(Vec::from(if self.enabled() { "1" } else { "0" }))
    }

    fn heap_bytes(&self) -> usize {
        self.dots.heap_bytes()
    }
}

impl Encode for FlagDelta {
    fn encode(&self, to: &mut Encoder) {
        self.touch.encode(to);
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(FlagDelta { touch: Touch::decode(from)?, cleared: Option::decode(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    use crate::laws::{Site, exchange};

    crate::laws! {
        flag: EwFlag, bool = any::<bool>(),
        |at, on| at.edit(|flag, events, change| {
            if *on { flag.enable(events, Some(change)) } else { flag.disable(events, Some(change)) }
        }),
        |flag| flag.enabled()
    }

    fn enable(site: &mut Site<EwFlag>) {
        site.edit(|flag, events, change| flag.enable(events, Some(change)));
    }

    fn disable(site: &mut Site<EwFlag>) {
        site.edit(|flag, events, change| flag.disable(events, Some(change)));
    }

    fn sites() -> [Site<EwFlag>; 3] {
        [0, 1, 2].map(Site::new)
    }

    fn on(sites: &[Site<EwFlag>]) -> Vec<bool> {
        sites.iter().map(|site| site.state.enabled()).collect()
    }

    #[test]
    fn is_off_by_default() {
        assert!(!EwFlag::default().enabled());
    }

    /// Defect 6 of the original: with one clock for the whole value, A: true{A1}; B, having seen
    /// it, false{A1,B1}; C, concurrently, false{C1}; merged A, C, B it was on, merged C, B, A off.
    #[test]
    fn d6_three_writers_agree() {
        let [mut a, mut b, mut c] = sites();
        enable(&mut a);
        b.join(&a);
        disable(&mut b);
        disable(&mut c);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut reader = Site::new(9);
            order.iter().for_each(|which| reader.join([&a, &b, &c][*which]));
            assert!(!reader.state.enabled(), "B saw the enable, nobody enabled since: {order:?}");
        }
    }

    #[test]
    fn enable_wins_over_a_concurrent_disable() {
        let mut all = sites();
        enable(&mut all[0]);
        exchange(&mut all);
        enable(&mut all[0]); // on already, and yet it counts
        disable(&mut all[1]);
        exchange(&mut all);
        assert_eq!(on(&all), [true; 3]);
    }

    #[test]
    fn concurrent_disables_switch_off() {
        let mut all = sites();
        enable(&mut all[0]);
        exchange(&mut all);
        disable(&mut all[1]);
        disable(&mut all[2]);
        exchange(&mut all);
        assert_eq!(on(&all), [false; 3]);
        assert!(all[0].state.is_blank(), "nothing is left of it");
    }

    #[test]
    fn what_changes_nothing_makes_no_event() {
        let mut site: Site<EwFlag> = Site::new(0);
        disable(&mut site);
        assert!(site.context.is_empty() && site.send().delta.is_empty());
        enable(&mut site);
        enable(&mut site); // nobody has seen the first
        assert_eq!(site.context.upto(crate::Writer(0)), 1);
    }
}
