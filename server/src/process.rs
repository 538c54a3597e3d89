//! What the operating system gives this process: threads that may hang, signals, file descriptors.

use std::time::Duration;

/// File descriptors that are not for clients: files, listeners, peers.
const RESERVED: u64 = 64;

/// Runs `what` in a thread of its own, since anything that waits for a disk may hang. Its result, or
/// none if it takes longer than `limit`; the thread then goes on, and ends with the process.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    what: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("ending".into());
    // Sending fails once the caller has stopped waiting; the result is not needed then.
    thread.spawn(move || drop(sender.send(what()))).ok()?;
    receiver.recv_timeout(limit).ok()
}

/// Has the next SIGTERM or SIGINT end the process at once. A second signal means that the operator
/// does not want to wait for peers, a checkpoint or a disk that hangs. What was acknowledged is in the
/// journal.
pub(crate) fn end_at_next_signal() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: _exit may be called in a signal handler; nothing of the process runs on.
        unsafe { libc::_exit(1) }
    }
    let end: extern "C" fn(libc::c_int) = end;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler only ends the process.
        unsafe { libc::signal(signal, end as libc::sighandler_t) };
    }
}

/// Raises the limit of file descriptors to what `clients` clients and `others` other connections need,
/// as Redis does. Returns how many clients the limit has room for, at least 1.
pub(crate) fn raise_descriptors(clients: u64, others: u64) -> u64 {
    let reserved = RESERVED + others;
    let wanted = clients + reserved;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid and lives for the calls; failing changes nothing.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < wanted {
            let more = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &more) != 0 {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
        }
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur.saturating_sub(reserved).clamp(1, clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_stops_waiting_at_its_limit() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let hangs = || loop {
            std::thread::park();
        };
        assert_eq!(within(Duration::from_millis(1), hangs), None::<()>);
    }
}
