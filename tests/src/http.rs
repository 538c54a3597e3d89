//! A bare HTTP/1.1 connection, which sends what a test says and reads what comes back.

use crate::DEADLINE;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An HTTP connection that is kept.
pub struct Http {
    stream: BufReader<TcpStream>,
    token: Option<String>,
}

/// What came back for a request.
#[derive(Debug)]
pub struct Answer {
    /// The status, as 200.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status and the body, in a line.
    pub fn line(&self) -> String {
        format!("{} {}", self.status, self.text())
    }
}

/// What comes beyond the answers that were read: the body of one that does not end.
impl Read for Http {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.stream, into)
    }
}

impl Http {
    /// Connects to an HTTP port.
    ///
    /// # Panics
    /// If nothing listens there.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Http {
        let stream = TcpStream::connect(address).expect("the HTTP port is open");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        Http { stream: BufReader::new(stream), token: None }
    }

    /// Sends this token with every request.
    #[must_use]
    pub fn with_token(self, token: &str) -> Http {
        Http { token: Some(token.to_owned()), ..self }
    }

    /// The socket.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    /// Sends a request. Headers of its own stand for `Host` and `Content-Length`, too.
    ///
    /// # Errors
    /// If the connection is closed.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !has("host") {
            head += "Host: localhost\r\n";
        }
        if !body.is_empty() && !has("content-length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        if let Some(token) = self.token.as_ref().filter(|_| !has("authorization")) {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        self.stream().write_all(&[head.as_bytes(), body].concat())
    }

    /// Reads an answer; that to HEAD has no body.
    ///
    /// # Errors
    /// If the connection ends before it is whole.
    pub fn read(&mut self, is_head: bool) -> io::Result<Answer> {
        let mut line = String::new();
        let mut next = |stream: &mut BufReader<TcpStream>| {
            line.clear();
            match stream.read_line(&mut line)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok::<_, io::Error>(line.trim_end().to_owned()),
            }
        };
        let bad = |what: &str| io::Error::other(what.to_owned());
        let status = next(&mut self.stream)?;
        let status = status.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| bad("no status"))?;
        let mut headers = Vec::new();
        loop {
            let line = next(&mut self.stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !is_head && let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().map_err(|_| bad("no length"))?];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// If the connection ends before.
    #[track_caller]
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.send(method, path, headers, body).expect("the connection is open");
        self.read(method == "HEAD").expect("an answer")
    }

    /// The answer to a GET.
    ///
    /// # Panics
    /// As [`Http::ask`].
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// The answer to a POST.
    ///
    /// # Panics
    /// As [`Http::ask`].
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body.as_bytes())
    }

    /// Whether the other end has closed the connection, or does so before [`DEADLINE`].
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
