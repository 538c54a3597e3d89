//! A bare socket to a node.

use crate::script::split;
use crate::{DEADLINE, Frame};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A connection that sends whatever bytes it is told to and reads replies one at a time.
pub struct Wire {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Connects; reads and writes fail after [`DEADLINE`].
    pub fn connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Wire { stream, reader })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are. The peer may have closed: what then fails is the next read.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a command, written as in `redis-cli`, as an array of bulk strings.
    pub fn command(&mut self, line: &str) {
        self.send(&encode(&split(line))).expect("a node takes commands");
    }

    /// Sends a command and reads its reply.
    pub fn ask(&mut self, line: &str) -> Frame {
        self.command(line);
        self.read().unwrap_or_else(|error| panic!("no reply to {line}: {error}"))
    }

    /// Reads one reply.
    pub fn read(&mut self) -> io::Result<Frame> {
        read_frame(&mut self.reader)
    }

    /// Reads one reply if it begins within `wait`.
    pub fn read_within(&mut self, wait: Duration) -> Option<Frame> {
        self.stream.set_read_timeout(Some(wait)).expect("a timeout above zero");
        let begun = self.reader.fill_buf().map(|bytes| !bytes.is_empty());
        self.stream.set_read_timeout(Some(DEADLINE)).expect("a timeout above zero");
        match begun {
            Ok(true) => Some(self.read().expect("a whole reply")),
            _ => None,
        }
    }

    /// Reads until the peer closes, and says what came before. Fails the test if it does not close.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => bytes,
            Err(error) => {
                panic!("the connection was not closed: {error}; read {} bytes", bytes.len())
            }
        }
    }

    /// Ends this side's sending.
    pub fn finish(&self) {
        // The peer may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Asserts that the connection is still served.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        assert_eq!(self.ask("PING alive"), Frame::Bulk(b"alive".to_vec()));
    }
}

/// A command as an array of bulk strings.
pub(crate) fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_frame(reader: &mut BufReader<TcpStream>) -> io::Result<Frame> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some(body) = line.strip_suffix(b"\r\n").filter(|body| !body.is_empty()) else {
        return Err(invalid(format!("not a line of RESP: {}", line.escape_ascii())));
    };
    let text = String::from_utf8_lossy(&body[1..]).into_owned();
    let number = || text.parse::<i64>().map_err(|_| invalid(format!("not a number: {text}")));
    let frames = |reader: &mut BufReader<TcpStream>, n: i64| {
        (0..n).map(|_| read_frame(reader)).collect::<io::Result<Vec<_>>>()
    };
    Ok(match body[0] {
        b'+' => Frame::Simple(text),
        b'-' => Frame::Error(text),
        b':' => Frame::Integer(number()?),
        b'_' => Frame::Null,
        b'#' => Frame::Boolean(text == "t"),
        b',' => Frame::Double(text.parse().map_err(|_| invalid(format!("not a double: {text}")))?),
        b'(' => Frame::BigNumber(text),
        b'$' | b'=' => match number()? {
            -1 => Frame::Null,
            len => {
                let len =
                    usize::try_from(len).map_err(|_| invalid(format!("a length of {len}")))?;
                let mut bytes = vec![0; len + 2];
                reader.read_exact(&mut bytes)?;
                if bytes[len..] != *b"\r\n" {
                    return Err(invalid("a bulk string without its end".to_owned()));
                }
                bytes.truncate(len);
                if body[0] == b'=' {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    Frame::Verbatim(text.strip_prefix("txt:").unwrap_or(&text).to_owned())
                } else {
                    Frame::Bulk(bytes)
                }
            }
        },
        b'*' => match number()? {
            -1 => Frame::Null,
            n => Frame::Array(frames(reader, n)?),
        },
        b'~' => {
            let n = number()?;
            Frame::Set(frames(reader, n)?)
        }
        b'>' => {
            let n = number()?;
            Frame::Push(frames(reader, n)?)
        }
        b'%' => {
            let n = number()?;
            let flat = frames(reader, n * 2)?;
            Frame::Map(
                flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            )
        }
        other => {
            return Err(invalid(format!("unknown reply type {:?}", char::from(other))));
        }
    })
}
