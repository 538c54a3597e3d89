//! The commands of the CRDTs under their own names, a file per type.

pub(super) mod counter;
pub(super) mod flag;
pub(super) mod map;
pub(super) mod register;
pub(super) mod set;
