//! The same commands on two servers, in pipelines.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::compare::{Order, same};
use super::groups::Step;
use super::known::{self, Effect};
use super::reply::{self, Reply};
use crate::wire::encode;
use crate::{DEADLINE, Node, Resp};

/// A connection on which many commands are under way.
struct Pipe {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Pipe {
    fn open(node: &Node, resp: Resp) -> io::Result<Pipe> {
        let stream = TcpStream::connect_timeout(&node.address(), DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut pipe = Pipe { stream, bytes: Vec::new() };
        if resp == Resp::V3 {
            pipe.send(&encode(&["HELLO", "3"]))?;
            pipe.replies(1)?;
        }
        Ok(pipe)
    }

    /// Deletes all keys.
    fn empty(&mut self) -> io::Result<()> {
        self.send(&encode(&["KEYS", "*"]))?;
        self.replies(1)?;
        let (keys, _) = reply::read(&self.bytes, 0);
        if keys.items.is_empty() {
            return Ok(());
        }
        let keys = keys.items.into_iter().map(|key| key.text);
        let words: Vec<_> = std::iter::once(b"DEL".to_vec()).chain(keys).collect();
        self.send(&encode(&words))?;
        self.replies(1).map(drop)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads this number of replies; answers where each ends in `bytes`.
    fn replies(&mut self, count: usize) -> io::Result<Vec<usize>> {
        self.bytes.clear();
        let mut ends = Vec::with_capacity(count);
        let mut at = 0;
        let mut chunk = vec![0; 64 * 1024];
        while ends.len() < count {
            match reply::end(&self.bytes, at) {
                Some(end) => {
                    at = end;
                    ends.push(end);
                }
                None => match self.stream.read(&mut chunk)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => self.bytes.extend_from_slice(&chunk[..read]),
                },
            }
        }
        assert_eq!(at, self.bytes.len(), "a reply that no command asked for");
        Ok(ends)
    }
}

/// Our server and the one that it is held against, on a connection each.
pub(super) struct Pair {
    ours: Pipe,
    theirs: Pipe,
    version: (u8, u8),
}

/// Where the two differ.
#[derive(Debug)]
pub(super) struct Difference {
    /// The number of the step.
    pub(super) step: usize,
    /// The number of the command in it.
    pub(super) command: usize,
    /// What our server answers.
    pub(super) ours: Reply,
    /// What the other answers.
    pub(super) theirs: Reply,
}

/// What came of playing steps.
#[derive(Default)]
pub(super) struct Played {
    /// The commands that were compared.
    pub(super) commands: u64,
    /// The first difference that is not known.
    pub(super) difference: Option<Difference>,
    /// The known differences that were met, by name.
    pub(super) known: Vec<&'static str>,
}

/// What both servers answered to a pipeline.
struct Answers<'a> {
    pair: &'a Pair,
    ends: [Vec<usize>; 2],
}

impl Answers<'_> {
    fn raw(&self, which: usize, at: usize) -> &[u8] {
        let pipe = [&self.pair.ours, &self.pair.theirs][which];
        let from = at.checked_sub(1).map_or(0, |before| self.ends[which][before]);
        &pipe.bytes[from..self.ends[which][at]]
    }

    fn reply(&self, which: usize, at: usize) -> Reply {
        reply::read(self.raw(which, at), 0).0
    }
}

impl Pair {
    /// Connects to both.
    pub(super) fn open(ours: &Node, theirs: &Node, resp: Resp, version: (u8, u8)) -> Pair {
        let open = |node| Pipe::open(node, resp).expect("the server takes connections");
        Pair { ours: open(ours), theirs: open(theirs), version }
    }

    /// Plays steps on empty servers, and compares what they answer up to the first difference.
    ///
    /// # Errors
    /// If a server closes the connection, or does not answer.
    pub(super) fn play(&mut self, steps: &[Step]) -> io::Result<Played> {
        let commands: Vec<_> = steps.iter().flatten().collect();
        self.ours.empty()?;
        self.theirs.empty()?;
        let mut bytes = encode(&["PING"]);
        for command in &commands {
            bytes.extend(encode(&command.words));
        }
        self.ours.send(&bytes)?;
        self.theirs.send(&bytes)?;
        let ours = self.ours.replies(commands.len() + 1).map_err(|error| named("ours", &error))?;
        let theirs =
            self.theirs.replies(commands.len() + 1).map_err(|error| named("redis", &error))?;
        let answers = Answers { pair: self, ends: [ours, theirs] };
        Ok(answers.compare(steps))
    }
}

fn named(server: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{server}: {error}"))
}

impl Answers<'_> {
    fn compare(&self, steps: &[Step]) -> Played {
        let mut played = Played::default();
        let numbered = steps.iter().enumerate();
        let all = numbered.flat_map(|(step, commands)| {
            commands.iter().enumerate().map(move |(command, what)| (step, command, what))
        });
        // The first answer is that to PING.
        for (at, (step, number, command)) in (1..).zip(all) {
            played.commands += 1;
            let drawn = matches!(command.order, Order::Drawn | Order::DrawnPairs);
            if !drawn && self.raw(0, at) == self.raw(1, at) {
                continue;
            }
            let (ours, theirs) = (self.reply(0, at), self.reply(1, at));
            let before = (number > 0).then(|| [self.reply(0, at - 1), self.reply(1, at - 1)]);
            let before = before.as_ref().map(|[ours, theirs]| [ours, theirs]);
            if same(command.order, &ours, &theirs, before) {
                continue;
            }
            match known::find(&command.words, [&ours, &theirs], self.pair.version) {
                Some((name, effect)) => {
                    played.known.push(name);
                    if effect == Effect::Stays {
                        break;
                    }
                }
                None => {
                    played.difference = Some(Difference { step, command: number, ours, theirs });
                    break;
                }
            }
        }
        played
    }
}
