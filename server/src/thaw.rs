//! Deletes wait while another node takes over what writers have counted that are gone: one that did not
//! see that would leave behind what it had just deleted (`miso_replication`'s `retire`). It lasts some
//! milliseconds, after a MISO.FORGET.

use std::sync::Arc;
use std::time::Duration;

use miso_store::{Deleting, Function};

use crate::context::Wait;
use crate::error::CommandError;
use crate::session::Session;

/// A delete waits no longer than that: then the client is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

/// What a delete is told.
pub(crate) enum Turn {
    /// To run, and to keep this until it has.
    Run(Deleting),
    /// To wait first.
    Wait(Box<Wait>),
}

/// Whether a delete may run.
///
/// # Errors
/// It has waited long enough.
pub(crate) fn first(session: &mut Session) -> Result<Turn, CommandError> {
    let waited = std::mem::take(&mut session.thawed);
    let function = session.function();
    if let Some(deleting) = function.begin_delete() {
        return Ok(Turn::Run(deleting));
    }
    if waited {
        return Err(CommandError::AdoptionPending);
    }
    session.thawed = true;
    Ok(Turn::Wait(Wait::soon(thawed(function))))
}

async fn thawed(function: Arc<Function>) -> Vec<u8> {
    let looks = PATIENCE.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if !function.frozen() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Vec::new()
}
