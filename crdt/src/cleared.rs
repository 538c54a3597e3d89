//! What a change says is gone: the causal context that it cleared, if any.

use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::Context;

/// Says that what `context` covers is gone, if nothing is said yet; whether it did.
pub(crate) fn complete(cleared: &mut Option<Context>, context: &Context) -> bool {
    let first = cleared.is_none();
    if first {
        *cleared = Some(context.clone());
    }
    first
}

/// Joins what two deltas cleared.
pub(crate) fn join_cleared(mine: &mut Option<Context>, other: &Option<Context>) {
    if let Some(other) = other {
        mine.get_or_insert_default().join(other);
    }
}

impl Encode for Option<Context> {
    fn encode(&self, to: &mut Encoder) {
        to.byte(u8::from(self.is_some()));
        if let Some(context) = self {
            to.context(context);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match from.byte()? {
            0 => Ok(None),
            1 => from.context().map(Some),
            _ => Err(DecodeError::Invalid("flag")),
        }
    }
}
