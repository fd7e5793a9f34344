//! Sequences of TCP segments, both ends crafted (RFC 5382 REQ-2; RFC 5961; the packetdrill stories of the kernel).

use crate::ends::{Container, Craft};
use crate::lab::{GHOST, HOST, Kind, Lab, places, v4};
use crate::outcome::{Outcome, hold};
use crate::packet::{ACK, FIN, Packet, RST, SYN};
use crate::sockets::{accept, connect_from, listen, talks};
use std::io::Read;
use std::net::SocketAddrV4;

const PEER: SocketAddrV4 = SocketAddrV4::new(GHOST, 80);
const INSIDE: u32 = 1_000;
const OUTSIDE: u32 = 90_000_000;

/// Both ends of one connection.
struct Story {
    _lab: Lab,
    a: Container,
    inside: Craft,
    outside: Craft,
    mapping: SocketAddrV4,
}

impl Story {
    /// A container's SYN has left.
    fn syn(kind: Kind) -> Outcome<Self> {
        let lab = Lab::new(kind)?;
        let a = lab.container(11);
        let (inside, outside) = (a.silence(), lab.ghost());
        inside.send(&Packet::tcp((a.at(6000), PEER), SYN, (INSIDE, 0), b""));
        let out = outside.wait_for("the SYN", |packet| packet.source == HOST && packet.flags() == SYN)?;
        let mapping = out.flow().expect("TCP").0;
        Ok(Story { _lab: lab, a, inside, outside, mapping })
    }

    /// The connection is open.
    fn open(kind: Kind) -> Outcome<Self> {
        let story = Self::syn(kind)?;
        story.comes_in(SYN | ACK, (OUTSIDE, INSIDE + 1), b"")?;
        story.leaves(ACK, (INSIDE + 1, OUTSIDE + 1), b"")?;
        Ok(story)
    }

    fn says(&self, flags: u8, numbers: (u32, u32), payload: &[u8]) {
        self.outside.send(&Packet::tcp((PEER, self.mapping), flags, numbers, payload));
    }

    /// The peer says something, and it arrives as it was said.
    fn comes_in(&self, flags: u8, numbers: (u32, u32), payload: &[u8]) -> Outcome {
        self.says(flags, numbers, payload);
        let expected = Packet::tcp((PEER, self.a.at(6000)), flags, numbers, payload);
        arrives(&self.inside, &expected, "inside")
    }

    /// The container says something, and it arrives as it was said.
    fn leaves(&self, flags: u8, numbers: (u32, u32), payload: &[u8]) -> Outcome {
        self.inside.send(&Packet::tcp((self.a.at(6000), PEER), flags, numbers, payload));
        let expected = Packet::tcp((self.mapping, PEER), flags, numbers, payload);
        arrives(&self.outside, &expected, "outside")
    }

    /// Segments pass each way. They carry no data, so that the numbers stay where they are.
    fn is_open(&self) -> Outcome {
        self.leaves(ACK, (INSIDE + 1, OUTSIDE + 1), b"")?;
        self.comes_in(ACK, (OUTSIDE + 1, INSIDE + 1), b"")
    }
}

/// Ports, numbers, flags, payload and checksum of `expected` arrive.
fn arrives(at: &Craft, expected: &Packet, side: &str) -> Outcome {
    let what = format!("flags {:#x} {side}", expected.flags());
    at.wait_for(&what, |packet| packet.flow() == expected.flow() && packet.payload == expected.payload)
        .map(drop)
}

pub(crate) fn t_2_a_connection_opens_and_closes(kind: Kind) -> Outcome {
    let story = Story::open(kind)?;
    let (inside, outside) = (INSIDE + 1, OUTSIDE + 1);
    story.is_open()?;
    story.leaves(FIN | ACK, (inside, outside), b"")?;
    story.comes_in(ACK, (outside, inside + 1), b"")?;
    // Half closed: the other half still speaks.
    story.comes_in(ACK, (outside, inside + 1), b"half closed")?;
    story.leaves(ACK, (inside + 1, outside + 11), b"")?;
    story.comes_in(FIN | ACK, (outside + 11, inside + 1), b"")?;
    story.leaves(ACK, (inside + 1, outside + 12), b"")
}

pub(crate) fn t_2_a_simultaneous_open_works(kind: Kind) -> Outcome {
    let story = Story::syn(kind)?;
    story.comes_in(SYN, (OUTSIDE, 0), b"")?;
    story.leaves(SYN | ACK, (INSIDE, OUTSIDE + 1), b"")?;
    story.comes_in(SYN | ACK, (OUTSIDE, INSIDE + 1), b"")?;
    story.leaves(ACK, (INSIDE + 1, OUTSIDE + 1), b"")?;
    story.is_open()
}

pub(crate) fn t_2_a_syn_may_be_repeated_and_refused(kind: Kind) -> Outcome {
    let story = Story::syn(kind)?;
    story.leaves(SYN, (INSIDE, 0), b"")?;
    story.comes_in(RST | ACK, (0, INSIDE + 1), b"")?;
    // The same port is used again at once.
    story.leaves(SYN, (INSIDE + 50_000, 0), b"")?;
    story.comes_in(SYN | ACK, (OUTSIDE, INSIDE + 50_001), b"")
}

pub(crate) fn t_2_a_closed_connections_port_may_be_used_again(kind: Kind) -> Outcome {
    let story = Story::open(kind)?;
    story.leaves(FIN | ACK, (INSIDE + 1, OUTSIDE + 1), b"")?;
    story.comes_in(FIN | ACK, (OUTSIDE + 1, INSIDE + 2), b"")?;
    story.leaves(ACK, (INSIDE + 2, OUTSIDE + 2), b"")?;
    story.leaves(SYN, (INSIDE + 70_000, 0), b"")?;
    story.comes_in(SYN | ACK, (OUTSIDE + 70_000, INSIDE + 70_001), b"")?;
    story.leaves(ACK, (INSIDE + 70_001, OUTSIDE + 70_001), b"")
}

pub(crate) fn t_10_a_reset_out_of_the_window_ends_nothing(kind: Kind) -> Outcome {
    let story = Story::open(kind)?;
    for sequence in [0, OUTSIDE - 5_000_000, OUTSIDE + 5_000_000, INSIDE] {
        story.says(RST, (sequence, 0), b"");
        story.is_open()?;
    }
    Ok(())
}

pub(crate) fn t_10_forged_resets_do_not_end_a_real_connection(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let listener = listen(lab.server(), places()[0]);
    let mut near = connect_from(&a.ns, a.at(6000).into(), places()[0], lab.patience())?;
    let (mut far, seen) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    let outside = lab.ghost();
    for number in 0..16u32 {
        let forged = Packet::tcp((v4(places()[0]), v4(seen)), RST, (number << 28, 0), b"");
        outside.send(&forged);
        // And a stale handshake.
        outside.send(&Packet::tcp((v4(places()[0]), v4(seen)), SYN | ACK, (number << 28 | 5, 9), b""));
    }
    talks(&mut near, &mut far)
}

pub(crate) fn t_10_a_right_reset_comes_in(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let listener = listen(lab.server(), places()[0]);
    let mut near = connect_from(&a.ns, a.at(6000).into(), places()[0], lab.patience())?;
    let (far, _) = accept(&listener, lab.patience())?;
    // A close with bytes that nobody has read is a reset.
    std::io::Write::write_all(&mut near, b"unread").expect("it is open");
    while far.peek(&mut [0]).is_ok_and(|count| count == 0) {}
    drop(far);
    let ended = near.read(&mut [0]);
    let kind = ended.map_err(|error| error.kind());
    hold!(kind == Err(std::io::ErrorKind::ConnectionReset), "the connection ended with {kind:?}");
    Ok(())
}
