//! Server-sent events of one request's own: it waits for something to tell, tells it, and so on until the
//! reader goes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::events::{BEAT, COMMENT};
use super::served::{Served, Speaker};
use crate::node::acl::user::User;

/// A source that waits for something to tell.
pub(super) type Waiting = Pin<Box<dyn Future<Output = Box<dyn Source>> + Send>>;

/// Where events come from.
pub(super) trait Source: Send {
    /// Waits until there is something to tell.
    fn wait(self: Box<Self>) -> Waiting;

    /// What there is to tell a user, as events; none if the user may not hear any more of it.
    fn tell(&mut self, user: Option<&User>) -> Option<String>;
}

/// The events of a source. Its session ends with it.
pub(super) struct Stream {
    served: Arc<Served>,
    speaker: Speaker,
    waiting: Waiting,
    beat: Interval,
}

impl Stream {
    /// What `source` tells from now on, what it has to tell already first.
    pub(super) fn new(served: Arc<Served>, speaker: Speaker, source: Box<dyn Source>) -> Stream {
        served.activity(|activity| activity.begin_stream());
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        Stream { served, speaker, waiting: Box::pin(std::future::ready(source)), beat }
    }

    /// The next events; none at the end.
    pub(super) fn poll_next(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let session = &mut self.speaker.session;
        session.client.listen(task.waker());
        if session.client.is_called() {
            session.client.take_messages();
        }
        if session.client.is_killed() || !session.refresh_user() {
            self.served.kill();
            return Poll::Ready(None);
        }
        if self.served.node().stopping.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        loop {
            let Poll::Ready(mut source) = self.waiting.as_mut().poll(task) else { break };
            let text = source.tell(self.speaker.session.user.as_deref());
            self.waiting = source.wait();
            match text {
                None => return Poll::Ready(None),
                Some(text) if text.is_empty() => {}
                Some(text) => {
                    self.beat.reset();
                    return Poll::Ready(Some(Ok(Frame::data(text.into()))));
                }
            }
        }
        if self.beat.poll_tick(task).is_ready() {
            return Poll::Ready(Some(Ok(Frame::data(COMMENT.into()))));
        }
        Poll::Pending
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.served.activity(|activity| activity.end(Instant::now()));
    }
}
