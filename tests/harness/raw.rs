//! Frames as they are: a packet socket on one interface of one namespace.

use crate::frame;
use crate::netns::Namespace;
use crate::wait::PATIENCE;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, recvmsg, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a sender marks its own frames with in the socket address (`PACKET_OUTGOING`).
const OUTGOING: u8 = 4;

/// A frame can be a super-frame of a little over 64 KiB.
const LARGEST: usize = 128 * 1024;

/// Room for everything a test may send before it looks.
const BACKLOG: usize = 32 << 20;

/// Sends and receives whole Ethernet frames on one interface. What arrives while nobody looks is kept.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
}

impl RawSocket {
    /// Opens one on `interface` of `ns`.
    #[track_caller]
    pub fn open(ns: &Namespace, interface: &str) -> Self {
        let socket = ns.enter(|| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("as root");
            bind(socket.as_raw_fd(), &link_address(interface)).expect("the interface is up");
            socket
        });
        setsockopt(&socket, sockopt::RcvBufForce, &BACKLOG).expect("as root");
        let raw = RawSocket { socket };
        // Between the socket's creation and its bind it heard every interface of the namespace.
        raw.drain();
        raw
    }

    /// Sends one frame.
    ///
    /// # Panics
    /// When the interface does not take it (down, gone, larger than its MTU).
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        self.try_send(frame).unwrap_or_else(|error| panic!("sending {} bytes: {error}", frame.len()));
    }

    /// Sends one frame, or says why not.
    pub fn try_send(&self, frame: &[u8]) -> Result<(), Errno> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop)
    }

    /// Reads the next frame that came in from the other side of the interface into `buffer` and returns its length;
    /// `None` when there is none now, or never will be because the interface has gone. What does not fit is cut off.
    pub fn next_into(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let flags = MsgFlags::MSG_DONTWAIT;
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, None, flags) {
                Ok(frame) if frame.address.is_some_and(|from| from.pkttype() == OUTGOING) => {}
                Ok(frame) => return Some(frame.bytes),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next frame that came in from the other side of the interface; `None` when there is none within `limit`.
    pub fn next_within(&self, limit: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; LARGEST];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_micros().clamp(1, 1_000_000);
            let timeout = TimeVal::microseconds(left as i64);
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &timeout).expect("a socket takes a timeout");
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                // Not looked for, and no reason to stop looking at what is already here.
                Ok((_, Some(from))) if from.pkttype() == OUTGOING => continue,
                Ok((length, _)) => {
                    buffer.truncate(length);
                    return Some(buffer);
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // The interface went down or away: nothing will come any more.
                Err(Errno::ENETDOWN | Errno::ENXIO) => return None,
                Err(error) => panic!("receiving frames: {error}"),
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// The next frame `pick` accepts, turned into what `pick` makes of it; others are passed over.
    ///
    /// # Panics
    /// When none comes, naming what was awaited.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut pick: impl FnMut(&[u8]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while let Some(frame) = self.next_within(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = pick(&frame) {
                return found;
            }
        }
        panic!("gave up waiting: {what}");
    }

    /// Everything that came in before the first frame that `is_end` recognises, which is awaited and left out.
    ///
    /// # Panics
    /// When the end does not come.
    #[track_caller]
    pub fn all_before(&self, is_end: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        self.wait_for("the frame that marks the end", |frame| {
            if is_end(frame) {
                return Some(());
            }
            before.push(frame.to_vec());
            None
        });
        before
    }

    /// Everything that came in up to now. `send` is given a payload and has it sent here by the way the frames in
    /// question took.
    ///
    /// Frames of different flows may overtake each other within a batch, so two marks are sent, the second when the
    /// first has arrived: then the batch of the first has arrived whole.
    #[track_caller]
    pub fn up_to_now(&self, send: impl Fn(&[u8])) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for _ in 0..2 {
            let mark = frame::cookie("mark");
            send(&mark);
            frames.extend(self.all_before(|bytes| frame::carries(bytes, &mark)));
        }
        frames
    }

    /// Forgets what has arrived so far.
    pub fn drain(&self) {
        while self.next_within(Duration::ZERO).is_some() {}
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn link_address(interface: &str) -> LinkAddr {
    getifaddrs()
        .expect("interfaces can be listed")
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .unwrap_or_else(|| panic!("no interface {interface}"))
}
