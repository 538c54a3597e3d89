//! A line that is slow and loses packets, as TCP's ends see it.

use crate::Rng;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most bytes of a packet.
pub(crate) const PACKET: usize = 1400;

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
    /// A line between two ends. The nearer one keeps little for it.
    pub(crate) fn new(from: &TcpStream, mut to: TcpStream) -> Line {
        keep_little(from);
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

/// A receiver that takes little before it is read.
fn keep_little(socket: &TcpStream) {
    let bytes: libc::c_int = 8 << 10;
    // SAFETY: the option is an int, and the descriptor is open. If it fails, more is kept.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}
