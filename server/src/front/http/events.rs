//! Server-sent events: what a session is subscribed to, or MONITOR, as a body that does not end.
//!
//! Source of the format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::served::{Served, Speaker};

/// How often a comment is sent, which tells the client, and proxies, that the stream lives.
pub(super) const BEAT: Duration = Duration::from_secs(15);
pub(super) const COMMENT: &str = ":\n\n";

/// A stream of events. Its session ends with it.
pub(super) struct Events {
    served: Arc<Served>,
    speaker: Speaker,
    /// Messages that are to be told first, in RESP2.
    first: Vec<u8>,
    beat: Interval,
}

impl Events {
    /// What a session is told from now on, after the replies `first`.
    pub(super) fn new(served: Arc<Served>, speaker: Speaker, first: Vec<u8>) -> Events {
        served.activity(|activity| activity.begin_stream());
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        Events { served, speaker, first, beat }
    }

    /// The next events; none at the end.
    pub(super) fn poll_next(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let client = &self.speaker.session.client;
        client.listen(task.waker());
        let mut messages = std::mem::take(&mut self.first);
        if client.is_called() {
            messages.extend(client.take_messages());
        }
        if client.is_killed() {
            self.served.kill();
            return Poll::Ready(None);
        }
        if self.served.node().stopping.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        let mut text = events(&messages);
        if text.is_empty() && Pin::new(&mut self.beat).poll_tick(task).is_ready() {
            text.push_str(COMMENT);
        }
        if text.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.served.activity(|activity| activity.end(std::time::Instant::now()));
    }
}

/// The events of messages in RESP2: `data: message,channel,text` of an array, a line as it is.
fn events(mut messages: &[u8]) -> String {
    let mut text = String::new();
    while let [mark, rest @ ..] = messages {
        let (line, after) = split_line(rest);
        messages = after;
        match mark {
            b'*' => {
                let count = number(line);
                let mut words = Vec::new();
                for _ in 0..count {
                    words.push(take_word(&mut messages));
                }
                event(&words.join(&b','), &mut text);
            }
            b'+' if line == b"OK" => event(b"\"OK\"", &mut text),
            _ => event(line, &mut text),
        }
    }
    text
}

/// A word of a message: a bulk string, a number, or nothing.
fn take_word<'a>(messages: &mut &'a [u8]) -> &'a [u8] {
    let (line, after) = split_line(messages.get(1..).unwrap_or_default());
    if messages.first() != Some(&b'$') {
        *messages = after;
        return line;
    }
    let length = number(line).min(after.len());
    *messages = after.get(length + 2..).unwrap_or_default();
    &after[..length]
}

/// What stands before the next line break, and what comes after it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 2..).unwrap_or_default())
}

/// A length; 0 for nil.
fn number(digits: &[u8]) -> usize {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// An event: each line of its text has its own mark.
fn event(bytes: &[u8], text: &mut String) {
    let shown = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    for line in shown.split('\n') {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_events() {
        let check = |messages: &str, expected: &str| {
            assert_eq!(events(messages.as_bytes()), expected, "{messages}");
        };
        check("", "");
        check(
            "*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\na,b\r\n",
            "data: subscribe,ch,1\n\ndata: message,ch,a,b\n\n",
        );
        check("*2\r\n$1\r\na\r\n$4\r\nx\r\ny\r\n", "data: a,x\ndata: y\n\n");
        check("+OK\r\n+17.1 [0 h:1] \"GET\"\r\n", "data: \"OK\"\n\ndata: 17.1 [0 h:1] \"GET\"\n\n");
        check("*1\r\n$0\r\n\r\n", "data: \n\n");
        assert_eq!(events(b"*1\r\n$1\r\n\xff\r\n"), "data: \u{fffd}\n\n");
    }
}
