//! One datagram that comes in parts.

use std::net::IpAddr;

use crate::tables::PortId;
use crate::time::Moment;
use crate::verdict::DropReason;

/// Longest payload of an IP datagram.
const LONGEST: u32 = 65_535;

/// Which datagram a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// The endpoint it came from; `None` for a link.
    pub from: Option<PortId>,
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// The IPv4 protocol number; 0 for IPv6, where it does not distinguish datagrams.
    pub protocol: u8,
    /// The identification.
    pub id: u32,
}

/// Which part of its datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The identification, which all parts share.
    pub id: u32,
    /// Where the part begins, in bytes; a multiple of 8, and 0 in the first fragment.
    pub offset: u32,
    /// Bytes of the part, not 0; a multiple of 8 if more parts follow.
    pub len: u32,
    /// Whether more parts follow.
    pub more: bool,
}

/// What is known of one datagram.
#[derive(Debug)]
pub(super) struct Datagram<T> {
    /// Its place in the order of arrival.
    pub(super) number: u64,
    /// When it is given up.
    pub(super) deadline: Moment,
    /// From where to where each part goes, in the order of the bytes. None overlaps another.
    pub(super) parts: Vec<(u32, u32)>,
    /// Bytes in `parts`.
    covered: u32,
    /// Where the datagram ends, once its last part has come.
    end: Option<u32>,
    /// What becomes of its fragments.
    pub(super) state: State<T>,
}

/// What becomes of a datagram's fragments.
#[derive(Debug)]
pub(super) enum State<T> {
    /// The first has not come; these packets wait for it.
    Waiting(Vec<Box<[u8]>>),
    /// This was decided about the first.
    Decided(T),
    /// They are dropped.
    Refused(DropReason),
}

impl<T> Datagram<T> {
    pub(super) const fn new(number: u64, deadline: Moment) -> Self {
        let state = State::Waiting(Vec::new());
        Self { number, deadline, parts: Vec::new(), covered: 0, end: None, state }
    }

    /// Notes that `part` has come; gives whether it makes the datagram complete.
    ///
    /// Refuses a duplicate, which changes nothing; an overlap or contradiction, after which nothing of the datagram can
    /// be trusted; and a part beyond `limit`.
    pub(super) fn place(&mut self, part: Part, limit: usize) -> Result<bool, DropReason> {
        let (start, end) = (part.offset, part.offset.saturating_add(part.len));
        if start == end || end > LONGEST {
            return Err(DropReason::FragmentOverlap);
        }
        let at = self.parts.partition_point(|&(other, _)| other < start);
        let is_end = self.end == Some(end);
        if self.parts.get(at) == Some(&(start, end)) && is_end != part.more {
            return Err(DropReason::FragmentDuplicate);
        }
        let into_former = at.checked_sub(1).is_some_and(|former| self.parts[former].1 > start);
        let into_next = self.parts.get(at).is_some_and(|&(next, _)| next < end);
        let beyond_end = self.end.is_some_and(|last| end > last || !part.more);
        let before_others = !part.more && at < self.parts.len();
        if into_former || into_next || beyond_end || before_others {
            return Err(DropReason::FragmentOverlap);
        }
        if self.parts.len() >= limit {
            return Err(DropReason::FragmentLimit);
        }
        self.parts.insert(at, (start, end));
        self.covered += part.len;
        if !part.more {
            self.end = Some(end);
        }
        Ok(self.end == Some(self.covered))
    }
}
