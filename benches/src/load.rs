//! Load in a closed loop: each connection has one batch of commands in flight, and sends the next
//! once all replies are there.
//!
//! One thread for all connections, through epoll, with nothing allocated on the way: what it takes
//! is taken from the servers beside it. Commands are made before the run where they are all the same.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::epoll::Epoll;
use crate::error::Result;
use crate::resp::encode;
use crate::statistics::{quantile, sorted};

/// A server that gives no reply for this long hangs.
const STALLED: Duration = Duration::from_secs(20);
/// The number of batches whose latencies are kept, evenly spread.
const SAMPLES: u64 = 200_000;

/// What to send. In `command`, `{}` is a number below `distinct`, another for each.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) command: &'static [&'static str],
    pub(crate) distinct: u64,
    /// Commands in all, the same number to each server.
    pub(crate) commands: u64,
    /// Connections to each server.
    pub(crate) connections: usize,
    /// Commands in flight on each connection.
    pub(crate) depth: u64,
}

/// What came of it.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// Of a batch, from sending it to its last reply.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

struct Connection {
    stream: TcpStream,
    server: usize,
    /// Replies to come.
    open: u64,
    sent_at: Instant,
}

/// Sends all of `load` to the servers at `ports`.
pub(crate) fn run(ports: &[u16], load: &Load) -> Result<Outcome> {
    Generator::new(ports, load)?.run()
}

struct Generator<'a> {
    load: &'a Load,
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Commands that each server has still to be sent.
    left: Vec<u64>,
    /// As many commands as go at once, if they are all the same.
    batch: Vec<u8>,
    one: usize,
    number: u64,
    batches: u64,
    every: u64,
    latencies: Vec<f64>,
}

impl<'a> Generator<'a> {
    fn new(ports: &[u16], load: &'a Load) -> Result<Generator<'a>> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::new();
        for index in 0..ports.len() * load.connections {
            let server = index % ports.len();
            let stream = epoll.connect(ports[server], index)?;
            connections.push(Connection { stream, server, open: 0, sent_at: Instant::now() });
        }
        let mut batch = Vec::new();
        encode(&mut batch, load.command);
        let one = batch.len();
        let batch = batch.repeat(usize::try_from(load.depth)?);
        let every = (load.commands / load.depth.max(1) / SAMPLES).max(1);
        let left = vec![load.commands / ports.len() as u64; ports.len()];
        let (number, batches, latencies) = (0, 0, Vec::new());
        Ok(Generator {
            load,
            epoll,
            connections,
            left,
            batch,
            one,
            number,
            batches,
            every,
            latencies,
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let mut ready = Vec::new();
        let began = Instant::now();
        let total: u64 = self.left.iter().sum();
        let mut at_work = 0;
        for index in 0..self.connections.len() {
            at_work += usize::from(self.send(index)?);
        }
        while at_work > 0 {
            self.epoll.wait(STALLED, &mut ready)?;
            if ready.is_empty() {
                return Err("a server has stopped answering".into());
            }
            for &index in &ready {
                if self.receive(index)? && !self.send(index)? {
                    at_work -= 1;
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let latencies = sorted(&self.latencies);
        Ok(Outcome {
            seconds,
            per_second: total as f64 / seconds,
            p50_us: quantile(&latencies, 0.5),
            p99_us: quantile(&latencies, 0.99),
        })
    }

    /// Sends the next batch; false if all has been sent.
    fn send(&mut self, index: usize) -> Result<bool> {
        let connection = &mut self.connections[index];
        let left = &mut self.left[connection.server];
        let count = self.load.depth.min(*left);
        if count == 0 {
            return Ok(false);
        }
        *left -= count;
        if self.load.distinct > 0 {
            self.batch.clear();
            for _ in 0..count {
                let number = (self.number % self.load.distinct).to_string();
                self.number += 1;
                let words = self.load.command.iter().map(|word| word.replace("{}", &number));
                encode(&mut self.batch, &words.collect::<Vec<_>>());
            }
        } else {
            self.batch.truncate(self.one * usize::try_from(self.load.depth)?);
        }
        let bytes = match self.load.distinct {
            0 => &self.batch[..self.one * usize::try_from(count)?],
            _ => &self.batch[..],
        };
        connection.open = count;
        connection.sent_at = Instant::now();
        // Little enough for a socket from which all has been answered.
        connection.stream.write_all(bytes)?;
        Ok(true)
    }

    /// Takes what has come; true if the batch is complete. Replies are integers, one a line.
    fn receive(&mut self, index: usize) -> Result<bool> {
        let connection = &mut self.connections[index];
        let mut input = [0; 4096];
        let read = match connection.stream.read(&mut input) {
            Ok(0) => return Err("a server has closed a connection".into()),
            Ok(read) => &input[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if read.contains(&b'-') {
            return Err(format!("an error: {}", String::from_utf8_lossy(read)).into());
        }
        connection.open -= read.iter().filter(|byte| **byte == b'\n').count() as u64;
        if connection.open > 0 {
            return Ok(false);
        }
        self.batches += 1;
        if self.batches.is_multiple_of(self.every) {
            self.latencies.push(connection.sent_at.elapsed().as_secs_f64() * 1e6);
        }
        Ok(true)
    }
}
