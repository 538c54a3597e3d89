//! A small RESP2 client: as little of its own as possible between the benchmark and the socket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::error::Result;

/// Longer than any reply takes, so that a server that hangs ends the run instead of hanging it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A reply, as far as benchmarks look at one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

/// Appends a command as RESP has it.
pub(crate) fn encode(out: &mut Vec<u8>, args: &[impl AsRef<[u8]>]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A blocking connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Result<Client> {
        Client::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
    }

    pub(crate) fn new(stream: TcpStream) -> Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Client { stream, input: Vec::new(), at: 0 })
    }

    /// Sends a command and waits for its reply.
    pub(crate) fn command(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Reply> {
        let mut out = Vec::new();
        encode(&mut out, args);
        self.stream.write_all(&out)?;
        self.reply()
    }

    /// As `command`; an error reply is an error.
    pub(crate) fn ok(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Reply> {
        match self.command(args)? {
            Reply::Error(error) => Err(error.into()),
            reply => Ok(reply),
        }
    }

    /// Sends `count` encoded commands at once and waits for all replies, none of them an error.
    pub(crate) fn batch(&mut self, commands: &[u8], count: usize) -> Result<()> {
        self.stream.write_all(commands)?;
        for _ in 0..count {
            if let Reply::Error(error) = self.reply()? {
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let (kind, text) = line.split_at_checked(1).ok_or("an empty line for a reply")?;
        Ok(match kind {
            "+" => Reply::Simple(text.to_owned()),
            "-" => Reply::Error(text.to_owned()),
            ":" => Reply::Integer(text.parse()?),
            "$" if text == "-1" => Reply::Bulk(None),
            "$" => Reply::Bulk(Some(self.bytes(text.parse()?)?)),
            "*" => {
                // Grown as replies come: a length is not trusted before its elements arrive.
                let mut elements = Vec::new();
                for _ in 0..text.parse::<usize>()? {
                    elements.push(self.reply()?);
                }
                Reply::Array(elements)
            }
            _ => return Err(format!("not a RESP2 reply: {line}").into()),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut seen = 0;
        loop {
            let rest = &self.input[self.at..];
            if let Some(end) = rest[seen..].iter().position(|&byte| byte == b'\n') {
                let end = seen + end;
                let line = String::from_utf8(rest[..end].trim_ascii_end().to_vec())?;
                self.at += end + 1;
                return Ok(line);
            }
            seen = rest.len();
            self.fill()?;
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.input.len() - self.at < length + 2 {
            self.fill()?;
        }
        let bytes = self.input[self.at..self.at + length].to_vec();
        self.at += length + 2;
        Ok(bytes)
    }

    /// Drops what was consumed and reads more.
    fn fill(&mut self) -> Result<()> {
        if self.at > 0 {
            self.input.drain(..self.at);
            self.at = 0;
        }
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err("the server closed the connection".into()),
            read => {
                self.input.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}
