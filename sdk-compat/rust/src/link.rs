//! The connection to the node, made by the first call, shared by all objects over it and made again after each end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisError, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::call::Command;
use crate::error::{Error, Result};
use crate::keeper::Keeper;
use crate::reply::{failed, items, not_yet, text};
use crate::settings::{Options, Settings};

pub(crate) const PAUSE: Duration = Duration::from_millis(50);
const ONCE: &str = "MISO.ONCE";
/// How many calls MISO.ONCE takes in a transaction: what they answer has to fit into what is kept of it.
const ATOMIC_MOST: usize = 20;

/// A connection that stands, with what the server said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) connection: MultiplexedConnection,
    ended: Arc<AtomicBool>,
    used: Instant,
    once: bool,
    pub(crate) function: Arc<str>,
}

/// The way to one node.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) options: Options,
    client: Client,
    current: Mutex<Option<Standing>>,
    pub(crate) keeper: Mutex<Option<Keeper>>,
}

impl Link {
    pub(crate) fn new(settings: Settings, options: Options) -> Result<Link> {
        let client = client(&settings, ProtocolVersion::RESP3)?;
        let (current, keeper) = (Mutex::new(None), Mutex::new(None));
        Ok(Link { settings, options, client, current, keeper })
    }

    /// A client whose connections can subscribe without pushes.
    pub(crate) fn subscriber(&self) -> Result<Client> {
        client(&self.settings, ProtocolVersion::RESP2)
    }

    /// A new connection that has said for whom it speaks.
    pub(crate) async fn connect(&self, reply_timeout: Duration) -> Result<Standing> {
        let ended = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&ended);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.reply_timeout))
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    mark.store(true, Ordering::Release);
                }
                Ok::<_, redis::aio::SendError>(())
            });
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = made.map_err(|error| self.not_sent(&error))?;
        let function = text(self.greet(&mut connection, &["MISO.FUNCTION"]).await?)?;
        self.check_function(&mut connection, &function).await?;
        let info = self.greet(&mut connection, &["COMMAND", "INFO", ONCE]).await;
        let once = info.and_then(items).is_ok_and(|rows| !matches!(rows[..], [Value::Nil] | []));
        connection.set_response_timeout(reply_timeout);
        Ok(Standing { connection, ended, used: Instant::now(), once, function: function.into() })
    }

    /// Asks something of a new connection.
    async fn greet(&self, connection: &mut MultiplexedConnection, words: &[&str]) -> Result<Value> {
        let (first, rest) = words.split_first().unwrap_or((&"PING", &[]));
        let reply = connection.send_packed_command(redis::cmd(first).arg(rest)).await;
        reply.map_err(|error| self.not_sent(&error))
    }

    async fn check_function(
        &self,
        connection: &mut MultiplexedConnection,
        function: &str,
    ) -> Result<()> {
        let Some(wanted) = self.settings.function.as_deref() else { return Ok(()) };
        if function.split('#').next() == Some(wanted) {
            return Ok(());
        }
        let login = self.greet(connection, &["ACL", "WHOAMI"]).await.and_then(text).ok();
        if login.as_deref() == Some(wanted) && self.settings.user.as_deref() == Some(wanted) {
            return Ok(()); // A user that is bound to a function of another name.
        }
        Err(Error::FunctionMismatch(format!(
            "the connection speaks for '{function}', not for '{wanted}': the user name did not arrive, or it is \
             bound to another function. Write redis://{wanted}:-@HOST in MISO_URL"
        )))
    }

    /// What a failed connection is to the program.
    pub(crate) fn not_sent(&self, cause: &RedisError) -> Error {
        let address = self.settings.address();
        let detail = cause.detail().unwrap_or_default();
        match cause.kind() {
            redis::ErrorKind::AuthenticationFailed => Error::Access(format!("{address}: {cause}")),
            redis::ErrorKind::Server(_) | redis::ErrorKind::Extension => {
                let code = cause.code().unwrap_or("ERR");
                if matches!(code, "LOADING" | "TRYAGAIN") {
                    return Error::NotSent(format!("{address} is not ready: {cause}"));
                }
                Error::of_reply(code, detail)
            }
            _ => Error::NotSent(format!(
                "no node at {address}: {cause}; is it running, and is MISO_URL right?"
            )),
        }
    }

    /// The connection, if need be a new one.
    pub(crate) async fn take(&self) -> Result<Standing> {
        let mut current = self.current.lock().await;
        if let Some(standing) = current.as_mut()
            && !standing.ended.load(Ordering::Acquire)
        {
            // A process that was frozen does not know that its connection was closed meanwhile.
            let fresh = standing.used.elapsed() < self.options.check_after;
            let ping = redis::cmd("PING");
            if fresh || standing.connection.send_packed_command(&ping).await.is_ok() {
                standing.used = Instant::now();
                return Ok(standing.clone());
            }
        }
        *current = None;
        let made = self.connect(self.options.reply_timeout).await?;
        *current = Some(made.clone());
        Ok(made)
    }

    async fn forget(&self, lost: &Standing) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|standing| Arc::ptr_eq(&standing.ended, &lost.ended)) {
            *current = None;
        }
    }

    /// Runs calls, each write with its id: in a pipeline, or in MULTI and EXEC under the one id `atomic`, if they
    /// are few and all of them write. Answers a reply for each. A read is sent again while there is time, a write only if its id makes a second time harmless.
    ///
    /// # Errors
    /// If the node was not reached or the outcome is unknown.
    pub(crate) async fn run(
        &self,
        calls: &[(Command, Option<String>)],
        atomic: Option<String>,
    ) -> Result<Vec<Value>> {
        let writes = calls.iter().any(|(command, _)| command.write);
        let end = Instant::now() + self.options.deadline;
        let under = named(calls, atomic.as_deref());
        let mut sent = false; // Whether it may have run.
        loop {
            let over = || Instant::now() + PAUSE > end;
            match self.take().await {
                Err(error @ Error::NotSent(_)) if !over() => drop(error),
                Err(error) if sent && writes => {
                    return Err(Error::UnknownOutcome(error.to_string()));
                }
                Err(error) => return Err(error),
                Ok(standing) if sent && writes && !(standing.once && under) => {
                    let message = "the server that is back knows no ids";
                    return Err(Error::UnknownOutcome(message.to_owned()));
                }
                Ok(mut standing) => {
                    let once = standing.once && under;
                    let lines = lines(calls, atomic.as_deref(), once);
                    let count = lines.len();
                    match standing.connection.req_packed_commands(&lines, 0, count).await {
                        Ok(replies) if count == 1 && not_yet(&replies[0]) && !over() => {}
                        Ok(replies) => return Ok(results(calls.len(), replies, atomic.is_some())),
                        Err(error) => {
                            sent = true;
                            self.forget(&standing).await;
                            if writes && (!once || over()) {
                                return Err(Error::UnknownOutcome(error.to_string()));
                            }
                            if over() {
                                return Err(Error::Unreachable(format!("no reply: {error}")));
                            }
                        }
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// A read that waits at the server, on a connection of its own.
    pub(crate) async fn long(&self, command: &Command, reply_timeout: Duration) -> Result<Value> {
        let mut standing = self.connect(reply_timeout).await?;
        let sent = standing.connection.send_packed_command(&packed(&command.words)).await;
        let reply = sent.map_err(|error| match error.code() {
            Some(code) => Error::of_reply(code, error.detail().unwrap_or_default()),
            None => Error::Unreachable(format!("no reply: {error}")),
        })?;
        failed(&reply).map_or(Ok(reply), Err)
    }
}

fn client(settings: &Settings, protocol: ProtocolVersion) -> Result<Client> {
    let (host, port) = (settings.host.clone(), settings.port);
    let address = if settings.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default()
        .set_protocol(protocol)
        .set_lib_name("miso-client", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &settings.user {
        login = login.set_username(user);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password);
    }
    let client = address
        .into_connection_info()
        .and_then(|info| Client::open(info.set_redis_settings(login)));
    client.map_err(|error| Error::Setting {
        variable: "MISO_URL",
        message: format!("MISO_URL: {error}; rediss:// needs the feature `tls` of miso-client"),
    })
}

fn packed(words: &[Vec<u8>]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

/// Whether these calls run under ids: writes do, and of those in MULTI and EXEC no read is among them.
fn named(calls: &[(Command, Option<String>)], atomic: Option<&str>) -> bool {
    atomic.is_none()
        || (calls.len() <= ATOMIC_MOST && calls.iter().all(|(command, _)| command.write))
}

/// The commands on the wire.
fn lines(calls: &[(Command, Option<String>)], atomic: Option<&str>, once: bool) -> Pipeline {
    let mut pipeline = Pipeline::new();
    match atomic {
        Some(id) if once => _ = pipeline.cmd(ONCE).arg(id).arg("MULTI"),
        Some(_) => _ = pipeline.cmd("MULTI"),
        None => {}
    }
    for (command, id) in calls {
        match id {
            Some(id) if once => _ = pipeline.cmd(ONCE).arg(id).arg(&command.words),
            _ => _ = pipeline.add_command(packed(&command.words)),
        }
    }
    if atomic.is_some() {
        pipeline.cmd("EXEC");
    }
    pipeline
}

/// What each call is answered.
fn results(calls: usize, mut replies: Vec<Value>, atomic: bool) -> Vec<Value> {
    if !atomic {
        return replies;
    }
    match replies.pop() {
        Some(Value::Array(answers)) => answers,
        last => {
            let refused = replies.into_iter().find(|reply| failed(reply).is_some());
            vec![refused.or(last).unwrap_or_default(); calls]
        }
    }
}
