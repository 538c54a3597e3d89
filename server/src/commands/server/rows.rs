//! Flags that the commands of this group share.

use miso_protocol::command::Flags;

/// Commands for administrators, which run at any time.
pub(crate) const ADMIN: Flags =
    Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
/// Commands for everybody, which run at any time.
pub(crate) const PLAIN: Flags = Flags::LOADING.with(Flags::STALE);
