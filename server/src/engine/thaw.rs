//! Deletes pause while another node adopts the counts of retired writers. A delete that did not see
//! those counts would miss them, and what it deleted would come back (`miso_replication`'s `retire`).
//! The pause follows a MISO.FORGET and lasts some milliseconds.

use std::sync::Arc;
use std::time::Duration;

use miso_store::{Deleting, Function};

use crate::engine::error::CommandError;
use crate::engine::session::Session;
use crate::engine::wait::Wait;

/// How long a delete waits before its client is told to try again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks whether the pause is over.
const LOOK: Duration = Duration::from_millis(2);

/// Whether a delete runs.
pub(crate) enum Turn {
    /// It runs, and holds this until it has.
    Run(Deleting),
    /// It waits first.
    Wait(Box<Wait>),
}

/// Decides whether a delete runs now or waits for the pause to end.
///
/// # Errors
/// If it has waited for [`PATIENCE`] already.
pub(crate) fn await_thaw(session: &mut Session) -> Result<Turn, CommandError> {
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
        if !function.deletes_paused() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Vec::new()
}
