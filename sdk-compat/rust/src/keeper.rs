//! The connection that a registration lives on.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::link::Link;
use crate::reply::truth;

/// How often the connection is checked.
const ALIVE: Duration = Duration::from_millis(500);
/// The node may wait until another one has everything.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(30);

/// The connection and the function that is registered on it.
type Registered = (MultiplexedConnection, Arc<str>);

/// Holds a registration, and registers again after each reconnect.
#[derive(Debug)]
pub(crate) struct Keeper {
    task: JoinHandle<()>,
    replica: String,
    held: Arc<Mutex<Option<Registered>>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    pub(crate) async fn start(
        link: &Arc<Link>,
        replica: &str,
        ttl: Option<Duration>,
    ) -> Result<Keeper> {
        let held = Arc::new(Mutex::new(Some(register(link, replica, ttl).await?)));
        // The link owns its keeper: the task must not keep the link.
        let (holds, weak, name) = (Arc::clone(&held), Arc::downgrade(link), replica.to_owned());
        let task = tokio::spawn(async move {
            loop {
                sleep(ALIVE).await;
                let Some(link) = weak.upgrade() else { return };
                let mut held = holds.lock().await;
                if let Some((connection, _)) = held.as_mut()
                    && connection.send_packed_command(&redis::cmd("PING")).await.is_err()
                {
                    *held = None;
                }
                if held.is_none() {
                    // What cannot be done now is tried again.
                    *held = register(&link, &name, ttl).await.ok();
                }
            }
        });
        Ok(Keeper { task, replica: replica.to_owned(), held })
    }

    /// Takes the registration back; answers whether there was one.
    pub(crate) async fn end(self) -> Result<bool> {
        // The task may be within a check: it is ended between two.
        let mut held = self.held.lock().await;
        self.task.abort();
        let Some((mut connection, function)) = held.take() else { return Ok(false) };
        connection.set_response_timeout(UNREGISTER_TIMEOUT);
        let mut line = redis::cmd("MISO.UNREGISTER");
        line.arg(&*function).arg("REPLICA").arg(&self.replica);
        let reply = connection.send_packed_command(&line).await;
        truth(reply.map_err(|error| Error::Unreachable(format!("no reply: {error}")))?)
    }
}

async fn register(link: &Link, replica: &str, ttl: Option<Duration>) -> Result<Registered> {
    let standing = link.connect(link.options.reply_timeout).await?;
    let mut line = redis::cmd("MISO.REGISTER");
    line.arg(&*standing.function).arg("REPLICA").arg(replica);
    if let Some(ttl) = ttl {
        line.arg("TTL").arg(ttl.as_secs());
    }
    let mut connection = standing.connection;
    let reply = connection.send_packed_command(&line).await;
    reply.map_err(|error| link.not_sent(&error))?;
    Ok((connection, standing.function))
}
