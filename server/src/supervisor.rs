//! What systemd, or another supervisor that speaks its protocol, is told: datagrams to the socket that the
//! variable `NOTIFY_SOCKET` names. Without the variable nobody is told anything.

use std::future::pending;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// Tells the supervisor, if there is one.
pub(crate) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!("NOTIFY_SOCKET: the supervisor cannot be told: {error}");
    }
}

/// Tells the supervisor's watchdog twice in each of its periods that this thread goes on. Never ends.
pub(crate) async fn answer_watchdog() {
    let Some(period) = watchdog_enabled().filter(|period| !period.is_zero()) else {
        return pending().await;
    };
    let mut due = tokio::time::interval(period / 2);
    loop {
        due.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
