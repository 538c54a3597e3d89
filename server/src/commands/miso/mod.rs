//! The commands of MISO itself: functions, nodes, objects whatever they hold.

pub(crate) mod feed;
pub(super) mod function;
pub(super) mod grant;
pub(super) mod node;
pub(super) mod object;
pub(super) mod once;
pub(super) mod quota;
pub(crate) mod token;
