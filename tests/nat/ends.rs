//! Both ends of a conversation: containers, and crafted packets on either side of the subject.

use crate::outcome::{OrBreaks, Outcome};
use crate::packet::Packet;
use crate::sockets;
use harness::frame::Mac;
use harness::netns::Namespace;
use harness::raw::RawSocket;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// A namespace behind the subject.
pub(crate) struct Container {
    pub(crate) ip: Ipv4Addr,
    pub(crate) ip6: Ipv6Addr,
    pub(crate) gateway: Mac,
    pub(crate) patience: Duration,
    pub(crate) ns: Namespace,
}

impl Container {
    /// Reads and writes packets on its interface, beside its kernel.
    pub(crate) fn craft(&self) -> Craft {
        let macs = (self.ns.mac("eth0"), self.gateway);
        Craft { raw: RawSocket::open(&self.ns, "eth0"), macs, patience: self.patience }
    }

    /// Takes its kernel's IPv4 address away: from now on it says and answers nothing but what is crafted.
    pub(crate) fn silence(&self) -> Craft {
        self.ns.ip(&["-4", "address", "flush", "dev", "eth0"]);
        self.craft()
    }

    /// One of its ports.
    pub(crate) fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, port)
    }

    /// True when it can ping somebody, with this much payload.
    pub(crate) fn pings(&self, to: impl Into<IpAddr>, size: usize) -> bool {
        sockets::pings(&self.ns, to.into(), size)
    }
}

/// Packets as they are, on one side of the subject.
pub(crate) struct Craft {
    pub(crate) raw: RawSocket,
    /// From, and to the subject.
    pub(crate) macs: (Mac, Mac),
    pub(crate) patience: Duration,
}

impl Craft {
    pub(crate) fn send(&self, packet: &Packet) {
        self.raw.send(&packet.frame(self.macs.0, self.macs.1));
    }

    /// The next packet that `pick` wants.
    pub(crate) fn wait_for(&self, what: &str, pick: impl Fn(&Packet) -> bool) -> Outcome<Packet> {
        self.within(self.patience, pick).or_breaks(format!("{what} did not come"))
    }

    /// The next packet that `pick` wants, if it comes within `limit`.
    pub(crate) fn within(&self, limit: Duration, pick: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let deadline = Instant::now() + limit;
        while let Some(bytes) = self.raw.next_within(deadline.saturating_duration_since(Instant::now())) {
            if let Some(packet) = Packet::in_frame(&bytes).filter(&pick) {
                return Some(packet);
            }
        }
        None
    }

    /// The next packet that carries these bytes.
    pub(crate) fn awaits(&self, mark: &[u8]) -> Outcome<Packet> {
        self.wait_for(&String::from_utf8_lossy(mark), |packet| packet.carries(mark))
    }

    /// Every packet that comes before one that carries these bytes.
    pub(crate) fn before(&self, mark: &[u8]) -> Outcome<Vec<Packet>> {
        let before = RefCell::new(Vec::new());
        self.wait_for(&String::from_utf8_lossy(mark), |packet| {
            let end = packet.carries(mark);
            if !end {
                before.borrow_mut().push(packet.clone());
            }
            end
        })?;
        Ok(before.into_inner())
    }
}
