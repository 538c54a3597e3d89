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
    ttl: Option<Duration>,
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
                // What cannot be done now is tried again.
                *held = standing(held.take(), &link, &name, ttl).await.ok();
            }
        });
        Ok(Keeper { task, replica: replica.to_owned(), ttl, held })
    }

    /// Takes the registration back; answers whether there was one.
    pub(crate) async fn end(self, link: &Link) -> Result<bool> {
        // The task may be within a check: it is ended between two.
        let mut held = self.held.lock().await;
        self.task.abort();
        // What a connection that is gone has registered may have to be taken back, too.
        let (mut connection, function) =
            standing(held.take(), link, &self.replica, self.ttl).await?;
        connection.set_response_timeout(UNREGISTER_TIMEOUT);
        let mut line = redis::cmd("MISO.UNREGISTER");
        line.arg(&*function).arg("REPLICA").arg(&self.replica);
        let reply = connection.send_packed_command(&line).await;
        truth(reply.map_err(|error| Error::Unreachable(format!("no reply: {error}")))?)
    }
}

/// The connection of a registration if it stands, else a new one.
async fn standing(
    held: Option<Registered>,
    link: &Link,
    replica: &str,
    ttl: Option<Duration>,
) -> Result<Registered> {
    if let Some((mut connection, function)) = held
        && connection.send_packed_command(&redis::cmd("PING")).await.is_ok()
    {
        return Ok((connection, function));
    }
    register(link, replica, ttl).await
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
