//! Changes of an object, as they come.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{sleep, timeout};

use crate::error::{Error, Result};
use crate::link::{Link, PAUSE};

/// How long a silent connection is trusted.
const SILENCE: Duration = Duration::from_secs(5);

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A name of the object has changed, here or on another node.
    Change {
        /// The name.
        name: String,
        /// Its type, as `MISO.TYPE` calls it.
        kind: String,
    },
    /// Changes may have been missed: what was read before has to be read again.
    Gap,
}

/// Listens for changes of an object; made by [`crate::MisoObject::watch`].
pub struct Watch {
    link: Arc<Link>,
    object: String,
    open: Option<(PubSubSink, PubSubStream)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Watch").field("object", &self.object).finish_non_exhaustive()
    }
}

impl Watch {
    pub(crate) async fn start(link: &Arc<Link>, object: &str) -> Result<Watch> {
        let mut watch = Watch { link: Arc::clone(link), object: object.to_owned(), open: None };
        watch.open = Some(watch.listen().await?);
        Ok(watch)
    }

    async fn listen(&self) -> Result<(PubSubSink, PubSubStream)> {
        let function = self.link.take().await?.function;
        let channel = format!("__miso__:{function}:{}", self.object);
        let client = self.link.subscriber()?;
        let opened = async {
            let (mut sink, stream) = client.get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            Ok((sink, stream))
        };
        match timeout(2 * self.link.options.connect_timeout, opened).await {
            Ok(opened) => opened.map_err(|error| self.link.not_sent(&error)),
            Err(_) => Err(Error::NotSent("no answer to SUBSCRIBE".to_owned())),
        }
    }

    /// The next event. It waits for as long as nothing changes; after a lost connection it connects again, for as long
    /// as that takes, and answers [`Event::Gap`].
    pub async fn next(&mut self) -> Event {
        loop {
            let Some((sink, stream)) = self.open.as_mut() else {
                match self.listen().await {
                    Ok(opened) => {
                        self.open = Some(opened);
                        return Event::Gap;
                    }
                    Err(_) => sleep(PAUSE).await,
                }
                continue;
            };
            match timeout(SILENCE, stream.next()).await {
                Ok(Some(message)) => {
                    let text = String::from_utf8_lossy(message.get_payload_bytes());
                    // A message is the name, a space and the type.
                    let (name, kind) = text.rsplit_once(' ').unwrap_or((&text, ""));
                    return Event::Change { name: name.to_owned(), kind: kind.to_owned() };
                }
                Ok(None) => self.open = None,
                Err(_) => {
                    let answer =
                        timeout(self.link.options.reply_timeout, sink.ping::<redis::Value>());
                    if !matches!(answer.await, Ok(Ok(_))) {
                        self.open = None;
                    }
                }
            }
        }
    }
}
