//! What commands about keys do with a plain value of whatever type. Values of MISO's own types have
//! no deadline: they are there unless they are absent.

use super::{FOREVER, Moment};
use crate::context::{Events, Writers};
use crate::dot::ReplicaId;
use crate::{Delta, Value};

/// Runs the same on the state of each plain type, and something else on all others.
macro_rules! plain {
    ($value:expr, $state:ident => $run:expr, _ => $else:expr) => {
        match $value {
            Value::PlainString($state) => $run,
            Value::PlainHash($state) => $run,
            Value::PlainSet($state) => $run,
            Value::PlainZSet($state) => $run,
            Value::Hll($state) => $run,
            _ => $else,
        }
    };
}

/// As `plain`, with the change to note in, if it is of the same type.
macro_rules! plain_change {
    (($value:expr, $delta:expr), $state:ident, $change:ident => $run:expr) => {
        plain_change!(@each ($value, $delta), $state, $change => $run,
            PlainString PlainHash PlainSet PlainZSet Hll)
    };
    (@each ($value:expr, $delta:expr), $state:ident, $change:ident => $run:expr, $($kind:ident)*) => {
        match ($value, $delta) {
            $(
                (Value::$kind($state), Some(Delta::$kind(delta))) => {
                    let $change = Some(delta);
                    Some($run)
                }
                (Value::$kind($state), None) => {
                    let $change = None;
                    Some($run)
                }
            )*
            _ => None,
        }
    };
}

/// Whether `value` is of a plain type.
#[must_use]
pub fn is_plain(value: &Value) -> bool {
    plain!(value, _state => true, _ => false)
}

/// What `TYPE` calls it.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    if matches!(value, Value::Hll(_)) { "string" } else { value.kind().name() }
}

/// Whether a value is there at `now`.
#[must_use]
pub fn exists(value: &Value, now: u64, writers: &Writers) -> bool {
    plain!(value, state => state.exists(now, writers), _ => !value.is_absent())
}

/// The deadline in milliseconds, [`FOREVER`] if there is none; none if the value is absent at `now`.
#[must_use]
pub fn deadline(value: &Value, now: u64, writers: &Writers) -> Option<u64> {
    let own = || (!value.is_absent()).then_some(FOREVER);
    plain!(value, state => state.deadline(now, writers), _ => own())
}

/// When and by whom a plain value was set last, or the last life of it begun: of several types under
/// one key the one with the greatest is shown. Counts and remnants, which have no time, are least.
#[must_use]
pub fn newest(value: &Value, writers: &Writers) -> Option<(u64, Option<ReplicaId>)> {
    use super::items::Item;
    fn of<V: Item>(values: &[V], writers: &Writers) -> Option<(u64, Option<ReplicaId>)> {
        values.iter().map(|value| (value.time(), writers.id(value.dot().writer()))).max()
    }
    match value {
        Value::PlainString(string) => of(string.cell().values(), writers),
        Value::PlainHash(keyed) => of(keyed.births(), writers),
        Value::PlainSet(keyed) => of(keyed.births(), writers),
        Value::PlainZSet(keyed) => of(keyed.births(), writers),
        Value::Hll(keyed) => of(keyed.births(), writers),
        _ => None,
    }
}

/// Whether memory can be taken back by [`reclaim`].
#[must_use]
pub fn is_spent(value: &Value, now: u64, writers: &Writers) -> bool {
    plain!(value, state => state.is_spent(now, writers), _ => false)
}

/// Sets the deadline of a plain value, [`FOREVER`] to take it away; whether it was there. `change`
/// is of its type.
pub fn expire<E: Events>(
    value: &mut Value,
    at: u64,
    moment: &Moment<'_>,
    events: &mut E,
    change: Option<&mut Delta>,
) -> bool {
    plain_change!((value, change), state, change => state.expire(at, moment, events, change))
        .unwrap_or(false)
}

/// Deletes what is seen of a plain value; whether it was there. `change` is of its type.
pub fn delete<E: Events>(
    value: &mut Value,
    moment: &Moment<'_>,
    events: &mut E,
    change: Option<&mut Delta>,
) -> bool {
    plain_change!((value, change), state, change => state.delete(moment, events, change))
        .unwrap_or(false)
}

/// Takes back the memory of what is past its deadline, as an observed remove that any node may do;
/// whether there was anything. `change` is of the value's type.
pub fn reclaim<E: Events>(
    value: &mut Value,
    moment: &Moment<'_>,
    events: &mut E,
    change: Option<&mut Delta>,
) -> bool {
    plain_change!((value, change), state, change => state.reclaim(moment, events, change))
        .unwrap_or(false)
}
