//! Commands that are not answered at once.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use miso_protocol::reply::{Reply, Resp};

use crate::engine::error::CommandError;
use crate::node::Node;

/// A reply that is made while the session waits: its bytes.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// A command that is answered later. No other command of its session runs meanwhile.
pub(crate) struct Wait {
    /// The reply.
    pub(crate) reply: Answering,
    /// The answer if it may not wait: within EXEC, once CLIENT UNBLOCK ends it, and when the process ends.
    /// None if it waits for this node alone.
    pub(crate) at_once: Option<Answering>,
    /// Whether it counts as blocked, and CLIENT UNBLOCK ends it.
    pub(crate) blocks: bool,
    /// Whether the client does not want to see the reply.
    pub(crate) silent: bool,
}

impl Wait {
    /// A reply that waits for this node alone.
    pub(crate) fn soon(reply: impl Future<Output = Vec<u8>> + Send + 'static) -> Box<Wait> {
        Box::new(Wait { reply: Box::pin(reply), at_once: None, blocks: false, silent: false })
    }

    /// Something that must happen before a command runs. The command also runs if it does not happen in
    /// time.
    pub(crate) fn before(coming: impl Future<Output = ()> + Send + 'static) -> Box<Wait> {
        let reply = async move {
            coming.await;
            Vec::new()
        };
        let at_once: Answering = Box::pin(std::future::ready(Vec::new()));
        let at_once = Some(at_once);
        Box::new(Wait { reply: Box::pin(reply), at_once, blocks: false, silent: false })
    }

    /// A reply that depends on other nodes, and the reply without waiting for them.
    pub(crate) fn blocking(
        reply: impl Future<Output = Vec<u8>> + Send + 'static,
        at_once: impl Future<Output = Vec<u8>> + Send + 'static,
    ) -> Box<Wait> {
        let at_once: Answering = Box::pin(at_once);
        let at_once = Some(at_once);
        Box::new(Wait { reply: Box::pin(reply), at_once, blocks: true, silent: false })
    }

    /// The reply without waiting for others.
    pub(crate) fn without_waiting(self) -> Answering {
        self.at_once.unwrap_or(self.reply)
    }
}

impl Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait").field("silent", &self.silent).finish_non_exhaustive()
    }
}

/// The bytes of a reply, or of the error that there is instead.
pub(crate) fn encoded(
    node: &Node,
    resp: Resp,
    write: impl FnOnce(&mut Reply<'_>) -> Result<(), CommandError>,
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = write(&mut Reply::new(&mut out, resp)) {
        out.clear();
        Reply::new(&mut out, resp).error(error.line());
        node.stats.error(error.code());
    }
    out
}

/// What is to be done after a command, or before it can run.
#[derive(Debug, Default)]
pub(crate) enum After {
    /// The reply is written; the next command may run.
    #[default]
    Continue,
    /// The command was refused; the error is written and the next command may run.
    Refused,
    /// The session is to end once the reply is written.
    Close,
    /// The reply is written after this time.
    Sleep(Duration, &'static [u8]),
    /// The reply is this one, once it is there.
    Wait(Box<Wait>),
    /// MISO.ONCE was allowed: its command is to run, in place of its reply.
    Once,
    /// EXEC was allowed: the queued commands are to run, in place of its reply.
    Exec,
    /// The command did not run. It is to be tried again after CLIENT PAUSE has ended.
    RetryAfterPause,
    /// The command did not run. It is to be tried again once this is over.
    RetryWhen(Box<Wait>),
}

impl After {
    /// Whether the command is still to run.
    pub(crate) fn retries(&self) -> bool {
        matches!(self, After::RetryAfterPause | After::RetryWhen(_))
    }
}
