//! What a connection does, and until when it may go on so: a peer that sends slowly, reads slowly or
//! does nothing is not waited for without end.

use std::time::{Duration, Instant};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may be idle on which a token was good.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// How long any other one may be idle.
const STRANGER: Duration = Duration::from_secs(10);
/// How long the socket may take nothing of what is to be written.
const STALL: Duration = Duration::from_secs(30);

/// What a connection does.
#[derive(Debug)]
pub(super) struct Activity {
    /// Requests that run.
    running: usize,
    /// Since when a request may be coming; none before its first byte.
    heard: Option<Instant>,
    /// Since when no request runs.
    rested: Instant,
    /// Since when the socket takes nothing.
    stalled: Option<Instant>,
    /// Whether it speaks HTTP/2. There bytes may come at any time that belong to no request.
    is_h2: bool,
    /// Whether a token was good on it.
    trusted: bool,
}

impl Activity {
    /// A connection that has just been opened.
    pub(super) fn new(now: Instant) -> Activity {
        Activity {
            running: 0,
            heard: None,
            rested: now,
            stalled: None,
            is_h2: false,
            trusted: false,
        }
    }

    /// Bytes came.
    pub(super) fn hear(&mut self) {
        if self.running == 0 && self.heard.is_none() {
            self.heard = Some(Instant::now());
        }
    }

    /// The socket took bytes, or did not.
    pub(super) fn wrote(&mut self, some: bool) {
        if some {
            self.stalled = None;
        } else {
            self.stalled.get_or_insert_with(Instant::now);
        }
    }

    /// The head of a request is here.
    pub(super) fn begin(&mut self, is_h2: bool) {
        self.running += 1;
        self.heard = None;
        self.is_h2 = is_h2;
    }

    /// A request is answered by a stream, which runs on after its head was answered.
    pub(super) fn begin_stream(&mut self) {
        self.running += 1;
    }

    /// A request is answered, or given up; or a stream has ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.running -= 1;
        self.rested = now;
    }

    /// A token was good.
    pub(super) fn trust(&mut self) {
        self.trusted = true;
    }

    /// When the connection is to be closed unless something happens first.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stalled = self.stalled.map(|since| since + STALL);
        let silent = match self.heard {
            _ if self.running > 0 => None,
            Some(since) if !self.is_h2 => Some(since + HEAD),
            _ => Some(self.rested + if self.trusted { IDLE } else { STRANGER }),
        };
        [stalled, silent].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_has_its_end() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        assert_eq!(activity.deadline(), Some(start + STRANGER));
        activity.hear();
        let head = activity.deadline().expect("a head must come");
        assert!(head >= start + HEAD);
        activity.hear();
        assert_eq!(activity.deadline(), Some(head), "a slow head is not waited for anew");
        activity.begin(false);
        assert_eq!(activity.deadline(), None, "the request has its own limits");
        activity.wrote(false);
        let stalled = activity.deadline().expect("it must read");
        activity.wrote(false);
        assert_eq!(activity.deadline(), Some(stalled));
        activity.wrote(true);
        activity.trust();
        activity.end(start);
        assert_eq!(activity.deadline(), Some(start + IDLE));
    }

    #[test]
    fn bytes_between_requests_are_no_request_in_http_2() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.hear();
        activity.begin(true);
        activity.begin(true);
        activity.end(start);
        assert_eq!(activity.deadline(), None);
        activity.end(start);
        activity.hear();
        assert_eq!(activity.deadline(), Some(start + STRANGER));
    }
}
