//! A connection by the `redis` crate that scripts play on.

use crate::script::{fits, split, steps};
use crate::{DEADLINE, Frame};
use redis::{Cmd, Connection, ConnectionLike};

/// The protocol that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resp {
    /// RESP2, the default of a new connection.
    V2,
    /// RESP3, by `HELLO 3`.
    V3,
}

impl Resp {
    /// Both protocols: most tests run in each.
    pub const BOTH: [Resp; 2] = [Resp::V2, Resp::V3];
}

/// A connection by the `redis` crate.
pub struct Session {
    connection: Connection,
    resp: Resp,
}

impl Session {
    /// Connects to a `redis://` URL.
    pub fn open(url: &str, resp: Resp) -> redis::RedisResult<Session> {
        let mark = if url.contains('?') { '&' } else { '?' };
        let url = match resp {
            Resp::V2 => url.to_owned(),
            Resp::V3 => format!("{url}{mark}protocol=resp3"),
        };
        let connection = redis::Client::open(url)?.get_connection_with_timeout(DEADLINE)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        Ok(Session { connection, resp })
    }

    /// The protocol it was opened with.
    pub fn resp(&self) -> Resp {
        self.resp
    }

    /// The connection itself, for typed queries.
    pub fn redis(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends one command, written as in `redis-cli`.
    pub fn run(&mut self, line: &str) -> Frame {
        self.call(&split(line))
    }

    /// Sends one command of any bytes.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Frame {
        let mut cmd = Cmd::new();
        for arg in args {
            cmd.arg(arg.as_ref());
        }
        match self.connection.req_command(&cmd) {
            Ok(value) => value.into(),
            Err(error) => match error.code() {
                Some(code) => Frame::Error(
                    format!("{code} {}", error.detail().unwrap_or_default()).trim_end().to_owned(),
                ),
                None => {
                    let shown: Vec<String> = args
                        .iter()
                        .map(|arg| {
                            arg.as_ref()[..arg.as_ref().len().min(40)].escape_ascii().to_string()
                        })
                        .collect();
                    panic!("the connection failed at {}: {error}", shown.join(" "))
                }
            },
        }
    }

    /// Plays a script: a line each of `command => answer`, answers written as [`Frame`] prints them. An answer that
    /// starts with `~` is compared without order, whatever collection it is; `*` is anything but an error; `text...`
    /// is a beginning; `x || y` is x in RESP2 and y in RESP3. All lines are played before the test fails.
    #[track_caller]
    pub fn script(&mut self, script: &str) {
        let mut wrong = Vec::new();
        for step in steps(script) {
            let expected = match self.resp {
                Resp::V2 => step.resp2,
                Resp::V3 => step.resp3,
            };
            let mut frame = self.run(step.line);
            if expected.starts_with('~') {
                frame = frame.unordered();
            }
            let actual = frame.to_string();
            if !fits(expected, &actual) {
                wrong.push(format!(
                    "{}\n      expected {expected}\n      got      {actual}",
                    step.line
                ));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} answers are wrong in {:?}:\n  {}",
            wrong.len(),
            self.resp,
            wrong.join("\n  ")
        );
    }
}
