//! How far long work is, on a terminal that looks on.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes no longer is not shown.
const QUICK: Duration = Duration::from_millis(500);
/// How often what is shown is brought up to date.
const STEP: Duration = Duration::from_millis(200);

/// A line on standard error that says how far something is, until this is dropped.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Dropped, it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Shows how far the work `what` is: `at` gives the bytes that are done, and those of all. None if
    /// standard error is no terminal.
    pub(crate) fn new(what: String, at: impl Fn() -> (u64, u64) + Send + 'static) -> Option<Shown> {
        let target = ProgressDrawTarget::stderr();
        if target.is_hidden() {
            return None;
        }
        let (stop, stopped) = channel();
        let work = move || {
            if stopped.recv_timeout(QUICK) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(Some(at().1), target);
            let template = "{msg}: {percent} % of {total_bytes} ({eta} left)";
            // The template is ours and constant; a bar in the default style is no reason to stop.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what);
            loop {
                bar.set_position(at().0);
                if stopped.recv_timeout(STEP) != Err(RecvTimeoutError::Timeout) {
                    return bar.finish_and_clear();
                }
            }
        };
        // Without a thread the work goes on unseen.
        let thread = std::thread::Builder::new().name("miso-progress".into()).spawn(work).ok()?;
        Some(Shown { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been reported; the work is done.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
