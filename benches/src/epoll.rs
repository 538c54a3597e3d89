//! Many sockets watched by one thread, for load generators that must cost little themselves.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Events taken at once.
const EVENTS: usize = 128;

/// The sockets that are watched.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// Watches nothing yet.
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: the call has no requirements; the descriptor is checked and then ours alone.
        unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Epoll(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Connects to a server on the loopback and watches the socket, which does not block, for what
    /// can be read. Events bear `index`.
    pub(crate) fn connect(&self, port: u16, index: usize) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut event =
            libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: index as u64 };
        // SAFETY: both descriptors are open, and `event` is valid for the call.
        let failed = unsafe {
            let (epoll, stream) = (self.0.as_raw_fd(), stream.as_raw_fd());
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, stream, &raw mut event)
        };
        if failed == 0 { Ok(stream) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits until something can be read, at most for the given time; fills `ready` with the indexes, none if the time
    /// is over.
    pub(crate) fn wait(&self, wait: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let mut events = [MaybeUninit::<libc::epoll_event>::uninit(); EVENTS];
        let timeout = libc::timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        ready.clear();
        let count = loop {
            // SAFETY: there is room for as many events as are asked for, `timeout` is valid for the
            // call, and no signal mask is given.
            let count = unsafe {
                let (epoll, room) = (self.0.as_raw_fd(), EVENTS as libc::c_int);
                let events = events.as_mut_ptr().cast();
                libc::epoll_pwait2(epoll, events, room, &raw const timeout, ptr::null())
            };
            match usize::try_from(count) {
                Ok(count) => break count,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        };
        // SAFETY: the kernel wrote the first `count` events. Their data are our indexes.
        ready.extend(
            events[..count].iter().map(|event| unsafe { event.assume_init() }.u64 as usize),
        );
        Ok(())
    }
}
