//! Redis's views of objects with names.

pub(super) mod hash;
pub(super) mod object;
