//! Which functions are followed by readers of changes, and who waits for something to read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miso_store::Function;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::random::seed;

/// How long the changes of a function are noted after the last reader asked for them. A reader that comes
/// later is served by the state.
const LINGER: Duration = Duration::from_secs(60);

/// A function that is followed.
#[derive(Debug)]
struct Followed {
    function: Arc<Function>,
    /// Wakes those that wait for changes of it.
    news: Arc<Notify>,
    asked_at: Instant,
}

/// The functions that are followed.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    functions: Mutex<HashMap<Box<[u8]>, Followed>>,
}

impl Feeds {
    /// Has the changes of a function noted for a while. Answers what wakes those that wait for some.
    pub(crate) fn follow(&self, function: &Arc<Function>) -> Arc<Notify> {
        let mut functions = self.functions.lock();
        // Under the lock, so that it is not forgotten meanwhile.
        function.follow(seed());
        let followed = functions.entry(function.name().into()).or_insert_with(|| Followed {
            function: Arc::clone(function),
            news: Arc::default(),
            asked_at: Instant::now(),
        });
        followed.asked_at = Instant::now();
        Arc::clone(&followed.news)
    }

    /// Wakes those that wait for changes of a function.
    pub(crate) fn wake(&self, function: &[u8]) {
        if let Some(followed) = self.functions.lock().get(function) {
            followed.news.notify_waiters();
        }
    }

    /// Called once a second: forgets what nobody reads any more. Without replication, `is_alone`, nothing
    /// else takes what is gathered of a function, so that is done here.
    pub(crate) fn tick(&self, now: Instant, is_alone: bool) {
        self.functions.lock().retain(|_, followed| {
            let is_read = now.duration_since(followed.asked_at) < LINGER;
            if !is_read {
                followed.function.unfollow();
            }
            // Once gathered, changes are gathered for good.
            if is_alone {
                followed.function.take_batch();
            }
            is_read || is_alone
        });
    }
}
