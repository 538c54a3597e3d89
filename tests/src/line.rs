//! A line that is slow and loses packets, as TCP's ends see it.

use crate::Rng;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most bytes of a packet.
pub(crate) const PACKET: usize = 1400;

/// Bytes that wait before a line.
const KEPT: usize = 8 << 10;

/// How a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineOptions {
    /// Bytes a second.
    pub rate: u64,
    /// How long a packet takes.
    pub delay: Duration,
    /// Packets of a thousand that are lost. TCP sends them again, and what comes after them waits.
    pub lost: u64,
}

/// One direction of a connection over such a line. At its end it delivers what is on it.
pub(crate) struct Line {
    packets: Option<Sender<(Instant, Vec<u8>)>>,
    delivers: Option<JoinHandle<()>>,
    arrives: Instant,
    rng: Rng,
}

impl Line {
    /// A line to an end.
    pub(crate) fn new(mut to: TcpStream) -> Line {
        let (packets, taken) = channel::<(Instant, Vec<u8>)>();
        let delivers = thread::spawn(move || {
            for (at, packet) in taken {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if to.write_all(&packet).is_err() {
                    return;
                }
            }
        });
        Line {
            packets: Some(packets),
            delivers: Some(delivers),
            arrives: Instant::now(),
            rng: Rng::new(1),
        }
    }

    /// Takes bytes as fast as the line does; without options at once. False if the far end is gone.
    pub(crate) fn carry(&mut self, bytes: &[u8], options: Option<LineOptions>) -> bool {
        bytes.chunks(PACKET).all(|packet| {
            if let Some(LineOptions { rate, delay, lost }) = options {
                thread::sleep(Duration::from_secs(packet.len() as u64) / rate as u32);
                // The far end asks for it again after a packet that came, the near end sends it again.
                let again = if self.rng.below(1000) < lost { delay * 2 } else { Duration::ZERO };
                self.arrives = self.arrives.max(Instant::now() + delay + again);
            }
            let packets = self.packets.as_ref().expect("it has not ended");
            packets.send((self.arrives, packet.to_vec())).is_ok()
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.packets = None;
        if let Some(delivers) = self.delivers.take() {
            // It panics nowhere.
            let _ = delivers.join();
        }
    }
}

/// Has a socket, or those that a listener accepts from now on, take little before it is read.
pub(crate) fn keep_little(socket: &impl AsFd) {
    // What is kept is no more than it was if this fails.
    let _ = SockRef::from(socket).set_recv_buffer_size(KEPT);
}

/// Connects; the connection takes little before it is read, from the first byte on.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    keep_little(&socket);
    socket.connect(&address.into())?;
    Ok(socket.into())
}
