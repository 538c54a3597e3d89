//! Redis's commands about keys and values.

pub(super) mod hash;
pub(super) mod key;
pub(super) mod object;
