//! Enable-wins flag: on while some enable has been seen by no disable.
//!
//! State: the dots of the enables still standing. A disable removes the dots it has seen; a
//! concurrent enable has a dot that it cannot have seen, and survives. One clock for the whole
//! value would not converge: `three_writers_agree` keeps the published counter-example. Off by
//! default. Source: Almeida, Shoker, Baquero 2018, causal delta-CRDTs.

use crate::Crdt;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen};
use crate::counter::join_cleared;
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
        let touch = Touch { added: self.dots.clone(), removed: Dots::None };
        FlagDelta { touch, cleared: Some(context.clone()) }
    }

    fn join_delta(delta: &mut FlagDelta, other: &FlagDelta) {
        delta.touch.join(&delta.cleared, &other.cleared, &other.touch);
        join_cleared(&mut delta.cleared, &other.cleared);
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
