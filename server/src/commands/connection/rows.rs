//! Flags that the commands of this group share.

use miso_protocol::command::Flags;

/// Commands that run at any time: also while loading and when out of touch.
pub(super) const ANY_TIME: Flags = Flags::LOADING.with(Flags::STALE).with(Flags::NOSCRIPT);
/// The same, of commands that take O(1).
pub(super) const ALWAYS: Flags = Flags::FAST.with(ANY_TIME);
